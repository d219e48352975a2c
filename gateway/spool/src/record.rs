//! What goes in and comes out of the spool: fetched records, cursors, settlements.
//!
//! Plain data, no rules. The rules stand in [`crate::core`].

use bytes::Bytes;
use protocols_model::{
    DictionaryHash, Epoch, Lane, RecordKey, RefuseReason, Seq, SeqRange, SeqSet,
};
use protocols_wire::RecordSummary;

/// A place in a lane: everything before it was seen. Epochs are ordered by age, oldest first, which
/// their random numbers do not tell; so a cursor is only ever taken from [`SpooledRecord::cursor`]
/// or [`crate::SpoolHandle::epoch_start`].
///
/// A cursor stays valid whatever is settled, evicted or appended meanwhile, within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    pub(crate) age: Age,
    pub(crate) seq: Seq,
}

impl Cursor {
    /// Before the oldest record.
    pub const START: Self = Self {
        age: Age::FIRST,
        seq: 0,
    };

    /// The place behind `seq` of the same epoch, whether or not such a record exists: how the
    /// uplink goes back to what it has to send again.
    #[must_use]
    pub const fn behind(self, seq: Seq) -> Self {
        Self { seq, ..self }
    }
}

/// Place of an epoch among its gateway's epochs: its ordinal, then (for copies that were restored
/// and count again) its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Age {
    pub(crate) ordinal: u64,
    pub(crate) epoch: Epoch,
}

impl Age {
    pub(crate) const FIRST: Self = Self {
        ordinal: 0,
        epoch: Epoch(0),
    };
}

/// How much one fetch may return; at least one record is returned if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimit {
    /// Most bytes of bodies.
    pub max_bytes: usize,
    /// Most records.
    pub max_records: usize,
}

/// A record as the spool holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledRecord {
    /// Its identity.
    pub key: RecordKey,
    /// Its place: pass it to the next fetch to go on behind it.
    pub cursor: Cursor,
    /// The encoded body, byte for byte as appended.
    pub body: Bytes,
    /// The dictionaries that its columns refer to.
    pub dictionaries: Vec<DictionaryHash>,
    /// What it holds, in numbers.
    pub summary: RecordSummary,
}

/// What the cloud settled of one epoch and lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Stored, or known as lost: forgotten here.
    pub stored: SeqSet,
    /// Never to be stored: set aside in the quarantine folder and claimed.
    pub refused: Vec<(SeqRange, RefuseReason)>,
}

/// What a settlement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettleOutcome {
    /// Records that left the spool as stored.
    pub settled: u64,
    /// Records that were refused: quarantined and claimed.
    pub refused: u64,
    /// Seqs that were never appended, or all of an epoch that this gateway never had. Above 0 the
    /// `identity` alarm is due: somebody else acts under this name, or the cloud mixes gateways up.
    /// Nothing was done for them.
    pub unknown: u64,
}
