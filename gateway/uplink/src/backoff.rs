//! When to try the next connection, and to which server of the list.
//!
//! Pure: the caller brings randomness and outcomes. Guarantees: the first three attempts after a
//! loss start within two seconds and go to different servers where there are several; later ones
//! are spread by decorrelated jitter. The long cap is for refusals alone: a broker that says no will
//! say no again, one that cannot be reached may be back any second.

use std::time::Duration;

/// Longest pause between attempts while servers cannot be reached.
pub const MAX_PAUSE_UNREACHABLE: Duration = Duration::from_secs(20);
/// Longest pause between attempts after a refusal.
pub const MAX_PAUSE_REFUSED: Duration = Duration::from_secs(120);
/// A connection that lasted so long makes the next loss a fresh one.
pub const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Upper ends of the jittered pauses before the first three attempts, milliseconds; their sum stays
/// below two seconds. The first is long enough for a fleet that lost its broker at one moment not to be
/// back at one moment.
const QUICK_MS: [u64; 3] = [500, 500, 900];
/// Shortest of these pauses.
const QUICK_LEAST_MS: u64 = 100;
/// Shortest pause of the decorrelated jitter.
const BASE: Duration = Duration::from_secs(1);

/// Why the last attempt or connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Not reachable, timed out, cut off.
    Unreachable,
    /// The broker or TLS said no.
    Refused,
}

/// The state of the back-off.
#[derive(Debug, Clone)]
pub struct Backoff {
    servers: usize,
    server: usize,
    attempt: usize,
    previous: Duration,
}

impl Backoff {
    /// A back-off over `servers` servers; the first attempt goes to the first of them.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self {
            servers: servers.max(1),
            server: 0,
            attempt: 0,
            previous: BASE,
        }
    }

    /// The place in the list of the server to try now.
    #[must_use]
    pub const fn server(&self) -> usize {
        self.server
    }

    /// Whether the attempt at hand is one of the quick ones with another server to try after it: it
    /// should not wait long for a server that does not answer.
    #[must_use]
    pub const fn is_quick(&self) -> bool {
        self.attempt < QUICK_MS.len() && self.servers > 1
    }

    /// A connection or attempt ended after it had been up for `up` (zero when it never was): how
    /// long to wait before the next attempt, which goes to the next server. `random` is uniform in
    /// 0..1.
    pub fn ended(&mut self, why: Ended, up: Duration, random: f64) -> Duration {
        if up >= STABLE_AFTER {
            self.attempt = 0;
            self.previous = BASE;
        }
        self.server = (self.server + 1) % self.servers;
        let quick = QUICK_MS.get(self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        if let Some(&upper) = quick {
            let span =
                Duration::from_millis(upper - QUICK_LEAST_MS).mul_f64(random.clamp(0.0, 1.0));
            return Duration::from_millis(QUICK_LEAST_MS) + span;
        }
        let cap = match why {
            Ended::Unreachable => MAX_PAUSE_UNREACHABLE,
            Ended::Refused => MAX_PAUSE_REFUSED,
        };
        let spread = self.previous.saturating_mul(3).saturating_sub(BASE);
        self.previous = (BASE + spread.mul_f64(random.clamp(0.0, 1.0))).min(cap);
        self.previous
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_three_attempts_start_within_two_seconds_on_other_servers() {
        let mut backoff = Backoff::new(3);
        assert_eq!(backoff.server(), 0);
        let mut total = Duration::ZERO;
        let mut tried = Vec::new();
        for _ in 0..3 {
            total += backoff.ended(Ended::Unreachable, Duration::ZERO, 1.0);
            tried.push(backoff.server());
        }
        assert!(total <= Duration::from_secs(2), "{total:?}");
        assert_eq!(tried, [1, 2, 0]);
    }

    #[test]
    fn only_refusals_reach_the_long_cap() {
        for (why, cap) in [
            (Ended::Unreachable, MAX_PAUSE_UNREACHABLE),
            (Ended::Refused, MAX_PAUSE_REFUSED),
        ] {
            let mut backoff = Backoff::new(1);
            let longest = (0..50)
                .map(|_| backoff.ended(why, Duration::ZERO, 1.0))
                .max();
            assert_eq!(longest, Some(cap));
        }
    }

    #[test]
    fn a_connection_that_is_cut_at_once_does_not_start_the_quick_attempts_again() {
        let mut backoff = Backoff::new(1);
        for _ in 0..10 {
            backoff.ended(Ended::Unreachable, Duration::from_secs(1), 1.0);
        }
        assert!(backoff.ended(Ended::Unreachable, Duration::from_secs(1), 1.0) > BASE);
        assert!(backoff.ended(Ended::Unreachable, STABLE_AFTER, 1.0) < BASE);
    }

    proptest! {
        #[test]
        fn pauses_are_never_zero_and_never_above_the_cap(steps in prop::collection::vec((any::<bool>(), 0u64..20, 0.0f64..1.0), 1..60)) {
            let mut backoff = Backoff::new(2);
            for (refused, up, random) in steps {
                let why = if refused { Ended::Refused } else { Ended::Unreachable };
                let pause = backoff.ended(why, Duration::from_secs(up), random);
                prop_assert!(pause >= Duration::from_millis(100));
                let cap = if refused { MAX_PAUSE_REFUSED } else { MAX_PAUSE_UNREACHABLE };
                prop_assert!(pause <= cap);
                prop_assert!(backoff.server() < 2);
            }
        }
    }
}
