//! Logging in and out, who am I, a new password.

use crate::app::AppState;
use crate::auth::gate::{self, Who};
use crate::auth::password::MAX_PASSWORD_BYTES;
use crate::auth::token::SessionToken;
use crate::auth::users::{self, MAX_NAME_BYTES};
use crate::input::Fields;
use crate::problem::Problem;
use crate::serve::Peer;
use crate::views::Me;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Name and password.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body; it is read strictly by `Fields`"
)]
pub(crate) struct LoginBody {
    /// Login name.
    name: String,
    /// Password.
    password: String,
}

/// A new password.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body; it is read strictly by `Fields`"
)]
pub(crate) struct PasswordBody {
    /// The current password; not asked of a session that began with a one-time password.
    current: Option<String>,
    /// The new one: at least 12 characters.
    new: String,
}

fn me_view(state: &AppState, who: &Who) -> Me {
    Me {
        name: who.user.name.clone(),
        csrf: who.session.csrf.clone(),
        one_time: who.user.one_time,
        must_set_password: who.must_set_password(state.one_time_login),
        expires_ms: who.session.expires.as_millis(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn json_only(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    match kind.and_then(|kind| kind.split(';').next()).map(str::trim) {
        Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(()),
        // A form of another site cannot send JSON without asking first.
        _ => Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
    }
}

/// Logs in.
///
/// Three failures are free, then each doubles the wait, up to 15 minutes, per name and address.
#[utoipa::path(post, path = "/v1/login", tag = "session", request_body = LoginBody,
    responses((status = 200, body = Me), (status = 401, body = Problem), (status = 429, body = Problem)))]
pub(crate) async fn login(
    State(state): State<Arc<AppState>>,
    Extension(Peer(from)): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    gate::same_site(&headers)?;
    json_only(&headers)?;
    let fields = Fields::parse(&body, &["name", "password"])?;
    let name = fields.text("name", MAX_NAME_BYTES)?;
    let password = fields.text("password", MAX_PASSWORD_BYTES)?;
    let (token, who) = users::log_in(&state, name, password, from).await?;
    let cookie = token.set_cookie(state.sessions.absolute.as_secs());
    Ok(with_cookie(&cookie, Json(me_view(&state, &who))))
}

fn with_cookie(cookie: &str, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Ends the session; live streams of it end within a second.
#[utoipa::path(post, path = "/v1/logout", tag = "session",
    responses((status = 204), (status = 401, body = Problem)))]
pub(crate) async fn logout(
    State(state): State<Arc<AppState>>,
    Extension(who): Extension<Who>,
) -> Result<Response, Problem> {
    state
        .store
        .end_session(&who.session.token)
        .await
        .map_err(|error| Problem::internal("ending the session", &error))?;
    tracing::info!(name = who.user.name, "logged out");
    Ok(with_cookie(
        &SessionToken::clear_cookie(),
        StatusCode::NO_CONTENT,
    ))
}

/// Who is logged in.
#[utoipa::path(get, path = "/v1/me", tag = "session",
    responses((status = 200, body = Me), (status = 401, body = Problem)))]
pub(crate) async fn me(
    State(state): State<Arc<AppState>>,
    Extension(who): Extension<Who>,
) -> Json<Me> {
    Json(me_view(&state, &who))
}

/// Sets a new password and ends every other session of the user.
#[utoipa::path(post, path = "/v1/me/password", tag = "session", request_body = PasswordBody,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 429, body = Problem)))]
pub(crate) async fn set_password(
    State(state): State<Arc<AppState>>,
    Extension(Peer(from)): Extension<Peer>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    json_only(&headers)?;
    let fields = Fields::parse(&body, &["current", "new"])?;
    let current = fields.optional_text("current", MAX_PASSWORD_BYTES)?;
    let new = fields.text("new", MAX_PASSWORD_BYTES)?;
    users::set_password(&state, &who, current, new, from).await?;
    Ok(StatusCode::NO_CONTENT)
}
