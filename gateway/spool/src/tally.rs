//! The small second file: which epochs there are and how far each had come at the last commit.
//!
//! Its point is independence: claims stay exact even when the store itself had to be set aside. It is
//! replaced as a whole (rename + fsync of file and directory) at start, after each commit of the store
//! and at a clean stop; never while nothing is committed. Format: `crc32 in hex, space, JSON`.
//! A damaged file reads as none: then the keys in the store tell which epochs there are. Fields that an
//! older program does not know are ignored by it; those it did not write read as unknown.

use crate::record::Age;
use protocols_model::{Epoch, Seq, SeqRange, SeqSet, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const FORMAT: u32 = 1;

/// Closed epochs remembered, so that a late acknowledgement of one is not taken for a stranger's.
pub(crate) const CLOSED_REMEMBERED: usize = 64;

/// Ranges written per lane; beyond that the narrowest gaps are closed.
pub(crate) const RANGES: usize = 32;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Open epochs, oldest first; the last one is the running process'.
    pub(crate) epochs: Vec<EpochTally>,
    /// Epochs that were closed lately, oldest first.
    pub(crate) closed: Vec<Closed>,
    /// The cloud's store that settlements came from; `None` before the first.
    pub(crate) generation: Option<u64>,
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
    /// Notes what is held: seqs in ascending order.
    pub(crate) fn new(held: impl Iterator<Item = Seq>, last: Seq) -> Self {
        let mut ranges: Vec<(Seq, Seq)> = Vec::new();
        for seq in held {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == seq => *end = seq,
                _ => ranges.push((seq, seq)),
            }
        }
        while ranges.len() > RANGES {
            let gaps = ranges.iter().zip(ranges.iter().skip(1));
            let narrowest = gaps
                .enumerate()
                .min_by_key(|(_, (left, right))| right.0 - left.1)
                .map_or(0, |(place, _)| place);
            let end = ranges.remove(narrowest + 1).1;
            if let Some(left) = ranges.get_mut(narrowest) {
                left.1 = end;
            }
        }
        Self { held: ranges, last }
    }

    /// What was held, as a set.
    pub(crate) fn set(&self) -> SeqSet {
        let ranges = self.held.iter();
        ranges
            .filter_map(|&(first, last)| SeqRange::new(first, last))
            .collect()
    }
}

impl Tally {
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
                lanes: std::array::from_fn(|_| LaneTally::new([2, 3, 9].into_iter(), u64::MAX)),
            }],
            closed: vec![Closed {
                epoch: Epoch(1),
                clean: false,
                last: [0, 1, u64::MAX, 3],
                from: Timestamp(-1),
                to: Timestamp(9),
            }],
            generation: Some(u64::MAX),
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
    fn too_many_ranges_become_fewer_and_still_hold_all() {
        let seqs = || (1..500_u64).map(|n| n * n);
        let lane = LaneTally::new(seqs(), 249_001);
        assert_eq!(lane.held.len(), RANGES);
        assert!(seqs().all(|seq| lane.set().contains(seq)));
    }
}
