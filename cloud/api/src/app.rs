//! What every handler sees, and the list of routes.
//!
//! Two routers: open (login, probes, the page itself) and closed, behind the gate. The OpenAPI
//! document is made from the same list, so it cannot miss a route; a test asks every path of it
//! without a session.

use crate::auth::gate;
use crate::config::{ApiConfig, OneTimeLogin, SessionLimits, Surroundings};
use crate::live::Live;
use crate::{assets, layers, routes};
use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use cloud_store::Store;
use protocols_model::Clock;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, RefOr};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Bodies are logins and passwords: small.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// What every handler sees.
pub(crate) struct AppState {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sessions: SessionLimits,
    pub(crate) one_time_login: OneTimeLogin,
    pub(crate) metrics_token: Option<String>,
    /// Held while a one-time password is spent.
    pub(crate) one_time_turn: Mutex<()>,
    pub(crate) live: Live,
    pub(crate) stop: CancellationToken,
}

impl AppState {
    pub(crate) fn new(
        config: &ApiConfig,
        store: Arc<dyn Store>,
        surroundings: Arc<dyn Surroundings>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            surroundings,
            clock: Arc::clone(&config.clock),
            sessions: config.sessions,
            one_time_login: config.one_time_login,
            metrics_token: config.metrics_token.clone(),
            one_time_turn: Mutex::new(()),
            live: Live::new(),
            stop,
        })
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Fogline",
    description = "Gateways, devices, series, their latest values and their history; alarms; what was \
        lost and why. Log in at `/v1/login`; the session travels in a cookie, and every change carries \
        the header `x-fogline-csrf` with the token that login and `/v1/me` give. Times are \
        milliseconds since 1970 UTC. Errors are `application/problem+json`.",
    license(name = "MIT OR Apache-2.0")
))]
struct Head;

fn open_routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new()
        .routes(routes!(routes::session::login))
        .routes(routes!(routes::health::healthz))
        .routes(routes!(routes::health::livez))
        .routes(routes!(routes::health::readyz))
}

fn metrics_routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(routes::health::metrics))
}

fn closed_routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new()
        .routes(routes!(routes::session::logout))
        .routes(routes!(routes::session::me))
        .routes(routes!(routes::session::set_password))
        .routes(routes!(routes::gateways::list))
        .routes(routes!(routes::gateways::one))
        .routes(routes!(routes::gateways::devices))
        .routes(routes!(routes::gateways::series))
        .routes(routes!(routes::gateways::traffic))
        .routes(routes!(routes::alarms::list))
        .routes(routes!(routes::alarms::counts))
        .routes(routes!(routes::series::latest))
        .routes(routes!(routes::series::one))
        .routes(routes!(routes::series::data))
        .routes(routes!(routes::records::ledger))
        .routes(routes!(routes::records::events))
        .routes(routes!(routes::records::quarantine))
        .routes(routes!(routes::records::refusals))
        .routes(routes!(routes::records::stats))
        .routes(routes!(routes::stream::stream))
        .routes(routes!(routes::health::openapi_json))
}

/// The OpenAPI document of all routes.
#[must_use]
pub fn openapi() -> OpenApi {
    let mut document = <Head as utoipa::OpenApi>::openapi();
    for part in [open_routes(), metrics_routes(), closed_routes()] {
        document.merge(part.into_openapi());
    }
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            describe_problems(operation);
        }
    }
    document
}

/// Every error is a problem, whatever the handler's line says.
fn describe_problems(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response)
            && let Some(content) = response.content.shift_remove("application/json")
        {
            response
                .content
                .insert("application/problem+json".to_owned(), content);
        }
    }
}

/// Everything the listener serves.
pub(crate) fn router(state: Arc<AppState>) -> Router {
    let open: Router<_> = open_routes().into();
    let metrics: Router<_> = metrics_routes().into();
    let closed: Router<_> = closed_routes().into();
    let gate = middleware::from_fn_with_state(Arc::clone(&state), gate::gate);
    let metrics_gate = middleware::from_fn_with_state(Arc::clone(&state), gate::metrics_gate);
    open.merge(metrics.route_layer(metrics_gate))
        .merge(closed.route_layer(gate))
        .fallback(assets::serve)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(layers::around))
        .with_state(state)
}
