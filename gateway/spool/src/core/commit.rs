//! Writing: commits of due records, deletions, the small file, failure and retry.
//!
//! A commit: values (with the dictionaries they use, and the deletions that are free to go) → one sync
//! of the store → the small file. Only then are the records counted as durable.

use super::{ALARM_SPACING, Core, DELETE_DELAY, Delete, Disk, Now};
use crate::failpoint;
use crate::pace::written_bytes;
use crate::store::{Op, StoreError, Tree};
use crate::tally::Tally;
use crate::value::{self, Value};
use protocols_model::{Instant, Lane, Seq};
use std::time::Duration;

/// Bytes handed to the store at once: bounds what a large commit holds twice.
const APPLY_BYTES: u64 = 512 * 1024;
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// What a commit puts on disk.
struct Taken {
    lane: Lane,
    seq: Seq,
    key: Vec<u8>,
    value: Value,
}

impl Core {
    /// When the oldest pending record of `lane` is due.
    pub(super) fn lane_due(&self, lane: Lane) -> Option<Instant> {
        let book = self.books.get(&self.current)?;
        let (.., oldest) = book.lane(lane).pending().next()?;
        let due = oldest.appended.plus(self.lane_interval(lane));
        if lane == Lane::Alarm {
            // A flood of alarms is written now and then, the first one after a pause at once.
            let spacing = if self.pace.is_stretched() {
                self.pace.interval()
            } else {
                ALARM_SPACING
            };
            let earliest = self.last_commit.map(|last| last.plus(spacing));
            return Some(earliest.map_or(due, |at| at.max(due)));
        }
        Some(due)
    }

    /// How long records of `lane` wait for the disk now.
    pub(super) fn lane_interval(&self, lane: Lane) -> Duration {
        let own = self.config.lanes.of(lane).commit;
        let normal = match (own, lane) {
            (Some(own), _) => own,
            (None, Lane::Alarm) => Duration::ZERO,
            (None, _) => return self.pace.interval(),
        };
        if lane != Lane::Alarm && self.pace.is_stretched() {
            normal.max(self.pace.interval())
        } else {
            normal
        }
    }

    /// The longest that any record waits.
    pub(super) fn longest_interval(&self) -> Duration {
        let lanes = Lane::ALL.into_iter().map(|lane| self.lane_interval(lane));
        lanes.max().unwrap_or_default()
    }

    pub(super) fn commit_due(&self, now: Now) -> bool {
        let due = |lane| self.lane_due(lane).is_some_and(|due| due <= now.mono);
        Lane::ALL.into_iter().any(due)
    }

    /// What goes along with a commit. A flush costs far more than a record in it, so what has waited
    /// for half its interval (a healthy uplink would have settled it by then) goes too; alarms and the
    /// event lane go as a whole, because claims must not be behind the small file.
    fn take(&self, all: bool, now: Now) -> Vec<Taken> {
        let Some(book) = self.books.get(&self.current) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        for lane in Lane::ALL {
            let half = self.lane_interval(lane) / 2;
            // Thinned records go with their claims, or the old ones could leave before them.
            let whole = all || matches!(lane, Lane::Alarm | Lane::Event) || self.prepares(lane);
            let ripe = book
                .lane(lane)
                .pending()
                .take_while(|(.., pending)| whole || now.mono.since(pending.appended) >= half);
            taken.extend(ripe.map(|(seq, entry, pending)| Taken {
                lane,
                seq,
                key: value::key(self.current, seq),
                value: Value {
                    body: pending.body.clone(),
                    summary: pending.summary,
                    dictionaries: entry.names.to_vec(),
                    claim: entry.claim(),
                    level: entry.level,
                },
            }));
        }
        taken
    }

    /// Writes what is due, or everything. Says whether all of it is durable now.
    pub(super) fn commit(&mut self, now: Now, all: bool) -> bool {
        if !self.works() {
            return false;
        }
        let taken = self.take(all, now);
        match self.billed(|core| core.try_commit(&taken, now)) {
            Ok(()) => {
                self.last_commit = Some(now.mono);
                self.counters.commits += 1;
                self.pace.committed(std::mem::take(&mut self.unbilled));
                true
            }
            Err(error) => {
                self.counters.failed_commits += 1;
                self.fail(&error, now);
                false
            }
        }
    }

    /// Counts what `work` makes the system write.
    pub(super) fn billed<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = written_bytes();
        let done = work(self);
        if let Some((before, after)) = before.zip(written_bytes()) {
            let bytes = after.saturating_sub(before);
            self.counters.flash_bytes = self.counters.flash_bytes.saturating_add(bytes);
            self.unbilled = self.unbilled.saturating_add(bytes);
        }
        done
    }

    fn try_commit(&mut self, taken: &[Taken], now: Now) -> Result<(), StoreError> {
        // Not only of what is taken: a store that was opened again may have lost one.
        let used = self.dictionaries.used();
        let needed: Vec<_> = self.dictionaries.not_on_disk(used).collect();
        let mut ops: Vec<Op> = needed
            .iter()
            .map(|(name, bytes)| Op::Put(Tree::Dictionaries, name.0.to_vec(), bytes.to_vec()))
            .collect();
        let mut sizes = Vec::with_capacity(taken.len());
        let mut waiting = 0;
        for record in taken {
            let bytes = value::encode(record.lane, &record.key, &record.value);
            let size = (record.key.len() + bytes.len()) as u64;
            sizes.push(size);
            waiting += size;
            self.counters.committed_bytes = self.counters.committed_bytes.saturating_add(size);
            ops.push(Op::Put(Tree::Lane(record.lane), record.key.clone(), bytes));
            if waiting >= APPLY_BYTES {
                self.store.apply(std::mem::take(&mut ops))?;
                waiting = 0;
            }
        }
        self.store.apply(ops)?;
        failpoint::hit("spool.commit");
        let deleted = self.apply_deletes()?;
        self.store.sync()?;
        failpoint::hit("spool.committed");
        for (name, _) in needed {
            self.dictionaries.set_on_disk(name);
        }
        for (record, size) in taken.iter().zip(sizes) {
            self.mark_durable(record.lane, record.seq, size);
        }
        self.forget_deleted(&deleted);
        self.pass_is_durable();
        self.note_durable(now);
        self.write_tally()
    }

    fn mark_durable(&mut self, lane: Lane, seq: Seq, size: u64) {
        let book = self.book().lane_mut(lane);
        book.durable = book.durable.max(seq);
        let Some(entry) = book.entries.get_mut(&seq) else {
            return;
        };
        let Some(pending) = entry.pending.take() else {
            return;
        };
        let (counted, claim) = (entry.bytes(), entry.claim());
        entry.set_bytes(size);
        self.memory_used = self.memory_used.saturating_sub(counted);
        self.memory_readings = self.memory_readings.saturating_sub(pending.readings());
        self.disk_used += size;
        let room = self.room_of(lane, claim);
        *room = room.saturating_sub(counted) + size;
    }

    /// Takes the state of the books into what the small file will say.
    fn note_durable(&mut self, now: Now) {
        let current = self.current;
        self.generation_noted = self.generation;
        for book in self.books.values_mut() {
            if book.age == current {
                book.durable_at = now.wall;
            }
            for lane in Lane::ALL {
                let lane = book.lane_mut(lane);
                lane.tally = lane.to_tally();
            }
        }
    }

    /// Writes the small file.
    pub(super) fn write_tally(&mut self) -> Result<(), StoreError> {
        let mut epochs: Vec<_> = self.books.values().map(|book| book.to_tally()).collect();
        for epoch in &mut epochs {
            for (lane, tally) in Lane::ALL.into_iter().zip(&mut epoch.lanes) {
                // Nobody kept count of what was given: the next start may rewrite none of it.
                if !self.is_rewritten(lane) {
                    tally.sent = None;
                }
            }
        }
        let tally = Tally {
            epochs,
            closed: self.closed.clone(),
            generation: self.generation_noted,
            pass: self.pass.clone(),
        };
        self.store.write_tally(&tally.encode())?;
        self.tally_due = false;
        self.pass_is_noted();
        Ok(())
    }

    /// Whether the claims a deletion waits for are durable or settled.
    pub(super) fn is_free(&self, delete: &Delete) -> bool {
        let Some(range) = delete.behind else {
            return true;
        };
        let Some(book) = self.books.get(&self.current) else {
            return false;
        };
        let claims = book
            .lane(Lane::Event)
            .entries
            .range(range.first()..=range.last());
        !claims.into_iter().any(|(_, entry)| entry.pending.is_some())
    }

    /// Hands the deletions that are free to the store; says which of them went.
    fn apply_deletes(&mut self) -> Result<Vec<bool>, StoreError> {
        let free: Vec<bool> = self
            .deletes
            .iter()
            .map(|delete| self.is_free(delete))
            .collect();
        let going = self.deletes.iter().zip(&free).filter(|(_, free)| **free);
        let mut ops: Vec<Op> = going
            .map(|(delete, _)| Op::Delete(delete.tree, delete.key.clone()))
            .collect();
        let unused = self.dictionaries.take_unused_on_disk();
        let unused = unused
            .into_iter()
            .map(|name| Op::Delete(Tree::Dictionaries, name.0.to_vec()));
        ops.extend(unused);
        if !ops.is_empty() {
            self.store.apply(ops)?;
            failpoint::hit("spool.delete");
        }
        Ok(free)
    }

    fn forget_deleted(&mut self, gone: &[bool]) {
        let mut gone = gone.iter();
        let mut freed = 0_u64;
        self.deletes.retain(|delete| {
            let went = gone.next().copied().unwrap_or(false);
            if went {
                freed += delete.bytes;
            }
            !went
        });
        self.deleting = self.deleting.saturating_sub(freed);
        self.disk_used = self.disk_used.saturating_sub(freed);
        if self.deletes.is_empty() {
            self.deletes_since = None;
        }
        self.pass_is_over();
    }

    /// Deletes from disk what may go, and writes the small file.
    pub(super) fn flush_deletes(&mut self, now: Now) {
        if !self.works() {
            return;
        }
        if let Err(error) = self.billed(|core| core.try_flush_deletes(now)) {
            self.fail(&error, now);
        }
    }

    fn try_flush_deletes(&mut self, now: Now) -> Result<(), StoreError> {
        let free = self.deletes.iter().any(|delete| self.is_free(delete));
        if free {
            let gone = self.apply_deletes()?;
            self.store.sync()?;
            self.forget_deleted(&gone);
            // While claims wait in memory the small file must go on saying what they speak of.
            if !self.claims_wait() {
                self.note_on_disk();
            }
        }
        if !self.deletes.is_empty() {
            // The rest waits for its claims: look again after a while, not at once.
            self.deletes_since = Some(now.mono);
        }
        if free || self.tally_due {
            self.write_tally()?;
        }
        Ok(())
    }

    pub(super) fn claims_wait(&self) -> bool {
        let current = self.books.get(&self.current);
        current.is_some_and(|book| {
            let mut pending = book.lane(Lane::Event).pending();
            pending.any(|(_, entry, _)| entry.claim())
        })
    }

    /// Takes into the small file which records are on disk, but not how far the lanes have come: that
    /// is only true together with a commit of the claims.
    fn note_on_disk(&mut self) {
        for book in self.books.values_mut() {
            for lane in Lane::ALL {
                let lane = book.lane_mut(lane);
                let last = lane.tally.last;
                let mut tally = lane.to_tally();
                tally.last = last;
                lane.tally = tally;
            }
        }
    }

    /// The store failed: from here on in memory, until opening it again works.
    pub(super) fn fail(&mut self, error: &StoreError, now: Now) {
        let pause = match &self.disk {
            Disk::Works => RETRY_FIRST,
            Disk::Fails { pause, .. } => (*pause * 2).min(RETRY_MOST),
        };
        let why = match error {
            StoreError::Io { doing, source } => format!("{doing}: {source}"),
            other => other.to_string(),
        };
        tracing::error!(why, retry_in = ?pause, "the spool's disk cannot be used, running in memory");
        self.store.close();
        self.disk = Disk::Fails {
            why,
            retry_at: now.mono.plus(pause),
            pause,
        };
    }

    /// Writes everything and, where everything that was read is `complete` here, marks the epoch as
    /// cleanly ended. `false` when that was not possible.
    pub(crate) fn stop(&mut self, complete: bool, now: Now) -> bool {
        if !self.works() {
            self.reopen(now);
        }
        let written = self.commit(now, true);
        if written {
            // Deletions whose claims became durable just now.
            self.deletes_since = Some(Instant::default());
            self.flush_deletes(now.later(DELETE_DELAY));
        }
        let written = written && self.works();
        let done = written && (!complete || self.try_mark_clean(now));
        self.store.close();
        done
    }

    fn try_mark_clean(&mut self, now: Now) -> bool {
        self.note_durable(now);
        self.book().clean = true;
        match self.write_tally() {
            Ok(()) => true,
            Err(error) => {
                self.book().clean = false;
                self.fail(&error, now);
                false
            }
        }
    }
}

impl Now {
    const fn later(self, span: Duration) -> Self {
        Self {
            mono: self.mono.plus(span),
            wall: self.wall,
        }
    }
}
