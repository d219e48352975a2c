//! Who may send next: eight classes (four lanes, live and history) share the link by weight.
//!
//! Stride scheduling: each class has a virtual time that advances by bytes over weight; the lowest
//! one with something to send goes first. Guarantees: no class that has something to send starves;
//! live telemetry gets at least 30 % of the link however much the others hold; a class that was
//! silent does not save up credit, so a burst of it cannot silence the others.

use protocols_model::Lane;

/// A lane, live or backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// The lane.
    pub lane: Lane,
    /// Whether it is backlog.
    pub history: bool,
}

impl Class {
    /// All classes, most urgent first.
    pub const ALL: [Self; 8] = {
        const fn class(lane: Lane, history: bool) -> Class {
            Class { lane, history }
        }
        [
            class(Lane::Alarm, false),
            class(Lane::Event, false),
            class(Lane::Telemetry, false),
            class(Lane::Alarm, true),
            class(Lane::Event, true),
            class(Lane::Telemetry, true),
            class(Lane::Bulk, false),
            class(Lane::Bulk, true),
        ]
    };

    /// Share of the link when every class has something to send. The sum is 100.
    const fn weight(self) -> u64 {
        match (self.lane, self.history) {
            (Lane::Alarm, false) => 20,
            (Lane::Event, false) => 10,
            (Lane::Telemetry, false) => 32,
            (Lane::Alarm, true) => 8,
            (Lane::Event, true) => 6,
            (Lane::Telemetry, true) => 16,
            (Lane::Bulk, false) => 5,
            (Lane::Bulk, true) => 3,
        }
    }

    fn place(self) -> usize {
        usize::from(self.lane.to_index()) * 2 + usize::from(self.history)
    }
}

/// Virtual time is bytes × this over the weight: whole numbers without visible rounding.
const SCALE: u64 = 960;

/// The scheduler.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    times: [u64; 8],
    now: u64,
}

impl Shares {
    /// The class to serve next among those that `ready` accepts.
    pub fn next(&self, mut ready: impl FnMut(Class) -> bool) -> Option<Class> {
        Class::ALL
            .into_iter()
            .filter(|&class| ready(class))
            .min_by_key(|&class| self.time(class))
    }

    /// `class` has sent `bytes`.
    pub fn charge(&mut self, class: Class, bytes: usize) {
        let start = self.time(class);
        self.now = self.now.max(start);
        let cost = u64::try_from(bytes).unwrap_or(u64::MAX / SCALE).max(1) * SCALE / class.weight();
        if let Some(time) = self.times.get_mut(class.place()) {
            *time = start.saturating_add(cost);
        }
    }

    /// A silent class enters at the present: it keeps no credit from its silence.
    fn time(&self, class: Class) -> u64 {
        let own = self.times.get(class.place()).copied().unwrap_or(0);
        own.max(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(classes: &[Class], sizes: &[usize], rounds: usize) -> Vec<f64> {
        let mut shares = Shares::default();
        let mut sent = vec![0usize; classes.len()];
        for _ in 0..rounds {
            let class = shares.next(|c| classes.contains(&c)).unwrap();
            let i = classes.iter().position(|c| *c == class).unwrap();
            sent[i] += sizes[i];
            shares.charge(class, sizes[i]);
        }
        let total: usize = sent.iter().sum();
        sent.iter().map(|s| *s as f64 / total as f64).collect()
    }

    #[test]
    fn live_telemetry_keeps_thirty_percent_when_everything_is_full_and_nobody_starves() {
        let live = Class {
            lane: Lane::Telemetry,
            history: false,
        };
        let shares = share(&Class::ALL, &[4096; 8], 20_000);
        for (class, got) in Class::ALL.iter().zip(&shares) {
            assert!(*got > 0.02, "{class:?} starves: {got}");
            if *class == live {
                assert!(*got >= 0.30, "live telemetry got {got}");
            }
        }
    }

    #[test]
    fn history_gets_a_third_beside_full_live_telemetry_whatever_the_sizes() {
        let pair = [false, true].map(|history| Class {
            lane: Lane::Telemetry,
            history,
        });
        for sizes in [[300, 60_000], [8000, 8000], [60_000, 300]] {
            let got = share(&pair, &sizes, 50_000);
            assert!((got[1] - 1.0 / 3.0).abs() < 0.05, "{sizes:?}: {got:?}");
        }
    }

    #[test]
    fn a_silent_class_saves_no_credit() {
        let mut shares = Shares::default();
        let [alarm, telemetry] = [Lane::Alarm, Lane::Telemetry].map(|lane| Class {
            lane,
            history: false,
        });
        for _ in 0..1000 {
            shares.charge(telemetry, 8000);
        }
        let mut run = 0;
        while shares.next(|c| c == alarm || c == telemetry) == Some(alarm) {
            shares.charge(alarm, 8000);
            run += 1;
        }
        assert!(run <= 2, "{run} alarms in a row before telemetry's turn");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_ready_class_waits_longer_than_its_weight_allows(ready in prop::collection::btree_set(0usize..8, 1..8), sizes in prop::collection::vec(1usize..100_000, 8)) {
            let classes: Vec<Class> = ready.iter().map(|i| Class::ALL[*i]).collect();
            let sizes: Vec<usize> = ready.iter().map(|i| sizes[*i]).collect();
            let got = share(&classes, &sizes, 20_000);
            let weights: u64 = classes.iter().map(|c| c.weight()).sum();
            for (class, got) in classes.iter().zip(got) {
                let fair = class.weight() as f64 / weights as f64;
                prop_assert!(got > fair * 0.5, "{:?} got {} of {}", class, got, fair);
            }
        }
    }
}
