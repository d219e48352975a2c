//! The listener: HTTPS only, bounded in every direction, stopped by draining.
//!
//! Bounds (P4): connections by a semaphore taken *before* accepting, so that the kernel's backlog
//! holds the rest; the TLS handshake, a request's head, an unread answer and the drain by time; a
//! request's body by size. On stop the listener closes first, requests under way get the drain time,
//! event streams end by themselves, what is left is cut.

use crate::app::{self, AppState};
use crate::config::{ApiConfig, Listen, Surroundings};
use crate::stall::{self, Stall};
use crate::tls::{Reloading, TlsError};
use axum::Router;
use axum::extract::Request;
use cloud_store::Store;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// A client that has not finished its handshake by then is not one.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a request's head; also how long an idle HTTP/1 connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// HTTP/2 pings find dead peers, which otherwise hold a place for ever.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests at once on one HTTP/2 connection; a page needs a handful.
const MAX_H2_STREAMS: u32 = 64;
/// Request heads on HTTP/1, bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// After `accept` fails (no file descriptors left), before it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("listening for HTTPS on {at} failed; is the port taken?")]
    Listen {
        /// The address.
        at: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error("setting up HTTPS failed")]
    Tls(#[from] TlsError),
}

/// Who is asking, as far as the connection tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

fn listener(listen: Listen) -> Result<TcpListener, ServeError> {
    let (at, socket) = match listen {
        Listen::Address(at) => (at.to_string(), std::net::TcpListener::bind(at)),
        Listen::Socket(socket) => ("the given socket".to_owned(), Ok(socket)),
    };
    socket
        .and_then(|socket| {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        })
        .map_err(|source| ServeError::Listen { at, source })
}

/// Serves the API and the dashboard until `stop`.
///
/// # Errors
/// [`ServeError`] when listening or the certificate fails at the start; afterwards it returns only
/// when stopped.
pub async fn serve(
    config: ApiConfig,
    store: Arc<dyn Store>,
    surroundings: Arc<dyn Surroundings>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let (tls, reloading) = Reloading::start(config.tls.clone())?;
    let acceptor = TlsAcceptor::from(tls);
    let drain = config.drain;
    let places = Arc::new(Semaphore::new(config.max_connections));
    let state = AppState::new(&config, store, surroundings, stop.clone());
    let listener = listener(config.listen)?;
    let router = app::router(Arc::clone(&state));

    let tasks = TaskTracker::new();
    tasks.spawn(reloading.watch(stop.clone()));
    tasks.spawn(crate::live::run(state, stop.clone()));
    let cut = CancellationToken::new();
    let connection = Connection {
        acceptor,
        router,
        stop: stop.clone(),
        cut: cut.clone(),
    };
    loop {
        let Some((socket, peer, place)) = accept(&listener, &places, &stop).await else {
            break;
        };
        tasks.spawn(connection.clone().run(socket, peer, place));
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
        tracing::warn!(
            open = tasks.len(),
            "connections did not end in time and are cut"
        );
        cut.cancel();
        tasks.wait().await;
    }
    Ok(())
}

/// The next connection; `None` when stopped.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        place = Arc::clone(places).acquire_owned() => place.ok()?,
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => return Some((socket, peer, place)),
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[derive(Clone)]
struct Connection {
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Connection {
    async fn run(self, socket: TcpStream, peer: SocketAddr, _place: OwnedSemaphorePermit) {
        // Small answers and event frames must not wait for more.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(socket));
        let tls = tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            tls = handshake => match tls {
                Ok(Ok(tls)) => tls,
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "TLS handshake failed");
                    return;
                }
                Err(_elapsed) => {
                    tracing::debug!(%peer, "TLS handshake took too long");
                    return;
                }
            },
        };
        let router = self.router;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(peer.ip()));
            router.clone().oneshot(request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(MAX_H2_STREAMS);
        let connection =
            builder.serve_connection(TokioIo::new(Stall::new(tls, stall::LIMIT)), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            biased;
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    () = self.cut.cancelled() => return,
                    ended = connection => ended,
                }
            }
            ended = connection.as_mut() => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error, "connection ended");
        }
    }
}
