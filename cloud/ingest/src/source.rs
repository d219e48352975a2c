//! The seam between ingest and a broker.
//!
//! Everything ingest asks of a broker: messages it can take, keep unsettled, and settle; hellos;
//! a way down. NATS JetStream is one implementation, any MQTT broker with shared subscriptions the other.

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
    /// What it means.
    pub trouble: Trouble,
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
            trouble: Trouble::Unknown,
            source: source.into(),
        }
    }

    /// The same error, with what it means.
    #[must_use]
    pub fn because(self, trouble: Trouble) -> Self {
        Self { trouble, ..self }
    }
}

/// What an error means for those who publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is no connection to the broker.
    Unreachable,
    /// The broker cannot say, as while it elects a leader; what exists it still keeps.
    Unknown,
    /// What must exist does not and cannot be made: what is acknowledged is kept nowhere.
    Missing,
}

/// Where messages come from and acknowledgements go to.
///
/// What is taken and not settled comes again: the broker offers it after a time-out, or the gateway
/// does once it has asked. All methods may be called at the same time.
#[async_trait]
pub trait IngestSource: Send + Sync + 'static {
    /// Makes what must exist at the broker, so that nothing it acknowledges is kept nowhere.
    /// Idempotent; called at the start, after errors and from time to time.
    ///
    /// # Errors
    /// [`SourceError`]: not ready.
    async fn ensure(&self, now: Timestamp) -> Result<StreamState, SourceError>;

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

    /// Stops taking, and gives back these messages and what was taken for [`IngestSource::next`] and not
    /// fetched: another replica has them at once instead of after a time-out.
    async fn give_back(&self, receipts: Vec<Receipt>);

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

    /// Tells the other replicas, and this one, how busy this one is; at most once.
    ///
    /// # Errors
    /// [`SourceError`].
    async fn tell_peers(&self, load: Bytes) -> Result<(), SourceError>;

    /// What the next replica tells.
    ///
    /// # Errors
    /// [`SourceError`]: call again.
    async fn next_peer(&self) -> Result<Bytes, SourceError>;

    /// Publishes to `gw/{gateway}/down/ack`, at most once.
    ///
    /// # Errors
    /// [`SourceError`].
    async fn send_down(&self, gateway: &GatewayId, payload: Bytes) -> Result<(), SourceError>;
}

/// Most messages in one group: a transaction stays below some tens of milliseconds.
pub const GROUP_MESSAGES: usize = 256;

/// A message that waited longer says that ingest is away or too slow.
pub const LAGGING: Duration = Duration::from_secs(30);

/// How the broker's stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamState {
    /// Bytes held.
    pub bytes: u64,
    /// Bytes at which the oldest are thrown away.
    pub max_bytes: u64,
    /// Live messages not settled.
    pub live: u64,
    /// Messages of backlog not settled.
    pub history: u64,
    /// How long the oldest of them has waited.
    pub waited: Duration,
    /// Nodes that hold all of it.
    pub copies: usize,
    /// Nodes that should.
    pub replicas: usize,
}

impl StreamState {
    /// Messages not settled.
    #[must_use]
    pub const fn pending(&self) -> u64 {
        self.live.saturating_add(self.history)
    }

    /// Above half of its bound: somebody should look before the broker throws away.
    #[must_use]
    pub const fn is_half_full(&self) -> bool {
        self.bytes > self.max_bytes / 2
    }

    /// Messages wait longer than they should.
    #[must_use]
    pub fn is_lagging(&self) -> bool {
        self.waited > LAGGING
    }

    /// A node less than there should be holds it.
    #[must_use]
    pub const fn lacks_copies(&self) -> bool {
        self.copies < self.replicas
    }
}
