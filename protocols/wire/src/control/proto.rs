//! Protobuf of control messages, and the way to and from the domain types.
//!
//! Sets of seqs are packed: for each range `varint(gap to the end of the one before) varint(length - 1)`.

use crate::control as domain;
use crate::error::DecodeError;
use crate::limits::{MAX_CONTROL_TEXT_BYTES, MAX_RANGES};
use crate::pack::{Reader, put_hashes, put_varint, read_hashes};
use protocols_model::{
    BootId, DictionaryHash, Epoch, Lane, RefuseReason, SeqRange, SeqSet, Timestamp,
};
use std::time::Duration;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Hello {
    #[prost(uint32, repeated, tag = "1")]
    versions: Vec<u32>,
    #[prost(uint64, tag = "2")]
    nonce: u64,
    #[prost(fixed64, tag = "3")]
    boot: u64,
    #[prost(fixed64, tag = "4")]
    epoch: u64,
    #[prost(message, repeated, tag = "5")]
    held: Vec<Held>,
    /// 16 bytes each.
    #[prost(bytes = "vec", tag = "6")]
    dictionaries: Vec<u8>,
    #[prost(bool, tag = "7")]
    clock_synced: bool,
    #[prost(sfixed64, tag = "8")]
    clock_wall_ns: i64,
    #[prost(uint64, tag = "9")]
    clock_mono_ns: u64,
    #[prost(uint64, tag = "10")]
    loss_window_ms: u64,
    #[prost(uint64, tag = "11")]
    spool_bytes: u64,
    #[prost(uint64, tag = "12")]
    spool_quota_bytes: u64,
    #[prost(string, tag = "13")]
    software: String,
    #[prost(string, tag = "14")]
    config_revision: String,
    #[prost(bool, tag = "15")]
    partial: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Held {
    #[prost(fixed64, tag = "1")]
    epoch: u64,
    #[prost(uint32, tag = "2")]
    lane: u32,
    #[prost(uint64, tag = "3")]
    first: u64,
    #[prost(uint64, tag = "4")]
    last: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Ack {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(message, repeated, tag = "2")]
    items: Vec<AckItem>,
    #[prost(message, optional, tag = "3")]
    pace: Option<Pace>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Pace {
    #[prost(uint64, tag = "1")]
    bytes_per_s: u64,
    #[prost(uint64, tag = "2")]
    holds_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AckItem {
    #[prost(fixed64, tag = "1")]
    epoch: u64,
    #[prost(uint32, tag = "2")]
    lane: u32,
    #[prost(bytes = "vec", tag = "3")]
    stored: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    refused: Vec<Refused>,
    #[prost(message, repeated, tag = "5")]
    retry: Vec<Retry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Refused {
    #[prost(uint64, tag = "1")]
    first: u64,
    #[prost(uint64, tag = "2")]
    last: u64,
    #[prost(uint32, tag = "3")]
    reason: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Retry {
    #[prost(uint64, tag = "1")]
    first: u64,
    #[prost(uint64, tag = "2")]
    last: u64,
    #[prost(uint32, tag = "3")]
    reason: u32,
    #[prost(uint64, tag = "4")]
    after_ms: u64,
    #[prost(bytes = "vec", tag = "5")]
    dictionary: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HelloAnswer {
    #[prost(uint64, tag = "1")]
    nonce: u64,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(uint32, tag = "3")]
    newest_version: u32,
    #[prost(message, repeated, tag = "4")]
    epochs: Vec<EpochState>,
    /// 16 bytes each.
    #[prost(bytes = "vec", tag = "5")]
    missing_dictionaries: Vec<u8>,
    #[prost(uint64, tag = "6")]
    stream_pending: u64,
    #[prost(message, optional, tag = "7")]
    pace: Option<Pace>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EpochState {
    #[prost(fixed64, tag = "1")]
    epoch: u64,
    #[prost(uint32, tag = "2")]
    lane: u32,
    #[prost(bytes = "vec", tag = "3")]
    settled: Vec<u8>,
    #[prost(bool, tag = "4")]
    closed: bool,
}

const RETRY_UNKNOWN_DICTIONARY: u32 = 1;
const RETRY_QUOTA: u32 = 2;
const RETRY_NEWER_VERSION: u32 = 3;
const RETRY_SLOW_DOWN: u32 = 4;

fn lane(number: u32) -> Option<Lane> {
    Lane::from_index(u8::try_from(number).ok()?)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn range(first: u64, last: u64) -> Result<SeqRange, DecodeError> {
    SeqRange::new(first, last).ok_or(DecodeError::Malformed(
        "a range of seqs is empty or holds 0",
    ))
}

fn too_many(what: &'static str, found: usize) -> Result<(), DecodeError> {
    if found > MAX_RANGES {
        return Err(DecodeError::TooLarge {
            what,
            found,
            allowed: MAX_RANGES,
        });
    }
    Ok(())
}

fn pack_set(set: &SeqSet, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut end = 0;
    for range in set.ranges().iter().take(most.min(MAX_RANGES)) {
        put_varint(&mut out, range.first() - end);
        put_varint(&mut out, range.last() - range.first());
        end = range.last();
    }
    out
}

fn unpack_set(bytes: &[u8]) -> Result<SeqSet, DecodeError> {
    const WRAPS: DecodeError = DecodeError::Malformed("a set of seqs runs past the last seq");
    let mut bytes = Reader::new(bytes, "set of seqs");
    let mut set = SeqSet::new();
    let mut end = 0_u64;
    let mut count = 0;
    while !bytes.is_empty() {
        count += 1;
        too_many("ranges in a set of seqs", count)?;
        let first = end.checked_add(bytes.varint()?).ok_or(WRAPS)?;
        end = first.checked_add(bytes.varint()?).ok_or(WRAPS)?;
        set.insert(range(first, end)?);
    }
    Ok(set)
}

impl From<&domain::Hello> for Hello {
    fn from(hello: &domain::Hello) -> Self {
        let held = hello.held.iter().map(|held| Held {
            epoch: held.epoch.0,
            lane: held.lane.to_index().into(),
            first: held.first,
            last: held.last,
        });
        Self {
            versions: hello.versions.clone(),
            nonce: hello.nonce,
            boot: hello.boot.0,
            epoch: hello.epoch.0,
            held: held.collect(),
            dictionaries: put_hashes(&hello.dictionaries),
            clock_synced: hello.clock.synced,
            clock_wall_ns: hello.clock.wall.0,
            clock_mono_ns: u64::try_from(hello.clock.mono.as_nanos()).unwrap_or(u64::MAX),
            loss_window_ms: millis(hello.loss_window),
            spool_bytes: hello.spool_bytes,
            spool_quota_bytes: hello.spool_quota_bytes,
            software: hello.software.clone(),
            config_revision: hello.config_revision.clone(),
            partial: hello.partial,
        }
    }
}

impl TryFrom<Hello> for domain::Hello {
    type Error = DecodeError;

    fn try_from(hello: Hello) -> Result<Self, DecodeError> {
        for text in [&hello.software, &hello.config_revision] {
            if text.len() > MAX_CONTROL_TEXT_BYTES {
                return Err(DecodeError::TooLarge {
                    what: "text of a hello in bytes",
                    found: text.len(),
                    allowed: MAX_CONTROL_TEXT_BYTES,
                });
            }
        }
        let held = hello.held.into_iter().filter_map(|held| {
            Some(domain::Held {
                epoch: Epoch(held.epoch),
                lane: lane(held.lane)?,
                first: held.first,
                last: held.last,
            })
        });
        Ok(Self {
            versions: hello.versions,
            nonce: hello.nonce,
            boot: BootId(hello.boot),
            epoch: Epoch(hello.epoch),
            held: held.collect(),
            partial: hello.partial,
            dictionaries: read_hashes(&hello.dictionaries)?,
            clock: domain::ClockState {
                synced: hello.clock_synced,
                wall: Timestamp(hello.clock_wall_ns),
                mono: Duration::from_nanos(hello.clock_mono_ns),
            },
            loss_window: Duration::from_millis(hello.loss_window_ms),
            spool_bytes: hello.spool_bytes,
            spool_quota_bytes: hello.spool_quota_bytes,
            software: hello.software,
            config_revision: hello.config_revision,
        })
    }
}

impl From<&domain::Ack> for Ack {
    fn from(ack: &domain::Ack) -> Self {
        Self {
            generation: ack.generation,
            items: ack.items.iter().map(AckItem::from).collect(),
            pace: ack.pace.map(Pace::from),
        }
    }
}

impl TryFrom<Ack> for domain::Ack {
    type Error = DecodeError;

    fn try_from(ack: Ack) -> Result<Self, DecodeError> {
        let items = ack.items.into_iter().filter_map(AckItem::into_domain);
        Ok(Self {
            generation: ack.generation,
            items: items.collect::<Result<_, _>>()?,
            pace: ack.pace.map(Into::into),
        })
    }
}

impl From<domain::Pace> for Pace {
    fn from(pace: domain::Pace) -> Self {
        Self {
            bytes_per_s: pace.bytes_per_second,
            holds_ms: millis(pace.holds),
        }
    }
}

impl From<Pace> for domain::Pace {
    fn from(pace: Pace) -> Self {
        Self {
            bytes_per_second: pace.bytes_per_s,
            holds: Duration::from_millis(pace.holds_ms),
        }
    }
}

impl From<&domain::AckItem> for AckItem {
    fn from(item: &domain::AckItem) -> Self {
        let refused = item.refused.iter().take(MAX_RANGES);
        let retry = item.retry.iter().take(MAX_RANGES);
        Self {
            epoch: item.epoch.0,
            lane: item.lane.to_index().into(),
            stored: pack_set(&item.stored, MAX_RANGES),
            refused: refused
                .map(|(range, reason)| Refused {
                    first: range.first(),
                    last: range.last(),
                    reason: *reason as u32,
                })
                .collect(),
            retry: retry.map(Retry::from).collect(),
        }
    }
}

impl AckItem {
    /// `None` for a lane that this version does not know.
    fn into_domain(self) -> Option<Result<domain::AckItem, DecodeError>> {
        let lane = lane(self.lane)?;
        Some(self.in_lane(lane))
    }

    fn in_lane(self, lane: Lane) -> Result<domain::AckItem, DecodeError> {
        too_many("refused ranges", self.refused.len())?;
        too_many("ranges to retry", self.retry.len())?;
        let refused = self.refused.iter().map(|refused| {
            let reason = u8::try_from(refused.reason)
                .ok()
                .and_then(RefuseReason::from_index)
                .unwrap_or(RefuseReason::Malformed);
            Ok((range(refused.first, refused.last)?, reason))
        });
        Ok(domain::AckItem {
            epoch: Epoch(self.epoch),
            lane,
            stored: unpack_set(&self.stored)?,
            refused: refused.collect::<Result<_, _>>()?,
            retry: self
                .retry
                .into_iter()
                .map(Retry::into_domain)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<&domain::RetryLater> for Retry {
    fn from(retry: &domain::RetryLater) -> Self {
        let (reason, dictionary) = match retry.reason {
            domain::RetryReason::UnknownDictionary(hash) => {
                (RETRY_UNKNOWN_DICTIONARY, hash.0.to_vec())
            }
            domain::RetryReason::Quota => (RETRY_QUOTA, Vec::new()),
            domain::RetryReason::NewerVersion => (RETRY_NEWER_VERSION, Vec::new()),
            domain::RetryReason::SlowDown => (RETRY_SLOW_DOWN, Vec::new()),
        };
        Self {
            first: retry.range.first(),
            last: retry.range.last(),
            reason,
            after_ms: millis(retry.after),
            dictionary,
        }
    }
}

impl Retry {
    fn into_domain(self) -> Result<domain::RetryLater, DecodeError> {
        let reason = match self.reason {
            RETRY_UNKNOWN_DICTIONARY => {
                let hash = <[u8; 16]>::try_from(self.dictionary.as_slice())
                    .map_err(|_| DecodeError::Malformed("a dictionary hash has not 16 bytes"))?;
                domain::RetryReason::UnknownDictionary(DictionaryHash(hash))
            }
            RETRY_QUOTA => domain::RetryReason::Quota,
            RETRY_NEWER_VERSION => domain::RetryReason::NewerVersion,
            _ => domain::RetryReason::SlowDown,
        };
        Ok(domain::RetryLater {
            range: range(self.first, self.last)?,
            reason,
            after: Duration::from_millis(self.after_ms),
        })
    }
}

impl From<&domain::HelloAnswer> for HelloAnswer {
    fn from(answer: &domain::HelloAnswer) -> Self {
        Self::cut(answer, MAX_RANGES, usize::MAX, usize::MAX)
    }
}

impl HelloAnswer {
    /// Shorter and shorter answers: fewer ranges, fewer states, fewer dictionaries.
    pub(super) fn cuts(answer: &domain::HelloAnswer) -> impl Iterator<Item = Self> {
        let halves = |most: usize| {
            std::iter::successors(Some(most / 2), |most| (*most > 0).then_some(*most / 2))
        };
        let ranges = [32, 16, 8, 4, 2, 1];
        let all = (usize::MAX, usize::MAX);
        let by_range = ranges.into_iter().map(move |ranges| (ranges, all.0, all.1));
        let by_state = halves(answer.epochs.len()).map(move |states| (1, states, all.1));
        let by_name = halves(answer.missing_dictionaries.len()).map(|names| (1, 0, names));
        let cuts = by_range.chain(by_state).chain(by_name);
        cuts.map(|(ranges, states, names)| Self::cut(answer, ranges, states, names))
    }

    fn cut(answer: &domain::HelloAnswer, ranges: usize, states: usize, names: usize) -> Self {
        let epochs = answer.epochs.iter().take(states).map(|state| EpochState {
            epoch: state.epoch.0,
            lane: state.lane.to_index().into(),
            settled: pack_set(&state.settled, ranges),
            closed: state.closed,
        });
        let missing = &answer.missing_dictionaries;
        let missing = missing.get(..names.min(missing.len())).unwrap_or_default();
        Self {
            nonce: answer.nonce,
            generation: answer.generation,
            newest_version: answer.newest_version,
            epochs: epochs.collect(),
            missing_dictionaries: put_hashes(missing),
            stream_pending: answer.stream_pending,
            pace: answer.pace.map(Pace::from),
        }
    }
}

impl TryFrom<HelloAnswer> for domain::HelloAnswer {
    type Error = DecodeError;

    fn try_from(answer: HelloAnswer) -> Result<Self, DecodeError> {
        let epochs = answer.epochs.iter().filter_map(|state| {
            let lane = lane(state.lane)?;
            Some(
                unpack_set(&state.settled).map(|settled| domain::EpochState {
                    epoch: Epoch(state.epoch),
                    lane,
                    settled,
                    closed: state.closed,
                }),
            )
        });
        Ok(Self {
            nonce: answer.nonce,
            generation: answer.generation,
            newest_version: answer.newest_version,
            epochs: epochs.collect::<Result<_, _>>()?,
            missing_dictionaries: read_hashes(&answer.missing_dictionaries)?,
            stream_pending: answer.stream_pending,
            pace: answer.pace.map(Into::into),
        })
    }
}
