//! The rules of the spool: a synchronous core over a [`SpoolStore`] that takes `now`.
//!
//! Holds the index of everything held, in memory or on disk, and decides what is written when. Invariants:
//! - S1: a record leaves only when settled, or behind a claim that names it; a claim about a record on
//!   disk is durable (or settled itself) before that record is deleted.
//! - S2: an identity is given once: epochs are drawn at every start, seqs only count up.
//! - S3: nothing is written to disk that is not due; a record settled before never is.
//! - S4: whatever the disk does, appending goes on, in bounded memory.
//! - S5: a record that the uplink was given, in this life or perhaps in an earlier one, is never thinned;
//!   thinned records and their claims become durable together, and before the old ones go.
//!
//! An error of the store puts the core into memory mode; it opens the store again with back-off.

mod append;
mod commit;
mod evict;
mod fetch;
mod generation;
mod hand;
pub(crate) mod merge;
mod open;
mod pass;
mod scan;
mod settle;
mod thin;
mod view;

pub(crate) use evict::CLAIM_PART;

use crate::book::{Entry, EpochBook};
use crate::config::SpoolConfig;
use crate::dictionaries::Dictionaries;
use crate::pace::Pace;
use crate::record::{Age, Cursor};
use crate::state::SpoolCounters;
use crate::store::{SpoolStore, Tree};
use crate::tally::{Closed, Pass};
use crate::value::{self, Value};
use protocols_model::{
    BootId, DictionaryHash, Epoch, Instant, Lane, Seq, SeqRange, SeqSet, Timestamp,
};
use protocols_wire::{Dictionary, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Commits for alarms alone are at least so far apart: five a second.
const ALARM_SPACING: Duration = Duration::from_millis(200);
/// Deletions of settled records wait so long for company; forgetting them in a crash only costs a resend.
const DELETE_DELAY: Duration = Duration::from_secs(10);
/// So many deletions do not wait.
const DELETE_BATCH: usize = 1024;
/// How often sizes are measured and rotation is considered.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Most ranges of seqs that are told as gone; what is not told is asked for in vain.
const GONE_TOLD: usize = 256;

/// The moment of a call, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) mono: Instant,
    pub(crate) wall: Timestamp,
}

/// A record on disk that nobody needs any more.
#[derive(Debug)]
struct Delete {
    tree: Tree,
    key: Vec<u8>,
    bytes: u64,
    /// The claim records that must be durable first: their range in the running epoch's event lane.
    behind: Option<SeqRange>,
    /// Whether the thinning that is under way waits for it.
    of_pass: bool,
}

/// Whether the disk takes writes.
#[derive(Debug)]
enum Disk {
    Works,
    Fails {
        why: String,
        retry_at: Instant,
        pause: Duration,
    },
}

pub(crate) struct Core {
    config: SpoolConfig,
    boot: BootId,
    store: Box<dyn SpoolStore>,
    disk: Disk,
    books: BTreeMap<Age, EpochBook>,
    current: Age,
    /// The disk has not been read: there may be more epochs on it.
    unread: bool,
    closed: Vec<Closed>,
    /// The cloud's store that settlements come from, and what the small file says of it: only once the
    /// claims for what the one before took along are durable.
    generation: Option<u64>,
    generation_noted: Option<u64>,
    dictionaries: Dictionaries,
    /// Unsettled claim records, and the epochs they speak of, which stay open meanwhile.
    claims: BTreeMap<(Age, Seq), BTreeSet<Epoch>>,
    deletes: Vec<Delete>,
    deletes_since: Option<Instant>,
    /// Their bytes.
    deleting: u64,
    /// Bytes of values in the store, claims and records to be deleted included.
    disk_used: u64,
    /// Bytes of records only in memory.
    memory_used: u64,
    /// Readings only in memory.
    memory_readings: u64,
    /// Bytes of claim records among both.
    claim_bytes: u64,
    /// Bytes of the other records among both, by lane number.
    lane_bytes: [u64; 4],
    /// Claims are joined above so many bytes: their reserve, or twice what joining left of them.
    join_above: u64,
    pace: Pace,
    /// Bytes that reached the flash beside commits since the last one.
    unbilled: u64,
    last_commit: Option<Instant>,
    /// The small file must be written although nothing is committed.
    tally_due: bool,
    /// Growth stops here while the file system is short of space.
    growth_cap: Option<u64>,
    disk_size: Option<u64>,
    /// What the store took after its last move to a fresh directory.
    compacted_to: u64,
    housekeeping_at: Instant,
    at_bound: bool,
    /// The bound was reached, and room is being made.
    relieving: bool,
    /// The bound was reached and old readings are thinned.
    thinning: bool,
    /// A lane that keeps its records is full.
    refusing: bool,
    /// The thinning that is under way, until its old records have left the disk.
    pass: Option<Pass>,
    /// Seqs of the running epoch that are held no more, by lane number.
    let_go: [SeqSet; 4],
    /// The coarsest level that each lane has come to, by lane number.
    coarsest: [u8; 4],
    claims_full: bool,
    counters: SpoolCounters,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("current", &self.current)
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

impl Core {
    fn book(&mut self) -> &mut EpochBook {
        let age = self.current;
        self.books
            .entry(age)
            .or_insert_with(|| EpochBook::new(age, Timestamp(0)))
    }

    const fn works(&self) -> bool {
        matches!(self.disk, Disk::Works)
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.current.epoch
    }

    /// The place before the first record of the running epoch.
    pub(crate) const fn epoch_start(&self) -> Cursor {
        Cursor {
            age: self.current,
            seq: 0,
        }
    }

    /// Takes an entry out of the index. What was on disk is deleted, after `behind` is durable.
    fn remove(&mut self, age: Age, lane: Lane, seq: Seq) -> Option<Entry> {
        let entry = self
            .books
            .get_mut(&age)?
            .lane_mut(lane)
            .entries
            .remove(&seq)?;
        self.dictionaries.release(&entry.names);
        if age == self.current {
            self.let_go(lane, seq);
        }
        if entry.claim() {
            self.claims.remove(&(age, seq));
        }
        let room = self.room_of(lane, entry.claim());
        *room = room.saturating_sub(entry.bytes());
        if let Some(pending) = &entry.pending {
            self.memory_used = self.memory_used.saturating_sub(entry.bytes());
            self.memory_readings = self.memory_readings.saturating_sub(pending.readings());
        }
        Some(entry)
    }

    /// Notes that a seq of the running epoch is held no more.
    fn let_go(&mut self, lane: Lane, seq: Seq) {
        if let Some(seqs) = self.let_go.get_mut(usize::from(lane.to_index())) {
            seqs.insert_one(seq);
        }
    }

    /// What of the running epoch is gone between the first and the last record held.
    fn gone_between(&self, lane: Lane) -> SeqSet {
        let book = self.books.get(&self.current).map(|book| book.lane(lane));
        let held = book.and_then(|book| {
            let first = book.entries.first_key_value().map(|(&seq, _)| seq)?;
            SeqRange::new(first, book.last)
        });
        let gone = self.let_go.get(usize::from(lane.to_index()));
        let gone = gone.zip(held).map(|(gone, held)| gone.held_in(held));
        let gone = gone.unwrap_or_default();
        gone.ranges().iter().take(GONE_TOLD).copied().collect()
    }

    fn delete_later(
        &mut self,
        key: (Age, Lane, Seq),
        bytes: u64,
        behind: Option<SeqRange>,
        now: Now,
    ) {
        let (age, lane, seq) = key;
        self.deletes.push(Delete {
            tree: Tree::Lane(lane),
            key: value::key(age, seq),
            bytes,
            behind,
            of_pass: false,
        });
        self.deleting += bytes;
        self.deletes_since.get_or_insert(now.mono);
    }

    pub(crate) fn keep_dictionaries(&mut self, dictionaries: Vec<Dictionary>) {
        for dictionary in dictionaries {
            self.dictionaries.keep(dictionary, false);
        }
    }

    pub(crate) fn dictionaries(&self, hashes: &[DictionaryHash]) -> Vec<Dictionary> {
        let found = hashes
            .iter()
            .filter_map(|&hash| self.dictionaries.get(hash));
        found.cloned().collect()
    }

    /// Keeps the crash tail's upper bound true: twice what waits in memory (as much again may sit in
    /// batches that are not sealed), written down before it is exceeded, in steps of four.
    fn note_at_most(&mut self, now: Now) {
        let needed = self.memory_readings.saturating_mul(2);
        if self.book().at_most.is_some_and(|bound| needed <= bound) || !self.works() {
            return;
        }
        self.book().at_most = Some(needed.saturating_mul(2).max(1024));
        if let Err(error) = self.write_tally() {
            self.fail(&error, now);
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Now) {
        if let Disk::Fails { retry_at, .. } = &self.disk
            && *retry_at <= now.mono
        {
            self.reopen(now);
        }
        if self.works() {
            if self.commit_due(now) {
                self.commit(now, false);
            }
            let old = self
                .deletes_since
                .is_some_and(|since| now.mono.since(since) >= DELETE_DELAY);
            if old || self.deletes.len() >= DELETE_BATCH || self.tally_due {
                self.flush_deletes(now);
            }
        }
        if self.housekeeping_at <= now.mono {
            self.housekeeping_at = now.mono.plus(HOUSEKEEPING);
            self.measure(now);
        }
        self.relieve(now);
    }

    /// Readings wait this long before they are appended, from now on.
    pub(crate) fn set_batch_age(&mut self, age: Duration) {
        self.config.batch_age = age;
        let book = self.book();
        if age > book.batch_age {
            book.batch_age = age;
            self.tally_due = true;
        }
    }

    /// When [`Self::tick`] has something to do next.
    pub(crate) fn next_wake(&self) -> Instant {
        let mut wake = self.housekeeping_at;
        match &self.disk {
            Disk::Fails { retry_at, .. } => wake = wake.min(*retry_at),
            Disk::Works => {
                if self.is_relieving() {
                    return Instant::default();
                }
                for lane in Lane::ALL {
                    if let Some(due) = self.lane_due(lane) {
                        wake = wake.min(due);
                    }
                }
                if let Some(since) = self.deletes_since {
                    wake = wake.min(since.plus(DELETE_DELAY));
                }
            }
        }
        wake
    }
}

/// The numbers of a record for its claim. What is not a record of ours still has its summary.
fn losses_of(
    value: Value,
) -> (
    protocols_wire::RecordSummary,
    Vec<protocols_model::PointLoss>,
) {
    Record::losses(&value.body).unwrap_or((value.summary, Vec::new()))
}
