//! Claims: the entries of the loss ledger (design.md C5).
//!
//! Whatever makes a reading disappear between the driver and the database says so in a claim. A
//! claim names seqs; the cloud strikes those it has stored and keeps the rest as lost.

use crate::{DictionaryHash, Epoch, Lane, SeqRange, Timestamp};

/// Why the cloud will never store a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RefuseReason {
    /// The record or its envelope cannot be decoded.
    Malformed = 1,
    /// The record breaks a size limit.
    TooLarge = 2,
    /// The gateway has too many series.
    SeriesLimit = 3,
    /// The epoch was closed.
    EpochClosed = 4,
    /// The gateway's identity was revoked.
    Revoked = 5,
}

impl RefuseReason {
    /// The reason with this wire number.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            1 => Some(Self::Malformed),
            2 => Some(Self::TooLarge),
            3 => Some(Self::SeriesLimit),
            4 => Some(Self::EpochClosed),
            5 => Some(Self::Revoked),
            _ => None,
        }
    }

    /// The reason's name in the API and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::SeriesLimit => "series-limit",
            Self::EpochClosed => "epoch-closed",
            Self::Revoked => "revoked",
        }
    }
}

/// Why readings are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossReason {
    /// The spool reached its bound and gave up its oldest records.
    Evicted,
    /// A record in the spool no longer matched its checksum.
    Damaged,
    /// The spool could not be opened and was set aside.
    Quarantined,
    /// The process ended without a clean stop; what was not yet durable went with it.
    CrashTail,
    /// The cloud refused the record.
    Refused(RefuseReason),
    /// A record was replaced by a thinner one.
    Thinned,
    /// The cloud's database was restored from a backup.
    CloudRestored,
}

impl LossReason {
    /// The reason's name in the ledger, the API and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Damaged => "damaged",
            Self::Quarantined => "quarantined",
            Self::CrashTail => "crash-tail",
            Self::Refused(reason) => reason.as_str(),
            Self::Thinned => "thinned",
            Self::CloudRestored => "cloud-restored",
        }
    }

    /// Number on the wire and on disk: refusals are 0x40 + their own number.
    #[must_use]
    pub const fn to_index(self) -> u8 {
        match self {
            Self::Evicted => 1,
            Self::Damaged => 2,
            Self::Quarantined => 3,
            Self::CrashTail => 4,
            Self::Thinned => 5,
            Self::CloudRestored => 6,
            Self::Refused(reason) => 0x40 | reason as u8,
        }
    }

    /// The reason with this number.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            1 => Some(Self::Evicted),
            2 => Some(Self::Damaged),
            3 => Some(Self::Quarantined),
            4 => Some(Self::CrashTail),
            5 => Some(Self::Thinned),
            6 => Some(Self::CloudRestored),
            _ => match RefuseReason::from_index(index & 0x3f) {
                Some(reason) if index & 0xc0 == 0x40 => Some(Self::Refused(reason)),
                _ => None,
            },
        }
    }
}

/// How many readings of one point a claim covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointLoss {
    /// The dictionary that names the point.
    pub dictionary: DictionaryHash,
    /// The point's place in it.
    pub index: u32,
    /// Readings that were in the lost records.
    pub readings: u64,
    /// Readings that the lost records counted as filtered.
    pub filtered: u64,
}

/// One entry of the loss ledger, as the gateway sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Epoch of the lost records.
    pub epoch: Epoch,
    /// Lane of the lost records.
    pub lane: Lane,
    /// Their seqs; an end of [`crate::seq::SEQ_MAX`] means "up to whatever was appended last".
    pub range: SeqRange,
    /// What happened to them.
    pub reason: LossReason,
    /// No lost reading is older (UTC).
    pub from: Timestamp,
    /// No lost reading is younger (UTC).
    pub to: Timestamp,
    /// How many readings are lost; `None` when nobody can know (a crash tail).
    pub readings: Option<u64>,
    /// Where `readings` is unknown: at most so many.
    pub at_most: Option<u64>,
    /// Per point, where known; bounded by what fits a record, the rest is in `readings` alone.
    pub points: Vec<PointLoss>,
}
