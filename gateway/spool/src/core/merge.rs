//! Too many epochs: the oldest are given up, and one claim a lane speaks for all of them.
//!
//! Every unclean start leaves an open epoch: its crash tail is claimed, and the claim waits for the
//! cloud. A gateway that crashes again and again while it is offline would list more and more of them
//! in the small file, which is written with every commit, and in its hellos. Above [`MAX_EPOCHS`] the
//! oldest ones are evicted as a whole. What they held and what was claimed of them becomes an upper
//! bound over the whole time, claimed of the oldest of them; the others are done with.

use super::{Core, Now, losses_of};
use crate::claims;
use crate::record::Age;
use protocols_model::seq::SEQ_MAX;
use protocols_model::{Claim, Epoch, Lane, LossReason, Seq, SeqRange, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Most open epochs; fewer in tests, which crash at every step. The cloud keeps eight times as many
/// open per gateway.
pub(crate) const MAX_EPOCHS: usize = if cfg!(test) { 96 } else { 512 };
/// How many stay: many are merged at once, because each time writes.
const KEPT_EPOCHS: usize = MAX_EPOCHS / 4 * 3;

/// What is lost of one lane of all merged epochs.
#[derive(Debug, Clone, Copy)]
struct Sum {
    from: Timestamp,
    to: Timestamp,
    /// `None`: nobody knows.
    at_most: Option<u64>,
}

/// What the merged epochs come to.
#[derive(Debug, Default)]
struct Merged {
    sums: BTreeMap<Lane, Sum>,
    /// Claims about epochs that stay.
    kept: Vec<Claim>,
}

impl Merged {
    fn add(&mut self, lane: Lane, other: Sum) {
        let sum = self.sums.entry(lane).or_insert(Sum {
            at_most: Some(0),
            ..other
        });
        sum.from = sum.from.min(other.from);
        sum.to = sum.to.max(other.to);
        sum.at_most = sum
            .at_most
            .zip(other.at_most)
            .map(|(a, b)| a.saturating_add(b));
    }

    fn take_claims(&mut self, claims: Vec<Claim>, epochs: &BTreeSet<Epoch>) {
        for claim in claims {
            if epochs.contains(&claim.epoch) {
                let sum = Sum {
                    from: claim.from,
                    to: claim.to,
                    at_most: claim.readings.or(claim.at_most),
                };
                self.add(claim.lane, sum);
            } else {
                self.kept.push(claim);
            }
        }
    }

    /// The claims to make now; `oldest` stands for all that were merged.
    fn into_claims(self, oldest: Epoch) -> impl Iterator<Item = Claim> {
        let merged = self.sums.into_iter().filter_map(move |(lane, sum)| {
            Some(Claim {
                epoch: oldest,
                lane,
                // Whatever the cloud has of the oldest epoch it strikes.
                range: SeqRange::new(1, SEQ_MAX)?,
                reason: LossReason::Evicted,
                from: sum.from,
                to: sum.to,
                readings: None,
                at_most: sum.at_most,
                points: Vec::new(),
            })
        });
        self.kept.into_iter().chain(merged)
    }
}

impl Core {
    /// Gives up the oldest epochs where there are too many.
    pub(super) fn merge_epochs(&mut self, now: Now) {
        // While records are rewritten they are in two epochs; the next start comes back to this.
        if self.books.len() <= MAX_EPOCHS || self.pass.is_some() {
            return;
        }
        let excess = self.books.len() - KEPT_EPOCHS;
        let older = self.books.keys().copied();
        let older = older.filter(|age| *age != self.current);
        let old: Vec<Age> = older.take(excess).collect();
        let Some(oldest) = old.first().map(|age| age.epoch) else {
            return;
        };
        let epochs: BTreeSet<Epoch> = old.iter().map(|age| age.epoch).collect();
        let places = self.touched_by(&old, &epochs);
        let mut merged = Merged::default();
        for &(age, lane, seq) in &places {
            let value = match self.load(age, lane, seq) {
                Ok(value) => value,
                Err(error) => return self.fail(&error, now),
            };
            let claims = value.as_ref().filter(|value| value.claim);
            if let Some(claims) = claims.and_then(|value| claims::open(&value.body)) {
                merged.take_claims(claims, &epochs);
            } else {
                let held = value.map(|value| losses_of(value).0);
                let started = self.books.get(&age).map_or(now.wall, |book| book.started);
                let sum = Sum {
                    from: held.map_or(started, |held| held.first),
                    to: held.map_or(now.wall, |held| held.last),
                    at_most: held.map(|held| held.readings),
                };
                merged.add(lane, sum);
                self.counters.evicted_records += 1;
                self.counters.evicted_readings += held.map_or(0, |held| held.readings);
            }
        }
        tracing::warn!(
            epochs = epochs.len(),
            records = places.len(),
            "too many starts without the cloud: the oldest epochs are given up and claimed together"
        );
        let elsewhere = places
            .iter()
            .filter(|(age, ..)| !epochs.contains(&age.epoch));
        let replaced =
            elsewhere.map(|&(age, lane, seq)| claims::replaced(age, lane, seq, now.wall));
        let mut claims = claims::join(replaced.collect(), (now.wall, now.wall));
        claims.extend(merged.into_claims(oldest));
        let behind = self.claim(claims, now);
        for (age, lane, seq) in places {
            if let Some(entry) = self.remove(age, lane, seq)
                && entry.pending.is_none()
            {
                self.delete_later((age, lane, seq), entry.bytes(), behind, now);
            }
        }
        if self.commit(now, false) {
            self.flush_deletes(now);
        }
    }

    /// Everything that the epochs hold, and the claims about them elsewhere.
    fn touched_by(&self, old: &[Age], epochs: &BTreeSet<Epoch>) -> Vec<(Age, Lane, Seq)> {
        let held = old.iter().filter_map(|age| self.books.get(age));
        let held = held.flat_map(|book| {
            Lane::ALL.into_iter().flat_map(move |lane| {
                let seqs = book.lane(lane).entries.keys();
                seqs.map(move |&seq| (book.age, lane, seq))
            })
        });
        let about = self
            .claims
            .iter()
            .filter(|((age, _), named)| !epochs.contains(&age.epoch) && !named.is_disjoint(epochs));
        let about = about.map(|(&(age, seq), _)| (age, Lane::Event, seq));
        held.chain(about).collect()
    }
}
