//! The bound: what is given up when space runs out, and what says so.
//!
//! Oldest first; bulk, then telemetry, then events, alarms last; claims never, their space is reserved.
//! The claim is durable before a record on disk is deleted. When claims alone fill their reserve they
//! are joined, at last coarsely: then counts become upper bounds, but nothing goes unsaid.

use super::{Core, Now, losses_of};
use crate::claims::{self, Loss};
use crate::failpoint;
use crate::record::Age;
use protocols_model::{Claim, Lane, LossReason, Seq};

/// What goes first.
const ORDER: [Lane; 4] = [Lane::Bulk, Lane::Telemetry, Lane::Event, Lane::Alarm];
/// One part of so many of the bound is freed at once: few large claims instead of many small ones.
const CHUNK_PART: u64 = 32;
/// One part of so many of the quota is reserved for claims.
const CLAIM_PART: u64 = 16;
/// What the spool may always use, however short of space the file system is: enough to carry the
/// readings past a healthy uplink's hiccups.
const SHORT_FLOOR_BYTES: u64 = 1024 * 1024;
/// Most records evicted in one go: bounds the time and memory of a call.
const EVICT_MOST: usize = 4096;

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

    /// Gives up the oldest records where a bound is exceeded.
    pub(super) fn relieve(&mut self, now: Now) {
        let budget = self.budget();
        if self.used() > budget {
            self.at_bound = true;
            let chunk = (budget / CHUNK_PART).max(1);
            self.evict(self.used() - budget + chunk, false, now);
        } else if self.used() < budget - budget / CLAIM_PART {
            self.at_bound = false;
        }
        let buffer = self.config.memory_buffer_bytes;
        if self.memory_used > buffer {
            // A disk that works takes them; only one that does not makes us give them up.
            if self.works() {
                self.commit(now, true);
            }
            if self.memory_used > buffer {
                self.at_bound = true;
                let chunk = (buffer / CHUNK_PART).max(1);
                self.evict(self.memory_used - buffer + chunk, true, now);
            }
        }
        if self.claim_bytes > self.claim_reserve().max(self.join_above) {
            self.join_claims(now);
        } else if self.claim_bytes < self.claim_reserve() / 2 {
            self.claims_full = false;
            self.join_above = 0;
        }
    }

    /// The oldest records by the order of eviction, until `need` bytes are found.
    fn victims(&self, need: u64, memory_only: bool) -> Vec<(Age, Lane, Seq)> {
        let mut freed = 0;
        let mut victims = Vec::new();
        for lane in ORDER {
            for book in self.books.values() {
                for (&seq, entry) in &book.lane(lane).entries {
                    if freed >= need || victims.len() >= EVICT_MOST {
                        return victims;
                    }
                    let fits = if memory_only || !self.works() {
                        entry.pending.is_some()
                    } else {
                        true
                    };
                    if !entry.claim && fits {
                        freed += entry.bytes;
                        victims.push((book.age, lane, seq));
                    }
                }
            }
        }
        victims
    }

    fn evict(&mut self, need: u64, memory_only: bool, now: Now) {
        let victims = self.victims(need, memory_only);
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
            return;
        }
        let count = losses.len();
        let behind = self.claim_losses(losses, now);
        let mut on_disk = false;
        for (age, lane, seq) in victims.into_iter().take(count) {
            if let Some(entry) = self.remove(age, lane, seq)
                && entry.pending.is_none()
            {
                on_disk = true;
                self.delete_later((age, lane, seq), entry.bytes, behind, now);
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
    }

    /// Joins all claim records into fewer; the old records' seqs are claimed as replaced.
    fn join_claims(&mut self, now: Now) {
        let mut old: Vec<(Age, Seq)> = Vec::new();
        let mut joined: Vec<Claim> = Vec::new();
        for (age, seq) in self.claims.keys().copied().collect::<Vec<_>>() {
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
        let replaced = replaced.map(|&(age, seq)| claims::replaced(age, seq, now.wall));
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
            self.claims_full = true;
            fewer = claims::compact(fewer, true);
        }
        let behind = self.claim(fewer, now);
        for (age, seq) in old {
            if let Some(entry) = self.remove(age, Lane::Event, seq)
                && entry.pending.is_none()
            {
                self.delete_later((age, Lane::Event, seq), entry.bytes, behind, now);
            }
        }
        // What cannot be joined further must not be written again with every record.
        self.join_above = self.claim_bytes.saturating_mul(2);
        self.commit(now, false);
        self.flush_deletes(now);
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
        if !on_disk && large && free && self.works() {
            self.rotate(now);
        }
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
