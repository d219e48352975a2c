//! A clock that stands still while the machine does: pure.

use serde::{Deserialize, Serialize};

/// A time in which the judge's own machine stood still, by the judge's own clock, nanoseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it should have gone on.
    pub from_ns: i64,
    /// When it did.
    pub to_ns: i64,
}

/// Tells for how long the machine ran between two moments.
#[derive(Debug, Clone, Default)]
pub struct Awake {
    /// Pauses, in order, each with the sum of those before it.
    pauses: Vec<(Pause, i64)>,
}

impl Awake {
    /// From pauses that are in order; where they overlap they are one.
    #[must_use]
    pub fn new(pauses: &[Pause]) -> Self {
        let mut whole: Vec<Pause> = Vec::with_capacity(pauses.len());
        for pause in pauses {
            match whole.last_mut() {
                Some(last) if pause.from_ns <= last.to_ns => {
                    last.to_ns = last.to_ns.max(pause.to_ns);
                }
                _ => whole.push(*pause),
            }
        }
        let mut sum = 0;
        let whole = whole.into_iter().map(|pause| {
            let before = sum;
            sum += pause.to_ns - pause.from_ns;
            (pause, before)
        });
        Self {
            pauses: whole.collect(),
        }
    }

    /// Time in which the machine ran from `from` to `to`, nanoseconds; negative where `to` comes first.
    #[must_use]
    pub fn between(&self, from: i64, to: i64) -> i64 {
        to - from - (self.paused_until(to) - self.paused_until(from))
    }

    fn paused_until(&self, t: i64) -> i64 {
        let begun = self.pauses.partition_point(|(pause, _)| pause.from_ns < t);
        let last = begun.checked_sub(1).and_then(|last| self.pauses.get(last));
        last.map_or(0, |(pause, before)| {
            before + t.min(pause.to_ns) - pause.from_ns
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_do_not_count_however_they_lie() {
        let pause = |from_ns, to_ns| Pause { from_ns, to_ns };
        let awake = Awake::new(&[pause(10, 18), pause(12, 14), pause(16, 20), pause(50, 55)]);
        for (from, to, ran) in [
            (0, 10, 10),
            (0, 15, 10),
            (0, 20, 10),
            (12, 18, 0),
            (15, 52, 30),
            (0, 100, 85),
            (60, 70, 10),
            (100, 0, -85),
        ] {
            assert_eq!(awake.between(from, to), ran, "{from} to {to}");
        }
        assert_eq!(Awake::default().between(3, 9), 6);
    }
}
