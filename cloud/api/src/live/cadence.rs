//! How often a series usually speaks: the measure for "stale". A pure core.
//!
//! The wire does not carry poll periods, and a deadband makes silence legal up to the point's
//! longest silence. So the usual pause is learnt: the longest of the last [`KEPT`] pauses between
//! readings. A series is stale when it has been silent for much longer than that.

/// Pauses remembered per series: long enough to hold one quiet spell among busy ones.
const KEPT: usize = 8;
/// Never called stale sooner: covers batch age, commit and delivery.
const SHORTEST_MS: i64 = 5_000;
/// Before anything was learnt.
const UNKNOWN_MS: i64 = 15_000;
/// How much longer than usual is too long.
const FACTOR: i64 = 3;

/// What was learnt of one series.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cadence {
    pauses_ms: [i64; KEPT],
    known: usize,
    next: usize,
    last_ms: Option<i64>,
}

impl Cadence {
    /// Notes a reading taken at `at_ms`; older ones than the newest (backlog) teach nothing.
    pub(crate) fn note(&mut self, at_ms: i64) {
        if let Some(last) = self.last_ms {
            if at_ms <= last {
                return;
            }
            if let Some(slot) = self.pauses_ms.get_mut(self.next) {
                *slot = at_ms - last;
            }
            self.next = (self.next + 1) % KEPT;
            self.known = (self.known + 1).min(KEPT);
        }
        self.last_ms = Some(at_ms);
    }

    /// A reading older than this is stale.
    pub(crate) fn stale_after_ms(&self) -> i64 {
        match self.pauses_ms.iter().take(self.known).max() {
            Some(longest) => longest.saturating_mul(FACTOR).max(SHORTEST_MS),
            None => UNKNOWN_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_follows_the_longest_usual_pause() {
        let mut cadence = Cadence::default();
        assert_eq!(cadence.stale_after_ms(), UNKNOWN_MS);
        for n in 0..20 {
            cadence.note(n * 250);
        }
        assert_eq!(cadence.stale_after_ms(), SHORTEST_MS);
        cadence.note(20 * 250 + 60_000);
        assert_eq!(cadence.stale_after_ms(), (60_250) * FACTOR);
        // The backlog of an outage, older than what is known, teaches nothing.
        cadence.note(3);
        assert_eq!(cadence.stale_after_ms(), 60_250 * FACTOR);
    }
}
