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

/// How many faults round `number` of `rounds` has, counted from 1: one, and two in as many rounds as it takes
/// for each of `faults` to come once, where that is enough.
pub(super) fn share(number: u32, rounds: u32, faults: u32) -> u32 {
    let more = faults.saturating_sub(rounds).min(rounds);
    // Spread evenly: the rounds in which the rounded share grows.
    let until = |number: u32| u64::from(more) * u64::from(number) / u64::from(rounds.max(1));
    1 + u32::from(until(number) > until(number.saturating_sub(1)))
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
    fn fifteen_rounds_are_enough_for_more_faults_and_a_short_run_stays_short() {
        let all = |rounds, faults| {
            (1..=rounds)
                .map(|number| share(number, rounds, faults))
                .sum()
        };
        let cases: [(u32, u32, u32); 5] = [
            (15, 22, 22),
            (15, 15, 15),
            (30, 22, 30),
            (3, 22, 6),
            (1, 1, 1),
        ];
        for (rounds, faults, expected) in cases {
            let sum: u32 = all(rounds, faults);
            assert_eq!(sum, expected, "{rounds} rounds of {faults} faults");
        }
    }

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
