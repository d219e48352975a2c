//! What ingest hands to the store and gets back.

use crate::query::Latest;
use protocols_model::{DictionaryHash, GatewayId, Timestamp};
use protocols_wire::{AckItem, Dictionary, EnvelopeRecord, EpochState};

/// Records of one gateway, from one or more envelopes.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The gateway, as the broker's subject names it (never as a payload claims).
    pub gateway: GatewayId,
    /// When the cloud received them, UTC.
    pub received: Timestamp,
    /// The records in order of arrival. One whose body is an error is refused by name.
    pub records: Vec<EnvelopeRecord>,
    /// Dictionaries that came along.
    pub dictionaries: Vec<Dictionary>,
}

/// What one commit settled of one gateway. It is on disk when the caller sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The gateway.
    pub gateway: GatewayId,
    /// Per epoch and lane: stored (or known as lost), refused, retry later. Ready to be acknowledged.
    pub items: Vec<AckItem>,
    /// Readings newly stored by this commit; duplicates count nothing.
    pub readings: u64,
    /// Records that were covered already.
    pub duplicates: u64,
}

/// The store's part of a hello answer.
#[derive(Debug, Clone, PartialEq)]
pub struct HelloState {
    /// The store's generation.
    pub generation: u64,
    /// Settled state of every epoch and lane the hello named.
    pub epochs: Vec<EpochState>,
    /// Of the dictionaries the hello named, those the store lacks.
    pub missing_dictionaries: Vec<DictionaryHash>,
    /// Two boot ids alternate: somebody copied this gateway's identity. Entered as an event too.
    pub cloned: bool,
    /// The registry does not know the gateway, or it was revoked: do not answer.
    pub refused: bool,
}

/// Input that could not be used, set aside for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineInput {
    /// Whose it was, where that is known.
    pub gateway: Option<GatewayId>,
    /// Topic or subject it came on.
    pub topic: String,
    /// The bytes; cut at [`crate::sql::QUARANTINE_PAYLOAD_BYTES`].
    pub payload: Vec<u8>,
    /// What is wrong with it, for people.
    pub reason: String,
    /// When it came.
    pub received: Timestamp,
}

/// New latest values of one gateway, offered to subscribers after the commit.
///
/// A receiver that lags gets `RecvError::Lagged` from the channel: the gap marker. It then reads
/// [`crate::Queries::latest`] anew.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveUpdate {
    /// The gateway.
    pub gateway: GatewayId,
    /// When the cloud received the newest of them.
    pub received: Timestamp,
    /// Series whose latest value changed, with the new value.
    pub values: Vec<Latest>,
    /// Whether an event was stored, so that lists of events are out of date.
    pub events: bool,
    /// Whether one of them was about an alarm.
    pub alarms: bool,
    /// Whether the ledger changed.
    pub ledger: bool,
}
