//! Probes, metrics and the API's own description.

use crate::app::{self, AppState};
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Whether the server answers at all.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the process lives; restart it when not.
#[utoipa::path(get, path = "/livez", tag = "server", responses((status = 200, body = String)))]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether the process does its work. The reasons go to the log: this path is open.
#[utoipa::path(get, path = "/readyz", tag = "server",
    responses((status = 200, body = String), (status = 503, body = Problem)))]
pub(crate) async fn readyz(State(state): State<Arc<AppState>>) -> Response {
    let reasons = state.surroundings.not_ready();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    tracing::debug!(reasons = reasons.join("; "), "not ready");
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not-ready",
        "the server is not ready",
    )
    .detail(format!("{} reasons; see the log", reasons.len()))
    .into_response()
}

/// Prometheus metrics; with a session or the scraper's bearer token.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, body = String), (status = 401, body = Problem)))]
pub(crate) async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    let text = state.surroundings.metrics();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "server",
    responses((status = 200, body = Object), (status = 401, body = Problem)))]
pub(crate) async fn openapi_json() -> Json<utoipa::openapi::OpenApi> {
    Json(app::openapi())
}
