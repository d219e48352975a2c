//! The gate: from a request to a [`Who`], or to a problem that says what is missing.

use crate::app::AppState;
use crate::auth::token::{CSRF_HEADER, SessionToken};
use crate::config::OneTimeLogin;
use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cloud_store::{Session, User};
use std::sync::Arc;

/// Who is asking.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) user: User,
    pub(crate) session: Session,
}

impl Who {
    /// Whether nothing is allowed before a new password is set.
    pub(crate) fn must_set_password(&self, rule: OneTimeLogin) -> bool {
        self.user.one_time && rule == OneTimeLogin::MustReplace
    }
}

/// What a session may do whose password must be replaced first.
const BEFORE_NEW_PASSWORD: [&str; 3] = ["/v1/me", "/v1/me/password", "/v1/logout"];

/// Refuses what a page of another site sent; browsers tell, other clients do not carry cookies of
/// people.
pub(crate) fn same_site(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get("sec-fetch-site").map(|site| site.as_bytes()) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Problem::forbidden(
            "same-origin",
            "another site sent this request",
        )),
    }
}

fn token_of(headers: &HeaderMap) -> Option<SessionToken> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(SessionToken::from_cookies)
}

/// The live session behind a request's cookie.
pub(crate) async fn who(state: &AppState, headers: &HeaderMap) -> Result<Who, Problem> {
    let token = token_of(headers).ok_or_else(Problem::login_needed)?;
    let session = state
        .store
        .session(&token.hash(), state.clock.wall())
        .await
        .map_err(|error| Problem::internal("looking up the session", &error))?
        .ok_or_else(Problem::login_needed)?;
    let user = state
        .store
        .user(&session.user)
        .await
        .map_err(|error| Problem::internal("looking up the user", &error))?
        .ok_or_else(Problem::login_needed)?;
    Ok(Who { user, session })
}

/// Takes the parts by themselves: a request's body cannot be shared while the database is asked.
async fn check(
    state: &AppState,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Who, Problem> {
    let who = who(state, headers).await?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        same_site(headers)?;
        let given = headers
            .get(CSRF_HEADER)
            .and_then(|value| value.to_str().ok());
        let proven = token_of(headers)
            .zip(given)
            .is_some_and(|(token, given)| token.csrf_matches(given));
        if !proven {
            return Err(Problem::forbidden(
                "csrf",
                format!("the header {CSRF_HEADER} must carry the token that /v1/me gives"),
            ));
        }
    }
    if who.must_set_password(state.one_time_login) && !BEFORE_NEW_PASSWORD.contains(&path) {
        return Err(Problem::forbidden(
            "new-password",
            "this session began with a one-time password; set a new one at /v1/me/password first",
        ));
    }
    Ok(who)
}

/// The gate as a layer around closed routes.
pub(crate) async fn gate(
    State(state): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    match check(&state, method, path, request.headers()).await {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// The gate of `/metrics`: a session, or the bearer token that scrapers get.
pub(crate) async fn metrics_gate(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let bearer = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let known = match (bearer, &state.metrics_token) {
        // Digests are compared, so the time taken says nothing about the token.
        (Some(given), Some(token)) => digest(given) == digest(token),
        _ => false,
    };
    if known {
        return next.run(request).await;
    }
    let (method, path) = (request.method(), request.uri().path());
    match check(&state, method, path, request.headers()).await {
        Ok(_who) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn digest(text: &str) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, text.as_bytes())
        .as_ref()
        .to_vec()
}
