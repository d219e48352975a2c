//! The bound: what is given up when space runs out, and what says so.
//!
//! A lane that has more than its share gives way first: bulk, then telemetry, then events. A lane that is
//! thinned gives up readings before it gives up records; a lane that keeps its records refuses new
//! ones at its own share. Oldest first; claims never, their space is reserved.
//! The claim is durable before a record on disk is deleted. When claims alone fill their reserve they
//! are joined, at last coarsely: then counts become upper bounds, but nothing goes unsaid.

use super::append::size_of;
use super::{Core, Now, losses_of};
use crate::book::{Entry, EpochBook, Mark};
use crate::claims::{self, Loss};
use crate::failpoint;
use crate::lanes::WhenFull;
use crate::record::Age;
use crate::state::LaneUse;
use crate::thin;
use protocols_model::{Claim, Lane, LossReason, Seq};
use protocols_wire::{Record, SealedRecord};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What goes first.
const ORDER: [Lane; 4] = [Lane::Bulk, Lane::Telemetry, Lane::Event, Lane::Alarm];
/// One part of so many of the bound is freed at once: few large claims instead of many small ones.
const CHUNK_PART: u64 = 32;
/// Where readings are thinned, one part of so many of the bound is freed once it is reached: in one go,
/// because each go leaves a group of thinner records among the seqs of its lane, and the cloud's cursor
/// holds 64 groups.
const SLACK_PART: u64 = 8;
/// One part of so many of the quota is reserved for claims.
pub(crate) const CLAIM_PART: u64 = 16;
/// What the spool may always use, however short of space the file system is: enough to carry the
/// readings past a healthy uplink's hiccups.
const SHORT_FLOOR_BYTES: u64 = 1024 * 1024;
/// A copy of the records takes one part of so many more than they do.
const COPY_SLACK_PART: u64 = 8;
/// Most records evicted in one go: bounds the time and memory of a call.
const EVICT_MOST: usize = 4096;
/// Most steps to make room in one go, and how many of them may try to thin: what is left over is made up
/// for at the next record.
const ATTEMPTS: u32 = 8;
const THIN_ATTEMPTS: u32 = 6;

/// What is freed at once by evicting.
pub(super) fn chunk(budget: u64) -> u64 {
    (budget / CHUNK_PART).max(1)
}

/// A record to be given up.
pub(super) type Victim = (Age, Lane, Seq);

/// The oldest of the records in a lane that `which` names, until `need` bytes are found. What was thinned
/// more is older.
pub(super) fn victims_of(
    books: &BTreeMap<Age, EpochBook>,
    lane: Lane,
    need: u64,
    which: impl Fn(&Entry) -> bool,
) -> Vec<Victim> {
    let entries = books.values().flat_map(|book| {
        let entries = book.lane(lane).entries.iter();
        entries.map(move |(&seq, entry)| (book.age, seq, entry))
    });
    let mut found: Vec<_> = entries
        .filter(|(.., entry)| which(entry))
        .map(|(age, seq, entry)| (Reverse(entry.level), age, seq, entry.bytes()))
        .collect();
    // Without thinned records this is in order already.
    found.sort_unstable();
    let mut freed = 0;
    found
        .into_iter()
        .take(EVICT_MOST)
        .take_while(|(.., bytes)| {
            let more = freed < need;
            freed += bytes;
            more
        })
        .map(|(_, age, seq, _)| (age, lane, seq))
        .collect()
}

impl Core {
    fn claim_reserve(&self) -> u64 {
        self.config.live_quota_bytes() / CLAIM_PART
    }

    /// Bytes that records other than claims may take.
    fn budget(&self) -> u64 {
        let budget = self.config.live_quota_bytes() - self.claim_reserve();
        let quota = self.config.disk_quota_bytes;
        let scaled = match self.disk_size {
            // The plateau is higher than usual: less live data brings the growth to a halt.
            Some(size) if size > quota => {
                let scaled = u128::from(budget) * u128::from(quota) / u128::from(size);
                u64::try_from(scaled).unwrap_or(budget)
            }
            _ => budget,
        };
        self.growth_cap.map_or(scaled, |cap| scaled.min(cap))
    }

    /// Bytes that count against the budget.
    fn used(&self) -> u64 {
        (self.disk_used + self.memory_used + self.dictionaries.bytes())
            .saturating_sub(self.claim_bytes)
            .saturating_sub(self.deleting)
    }

    /// What `lane` takes, for those who look.
    pub(super) fn lane_use(&self, lane: Lane) -> LaneUse {
        let place = usize::from(lane.to_index());
        let bytes = self.lane_bytes.get(place).copied().unwrap_or(0);
        let coarsest = self.coarsest.get(place).copied().unwrap_or(0);
        LaneUse {
            bytes,
            share_bytes: self.config.lanes.share(lane, self.budget()),
            full: self.config.lanes.of(lane).full,
            thinned_to: (coarsest > 0 && bytes > 0).then(|| thin::bucket(coarsest)),
        }
    }

    /// Whether a lane that keeps what it has is full for `record`.
    pub(super) fn is_full(&mut self, lane: Lane, record: &SealedRecord) -> bool {
        if self.config.lanes.of(lane).full != WhenFull::Keep {
            return false;
        }
        let share = self.config.lanes.share(lane, self.budget());
        let used = *self.room_of(lane, false);
        used.saturating_add(size_of(record, 0)) > share
    }

    /// Refuses a record before it is taken: its seq is given and claimed, so that nothing waits for it.
    pub(super) fn refuse_new(&mut self, lane: Lane, record: SealedRecord) -> Loss {
        if !self.refusing {
            tracing::error!(%lane, "lane full, it keeps what it has: new records are refused and claimed");
        }
        self.refusing = true;
        self.counters.evicted_records += 1;
        self.counters.evicted_readings += record.summary.readings;
        let age = self.current;
        let book = self.book().lane_mut(lane);
        book.last += 1;
        let seq = book.last;
        self.let_go(lane, seq);
        let held = Record::losses(&record.body).unwrap_or((record.summary, Vec::new()));
        Loss {
            age,
            lane,
            seq,
            reason: LossReason::Evicted,
            held: Some(held),
        }
    }

    /// Makes room where a bound is exceeded.
    pub(super) fn relieve(&mut self, now: Now) {
        let budget = self.budget();
        let used = self.used();
        self.relieving |= used > budget;
        if self.relieving {
            self.make_room(budget, now);
        }
        if used < budget - budget / CLAIM_PART {
            self.at_bound = false;
        }
        if used < budget / 2 {
            self.thinning = false;
        }
        if self.refusing {
            self.refusing = Lane::ALL.into_iter().any(|lane| {
                let share = self.config.lanes.share(lane, budget);
                let keeps = self.config.lanes.of(lane).full == WhenFull::Keep;
                keeps && *self.room_of(lane, false) > share - share / CLAIM_PART
            });
        }
        let buffer = self.config.memory_buffer_bytes;
        if self.memory_used > buffer {
            // A disk that works takes them; only one that does not makes us give them up.
            if self.works() {
                self.commit(now, true);
            }
            if self.memory_used > buffer {
                self.at_bound = true;
                let need = self.memory_used - buffer + (buffer / CHUNK_PART).max(1);
                let victims = self.in_memory_victims(need);
                self.evict(victims, now);
            }
        }
        if self.claim_bytes > self.claim_reserve().max(self.join_above) {
            self.join_claims(now);
        } else if self.claim_bytes < self.claim_reserve() / 2 {
            self.claims_full = false;
            self.join_above = 0;
        }
    }

    /// Some steps towards the bound, and by thinning some way below it; [`Self::tick`] comes back for
    /// more.
    fn make_room(&mut self, budget: u64, now: Now) {
        let low = budget - budget / SLACK_PART;
        for attempt in 0..ATTEMPTS {
            let used = self.used();
            let over = used.saturating_sub(budget);
            let settled = used <= low || over == 0 && !self.works();
            let Some((lane, most)) = self.giver(budget).filter(|_| !settled) else {
                self.relieving = false;
                return;
            };
            if !self.works() {
                self.at_bound = true;
                let victims = self.in_memory_victims(over + chunk(budget));
                if !self.evict(victims, now) {
                    return;
                }
                continue;
            }
            let thins = self.config.lanes.of(lane).full == WhenFull::Thin;
            if thins && (over == 0 || attempt < THIN_ATTEMPTS) {
                if self.thin(lane, budget, over, now) {
                    continue;
                }
                // What is only in memory cannot be thinned: let it go to the disk first.
                let waits = over > 0 && self.memory_used > chunk(budget);
                if waits && self.works() && self.commit(now, true) {
                    continue;
                }
            }
            if over == 0 {
                self.relieving = false;
                return;
            }
            self.at_bound = true;
            let any = |entry: &Entry| !entry.claim() && !entry.is(Mark::Unborn);
            let need = (over + chunk(budget)).min(most.max(1));
            let victims = victims_of(&self.books, lane, need, any);
            if !self.evict(victims, now) {
                return;
            }
        }
    }

    /// Whether making room goes on at once.
    pub(super) const fn is_relieving(&self) -> bool {
        self.relieving
    }

    /// The lane that has to give way, and how much it has beyond what it is sure of: first one that
    /// borrows, then any that does not keep its records, at last any.
    fn giver(&self, budget: u64) -> Option<(Lane, u64)> {
        let used = |lane: Lane| {
            let place = usize::from(lane.to_index());
            self.lane_bytes.get(place).copied().unwrap_or(0)
        };
        let keeps = |lane: &Lane| self.config.lanes.of(*lane).full == WhenFull::Keep;
        let lanes = || ORDER.into_iter().filter(|&lane| used(lane) > 0);
        let borrowed = |lane| used(lane).saturating_sub(self.config.lanes.share(lane, budget));
        let borrower = lanes().find(|lane| !keeps(lane) && borrowed(*lane) > 0);
        borrower.map(|lane| (lane, borrowed(lane))).or_else(|| {
            let any = lanes().find(|lane| !keeps(lane)).or_else(|| lanes().next());
            any.map(|lane| (lane, used(lane)))
        })
    }

    /// The oldest records that are only in memory, by the order of eviction.
    fn in_memory_victims(&self, need: u64) -> Vec<Victim> {
        let loose =
            |entry: &Entry| entry.pending.is_some() && !entry.claim() && !entry.is(Mark::Unborn);
        let mut victims = Vec::new();
        let mut freed = 0;
        for lane in ORDER {
            for book in self.books.values() {
                for (&seq, entry) in book.lane(lane).entries.iter().filter(|(_, e)| loose(e)) {
                    if freed >= need || victims.len() >= EVICT_MOST {
                        return victims;
                    }
                    freed += entry.bytes();
                    victims.push((book.age, lane, seq));
                }
            }
        }
        victims
    }

    /// Gives records up behind their claim; says whether any went.
    pub(super) fn evict(&mut self, victims: Vec<Victim>, now: Now) -> bool {
        let mut losses = Vec::with_capacity(victims.len());
        for &(age, lane, seq) in &victims {
            let value = match self.load(age, lane, seq) {
                Ok(value) => value,
                Err(error) => {
                    self.fail(&error, now);
                    break;
                }
            };
            let (reason, held) = match value {
                Some(value) => (LossReason::Evicted, Some(losses_of(value))),
                None => (LossReason::Damaged, None),
            };
            self.counters.evicted_records += 1;
            if let Some((summary, _)) = &held {
                self.counters.evicted_readings += summary.readings;
            }
            losses.push(Loss {
                age,
                lane,
                seq,
                reason,
                held,
            });
        }
        if losses.is_empty() {
            return false;
        }
        let count = losses.len();
        let behind = self.claim_losses(losses, now);
        let mut on_disk = false;
        for (age, lane, seq) in victims.into_iter().take(count) {
            if let Some(entry) = self.remove(age, lane, seq)
                && entry.pending.is_none()
            {
                on_disk = true;
                self.delete_later((age, lane, seq), entry.bytes(), behind, now);
            }
        }
        tracing::warn!(
            records = count,
            "spool at its bound, oldest records evicted and claimed"
        );
        if on_disk && self.commit(now, false) {
            failpoint::hit("spool.evict");
            self.flush_deletes(now);
        }
        self.retire(now);
        true
    }

    /// Joins all claim records into fewer; the old records' seqs are claimed as replaced.
    fn join_claims(&mut self, now: Now) {
        let mut old: Vec<(Age, Seq)> = Vec::new();
        let mut joined: Vec<Claim> = Vec::new();
        for (age, seq) in self.joinable() {
            match self.load(age, Lane::Event, seq) {
                Ok(value) => {
                    // One that cannot be read is left for fetch to claim as damaged.
                    if let Some(claims) = value.and_then(|value| claims::open(&value.body)) {
                        joined.extend(claims);
                        old.push((age, seq));
                    }
                }
                Err(error) => return self.fail(&error, now),
            }
        }
        let replaced = old.iter();
        let replaced =
            replaced.map(|&(age, seq)| claims::replaced(age, Lane::Event, seq, now.wall));
        let replaced = claims::join(replaced.collect(), (now.wall, now.wall));
        let size = |claims: &[Claim]| {
            claims
                .iter()
                .map(|c| 48 + 24 * c.points.len() as u64)
                .sum::<u64>()
        };
        joined.extend(replaced);
        let mut fewer = claims::compact(joined, false);
        if size(&fewer) > self.claim_reserve() / 2 {
            claims::gather(&mut fewer);
        }
        if size(&fewer) > self.claim_reserve() / 2 {
            self.claims_full = true;
            fewer = claims::compact(fewer, true);
        }
        let behind = self.claim(fewer, now);
        for (age, seq) in old {
            if let Some(entry) = self.remove(age, Lane::Event, seq)
                && entry.pending.is_none()
            {
                self.delete_later((age, Lane::Event, seq), entry.bytes(), behind, now);
            }
        }
        // What cannot be joined further must not be written again with every record.
        self.join_above = self.claim_bytes.saturating_mul(2);
        self.commit(now, false);
        self.flush_deletes(now);
    }

    /// Claim records to be joined: those that the cloud cannot have, or two entries of its ledger would
    /// count the same; all of them where those it may have are what takes the space.
    fn joinable(&self) -> Vec<(Age, Seq)> {
        let mut fresh = Vec::new();
        let mut sent = Vec::new();
        let mut sent_bytes = 0;
        for &(age, seq) in self.claims.keys() {
            let book = self.books.get(&age).map(|book| book.lane(Lane::Event));
            match book.and_then(|book| book.entries.get(&seq)) {
                Some(entry) if entry.is(Mark::Unborn) => {}
                Some(entry) if entry.is(Mark::Handed) => {
                    sent_bytes += entry.bytes();
                    sent.push((age, seq));
                }
                _ => fresh.push((age, seq)),
            }
        }
        if sent_bytes > self.claim_reserve() / 2 {
            fresh.append(&mut sent);
            fresh.sort_unstable();
        }
        fresh
    }

    /// Measures disk and file system, and takes a fresh directory when this one is large and empty.
    pub(super) fn measure(&mut self, now: Now) {
        if self.works() {
            self.disk_size = self.store.disk_bytes();
        }
        let keep = self.config.keep_free_bytes;
        match (self.store.free_bytes(), self.growth_cap) {
            (Some(free), None) if free < keep => {
                tracing::error!(
                    free,
                    keep,
                    "file system short of space, the spool does not grow"
                );
                self.growth_cap = Some(self.used().max(SHORT_FLOOR_BYTES));
            }
            (Some(free), Some(_)) if free > keep.saturating_add(keep / 8) => self.growth_cap = None,
            _ => {}
        }
        let on_disk = self.books.values().any(|book| {
            let held = |lane: Lane| {
                let entries = &book.lane(lane).entries;
                entries.values().any(|entry| entry.pending.is_none())
            };
            Lane::ALL.into_iter().any(held)
        });
        let large = self
            .disk_size
            .is_some_and(|size| size > self.config.rotate_above_bytes);
        // A record whose claim is not durable yet still needs its place on disk.
        let free = self.deletes.iter().all(|delete| self.is_free(delete));
        if !on_disk && large && free && self.works() && self.pass.is_none() {
            self.rotate(now);
        } else if self.wants_compaction() {
            self.compact(now);
        }
    }

    /// Whether the store has grown so much beyond what it holds that moving to a fresh directory is due: the
    /// last moment at which both fit the quota, where thinning makes it grow for ever.
    fn wants_compaction(&mut self) -> bool {
        let Some(size) = self.disk_size.filter(|_| self.works()) else {
            return false;
        };
        let copy = self.disk_used + self.disk_used / COPY_SLACK_PART;
        let beside = if self.config.thins() { copy } else { 0 };
        let due = size.saturating_add(beside) > self.config.disk_quota_bytes;
        let gains = size / 2 > self.disk_used && size / 3 * 2 > self.compacted_to;
        let free = self.store.free_bytes();
        let fits = free.is_none_or(|free| free > self.config.keep_free_bytes.saturating_add(copy));
        due && gains && fits
    }

    fn compact(&mut self, now: Now) {
        let before = self.disk_size;
        // Should it fail it is not tried again before the store has grown further.
        self.compacted_to = before.unwrap_or(0);
        if let Err(error) = self.billed(|core| core.store.compact()) {
            return self.fail(&error, now);
        }
        self.disk_size = self.store.disk_bytes();
        self.compacted_to = self.disk_size.unwrap_or(0);
        self.counters.compactions += 1;
        tracing::info!(?before, after = ?self.disk_size, "the spool moved to a fresh directory");
    }

    fn rotate(&mut self, now: Now) {
        if let Err(error) = self.store.renew() {
            self.dictionaries.forget_disk();
            return self.fail(&error, now);
        }
        tracing::info!("the spool is empty and took a fresh directory");
        self.counters.rotations += 1;
        self.dictionaries.forget_disk();
        self.deletes.clear();
        self.deletes_since = None;
        self.deleting = 0;
        self.disk_used = 0;
        self.disk_size = self.store.disk_bytes();
    }
}
