//! What is held, by epoch and lane: the index over memory and disk.
//!
//! Pure. A record is an [`Entry`] from its append until it is settled, evicted or found damaged; what is
//! not here is done with. Records are only appended to the running epoch, and commits take a prefix
//! of each lane, so everything up to [`LaneBook::durable`] is on disk or gone.

use crate::record::Age;
use crate::tally::{EpochTally, LaneTally};
use bytes::Bytes;
use protocols_model::{DictionaryHash, Instant, Lane, Seq, Timestamp};
use protocols_wire::{Held, RecordSummary};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One held record.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What it counts in the accounting.
    pub(crate) bytes: u64,
    /// Whether it is an entry of the loss ledger: never evicted.
    pub(crate) claim: bool,
    /// The dictionaries its columns refer to.
    pub(crate) names: Arc<[DictionaryHash]>,
    /// The record itself while it is only in memory.
    pub(crate) pending: Option<Box<Pending>>,
}

/// A record that is not on disk yet.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) body: Bytes,
    pub(crate) summary: RecordSummary,
    pub(crate) appended: Instant,
}

impl Pending {
    pub(crate) const fn readings(&self) -> u64 {
        self.summary.readings.saturating_add(self.summary.filtered)
    }
}

/// One lane of one epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct LaneBook {
    /// Highest seq appended.
    pub(crate) last: Seq,
    /// Everything up to here is on disk or gone.
    pub(crate) durable: Seq,
    pub(crate) entries: BTreeMap<Seq, Entry>,
    /// As the small file says.
    pub(crate) tally: LaneTally,
}

impl LaneBook {
    /// What is only in memory, oldest first.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (Seq, &Entry, &Pending)> {
        let behind = self.entries.range(self.durable.saturating_add(1)..);
        behind.filter_map(|(&seq, entry)| Some((seq, entry, entry.pending.as_deref()?)))
    }

    /// The lane for the small file, as of now.
    pub(crate) fn to_tally(&self) -> LaneTally {
        let on_disk = self.entries.range(..=self.durable).map(|(&seq, _)| seq);
        // What lies between was settled from memory: it needs no disk.
        let first_pending = self.pending().next().map(|(seq, ..)| seq);
        LaneTally::new(on_disk, first_pending.map_or(self.last, |seq| seq - 1))
    }
}

/// One epoch.
#[derive(Debug, Clone)]
pub(crate) struct EpochBook {
    pub(crate) age: Age,
    pub(crate) started: Timestamp,
    /// When its last commit was.
    pub(crate) durable_at: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) clean: bool,
    pub(crate) at_most: Option<u64>,
    /// Longest that its readings waited before they were appended.
    pub(crate) batch_age: Duration,
    /// Of an earlier process, and what the disk holds of it has not been read yet.
    pub(crate) unread: bool,
    lanes: [LaneBook; 4],
}

impl EpochBook {
    pub(crate) fn new(age: Age, now: Timestamp) -> Self {
        Self {
            age,
            started: now,
            durable_at: now,
            ended: None,
            clean: false,
            at_most: None,
            batch_age: Duration::ZERO,
            unread: false,
            lanes: Default::default(),
        }
    }

    /// An epoch of an earlier process, nothing found of it yet.
    pub(crate) fn from_tally(tally: &EpochTally) -> Self {
        let lanes = tally.lanes.clone().map(|lane| LaneBook {
            last: lane.last,
            durable: lane.last,
            entries: BTreeMap::new(),
            tally: lane,
        });
        Self {
            age: tally.age,
            started: tally.started,
            durable_at: tally.durable,
            ended: tally.ended,
            clean: tally.clean,
            at_most: tally.at_most,
            batch_age: tally.batch_age,
            unread: true,
            lanes,
        }
    }

    pub(crate) fn to_tally(&self) -> EpochTally {
        EpochTally {
            age: self.age,
            started: self.started,
            durable: self.durable_at,
            ended: self.ended,
            clean: self.clean,
            at_most: self.at_most,
            batch_age: self.batch_age,
            lanes: std::array::from_fn(|i| {
                self.lanes
                    .get(i)
                    .map(|l| l.tally.clone())
                    .unwrap_or_default()
            }),
        }
    }

    pub(crate) fn lane(&self, lane: Lane) -> &LaneBook {
        let [alarm, event, telemetry, bulk] = &self.lanes;
        match lane {
            Lane::Alarm => alarm,
            Lane::Event => event,
            Lane::Telemetry => telemetry,
            Lane::Bulk => bulk,
        }
    }

    pub(crate) fn lane_mut(&mut self, lane: Lane) -> &mut LaneBook {
        let [alarm, event, telemetry, bulk] = &mut self.lanes;
        match lane {
            Lane::Alarm => alarm,
            Lane::Event => event,
            Lane::Telemetry => telemetry,
            Lane::Bulk => bulk,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.unread && self.lanes.iter().all(|lane| lane.entries.is_empty())
    }

    pub(crate) fn records(&self) -> u64 {
        self.lanes
            .iter()
            .map(|lane| lane.entries.len() as u64)
            .sum()
    }

    /// What hello says of this epoch: every lane that has been used, or one empty line.
    pub(crate) fn held(&self) -> Vec<Held> {
        let line = |lane: Lane, book: &LaneBook| {
            let noted = book.tally.held.first().filter(|_| self.unread);
            let first = book.entries.first_key_value().map(|(&seq, _)| seq);
            Held {
                epoch: self.age.epoch,
                lane,
                first: first.or(noted.map(|range| range.0)).unwrap_or(0),
                last: book.last,
            }
        };
        let used: Vec<_> = Lane::ALL
            .into_iter()
            .filter(|&lane| self.lane(lane).last > 0)
            .map(|lane| line(lane, self.lane(lane)))
            .collect();
        if used.is_empty() {
            vec![line(Lane::Event, self.lane(Lane::Event))]
        } else {
            used
        }
    }
}
