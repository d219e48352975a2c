//! Starting and starting again: what the disk holds against what it should hold.
//!
//! A start draws an epoch, makes it durable in the small file, and claims for every earlier epoch what
//! is gone: its crash tail after an unclean stop, records that do not match their checksum, and records
//! that the small file says were on disk but are neither there nor set free. The same comparison runs
//! when a store that failed opens again. Nothing here can fail: a store that cannot be read is set
//! aside, a disk that cannot be used leaves the core in memory mode.

use super::scan::{Found, Scan, open_and_read};
use super::{Core, Disk, HOUSEKEEPING, Now};
use crate::book::{Entry, EpochBook, Mark};
use crate::config::SpoolConfig;
use crate::dictionaries::Dictionaries;
use crate::failpoint;
use crate::pace::Pace;
use crate::record::Age;
use crate::report::{EpochFound, OpenReport};
use crate::state::SpoolCounters;
use crate::store::{Opened, SpoolStore, Tree};
use crate::tally::Tally;
use crate::value;
use protocols_model::seq::SEQ_MAX;
use protocols_model::{BootId, Claim, Epoch, Lane, LossReason, Seq, SeqRange, SeqSet};
use std::collections::{BTreeMap, BTreeSet};

/// First upper bound of an epoch's crash tail, in readings; raised as needed.
const AT_MOST_FIRST: u64 = 4096;
/// Ordinal of an epoch whose predecessors cannot be read now, plus the clock in milliseconds: they
/// must sort before it.
const ORDINAL_UNREAD: u64 = 1 << 40;

impl Core {
    /// Opens the spool under a new `epoch`. The epoch is durable when this returns, if the disk can be
    /// used at all.
    pub(crate) fn start(
        config: SpoolConfig,
        boot: BootId,
        mut store: Box<dyn SpoolStore>,
        epoch: Epoch,
        now: Now,
    ) -> (Self, OpenReport) {
        let read = open_and_read(&mut *store);
        let tally = Tally::newest(&store.read_tally());
        let listed = tally.iter().flat_map(|t| &t.epochs).map(|e| e.age.ordinal);
        let found = read
            .iter()
            .flat_map(|(_, scan)| scan.found.keys())
            .map(|age| age.ordinal);
        let newest = listed.chain(found).max();
        let unread = match &read {
            Ok(_) => 1,
            Err(_) => ORDINAL_UNREAD + u64::try_from(now.wall.as_millis()).unwrap_or(0),
        };
        let current = Age {
            ordinal: newest.map_or(unread, |newest| newest.saturating_add(1)),
            epoch,
        };
        let mut book = EpochBook::new(current, now.wall);
        let before = tally.as_ref().and_then(|t| t.epochs.last()?.at_most);
        book.at_most = Some(before.unwrap_or(0).max(AT_MOST_FIRST));
        book.batch_age = config.batch_age;
        let mut core = Self {
            pace: Pace::new(
                config.commit_interval,
                config.max_commit_interval,
                config.max_write_per_day,
            ),
            config,
            boot,
            store,
            disk: Disk::Works,
            books: BTreeMap::from([(current, book)]),
            current,
            unread: read.is_err(),
            closed: Vec::new(),
            generation: tally.as_ref().and_then(|t| t.generation),
            generation_noted: tally.as_ref().and_then(|t| t.generation),
            dictionaries: Dictionaries::default(),
            claims: BTreeMap::new(),
            deletes: Vec::new(),
            deletes_since: None,
            deleting: 0,
            disk_used: 0,
            memory_used: 0,
            memory_readings: 0,
            claim_bytes: 0,
            lane_bytes: [0; 4],
            join_above: 0,
            unbilled: 0,
            last_commit: None,
            tally_due: false,
            growth_cap: None,
            disk_size: None,
            compacted_to: 0,
            housekeeping_at: now.mono.plus(HOUSEKEEPING),
            at_bound: false,
            relieving: false,
            thinning: false,
            refusing: false,
            pass: None,
            let_go: Default::default(),
            coarsest: [0; 4],
            claims_full: false,
            counters: SpoolCounters::default(),
        };
        let mut report = OpenReport::default();
        match read {
            Ok((opened, scan)) => {
                #[cfg(test)]
                core.reuse_seqs(tally.as_ref());
                core.take_over(opened, scan, tally, &mut report, now);
            }
            Err(error) => {
                // What the small file lists stays listed: the cloud must not close it meanwhile.
                core.list_epochs(tally, &BTreeMap::new(), &[], now);
                core.fail(&error, now);
            }
        }
        core.measure(now);
        report.disk_unusable = core.disk_trouble();
        (core, report)
    }

    /// Opens a store again that failed.
    pub(super) fn reopen(&mut self, now: Now) {
        self.store.close();
        match open_and_read(&mut *self.store) {
            Ok((opened, scan)) => {
                self.disk = Disk::Works;
                let tally = Tally::newest(&self.store.read_tally());
                self.dictionaries.forget_disk();
                let mut report = OpenReport::default();
                self.take_over(opened, scan, tally, &mut report, now);
                tracing::warn!(?report, "the spool's disk was opened again");
            }
            Err(error) => self.fail(&error, now),
        }
    }

    /// Compares what the disk holds with what it should hold, makes the running epoch durable and
    /// claims what is gone.
    fn take_over(
        &mut self,
        opened: Opened,
        mut scan: Scan,
        tally: Option<Tally>,
        report: &mut OpenReport,
        now: Now,
    ) {
        let quarantined = opened.quarantined.is_some();
        self.unread = false;
        self.counters.quarantined_stores += u64::from(quarantined);
        report.notes = opened.notes;
        report.quarantined = opened.quarantined;
        for (name, bytes) in &scan.copies {
            self.store.set_aside(name, bytes);
        }
        for dictionary in std::mem::take(&mut scan.dictionaries) {
            self.dictionaries.keep(dictionary, true);
        }
        self.recover_pass(tally.as_ref(), &mut scan);
        let new = self.list_epochs(tally, &scan.found, &scan.damaged, now);
        let reason = if quarantined {
            LossReason::Quarantined
        } else {
            LossReason::Damaged
        };
        let mut gone = Vec::new();
        // Whether claims may be among what is lost.
        let mut doubtful =
            quarantined || scan.damaged.iter().any(|&(_, lane, _)| lane == Lane::Event);
        for age in self.books.keys().copied().collect::<Vec<_>>() {
            for (lane, mut set) in self.expected_on_disk(age, new.contains(&age)) {
                let explained = scan.explained.get(&(age.epoch, lane));
                let explained = explained.into_iter().flat_map(SeqSet::ranges);
                for &range in scan.seqs(age, lane).ranges().iter().chain(explained) {
                    set.remove(range);
                }
                doubtful |= lane == Lane::Event && !set.is_empty();
                gone.extend(self.forget_gone(age, lane, &set, reason));
            }
        }
        for book in self.books.values_mut() {
            book.unread = false;
        }
        let damaged: BTreeSet<_> = scan.damaged.iter().copied().collect();
        for (age, records) in scan.found {
            for ((lane, seq), found) in records {
                report.records += 1;
                report.bytes += found.bytes;
                self.adopt((age, lane, seq), found, new.contains(&age), now);
            }
        }
        self.claims
            .extend(scan.claims.into_iter().filter(|((age, seq), _)| {
                let book = self.books.get(age);
                book.is_some_and(|book| book.lane(Lane::Event).entries.contains_key(seq))
            }));
        if doubtful {
            gone = self.claim_all_gaps(reason, now);
        }
        for age in &new {
            if !doubtful && !scan.tails.contains(&age.epoch) {
                gone.extend(self.crash_tail(*age, now));
            }
        }
        let undone = self.undone_gaps(now);
        if undone.is_empty() {
            self.pass_is_over();
        }
        gone.extend(undone);
        failpoint::hit("spool.open");
        if let Err(error) = self.write_tally() {
            self.fail(&error, now);
        }
        self.report_epochs(report, &new, &gone);
        self.claim(gone, now);
        self.claim_damaged(damaged.into_iter().collect(), now);
        self.recount();
        self.merge_epochs(now);
        self.retire(now);
    }

    /// Lists the epochs of earlier processes; returns those whose records are not in the index yet.
    fn list_epochs(
        &mut self,
        tally: Option<Tally>,
        found: &BTreeMap<Age, BTreeMap<(Lane, Seq), Found>>,
        damaged: &[(Age, Lane, Seq)],
        now: Now,
    ) -> BTreeSet<Age> {
        let tally = tally.unwrap_or_default();
        for closed in tally.closed {
            if !self.is_closed(closed.epoch) {
                self.closed.push(closed);
            }
        }
        for epoch in tally.epochs {
            let known = self.books.keys().any(|age| age.epoch == epoch.age.epoch);
            if !known && !self.is_closed(epoch.age.epoch) {
                let mut book = EpochBook::from_tally(&epoch);
                book.ended = book.ended.or((!book.clean).then_some(now.wall));
                self.books.insert(book.age, book);
            }
        }
        let on_disk = found.keys().chain(damaged.iter().map(|(age, ..)| age));
        for &age in on_disk {
            if self.books.contains_key(&age) || self.is_closed(age.epoch) {
                continue;
            }
            // The small file does not know it: what the records say is all there is.
            let records = found.get(&age);
            let spans = || records.iter().flat_map(|r| r.values()).map(|f| f.summary);
            let first = spans().map(|s| s.first).min().unwrap_or(now.wall);
            let mut book = EpochBook::new(age, first);
            book.durable_at = spans().map(|s| s.last).max().unwrap_or(first);
            book.ended = Some(now.wall);
            book.unread = true;
            self.books.insert(age, book);
        }
        let unread = self.books.values().filter(|book| book.unread);
        unread.map(|book| book.age).collect()
    }

    /// What should be on disk of an epoch: as the small file says for one of an earlier process, as
    /// the index says for one that this process knows.
    fn expected_on_disk(&self, age: Age, new: bool) -> Vec<(Lane, SeqSet)> {
        let Some(book) = self.books.get(&age) else {
            return Vec::new();
        };
        let set = |lane| {
            let lane_book = book.lane(lane);
            if new {
                return lane_book.tally.set();
            }
            let on_disk = lane_book
                .entries
                .iter()
                .filter(|(_, e)| e.pending.is_none());
            on_disk.filter_map(|(&seq, _)| SeqRange::one(seq)).collect()
        };
        Lane::ALL
            .into_iter()
            .map(|lane| (lane, set(lane)))
            .collect()
    }

    /// Forgets what should be on disk and is not; the claims for it.
    fn forget_gone(
        &mut self,
        age: Age,
        lane: Lane,
        gone: &SeqSet,
        reason: LossReason,
    ) -> Vec<Claim> {
        let mut claims = Vec::new();
        for &range in gone.ranges() {
            tracing::error!(epoch = %age.epoch, %lane, ?range, reason = reason.as_str(),
                "records are gone from the spool, claimed");
            self.counters.damaged_records =
                self.counters.damaged_records.saturating_add(range.count());
            for seq in self.held_in(age, lane, range) {
                self.remove(age, lane, seq);
            }
            claims.extend(self.gap(age, lane, range, reason));
        }
        claims
    }

    /// The claim for a range of which nothing more is known.
    fn gap(&self, age: Age, lane: Lane, range: SeqRange, reason: LossReason) -> Option<Claim> {
        let book = self.books.get(&age)?;
        let from = book.started.minus(self.config.batch_age);
        Some(Claim {
            epoch: age.epoch,
            lane,
            range,
            reason,
            from,
            to: book.durable_at.max(from),
            readings: None,
            at_most: None,
            points: Vec::new(),
        })
    }

    /// Claims everything that is not held, of every open epoch: what remains to be done when claims
    /// themselves are lost, and nobody knows what they said. The cloud strikes what it has.
    pub(super) fn claim_all_gaps(&self, reason: LossReason, now: Now) -> Vec<Claim> {
        let mut claims = Vec::new();
        for book in self.books.values() {
            if book.age != self.current {
                claims.extend(self.crash_tail(book.age, now));
            }
            for lane in Lane::ALL {
                let lane_book = book.lane(lane);
                let held = lane_book.entries.keys().copied();
                let held: SeqSet = held.filter_map(SeqRange::one).collect();
                let Some(appended) = SeqRange::new(1, lane_book.last) else {
                    continue;
                };
                let gaps = held.missing_in(appended);
                let gaps = gaps.ranges().iter();
                claims.extend(gaps.filter_map(|&gap| self.gap(book.age, lane, gap, reason)));
            }
        }
        claims
    }

    /// Takes a record on disk into the index, or lets it go when it was settled before.
    fn adopt(&mut self, place: (Age, Lane, Seq), found: Found, new: bool, now: Now) {
        let (age, lane, seq) = place;
        let held = |book: &EpochBook| book.lane(lane).entries.contains_key(&seq);
        if self.books.get(&age).is_some_and(held) {
            return;
        }
        if self.pass_drops(age, lane, seq) {
            return self.drop_for_pass(place, found.bytes, now);
        }
        let queued = value::key(age, seq);
        let known = self.books.contains_key(&age) && new;
        if !known {
            let waits =
                |delete: &super::Delete| delete.tree == Tree::Lane(lane) && delete.key == queued;
            if !self.deletes.iter().any(waits) {
                self.delete_later((age, lane, seq), found.bytes, None, now);
            }
            return;
        }
        let unborn = self.pass_made(age, lane, seq);
        let names = self.dictionaries.use_list(found.names);
        let place = usize::from(lane.to_index());
        if let Some(coarsest) = self.coarsest.get_mut(place) {
            *coarsest = (*coarsest).max(found.level);
        }
        if let Some(book) = self.books.get_mut(&age) {
            let book = book.lane_mut(lane);
            book.last = book.last.max(seq);
            book.durable = book.durable.max(seq);
            let mut entry = Entry::new(found.bytes, found.level, names, None);
            entry.mark(Mark::Claim, found.claim);
            entry.mark(Mark::Handed, book.tally.may_be_sent(seq, unborn));
            book.entries.insert(seq, entry);
        }
    }

    /// The claims for what an unclean stop took along, lane by lane.
    fn crash_tail(&self, age: Age, now: Now) -> Vec<Claim> {
        let Some(book) = self.books.get(&age).filter(|book| !book.clean) else {
            return Vec::new();
        };
        // The configuration of today may hold readings back for less than the one that crashed.
        let batch_age = self.config.batch_age.max(book.batch_age);
        let window = batch_age + self.config.longest_commit();
        let from = book.durable_at.minus(window);
        let to = book.ended.unwrap_or(now.wall).max(from);
        let tail = |lane| {
            Some(Claim {
                epoch: age.epoch,
                lane,
                range: SeqRange::new(book.lane(lane).durable.checked_add(1)?, SEQ_MAX)?,
                reason: LossReason::CrashTail,
                from,
                to,
                readings: None,
                at_most: book.at_most,
                points: Vec::new(),
            })
        };
        Lane::ALL.into_iter().filter_map(tail).collect()
    }

    fn report_epochs(&self, report: &mut OpenReport, new: &BTreeSet<Age>, gone: &[Claim]) {
        for age in new {
            let Some(book) = self.books.get(age) else {
                continue;
            };
            let claimed = gone.iter().filter(|claim| claim.epoch == age.epoch);
            let claimed: BTreeSet<_> = claimed.map(|claim| claim.lane).collect();
            report.epochs.push(EpochFound {
                epoch: age.epoch,
                clean: book.clean,
                records: book.records(),
                claimed: claimed.into_iter().collect(),
            });
        }
    }

    /// Counts the bytes anew from the index.
    fn recount(&mut self) {
        let mut disk = self.deleting;
        let mut claims = 0;
        let mut lanes = [0; 4];
        for book in self.books.values() {
            for lane in Lane::ALL {
                for entry in book.lane(lane).entries.values() {
                    if entry.pending.is_none() {
                        disk += entry.bytes();
                    }
                    if entry.claim() {
                        claims += entry.bytes();
                    } else if let Some(sum) = lanes.get_mut(usize::from(lane.to_index())) {
                        *sum += entry.bytes();
                    }
                }
            }
        }
        self.disk_used = disk;
        self.claim_bytes = claims;
        self.lane_bytes = lanes;
    }

    /// The planted fault: go on counting in the last epoch instead of drawing a new one.
    #[cfg(test)]
    fn reuse_seqs(&mut self, tally: Option<&Tally>) {
        let last = tally.and_then(|tally| tally.epochs.last());
        if self.config.mutant != crate::tests::Mutant::SeqReused {
            return;
        }
        if let Some(last) = last {
            self.books.clear();
            self.current = last.age;
            self.books.insert(last.age, EpochBook::from_tally(last));
        }
    }
}
