//! Settling claims against what is stored (design.md C5). Pure.
//!
//! A seq of a cursor is in exactly one state: open, stored, or lost in exactly one entry. An entry
//! the cloud made itself at a refusal gives way to the gateway's claim, which knows more.

use protocols_model::{Seq, SeqRange, SeqSet};

/// An entry of the ledger, as far as settling looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its row.
    pub(crate) id: i64,
    /// What of it is lost.
    pub(crate) lost: SeqSet,
    /// Made by the cloud at a refusal.
    pub(crate) by_cloud: bool,
}

/// What a claim comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The part that is lost by this claim.
    pub(crate) lost: SeqSet,
    /// The part that is stored: struck from the claim.
    pub(crate) stored: SeqSet,
    /// The part that an earlier claim has already.
    pub(crate) known: SeqSet,
}

/// Settles a claim on `range`. Entries of the cloud lose what the claim takes over; the caller
/// writes back every entry whose `lost` shrank.
pub(crate) fn settle(range: SeqRange, covered: &SeqSet, entries: &mut [Entry]) -> Verdict {
    let mut stored = covered.held_in(range);
    let mut known = SeqSet::new();
    for entry in entries.iter() {
        for &lost in entry.lost.ranges() {
            stored.remove(lost);
        }
        if !entry.by_cloud {
            known.union(&entry.lost.held_in(range));
        }
    }
    let mut lost = SeqSet::from_iter([range]);
    for &part in stored.ranges().iter().chain(known.ranges()) {
        lost.remove(part);
    }
    for entry in entries.iter_mut().filter(|entry| entry.by_cloud) {
        for &part in lost.ranges() {
            entry.lost.remove(part);
        }
    }
    Verdict {
        lost,
        stored,
        known,
    }
}

/// The entry that holds `seq` as lost.
pub(crate) fn holder(entries: &mut [Entry], seq: Seq) -> Option<&mut Entry> {
    entries.iter_mut().find(|entry| entry.lost.contains(seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::seq::SEQ_MAX;

    fn set(ranges: &[(u64, u64)]) -> SeqSet {
        ranges
            .iter()
            .map(|&(a, b)| SeqRange::new(a, b).unwrap())
            .collect()
    }

    #[test]
    fn an_open_ended_claim_takes_everything_that_is_not_stored() {
        let covered = set(&[(1, 4), (6, 7)]);
        let verdict = settle(SeqRange::new(3, SEQ_MAX).unwrap(), &covered, &mut []);
        assert_eq!(verdict.lost, set(&[(5, 5), (8, SEQ_MAX)]));
        assert_eq!(verdict.stored, set(&[(3, 4), (6, 7)]));
    }

    #[test]
    fn what_was_claimed_before_is_not_lost_twice_and_what_the_cloud_entered_is_taken_over() {
        let covered = set(&[(1, 10)]);
        let mut entries = [
            Entry {
                id: 1,
                lost: set(&[(3, 4)]),
                by_cloud: false,
            },
            Entry {
                id: 2,
                lost: set(&[(6, 6), (9, 9)]),
                by_cloud: true,
            },
        ];
        let verdict = settle(SeqRange::new(2, 8).unwrap(), &covered, &mut entries);
        assert_eq!(verdict.lost, set(&[(6, 6)]));
        assert_eq!(verdict.known, set(&[(3, 4)]));
        assert_eq!(verdict.stored, set(&[(2, 2), (5, 5), (7, 8)]));
        assert_eq!(entries[1].lost, set(&[(9, 9)]));
    }
}
