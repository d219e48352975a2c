//! The rewriting of old records as thinner ones, so that a crash at any moment leaves one of the two.
//!
//! ```text
//! decided ─▶ small file: prepared ─▶ new records + claims, one commit ─▶ small file: done
//!                                                                      ─▶ old ones deleted ─▶ forgotten
//! ```
//! A start finds in the small file how far it had come ([`Pass`]). Prepared: where every new record and
//! every claim is there, the old ones go, else the new ones. Until "done" is durable nobody is given a
//! new record or its claim ([`Mark::Unborn`]), and the old ones have left the index: neither can be
//! stored while it is open which of them counts.

use super::scan::Scan;
use super::{Core, Now};
use crate::book::Mark;
use crate::claims::{self, Loss};
use crate::record::Age;
use crate::store::StoreError;
use crate::tally::{Pass, Stage, Tally};
use crate::value;
use protocols_model::{Claim, Lane, Seq, SeqRange};
use protocols_wire::SealedRecord;

/// What replaces what.
pub(super) struct Rewrite {
    pub(super) lane: Lane,
    pub(super) level: u8,
    pub(super) age: Age,
    pub(super) old: Vec<Seq>,
    /// The old seqs as ranges.
    pub(super) ranges: Vec<(Seq, Seq)>,
    pub(super) new: Vec<SealedRecord>,
    pub(super) claims: Vec<(SealedRecord, Vec<Claim>)>,
}

fn holds(range: (Seq, Seq), seq: Seq) -> bool {
    (range.0..=range.1).contains(&seq)
}

impl Core {
    /// Whether new records of `lane` wait for their first commit.
    pub(super) fn prepares(&self, lane: Lane) -> bool {
        let pass = self.pass.as_ref();
        pass.is_some_and(|pass| pass.lane == lane && pass.stage == Stage::Prepared)
    }

    /// Carries out a rewriting. `false` when the disk failed: what was begun is finished when it works
    /// again, or settled by the next start.
    pub(super) fn rewrite(&mut self, work: Rewrite, now: Now) -> bool {
        let book = self.book();
        let next = |lane, count: usize| {
            let last = book.lane(lane).last;
            (last + 1, last + count as u64)
        };
        let pass = Pass {
            stage: Stage::Prepared,
            lane: work.lane,
            epoch: book.age.epoch,
            new: next(work.lane, work.new.len()),
            claims: next(Lane::Event, work.claims.len()),
            old_epoch: work.age.epoch,
            old: work.ranges,
        };
        self.pass = Some(pass);
        if let Err(error) = self.note_pass() {
            // Nothing of it exists yet.
            self.pass = None;
            self.fail(&error, now);
            return false;
        }
        for record in work.new {
            self.push(work.lane, record, work.level, &[Mark::Unborn], now);
        }
        let marks = [Mark::Claim, Mark::Unborn];
        let behind = self.push_claims(work.claims, &marks, now);
        for seq in work.old {
            if let Some(entry) = self.remove(work.age, work.lane, seq) {
                self.delete_later((work.age, work.lane, seq), entry.bytes(), behind, now);
                if let Some(delete) = self.deletes.last_mut() {
                    delete.of_pass = true;
                }
            }
        }
        if !self.commit(now, true) {
            return false;
        }
        crate::failpoint::hit("spool.thin");
        self.flush_deletes(now);
        self.pass.is_none()
    }

    /// Writes the decision down.
    fn note_pass(&mut self) -> Result<(), StoreError> {
        #[cfg(test)]
        if self.config.mutant == crate::tests::Mutant::PassUnnoted {
            return Ok(());
        }
        self.billed(Self::write_tally)
    }

    /// After a commit: whether the new records and their claims are among what is durable.
    pub(super) fn pass_is_durable(&mut self) {
        let Some(pass) = self.pass.clone().filter(|p| p.stage == Stage::Prepared) else {
            return;
        };
        let waits = |lane, range: (Seq, Seq)| {
            let book = self.books.get(&self.current);
            book.is_some_and(|book| {
                let mut entries = book.lane(lane).entries.range(range.0..=range.1);
                entries.any(|(_, entry)| entry.pending.is_some())
            })
        };
        if !waits(pass.lane, pass.new) && !waits(Lane::Event, pass.claims) {
            self.pass = Some(Pass {
                stage: Stage::Done,
                ..pass
            });
        }
    }

    /// After the small file was written: the new records may be given out once it says "done".
    pub(super) fn pass_is_noted(&mut self) {
        let Some(pass) = self.pass.as_ref().filter(|p| p.stage == Stage::Done) else {
            return;
        };
        let (epoch, lanes) = (
            pass.epoch,
            [(pass.lane, pass.new), (Lane::Event, pass.claims)],
        );
        if epoch != self.current.epoch {
            return;
        }
        for (lane, range) in lanes {
            let book = self.book().lane_mut(lane);
            for (_, entry) in book.entries.range_mut(range.0..=range.1) {
                entry.mark(Mark::Unborn, false);
            }
        }
    }

    /// After deletions: nothing is left to do where all that had to go is gone, and what has to be said of
    /// it is durable.
    pub(super) fn pass_is_over(&mut self) {
        let waits = match self.pass.as_ref().map(|pass| pass.stage) {
            None | Some(Stage::Prepared) => return,
            Some(Stage::Done) => false,
            Some(Stage::Undone) => self.claims_wait(),
        };
        if !waits && !self.deletes.iter().any(|delete| delete.of_pass) {
            self.pass = None;
        }
    }

    /// Brings an earlier rewriting to its end: what is to be said of it may still wait for a commit.
    pub(super) fn finish_pass(&mut self, now: Now) {
        self.flush_deletes(now);
        if self.pass.is_some() && self.commit(now, true) {
            self.flush_deletes(now);
        }
    }

    /// At a start: decides what counts of a rewriting that a crash interrupted.
    pub(super) fn recover_pass(&mut self, tally: Option<&Tally>, scan: &mut Scan) {
        let Some(mut pass) = tally.and_then(|tally| tally.pass.clone()) else {
            return;
        };
        if self.pass.is_some() || pass.epoch == self.current.epoch {
            return;
        }
        if pass.stage == Stage::Prepared {
            let found = scan.found.iter().find(|(age, _)| age.epoch == pass.epoch);
            let there = |lane, range: (Seq, Seq)| {
                found.is_some_and(|(_, found)| {
                    (range.0..=range.1).all(|seq| found.contains_key(&(lane, seq)))
                })
            };
            let whole = there(pass.lane, pass.new) && there(Lane::Event, pass.claims);
            pass.stage = if whole { Stage::Done } else { Stage::Undone };
            tracing::warn!(stage = ?pass.stage, "a thinning was interrupted, settled now");
        }
        if pass.stage == Stage::Undone
            && let Some(explained) = scan.explained.get_mut(&(pass.old_epoch, pass.lane))
        {
            // Its claims go: they say nothing about what is missing.
            let old = pass.old.iter();
            old.filter_map(|&(first, last)| SeqRange::new(first, last))
                .for_each(|range| explained.remove(range));
        }
        self.pass = Some(pass);
    }

    /// Whether a record found on disk has to go because of the interrupted rewriting.
    pub(super) fn pass_drops(&self, age: Age, lane: Lane, seq: Seq) -> bool {
        self.pass.as_ref().is_some_and(|pass| match pass.stage {
            Stage::Prepared => false,
            Stage::Done => {
                let mut old = pass.old.iter();
                (age.epoch, lane) == (pass.old_epoch, pass.lane)
                    && old.any(|&range| holds(range, seq))
            }
            Stage::Undone => {
                age.epoch == pass.epoch
                    && (lane == pass.lane && holds(pass.new, seq)
                        || lane == Lane::Event && holds(pass.claims, seq))
            }
        })
    }

    /// Whether a record found on disk was made by the interrupted rewriting: where the small file does not say
    /// "done" nobody was given it.
    pub(super) fn pass_made(&self, age: Age, lane: Lane, seq: Seq) -> bool {
        self.pass.as_ref().is_some_and(|pass| {
            age.epoch == pass.epoch
                && (lane == pass.lane && holds(pass.new, seq)
                    || lane == Lane::Event && holds(pass.claims, seq))
        })
    }

    /// Deletes a record that [`Self::pass_drops`].
    pub(super) fn drop_for_pass(&mut self, place: (Age, Lane, Seq), bytes: u64, now: Now) {
        let (age, lane, seq) = place;
        let key = value::key(age, seq);
        let tree = crate::store::Tree::Lane(lane);
        let waiting = self
            .deletes
            .iter_mut()
            .find(|d| d.tree == tree && d.key == key);
        if let Some(delete) = waiting {
            delete.of_pass = true;
            return;
        }
        self.delete_later(place, bytes, None, now);
        if let Some(delete) = self.deletes.last_mut() {
            delete.of_pass = true;
        }
    }

    /// The claims for seqs of new records that were undone, where later ones of their lane stayed:
    /// nothing is lost with them, the old records are there.
    pub(super) fn undone_gaps(&self, now: Now) -> Vec<Claim> {
        let Some(pass) = self.pass.as_ref().filter(|p| p.stage == Stage::Undone) else {
            return Vec::new();
        };
        let Some(book) = self
            .books
            .values()
            .find(|book| book.age.epoch == pass.epoch)
        else {
            return Vec::new();
        };
        let gaps = |lane: Lane, range: (Seq, Seq)| -> Vec<Loss> {
            let last = range.1.min(book.lane(lane).durable);
            let seqs = SeqRange::new(range.0, last).map(|r| r.first()..=r.last());
            seqs.into_iter()
                .flatten()
                .map(|seq| claims::replaced(book.age, lane, seq, now.wall))
                .collect()
        };
        let mut losses = gaps(pass.lane, pass.new);
        losses.extend(gaps(Lane::Event, pass.claims));
        claims::join(losses, (now.wall, now.wall))
    }
}
