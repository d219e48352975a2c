//! What is held, by epoch and lane: the index over memory and disk.
//!
//! Pure. A record is an [`Entry`] from its append until it is settled, evicted or found damaged; what is
//! not here is done with. Records are only appended to the running epoch, and commits take a prefix
//! of each lane, so everything up to [`LaneBook::durable`] is on disk or gone.

use crate::dictionaries::Names;
use crate::record::Age;
use crate::tally::{EpochTally, LaneTally};
use bytes::Bytes;
use protocols_model::{Instant, Lane, Seq, Timestamp};
use protocols_wire::{Held, RecordSummary};
use std::collections::BTreeMap;
use std::time::Duration;

/// One held record: 24 bytes, because there may be a hundred thousand of them.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    size: u32,
    marks: u8,
    /// How far it was thinned; 0 as appended.
    pub(crate) level: u8,
    /// The dictionaries its columns refer to.
    pub(crate) names: Names,
    /// The record itself while it is only in memory.
    pub(crate) pending: Option<Box<Pending>>,
}

/// What is known of an entry beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// An entry of the loss ledger: never evicted.
    Claim = 1,
    /// Given to the uplink, now or perhaps before: the cloud may have it, whatever it says.
    Handed = 2,
    /// The small file says that it may have been given to the uplink.
    Noted = 4,
    /// Thinning it gains nothing.
    Stuck = 8,
    /// Part of a thinning that is not durable: not to be given to anyone.
    Unborn = 16,
}

impl Entry {
    pub(crate) fn new(bytes: u64, level: u8, names: Names, pending: Option<Box<Pending>>) -> Self {
        let mut entry = Self {
            size: 0,
            marks: 0,
            level,
            names,
            pending,
        };
        entry.set_bytes(bytes);
        entry
    }

    /// What it counts in the accounting.
    pub(crate) const fn bytes(&self) -> u64 {
        self.size as u64
    }

    pub(crate) fn set_bytes(&mut self, bytes: u64) {
        self.size = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    pub(crate) const fn is(&self, mark: Mark) -> bool {
        self.marks & mark as u8 != 0
    }

    pub(crate) const fn mark(&mut self, mark: Mark, on: bool) {
        if on {
            self.marks |= mark as u8;
        } else {
            self.marks &= !(mark as u8);
        }
    }

    /// Whether it is an entry of the loss ledger: never evicted.
    pub(crate) const fn claim(&self) -> bool {
        self.is(Mark::Claim)
    }
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
        let last = first_pending.map_or(self.last, |seq| seq - 1);
        LaneTally::new(on_disk, self.maybe_sent(), last)
    }

    /// What is on disk and may have been given to the uplink, or may be soon.
    pub(crate) fn maybe_sent(&self) -> impl Iterator<Item = Seq> {
        let on_disk = self.entries.range(..=self.durable);
        let sent = on_disk.filter(|(_, e)| e.is(Mark::Handed) || e.is(Mark::Noted));
        sent.map(|(&seq, _)| seq)
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
