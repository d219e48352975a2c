//! The local endpoint: `/health`, `/metrics`, `/status` on 127.0.0.1, read only.
//!
//! Bounded: a few connections at a time, one request each, a deadline, small buffers. It shows
//! nothing secret; whoever is on the machine may read it.

use crate::snapshot::Source;
use crate::{last_good, metrics};
use gateway_config::GatewayConfig;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Where the endpoint listens, in the state directory, for `status`.
pub(crate) const ADDRESS_FILE: &str = "http.addr";
/// Connections at a time: a scraper, a health check and a person or two.
const CONNECTIONS: usize = 8;
/// From connect to last byte.
const DEADLINE: Duration = Duration::from_secs(5);
/// Before the address file is tried again: a full disk may have room by then.
const FILE_AGAIN: Duration = Duration::from_secs(5);
/// A request to us is a line and a few headers.
const BUFFER: usize = 8 * 1024;

/// Starts the local endpoint. A taken port is no reason to stop reading devices.
pub(crate) async fn start(config: &GatewayConfig, source: Arc<Source>) -> AbortOnDropHandle<()> {
    let file = config.gateway.state_dir.join(ADDRESS_FILE);
    let listener = TcpListener::bind(("127.0.0.1", config.http.port)).await;
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let task = match bound {
        Ok((address, listener)) => {
            tracing::info!(%address, "local endpoint");
            let text = format!("{address}\n");
            let written = note(&file, &text);
            tokio::spawn(async move {
                let noted = async {
                    if !written {
                        note_in_time(&file, &text).await;
                    }
                };
                tokio::join!(serve(listener, source), noted);
            })
        }
        Err(error) => {
            tracing::error!(%error, port = config.http.port, "no local endpoint: the port cannot be had");
            tokio::spawn(async {})
        }
    };
    AbortOnDropHandle::new(task)
}

/// Writes the address file; whether it stands there now.
fn note(file: &Path, text: &str) -> bool {
    match last_good::replace(file, text.as_bytes()) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "cannot write {}", file.display());
            false
        }
    }
}

/// Writes the address file as soon as the disk takes it, or nobody would find a gateway that started
/// on a full one.
async fn note_in_time(file: &Path, text: &str) {
    loop {
        tokio::time::sleep(FILE_AGAIN).await;
        if note(file, text) {
            return;
        }
    }
}

/// Serves until dropped.
async fn serve(listener: TcpListener, source: Arc<Source>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, usually: others need them more.
                tracing::debug!(%error, "no connection to the local endpoint");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let source = Arc::clone(&source);
        tokio::spawn(async move {
            let answer = service_fn(|request| std::future::ready(answer(&request, &source)));
            let mut server = http1::Builder::new();
            server.keep_alive(false).max_buf_size(BUFFER);
            let connection = server.serve_connection(TokioIo::new(stream), answer);
            if !matches!(tokio::time::timeout(DEADLINE, connection).await, Ok(Ok(()))) {
                tracing::debug!("a request to the local endpoint was not finished");
            }
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, source: &Source) -> Result<Response<String>, Infallible> {
    const JSON: &str = "application/json";
    const TEXT: &str = "text/plain; charset=utf-8";
    if request.method() != Method::GET {
        return Ok(response(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "GET only\n".to_owned(),
        ));
    }
    Ok(match request.uri().path() {
        "/health" => {
            let health = source.report().health();
            let status = if health.ok {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            response(status, JSON, json(&health))
        }
        "/status" => response(StatusCode::OK, JSON, json(&source.report())),
        "/metrics" => match metrics::encode(source.report()) {
            Ok(text) => response(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => {
                let text = format!("metrics cannot be written: {error}\n");
                response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
            }
        },
        _ => response(
            StatusCode::NOT_FOUND,
            TEXT,
            "/health, /metrics, /status\n".to_owned(),
        ),
    })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
