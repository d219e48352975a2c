//! A set of addresses as spans that neither touch nor overlap: pure.

/// Addresses, 0 to 65535.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(
    /// First and last address of each span, ascending.
    Vec<(u16, u16)>,
);

impl Spans {
    /// Adds the addresses `first` to `last`.
    pub fn insert(&mut self, first: u16, last: u16) {
        let (mut first, mut last) = (first.min(last), first.max(last));
        self.0.retain(|&(from, to)| {
            let touches = from <= last.saturating_add(1) && first <= to.saturating_add(1);
            if touches {
                (first, last) = (first.min(from), last.max(to));
            }
            !touches
        });
        let at = self.0.partition_point(|span| span.0 < first);
        self.0.insert(at, (first, last));
    }

    /// Takes the addresses `first` to `last` out.
    pub fn remove(&mut self, first: u16, last: u16) {
        let cut = |&(from, to): &(u16, u16)| {
            let before = (from < first).then(|| (from, to.min(first.saturating_sub(1))));
            let after = (to > last).then(|| (from.max(last.saturating_add(1)), to));
            before.into_iter().chain(after)
        };
        self.0 = self.0.iter().flat_map(cut).collect();
    }

    /// Adds all addresses of another set.
    pub fn extend(&mut self, other: &Self) {
        for &(first, last) in &other.0 {
            self.insert(first, last);
        }
    }

    /// Whether one of the addresses `first` to `last` is in the set.
    #[must_use]
    pub fn overlaps(&self, first: u16, last: u16) -> bool {
        let at = self.0.partition_point(|span| span.1 < first);
        self.0.get(at).is_some_and(|span| span.0 <= last)
    }

    /// Whether all of the addresses `first` to `last` are in the set.
    #[must_use]
    pub fn contains(&self, first: u16, last: u16) -> bool {
        let at = self.0.partition_point(|span| span.1 < first);
        self.0
            .get(at)
            .is_some_and(|span| span.0 <= first && last <= span.1)
    }

    /// The addresses from `first` to `last` that are not in the set.
    #[must_use]
    pub fn gaps_in(&self, first: u16, last: u16) -> Self {
        let mut gaps = Self(vec![(first, last)]);
        for &(from, to) in &self.0 {
            gaps.remove(from, to);
        }
        gaps
    }

    /// First and last address of each span, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.0.iter().copied()
    }

    /// How many spans.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no address is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_of_spans_is_a_set(
            steps in prop::collection::vec((any::<bool>(), 0u16..60, 0u16..12, any::<bool>()), 0..40),
            first in 0u16..60, len in 0u16..12,
        ) {
            // The same near the end of the address space.
            for base in [0, u16::MAX - 80] {
                let (mut spans, mut model) = (Spans::default(), BTreeSet::new());
                for &(add, at, len, edge) in &steps {
                    let from = base + at;
                    let to = if edge && base > 0 { u16::MAX } else { from + len };
                    if add {
                        spans.insert(from, to);
                        model.extend(from..=to);
                    } else {
                        spans.remove(from, to);
                        model.retain(|a| !(from..=to).contains(a));
                    }
                }
                let all: BTreeSet<u16> = spans.iter().flat_map(|(a, b)| a..=b).collect();
                prop_assert_eq!(&all, &model);
                let ordered: Vec<_> = spans.iter().collect();
                prop_assert!(ordered.windows(2).all(|w| u32::from(w[0].1) + 1 < u32::from(w[1].0)));
                let (from, to) = (base + first, base + first + len);
                let mut asked = from..=to;
                prop_assert_eq!(spans.overlaps(from, to), asked.clone().any(|a| model.contains(&a)));
                prop_assert_eq!(spans.contains(from, to), asked.all(|a| model.contains(&a)));
                let gaps: BTreeSet<u16> = spans.gaps_in(from, to).iter().flat_map(|(a, b)| a..=b).collect();
                let expected: BTreeSet<u16> = (from..=to).filter(|a| !model.contains(a)).collect();
                prop_assert_eq!(gaps, expected);
            }
        }
    }
}
