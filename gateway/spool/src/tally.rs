//! The small second file: which epochs there are and how far each had come at the last commit.
//!
//! Its point is independence: claims stay exact even when the store itself had to be set aside. It is
//! replaced as a whole (rename + fsync of file and directory) at start, after each commit of the store
//! and at a clean stop; never while nothing is committed. Format: `crc32 in hex, space, JSON`.
//! A damaged file reads as none: then the keys in the store tell which epochs there are. Fields that an
//! older program does not know are ignored by it; those it did not write read as unknown.

use crate::record::Age;
use protocols_model::{Epoch, Lane, Seq, SeqRange, SeqSet, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const FORMAT: u32 = 1;

/// Closed epochs remembered, so that a late acknowledgement of one is not taken for a stranger's.
pub(crate) const CLOSED_REMEMBERED: usize = 64;

/// Ranges written per lane; beyond that the narrowest gaps are closed. A month's outage that was thinned
/// again and again has some sixty.
pub(crate) const RANGES: usize = 128;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Open epochs, oldest first; the last one is the running process'.
    pub(crate) epochs: Vec<EpochTally>,
    /// Epochs that were closed lately, oldest first.
    pub(crate) closed: Vec<Closed>,
    /// The cloud's store that settlements came from; `None` before the first.
    pub(crate) generation: Option<u64>,
    /// A rewriting of old records that was under way.
    pub(crate) pass: Option<Pass>,
}

/// A rewriting of old records as thinner ones, from its decision until the old ones have left the disk.
/// It is written here before anything of it goes to the store, so that a start after a crash at any
/// moment knows which of the two to keep: never both, never neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) stage: Stage,
    pub(crate) lane: Lane,
    /// The epoch of the new records and of the claims for the old ones.
    pub(crate) epoch: Epoch,
    /// First and last of the new records.
    pub(crate) new: (Seq, Seq),
    /// First and last of the claims, in the event lane.
    pub(crate) claims: (Seq, Seq),
    /// The epoch of the old records.
    pub(crate) old_epoch: Epoch,
    /// The old records.
    pub(crate) old: Vec<(Seq, Seq)>,
}

/// How far a [`Pass`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// New records and claims may be on disk: they count where all of them are, else the old ones do.
    Prepared,
    /// New records and claims are on disk: the old ones go.
    Done,
    /// Not all of it had reached the disk: what there is of the new ones goes.
    Undone,
}

/// An epoch that is done with: what its claim must say should the cloud lose it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) epoch: Epoch,
    /// Whether it ended with a clean stop.
    pub(crate) clean: bool,
    /// Highest seq appended (after an unclean stop: durable), by lane number.
    pub(crate) last: [Seq; 4],
    /// When it started.
    pub(crate) from: Timestamp,
    /// When it was closed.
    pub(crate) to: Timestamp,
}

/// One open epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EpochTally {
    pub(crate) age: Age,
    /// When it started.
    pub(crate) started: Timestamp,
    /// When its last commit was, or its start.
    pub(crate) durable: Timestamp,
    /// When the next process found it ended without a clean stop.
    pub(crate) ended: Option<Timestamp>,
    /// Whether it ended with a clean stop: `last` is exact then.
    pub(crate) clean: bool,
    /// At most so many readings were appended and neither durable nor settled at any moment.
    /// `None` where that is not known.
    pub(crate) at_most: Option<u64>,
    /// Longest that readings waited before they were appended, under any of its configurations: what a
    /// crash took along may be so much older than its last commit.
    pub(crate) batch_age: Duration,
    /// By lane number.
    pub(crate) lanes: [LaneTally; 4],
}

/// One lane of an open epoch, as of the last commit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct LaneTally {
    /// First and last of what was held on disk, ascending; at most [`RANGES`] ranges.
    pub(crate) held: Vec<(Seq, Seq)>,
    /// Highest seq that was durable or settled, without a gap below; all appended at a clean stop.
    pub(crate) last: Seq,
    /// Of what was on disk, what may have been given to the uplink: written before it is given, some
    /// records ahead; at most [`RANGES`] ranges. What is on disk above `last` may have been given too.
    /// `None` where nobody kept count: then everything may have been.
    #[serde(default)]
    pub(crate) sent: Option<Vec<(Seq, Seq)>>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    epochs: Vec<FileEpoch>,
    closed: Vec<String>,
    #[serde(default)]
    past: Vec<FileClosed>,
    #[serde(default)]
    generation: Option<u64>,
    #[serde(default)]
    pass: Option<FilePass>,
}

#[derive(Serialize, Deserialize)]
struct FilePass {
    stage: Stage,
    lane: Lane,
    epoch: String,
    new: (Seq, Seq),
    claims: (Seq, Seq),
    old_epoch: String,
    old: Vec<(Seq, Seq)>,
}

#[derive(Serialize, Deserialize)]
struct FileClosed {
    epoch: String,
    clean: bool,
    last: [Seq; 4],
    from_ns: i64,
    to_ns: i64,
}

#[derive(Serialize, Deserialize)]
struct FileEpoch {
    ordinal: u64,
    epoch: String,
    started_ns: i64,
    durable_ns: i64,
    ended_ns: Option<i64>,
    clean: bool,
    at_most: Option<u64>,
    /// An older program did not note it.
    #[serde(default)]
    batch_age_ms: u64,
    lanes: [LaneTally; 4],
}

impl LaneTally {
    /// Notes what is held, and what of it may have been sent: seqs in ascending order.
    pub(crate) fn new(
        held: impl Iterator<Item = Seq>,
        sent: impl Iterator<Item = Seq>,
        last: Seq,
    ) -> Self {
        Self {
            held: ranges(held),
            last,
            sent: Some(ranges(sent)),
        }
    }

    /// Whether a record found on disk may have been given to the uplink before. `unborn`: not in the life
    /// of the process that wrote it, because the thinning that made it was not done.
    pub(crate) fn may_be_sent(&self, seq: Seq, unborn: bool) -> bool {
        let Some(sent) = &self.sent else {
            return true;
        };
        seq > self.last && !unborn
            || sent
                .iter()
                .any(|&(first, last)| (first..=last).contains(&seq))
    }

    /// What was held, as a set.
    pub(crate) fn set(&self) -> SeqSet {
        let ranges = self.held.iter();
        ranges
            .filter_map(|&(first, last)| SeqRange::new(first, last))
            .collect()
    }
}

/// Ascending seqs as ranges, at most [`RANGES`]; beyond that only the widest gaps stay.
pub(crate) fn ranges(seqs: impl Iterator<Item = Seq>) -> Vec<(Seq, Seq)> {
    let mut ranges: Vec<(Seq, Seq)> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == seq => *end = seq,
            _ => ranges.push((seq, seq)),
        }
    }
    if ranges.len() <= RANGES {
        return ranges;
    }
    let gaps = ranges.iter().zip(ranges.iter().skip(1));
    let mut gaps: Vec<(Seq, Seq)> = gaps
        .map(|(left, right)| (right.0 - left.1, right.0))
        .collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    gaps.truncate(RANGES - 1);
    let mut starts: Vec<Seq> = gaps.into_iter().map(|(_, start)| start).collect();
    starts.sort_unstable();
    let mut few: Vec<(Seq, Seq)> = Vec::with_capacity(RANGES);
    for (first, last) in ranges {
        match few.last_mut() {
            Some((_, end)) if starts.binary_search(&first).is_err() => *end = last,
            _ => few.push((first, last)),
        }
    }
    few
}

impl Tally {
    /// The newest copy that can be read. One with a newer, damaged copy before it does not know what was
    /// given to the uplink since: then everything may have been.
    pub(crate) fn newest(copies: &[Vec<u8>]) -> Option<Self> {
        let mut read = copies.iter().map(|bytes| Self::decode(bytes));
        let place = read.position(|tally| tally.is_some())?;
        let mut tally = Self::decode(copies.get(place)?)?;
        if place > 0 {
            let lanes = tally.epochs.iter_mut().flat_map(|epoch| &mut epoch.lanes);
            lanes.for_each(|lane| lane.sent = None);
        }
        Some(tally)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let file = File {
            format: FORMAT,
            epochs: self
                .epochs
                .iter()
                .map(|epoch| FileEpoch {
                    ordinal: epoch.age.ordinal,
                    epoch: epoch.age.epoch.to_string(),
                    started_ns: epoch.started.0,
                    durable_ns: epoch.durable.0,
                    ended_ns: epoch.ended.map(|at| at.0),
                    clean: epoch.clean,
                    at_most: epoch.at_most,
                    batch_age_ms: u64::try_from(epoch.batch_age.as_millis()).unwrap_or(u64::MAX),
                    lanes: epoch.lanes.clone(),
                })
                .collect(),
            closed: self.closed.iter().map(|c| c.epoch.to_string()).collect(),
            past: self
                .closed
                .iter()
                .map(|closed| FileClosed {
                    epoch: closed.epoch.to_string(),
                    clean: closed.clean,
                    last: closed.last,
                    from_ns: closed.from.0,
                    to_ns: closed.to.0,
                })
                .collect(),
            generation: self.generation,
            pass: self.pass.as_ref().map(|pass| FilePass {
                stage: pass.stage,
                lane: pass.lane,
                epoch: pass.epoch.to_string(),
                new: pass.new,
                claims: pass.claims,
                old_epoch: pass.old_epoch.to_string(),
                old: pass.old.clone(),
            }),
        };
        let json = serde_json::to_vec(&file).unwrap_or_default();
        let mut out = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
        out.extend_from_slice(&json);
        out.push(b'\n');
        out
    }

    /// Reads the file; `None` when it is damaged or of a newer format.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (crc, json) = text.trim_end_matches('\n').split_once(' ')?;
        if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(json.as_bytes()) {
            return None;
        }
        let file: File = serde_json::from_str(json).ok()?;
        if file.format != FORMAT {
            return None;
        }
        let mut epochs = file
            .epochs
            .into_iter()
            .map(|epoch| {
                Some(EpochTally {
                    age: Age {
                        ordinal: epoch.ordinal,
                        epoch: Epoch::from_hex(&epoch.epoch)?,
                    },
                    started: Timestamp(epoch.started_ns),
                    durable: Timestamp(epoch.durable_ns),
                    ended: epoch.ended_ns.map(Timestamp),
                    clean: epoch.clean,
                    at_most: epoch.at_most,
                    batch_age: Duration::from_millis(epoch.batch_age_ms),
                    lanes: epoch.lanes,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        epochs.sort_by_key(|epoch| epoch.age);
        let closed = file.closed.iter().filter_map(|hex| {
            let epoch = Epoch::from_hex(hex)?;
            let past = file.past.iter().find(|past| past.epoch == *hex);
            // Of one that an older program closed nothing more is known: nothing is claimed of it.
            Some(Closed {
                epoch,
                clean: past.is_none_or(|past| past.clean),
                last: past.map_or([0; 4], |past| past.last),
                from: Timestamp(past.map_or(0, |past| past.from_ns)),
                to: Timestamp(past.map_or(0, |past| past.to_ns)),
            })
        });
        Some(Self {
            epochs,
            closed: closed.collect(),
            generation: file.generation,
            pass: file.pass.and_then(|pass| {
                Some(Pass {
                    stage: pass.stage,
                    lane: pass.lane,
                    epoch: Epoch::from_hex(&pass.epoch)?,
                    new: pass.new,
                    claims: pass.claims,
                    old_epoch: Epoch::from_hex(&pass.old_epoch)?,
                    old: pass.old,
                })
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_comes_back_and_a_damaged_one_reads_as_none() {
        let tally = Tally {
            epochs: vec![EpochTally {
                age: Age {
                    ordinal: 3,
                    epoch: Epoch(u64::MAX - 1),
                },
                started: Timestamp(-5),
                durable: Timestamp(i64::MAX),
                ended: Some(Timestamp(7)),
                clean: false,
                at_most: Some(u64::MAX),
                batch_age: Duration::from_secs(600),
                lanes: std::array::from_fn(|_| {
                    LaneTally::new([2, 3, 9].into_iter(), [3].into_iter(), u64::MAX)
                }),
            }],
            closed: vec![Closed {
                epoch: Epoch(1),
                clean: false,
                last: [0, 1, u64::MAX, 3],
                from: Timestamp(-1),
                to: Timestamp(9),
            }],
            generation: Some(u64::MAX),
            pass: Some(Pass {
                stage: Stage::Prepared,
                lane: Lane::Telemetry,
                epoch: Epoch(5),
                new: (1, 9),
                claims: (3, 3),
                old_epoch: Epoch(4),
                old: vec![(1, 4), (9, 9)],
            }),
        };
        let bytes = tally.encode();
        assert_eq!(Tally::decode(&bytes), Some(tally));
        for at in 0..bytes.len() - 1 {
            let mut bad = bytes.clone();
            bad[at] ^= 0x08;
            assert_eq!(Tally::decode(&bad), None, "byte {at}");
            assert_eq!(Tally::decode(&bytes[..at]), None, "cut at {at}");
        }
        assert_eq!(Tally::decode(b""), None);
    }

    #[test]
    fn behind_a_damaged_copy_everything_may_have_been_sent() {
        let lanes = std::array::from_fn(|_| LaneTally::new(1..=9, [2].into_iter(), 9));
        let epoch = EpochTally {
            age: Age::FIRST,
            started: Timestamp(0),
            durable: Timestamp(0),
            ended: None,
            clean: true,
            at_most: None,
            batch_age: Duration::ZERO,
            lanes,
        };
        let tally = Tally {
            epochs: vec![epoch],
            ..Tally::default()
        };
        let good = tally.encode();
        assert_eq!(Tally::newest(&[good.clone(), Vec::new()]), Some(tally));
        let older = Tally::newest(&[b"damaged".to_vec(), good]).unwrap();
        assert!(
            older.epochs[0]
                .lanes
                .iter()
                .all(|lane| lane.may_be_sent(5, false))
        );
        assert_eq!(Tally::newest(&[]), None);
    }

    #[test]
    fn too_many_ranges_become_fewer_and_still_hold_all() {
        let seqs = || (1..500_u64).map(|n| n * n);
        let lane = LaneTally::new(seqs(), std::iter::empty(), 249_001);
        assert_eq!(lane.held.len(), RANGES);
        assert!(seqs().all(|seq| lane.set().contains(seq)));
    }

    #[test]
    fn what_the_file_does_not_clear_may_have_been_sent() {
        let lane = LaneTally::new(1..=9, [2, 3].into_iter(), 9);
        let sent: Vec<_> = (1..=11)
            .filter(|&seq| lane.may_be_sent(seq, false))
            .collect();
        assert_eq!(sent, [2, 3, 10, 11]);
        assert!(!lane.may_be_sent(10, true) && lane.may_be_sent(2, true));
        let older = LaneTally { sent: None, ..lane };
        assert!(older.may_be_sent(1, false));
    }
}
