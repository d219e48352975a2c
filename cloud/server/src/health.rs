//! The health listener: liveness, readiness and metrics over plain HTTP, for supervisors and scrapers
//! near this process. Every role has it; the API answers the same over HTTPS.
//!
//! Bounded: so many connections at a time, so long each, one request on each.

use crate::surroundings::Process;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use cloud_api::Surroundings as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A supervisor and a scraper or two on every host.
const MAX_CONNECTIONS: usize = 64;
/// From the first byte to the last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// After `accept` failed: no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers until `stop`, which comes after everything else has ended: a process that drains is alive,
/// and says that it is not ready.
pub(crate) async fn serve(listener: TcpListener, process: Arc<Process>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! { biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection for health failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let process = Arc::clone(&process);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&process, &request);
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).keep_alive(false);
            let connection = http.serve_connection(TokioIo::new(socket), service);
            if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_LIMIT, connection).await {
                tracing::debug!(%error, "a connection for health ended");
            }
            drop(place);
        });
    }
}

fn answer(process: &Process, request: &Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET\n".to_owned(),
        );
    }
    match request.uri().path() {
        // That the answer comes says it: the tasks run on the same threads, and a role that ends takes
        // the process with it.
        "/livez" => text(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => readiness(process),
        "/metrics" => text(StatusCode::OK, OPENMETRICS, process.metrics()),
        _ => text(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /livez, /readyz and /metrics\n".to_owned(),
        ),
    }
}

fn readiness(process: &Process) -> Response<Body> {
    let reasons = process.not_ready();
    if reasons.is_empty() {
        return text(StatusCode::OK, TEXT, "ready\n".to_owned());
    }
    let body = format!("not ready\n{}\n", reasons.join("\n"));
    text(StatusCode::SERVICE_UNAVAILABLE, TEXT, body)
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
