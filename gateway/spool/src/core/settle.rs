//! Letting go: settled records, refused ones, and epochs that are done with.

use super::{Core, Now, losses_of};
use crate::claims::{self, Loss};
use crate::failpoint;
use crate::record::{Age, SettleOutcome, Settlement};
use crate::tally::{CLOSED_REMEMBERED, Closed};
use protocols_model::{Epoch, Lane, LossReason, RefuseReason, Seq, SeqRange};
use std::collections::BTreeSet;

impl Core {
    /// Lets go what the cloud settled.
    pub(crate) fn settle(&mut self, settlement: &Settlement, now: Now) -> SettleOutcome {
        let lane = settlement.lane;
        let mut outcome = SettleOutcome::default();
        let age = self
            .books
            .keys()
            .copied()
            .find(|age| age.epoch == settlement.epoch);
        let named = || {
            let refused = settlement.refused.iter().map(|&(range, _)| range);
            settlement.stored.ranges().iter().copied().chain(refused)
        };
        let Some(age) = age else {
            if !self.is_closed(settlement.epoch) {
                outcome.unknown = named().fold(0, |sum, range| range.count().saturating_add(sum));
            }
            self.count(outcome);
            return outcome;
        };
        if let Some(book) = self.books.get(&age)
            && (book.clean || age == self.current)
        {
            let last = book.lane(lane).last;
            outcome.unknown = named()
                .filter_map(|range| {
                    SeqRange::new(range.first().max(last.saturating_add(1)), range.last())
                })
                .fold(0, |sum, range| range.count().saturating_add(sum));
        }
        for range in settlement.stored.ranges() {
            for seq in self.held_in(age, lane, *range) {
                let Some(entry) = self.remove(age, lane, seq) else {
                    continue;
                };
                outcome.settled += 1;
                if entry.pending.is_some() {
                    self.counters.settled_in_memory += 1;
                } else {
                    self.delete_later((age, lane, seq), entry.bytes(), None, now);
                }
            }
        }
        for &(range, reason) in &settlement.refused {
            outcome.refused += self.refuse(age, lane, range, reason, now);
        }
        self.count(outcome);
        self.retire(now);
        failpoint::hit("spool.settle");
        outcome
    }

    const fn count(&mut self, outcome: SettleOutcome) {
        let c = &mut self.counters;
        c.settled = c.settled.saturating_add(outcome.settled);
        c.refused = c.refused.saturating_add(outcome.refused);
        c.unknown_settled = c.unknown_settled.saturating_add(outcome.unknown);
    }

    pub(super) fn held_in(&self, age: Age, lane: Lane, range: SeqRange) -> Vec<Seq> {
        let Some(book) = self.books.get(&age) else {
            return Vec::new();
        };
        let held = book.lane(lane).entries.range(range.first()..=range.last());
        held.map(|(&seq, _)| seq).collect()
    }

    /// Sets refused records aside and claims them. A refused claim is only set aside, or two sides that
    /// misunderstand each other would produce claims for ever; but one whose epoch was closed under it
    /// is made again in the running epoch, once.
    fn refuse(
        &mut self,
        age: Age,
        lane: Lane,
        range: SeqRange,
        reason: RefuseReason,
        now: Now,
    ) -> u64 {
        let mut losses = Vec::new();
        let mut gone = Vec::new();
        let mut again = Vec::new();
        let closed = reason == RefuseReason::EpochClosed && age != self.current;
        for seq in self.held_in(age, lane, range) {
            let value = match self.load(age, lane, seq) {
                Ok(value) => value,
                Err(error) => {
                    // Still held: it will be sent, and refused, again.
                    self.fail(&error, now);
                    break;
                }
            };
            gone.push(seq);
            if let Some(value) = &value {
                let name = format!("{}-{lane}-{seq}.{}", age.epoch, reason.as_str());
                self.store.set_aside(&name, &value.body);
                tracing::warn!(epoch = %age.epoch, %lane, seq, reason = reason.as_str(),
                    "record refused by the cloud, set aside");
                if value.claim {
                    if closed {
                        again.extend(claims::open(&value.body).unwrap_or_default());
                    }
                    continue;
                }
            }
            losses.push(Loss {
                age,
                lane,
                seq,
                reason: LossReason::Refused(reason),
                held: value.map(losses_of),
            });
        }
        let behind = match (self.claim(again, now), self.claim_losses(losses, now)) {
            (Some(again), Some(losses)) => SeqRange::new(again.first(), losses.last()),
            (again, losses) => again.or(losses),
        };
        let count = gone.len() as u64;
        for seq in gone {
            if let Some(entry) = self.remove(age, lane, seq)
                && entry.pending.is_none()
            {
                self.delete_later((age, lane, seq), entry.bytes(), behind, now);
            }
        }
        count
    }

    pub(super) fn is_closed(&self, epoch: Epoch) -> bool {
        self.closed.iter().any(|closed| closed.epoch == epoch)
    }

    /// Closes older epochs of which nothing is held and nothing is claimed any more.
    pub(super) fn retire(&mut self, now: Now) {
        let claimed: BTreeSet<Epoch> = self.claims.values().flatten().copied().collect();
        let done: Vec<Age> = self
            .books
            .values()
            .filter(|book| book.age != self.current && book.is_empty())
            .map(|book| book.age)
            .filter(|age| !claimed.contains(&age.epoch))
            .collect();
        for age in done {
            let Some(book) = self.books.remove(&age) else {
                continue;
            };
            self.closed.push(Closed {
                epoch: age.epoch,
                clean: book.clean,
                last: Lane::ALL.map(|lane| book.lane(lane).last),
                from: book.started,
                to: now.wall,
            });
            let excess = self.closed.len().saturating_sub(CLOSED_REMEMBERED);
            self.closed.drain(..excess);
            self.tally_due = true;
        }
    }
}
