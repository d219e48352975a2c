//! Identity of records and the arithmetic of "which of them": epoch, seq, ranges, sets.
//!
//! A record is named by `(gateway, epoch, lane, seq)` (design.md C1). Seqs of one epoch and lane
//! count 1, 2, 3 … without gaps. What is settled, sent, lost or held is always a [`SeqSet`]; sets
//! are united, so an old message can never shrink what a newer one said.

use std::fmt;

/// One run of the gateway process: 64 random bits, synced to disk before the first publish.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Reads the 16 hexadecimal digits that [`fmt::Display`] writes.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        (text.len() == 16)
            .then(|| u64::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

/// Number of a record within its epoch and lane, counted from 1.
pub type Seq = u64;

/// The largest seq; as the end of a claim it means "up to whatever was appended last".
pub const SEQ_MAX: Seq = Seq::MAX;

/// The identity of a record within its gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The process run that appended it.
    pub epoch: Epoch,
    /// The lane it travels in.
    pub lane: crate::Lane,
    /// Its number in that epoch and lane, from 1.
    pub seq: Seq,
}

/// A run of consecutive seqs, both ends included; never empty, never holding 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqRange {
    first: Seq,
    last: Seq,
}

impl SeqRange {
    /// The range `first..=last`; `None` when it would be empty or hold 0.
    #[must_use]
    pub const fn new(first: Seq, last: Seq) -> Option<Self> {
        if first == 0 || first > last {
            None
        } else {
            Some(Self { first, last })
        }
    }

    /// The range of one seq; `None` for 0.
    #[must_use]
    pub const fn one(seq: Seq) -> Option<Self> {
        Self::new(seq, seq)
    }

    /// Lowest seq in the range.
    #[must_use]
    pub const fn first(self) -> Seq {
        self.first
    }

    /// Highest seq in the range.
    #[must_use]
    pub const fn last(self) -> Seq {
        self.last
    }

    /// How many seqs the range holds.
    #[must_use]
    pub const fn count(self) -> u64 {
        // A range never holds 0, so the count of 1..=u64::MAX still fits.
        self.last - self.first + 1
    }

    /// Whether the range holds `seq`.
    #[must_use]
    pub const fn contains(self, seq: Seq) -> bool {
        self.first <= seq && seq <= self.last
    }
}

impl fmt::Debug for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A set of seqs as sorted ranges that neither overlap nor touch.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct SeqSet {
    ranges: Vec<SeqRange>,
}

impl SeqSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[SeqRange] {
        &self.ranges
    }

    /// Whether the set holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many seqs the set holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.count()).sum()
    }

    /// Highest contiguous seq from 1: everything up to it is in the set. 0 when 1 is missing.
    #[must_use]
    pub fn watermark(&self) -> Seq {
        match self.ranges.first() {
            Some(range) if range.first == 1 => range.last,
            _ => 0,
        }
    }

    /// Highest seq in the set, 0 when empty.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.ranges.last().map_or(0, |range| range.last)
    }

    /// Whether the set holds `seq`.
    #[must_use]
    pub fn contains(&self, seq: Seq) -> bool {
        let after = self.ranges.partition_point(|range| range.first <= seq);
        after
            .checked_sub(1)
            .and_then(|i| self.ranges.get(i))
            .is_some_and(|r| r.contains(seq))
    }

    /// Whether the set holds all of `range`.
    #[must_use]
    pub fn contains_range(&self, range: SeqRange) -> bool {
        let after = self
            .ranges
            .partition_point(|held| held.first <= range.first);
        after
            .checked_sub(1)
            .and_then(|i| self.ranges.get(i))
            .is_some_and(|held| held.last >= range.last)
    }

    /// Adds `range`, joining what it overlaps or touches.
    pub fn insert(&mut self, range: SeqRange) {
        let start = self
            .ranges
            .partition_point(|held| held.last < range.first.saturating_sub(1));
        let end = self
            .ranges
            .partition_point(|held| held.first <= range.last.saturating_add(1));
        let merged =
            self.ranges
                .get(start..end)
                .unwrap_or_default()
                .iter()
                .fold(range, |sum, held| SeqRange {
                    first: sum.first.min(held.first),
                    last: sum.last.max(held.last),
                });
        self.ranges.splice(start..end.max(start), [merged]);
    }

    /// Adds one seq; 0 is ignored, it names no record.
    pub fn insert_one(&mut self, seq: Seq) {
        if let Some(range) = SeqRange::one(seq) {
            self.insert(range);
        }
    }

    /// Adds everything in `other`.
    pub fn union(&mut self, other: &Self) {
        for &range in &other.ranges {
            self.insert(range);
        }
    }

    /// Takes `range` out.
    pub fn remove(&mut self, range: SeqRange) {
        let mut kept = Vec::with_capacity(self.ranges.len() + 1);
        for &held in &self.ranges {
            if held.last < range.first || held.first > range.last {
                kept.push(held);
                continue;
            }
            if held.first < range.first {
                kept.push(SeqRange {
                    first: held.first,
                    last: range.first - 1,
                });
            }
            if held.last > range.last {
                kept.push(SeqRange {
                    first: range.last + 1,
                    last: held.last,
                });
            }
        }
        self.ranges = kept;
    }

    /// The part of `range` that the set does not hold, ascending.
    #[must_use]
    pub fn missing_in(&self, range: SeqRange) -> Self {
        let mut missing = Self {
            ranges: vec![range],
        };
        for &held in &self.ranges {
            if held.first > range.last {
                break;
            }
            missing.remove(held);
        }
        missing
    }

    /// The part of `range` that the set holds, ascending.
    #[must_use]
    pub fn held_in(&self, range: SeqRange) -> Self {
        let clipped = self.ranges.iter().filter_map(|held| {
            SeqRange::new(held.first.max(range.first), held.last.min(range.last))
        });
        Self {
            ranges: clipped.collect(),
        }
    }
}

impl FromIterator<SeqRange> for SeqSet {
    fn from_iter<I: IntoIterator<Item = SeqRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl fmt::Debug for SeqSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.ranges).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64, u64),
        Remove(u64, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = (any::<bool>(), 1u64..60, 0u64..12).prop_map(|(add, first, len)| {
            if add {
                Step::Insert(first, first + len)
            } else {
                Step::Remove(first, first + len)
            }
        });
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        #[test]
        fn a_seq_set_behaves_like_a_set_of_numbers(steps in steps(), probe in 1u64..80, len in 0u64..20) {
            let mut set = SeqSet::new();
            let mut model = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Insert(a, b) => { set.insert(SeqRange::new(a, b).unwrap()); model.extend(a..=b); }
                    Step::Remove(a, b) => { set.remove(SeqRange::new(a, b).unwrap()); model.retain(|s| *s < a || *s > b); }
                }
                let flat: Vec<u64> = set.ranges().iter().flat_map(|r| r.first()..=r.last()).collect();
                prop_assert_eq!(&flat, &model.iter().copied().collect::<Vec<_>>());
                for pair in set.ranges().windows(2) {
                    prop_assert!(pair[0].last() + 1 < pair[1].first(), "ranges touch: {:?}", set);
                }
            }
            let range = SeqRange::new(probe, probe + len).unwrap();
            prop_assert_eq!(set.contains(probe), model.contains(&probe));
            prop_assert_eq!(set.contains_range(range), (probe..=probe + len).all(|s| model.contains(&s)));
            let missing = set.missing_in(range);
            let held = set.held_in(range);
            for s in probe..=probe + len {
                prop_assert_eq!(missing.contains(s), !model.contains(&s));
                prop_assert_eq!(held.contains(s), model.contains(&s));
            }
            prop_assert_eq!(set.watermark(), (1..).take_while(|s| model.contains(s)).count() as u64);
            prop_assert_eq!(set.count(), model.len() as u64);
        }
    }

    #[test]
    fn the_open_end_of_a_claim_does_not_overflow() {
        let mut set = SeqSet::new();
        set.insert(SeqRange::new(5, SEQ_MAX).unwrap());
        set.insert(SeqRange::new(1, 4).unwrap());
        assert_eq!(set.ranges(), [SeqRange::new(1, SEQ_MAX).unwrap()]);
        assert_eq!(set.count(), u64::MAX);
        set.remove(SeqRange::new(10, SEQ_MAX).unwrap());
        assert_eq!(set.watermark(), 9);
    }
}
