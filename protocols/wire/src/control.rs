//! Control messages: hello and its answer, acknowledgements (design.md C2, C3).
//!
//! These are the types; `frame` puts version and checksum around a message, `proto` is its protobuf.
//! Nothing relies on one message arriving: all of them are repeated, and sets only grow.

mod frame;
mod proto;

use crate::error::{DecodeError, EncodeError};
use bytes::Bytes;
use protocols_model::{
    BootId, DictionaryHash, Epoch, Lane, RefuseReason, Seq, SeqRange, SeqSet, Timestamp,
};
use std::time::Duration;

/// What a gateway says after each connect, and again when acknowledgements stay away.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// Envelope versions the gateway writes, ascending.
    pub versions: Vec<u32>,
    /// Counts hellos of this process; the answer repeats it.
    pub nonce: u64,
    /// This process' boot id; two alternating ones mean a cloned identity.
    pub boot: BootId,
    /// The epoch that new records get.
    pub epoch: Epoch,
    /// What the gateway still holds, and which epochs are still open.
    pub held: Vec<Held>,
    /// Whether there may be more open epochs than `held` names: then none is closed for being left out.
    pub partial: bool,
    /// Dictionaries that held records use.
    pub dictionaries: Vec<DictionaryHash>,
    /// What the gateway knows of its wall clock.
    pub clock: ClockState,
    /// Longest span of readings that a crash can take along now.
    pub loss_window: Duration,
    /// Live bytes in the spool.
    pub spool_bytes: u64,
    /// Its bound.
    pub spool_quota_bytes: u64,
    /// Program version, for people.
    pub software: String,
    /// Digest of the running configuration, for people.
    pub config_revision: String,
}

/// First and last seq held of one epoch and lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Lowest seq not yet settled; 0 when nothing is held and the epoch is merely open.
    pub first: Seq,
    /// Highest seq appended.
    pub last: Seq,
}

/// What a gateway knows of its wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockState {
    /// Whether a time source confirmed it.
    pub synced: bool,
    /// The wall clock now.
    pub wall: Timestamp,
    /// Monotonic time now, since the boot's origin.
    pub mono: Duration,
}

/// A message on `gw/{gateway}/down/ack`.
#[derive(Debug, Clone, PartialEq)]
pub enum Down {
    /// Something was settled.
    Ack(Ack),
    /// The settled state, asked for by a hello.
    HelloAnswer(HelloAnswer),
}

/// What one or more commits settled. Acknowledgements are sets: uniting them is always right.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ack {
    /// The store's generation; a new one means the database was restored (design.md C8).
    pub generation: u64,
    /// Per epoch and lane.
    pub items: Vec<AckItem>,
    /// How fast backlog may come; `None` is no limit, and lifts an earlier one.
    pub pace: Option<Pace>,
}

/// How fast backlog may come while the cloud is behind. What happens now is never slowed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Most bytes of backlog a second, as envelopes are long.
    pub bytes_per_second: u64,
    /// So long, unless a later message says something else.
    pub holds: Duration,
}

/// What was settled of one epoch and lane.
#[derive(Debug, Clone, PartialEq)]
pub struct AckItem {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Stored, or known as lost: the gateway forgets them.
    pub stored: SeqSet,
    /// Will never be stored.
    pub refused: Vec<(SeqRange, RefuseReason)>,
    /// Stay in the spool and are offered again later.
    pub retry: Vec<RetryLater>,
}

/// A hint: not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLater {
    /// Which records.
    pub range: SeqRange,
    /// Why.
    pub reason: RetryReason,
    /// Not before so long.
    pub after: Duration,
}

/// Why a record should be offered again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// A dictionary is missing: attach it.
    UnknownDictionary(DictionaryHash),
    /// A quota is used up.
    Quota,
    /// The envelope's version is newer than the cloud.
    NewerVersion,
    /// The cloud is busy.
    SlowDown,
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HelloAnswer {
    /// The hello's nonce.
    pub nonce: u64,
    /// The store's generation.
    pub generation: u64,
    /// Newest envelope version the cloud reads.
    pub newest_version: u32,
    /// Settled state of every epoch and lane the hello named.
    pub epochs: Vec<EpochState>,
    /// Of the dictionaries the hello named, those the cloud lacks.
    pub missing_dictionaries: Vec<DictionaryHash>,
    /// Messages of this broker stream that ingest has not settled yet. While above 0, what looks
    /// missing may still be under way.
    pub stream_pending: u64,
    /// As in an acknowledgement.
    pub pace: Option<Pace>,
}

/// Settled state of one epoch and lane.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochState {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Everything settled of it.
    pub settled: SeqSet,
    /// Whether the epoch is closed: nothing of it will be stored any more.
    pub closed: bool,
}

impl Hello {
    /// Encodes the hello. Spans travel in whole milliseconds, the monotonic time in nanoseconds.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] above [`crate::limits::MAX_CONTROL_BYTES`] or
    /// [`crate::limits::MAX_CONTROL_TEXT_BYTES`].
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        frame::check_text("software version in bytes", &self.software)?;
        frame::check_text("configuration revision in bytes", &self.config_revision)?;
        frame::seal(frame::Kind::Hello, &proto::Hello::from(self))
    }

    /// Decodes a hello.
    ///
    /// # Errors
    /// [`DecodeError`]; never panics.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        match frame::open(payload)? {
            (frame::Kind::Hello, body) => frame::message::<proto::Hello>(body)?.try_into(),
            _ => Err(DecodeError::Malformed(
                "this control message is not a hello",
            )),
        }
    }
}

impl Down {
    /// Encodes the message. Sets longer than [`crate::limits::MAX_RANGES`] are cut at the end: what
    /// is left out stays unsettled and is said later. An answer that would still be too long is cut
    /// further, sets first, then states, then missing dictionaries: a gateway must never be left without
    /// one, and takes what it does not say as not settled, or asks again.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] for an acknowledgement above [`crate::limits::MAX_CONTROL_BYTES`].
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        match self {
            Self::Ack(ack) => frame::seal(frame::Kind::Ack, &proto::Ack::from(ack)),
            Self::HelloAnswer(answer) => {
                let seal = |answer| frame::seal(frame::Kind::HelloAnswer, &answer);
                seal(proto::HelloAnswer::from(answer)).or_else(|too_long| {
                    let mut cuts = proto::HelloAnswer::cuts(answer);
                    cuts.find_map(|cut| seal(cut).ok()).ok_or(too_long)
                })
            }
        }
    }

    /// Decodes a message. What only a newer cloud can say is read as the nearest thing this version
    /// knows: an unknown reason to refuse as malformed, to retry as slow down; items of an unknown
    /// lane are left out.
    ///
    /// # Errors
    /// [`DecodeError`]; never panics.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        match frame::open(payload)? {
            (frame::Kind::Ack, body) => frame::message::<proto::Ack>(body)?
                .try_into()
                .map(Self::Ack),
            (frame::Kind::HelloAnswer, body) => frame::message::<proto::HelloAnswer>(body)?
                .try_into()
                .map(Self::HelloAnswer),
            (frame::Kind::Hello, _) => Err(DecodeError::Malformed(
                "this control message goes the other way",
            )),
        }
    }
}
