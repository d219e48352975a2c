//! Every error answer: `application/problem+json` (RFC 9457) that names the failing field or
//! permission.
//!
//! A handler returns a [`Problem`]; the outermost layer ([`crate::layers`]) writes the body, because
//! only it knows the request id. Causes inside the server go to the log, never into an answer.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong, as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Stable name of the kind of problem: `urn:fogline:problem:<kind>`.
    #[serde(rename = "type", serialize_with = "as_urn")]
    #[schema(value_type = String)]
    pub(crate) kind: &'static str,
    /// The kind, in words.
    #[schema(value_type = String)]
    pub(crate) title: &'static str,
    /// HTTP status.
    pub(crate) status: u16,
    /// What was wrong this time and what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) detail: Option<Box<str>>,
    /// The query parameter, path part or body field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) field: Option<Box<str>>,
    /// The permission that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) permission: Option<&'static str>,
    /// Try again after so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_s: Option<u32>,
    /// The request's id, also in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) request_id: Option<Box<str>>,
}

fn as_urn<S: serde::Serializer>(kind: &&'static str, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("urn:fogline:problem:{kind}"))
}

impl Problem {
    /// A problem of this kind.
    pub(crate) fn new(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: None,
            field: None,
            permission: None,
            retry_after_s: None,
            request_id: None,
        }
    }

    /// The problem a bare status stands for: routes that do not exist, methods not allowed, limits.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (kind, title) = match status {
            StatusCode::NOT_FOUND => ("not-found", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => ("method", "this address does not take this method"),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the request's body is too large"),
            StatusCode::REQUEST_TIMEOUT => ("timeout", "the request took too long"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("media-type", "send application/json"),
            status if status.is_server_error() => ("internal", "the server failed"),
            _ => ("bad-request", "the request cannot be understood"),
        };
        Self::new(status, kind, title)
    }

    /// A field of the request is wrong.
    pub(crate) fn field(field: &str, detail: impl Into<Box<str>>) -> Self {
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "invalid-field",
            "a field of the request is wrong",
        );
        problem.field = Some(field.into());
        problem.detail(detail)
    }

    /// The thing named by `field` does not exist.
    pub(crate) fn unknown(field: &str, detail: impl Into<Box<str>>) -> Self {
        let mut problem = Self::of_status(StatusCode::NOT_FOUND);
        problem.field = Some(field.into());
        problem.detail(detail)
    }

    /// Nobody is logged in.
    pub(crate) fn login_needed() -> Self {
        let mut problem = Self::new(
            StatusCode::UNAUTHORIZED,
            "login-needed",
            "log in to see this",
        );
        problem.permission = Some("session");
        problem
    }

    /// Somebody is logged in but may not do this.
    pub(crate) fn forbidden(permission: &'static str, detail: impl Into<Box<str>>) -> Self {
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "this session may not do that",
        );
        problem.permission = Some(permission);
        problem.detail(detail)
    }

    /// Something inside failed; the cause is logged here and nowhere else.
    pub(crate) fn internal(doing: &str, cause: &dyn std::error::Error) -> Self {
        let mut chain = cause.to_string();
        let mut source = cause.source();
        while let Some(cause) = source {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            source = cause.source();
        }
        tracing::error!(doing, cause = chain, "a request failed");
        Self::of_status(StatusCode::INTERNAL_SERVER_ERROR).detail(format!("{doing} failed"))
    }

    /// Too much at once; try again.
    pub(crate) fn busy(detail: impl Into<Box<str>>, retry_after_s: u32) -> Self {
        let mut problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "the server is at a limit",
        );
        problem.retry_after_s = Some(retry_after_s);
        problem.detail(detail)
    }

    /// Adds what was wrong this time.
    pub(crate) fn detail(mut self, detail: impl Into<Box<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The finished answer, with the request's id.
    pub(crate) fn render(mut self, request_id: Option<&str>) -> Response {
        self.request_id = request_id.map(Box::from);
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
