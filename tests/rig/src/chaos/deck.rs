//! Which fault comes next: every one of a deck before any comes twice, in an order that the seed decides.

use std::collections::BTreeMap;

/// A deck of faults, shuffled anew when it is used up.
pub(super) struct Deck<F> {
    all: Vec<F>,
    left: Vec<F>,
}

impl<F: Copy> Deck<F> {
    pub(super) fn new(all: &[F]) -> Self {
        Self {
            all: all.to_vec(),
            left: Vec::new(),
        }
    }

    /// The next one; none where the deck has none.
    pub(super) fn draw(&mut self, random: &mut fastrand::Rng) -> Option<F> {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            random.shuffle(&mut self.left);
        }
        self.left.pop()
    }
}

/// How often each of a table's names was hit, one line each.
pub(super) fn table(hits: &BTreeMap<String, u64>) -> Vec<String> {
    let line = |(name, count): (&String, &u64)| format!("  {name:<28} {count}");
    hits.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_before_any_comes_twice_and_a_seed_repeats_itself() {
        let draw = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut deck = Deck::new(&[1, 2, 3, 4]);
            let drawn: Vec<u8> = (0..8).filter_map(|_| deck.draw(&mut random)).collect();
            drawn
        };
        let drawn = draw(7);
        for half in drawn.chunks(4) {
            let mut half = half.to_vec();
            half.sort_unstable();
            assert_eq!(half, [1, 2, 3, 4]);
        }
        assert_eq!(drawn, draw(7));
        assert_ne!(drawn, draw(8));
    }
}
