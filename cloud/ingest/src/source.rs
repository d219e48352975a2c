//! The seam between ingest and a broker.
//!
//! Everything ingest asks of a broker: messages it can take, keep unsettled, and settle; hellos;
//! a way down. NATS JetStream is the one implementation so far; a plain MQTT broker with `$share`
//! is meant to be the second.

use async_trait::async_trait;
use bytes::Bytes;
use protocols_model::{GatewayId, Timestamp};
use std::time::Duration;

/// One message from a gateway, not settled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The topic it was published on, levels divided by `.` or `/`.
    pub topic: String,
    /// What was published.
    pub payload: Bytes,
    /// Names the message when it is settled.
    pub receipt: Receipt,
}

/// Names a delivered message at the broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloMessage {
    /// The topic it was published on.
    pub topic: String,
    /// What was published.
    pub payload: Bytes,
}

/// Why the broker could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing} the broker")]
pub struct SourceError {
    /// What was being done, in words that fit the message.
    pub doing: &'static str,
    /// The client's error.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl SourceError {
    /// An error while `doing`.
    pub fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            doing,
            source: source.into(),
        }
    }
}

/// Where messages come from and acknowledgements go to.
///
/// What is taken and not settled comes again, to this or another replica, after a time-out. All
/// methods may be called at the same time.
#[async_trait]
pub trait IngestSource: Send + Sync + 'static {
    /// Makes what must exist at the broker, so that nothing it acknowledges is kept nowhere.
    /// Idempotent; called at the start, after errors and from time to time.
    ///
    /// # Errors
    /// [`SourceError`]: not ready.
    async fn ensure(&self) -> Result<StreamState, SourceError>;

    /// The next messages: waits for the first, live before history, and adds at most what is
    /// there at once. Never more than [`GROUP_MESSAGES`].
    ///
    /// # Errors
    /// [`SourceError`]: call [`IngestSource::ensure`], then again.
    async fn next(&self) -> Result<Vec<Delivery>, SourceError>;

    /// Settles messages: they never come again.
    ///
    /// # Errors
    /// [`SourceError`]: some will come again.
    async fn settle(&self, receipts: Vec<Receipt>) -> Result<(), SourceError>;

    /// Messages that are not settled yet, whoever has them.
    ///
    /// # Errors
    /// [`SourceError`].
    async fn pending(&self) -> Result<u64, SourceError>;

    /// Since when, in the broker's own time or ours, whichever is longer ago, the oldest message has
    /// waited that is not settled; zero when there is none.
    ///
    /// # Errors
    /// [`SourceError`].
    async fn waited(&self, now: Timestamp) -> Result<Duration, SourceError>;

    /// The next hello for this replica.
    ///
    /// # Errors
    /// [`SourceError`]: call again.
    async fn next_hello(&self) -> Result<HelloMessage, SourceError>;

    /// Publishes to `gw/{gateway}/down/ack`, at most once.
    ///
    /// # Errors
    /// [`SourceError`].
    async fn send_down(&self, gateway: &GatewayId, payload: Bytes) -> Result<(), SourceError>;
}

/// Most messages in one group: a transaction stays below some tens of milliseconds.
pub const GROUP_MESSAGES: usize = 256;

/// How full the broker's stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamState {
    /// Bytes held.
    pub bytes: u64,
    /// Bytes at which the oldest are thrown away.
    pub max_bytes: u64,
    /// Messages not settled.
    pub pending: u64,
}

impl StreamState {
    /// Above half of its bound: somebody should look before the broker throws away.
    #[must_use]
    pub const fn is_alarming(&self) -> bool {
        self.bytes > self.max_bytes / 2
    }
}
