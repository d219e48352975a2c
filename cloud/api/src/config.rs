//! What the API needs to know before it starts, and what it asks of the process around it.

use crate::tls::TlsFiles;
use protocols_model::{Clock, SystemClock, Timestamp};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a one-time password opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OneTimeLogin {
    /// Its one session may do nothing but choose a new password.
    #[default]
    MustReplace,
    /// Its one session may be used as it is; choosing a password is offered. For demonstrations on
    /// one machine: the password is spent all the same, so without a new one nobody logs in again.
    MaySkip,
}

/// Where to listen.
#[derive(Debug)]
pub enum Listen {
    /// Bind this address; port 0 takes any free one.
    Address(SocketAddr),
    /// Take this socket: bound already, so that the caller knows the port.
    Socket(std::net::TcpListener),
}

/// How long sessions live. An open page counts as use: its live stream is checked every second.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Without any request: the page was closed, the machine sleeps.
    pub idle: Duration,
    /// From login, whatever happens.
    pub absolute: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(24 * 3600),
        }
    }
}

/// The API's configuration.
pub struct ApiConfig {
    /// Where to listen.
    pub listen: Listen,
    /// Certificate and key; read again when the files change.
    pub tls: TlsFiles,
    /// Life of sessions.
    pub sessions: SessionLimits,
    /// What a one-time password opens.
    pub one_time_login: OneTimeLogin,
    /// `Authorization: Bearer` token that opens `/metrics` without a session; none: sessions only.
    pub metrics_token: Option<String>,
    /// Open connections, all clients together.
    pub max_connections: usize,
    /// Time for requests under way when the server stops.
    pub drain: Duration,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The metrics token is a secret and a clock has nothing to show.
        f.debug_struct("ApiConfig")
            .field("listen", &self.listen)
            .field("tls", &self.tls)
            .field("sessions", &self.sessions)
            .field("one_time_login", &self.one_time_login)
            .field("max_connections", &self.max_connections)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

impl ApiConfig {
    /// Safe defaults for this socket and certificate.
    #[must_use]
    pub fn new(listen: Listen, tls: TlsFiles) -> Self {
        Self {
            listen,
            tls,
            sessions: SessionLimits::default(),
            one_time_login: OneTimeLogin::default(),
            metrics_token: None,
            max_connections: 1024,
            drain: Duration::from_secs(5),
            clock: Arc::new(SystemClock::start()),
        }
    }
}

/// A connection that the broker's auth callout refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When it was refused last.
    pub at: Timestamp,
    /// MQTT client id it gave; whatever it wrote, cut to a sane length.
    pub client: String,
    /// Where it came from.
    pub peer: String,
    /// Why it was refused.
    pub reason: String,
    /// How often.
    pub times: u64,
}

/// What the process around the API answers: the API itself knows only its store.
pub trait Surroundings: Send + Sync + 'static {
    /// The process' metrics, as Prometheus text.
    fn metrics(&self) -> String;
    /// Why the process is not ready, one reason each; empty when it is.
    fn not_ready(&self) -> Vec<String>;
    /// Connections that were refused, newest first; bounded by whoever keeps them.
    fn refusals(&self) -> Vec<Refusal>;
}

/// For an API that stands alone: no metrics, always ready, nothing refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Surroundings for Alone {
    fn metrics(&self) -> String {
        String::new()
    }

    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }

    fn refusals(&self) -> Vec<Refusal> {
        Vec::new()
    }
}
