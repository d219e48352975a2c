//! Slowing backlog down because the cloud asks for it, within bounds.
//!
//! Pure. A cloud that is behind tells its gateways how fast backlog may come (`Pace` on the
//! acknowledgement channel); live data is never slowed. Guarantees, whatever the cloud says: a hint is
//! obeyed for [`LONGEST`] at most and ends by itself; backlog never goes slower than [`FLOOR`]; hints
//! without a break lose their force, for the floor doubles each [`FLOOR_DOUBLES`]. So neither a cloud
//! that is stuck nor one that means harm can keep a spool from draining. No hint is no limit.

use protocols_model::Instant;
use protocols_wire::Pace as Hint;
use std::time::Duration;

/// Longest that one hint is obeyed.
pub const LONGEST: Duration = Duration::from_secs(60);
/// Backlog never goes slower, bytes a second: about 7 MB in two hours.
pub const FLOOR: u64 = 1024;
/// While backlog is slowed without a break the floor doubles each time so long has passed.
pub const FLOOR_DOUBLES: Duration = Duration::from_secs(600);

/// What the last hint allows.
#[derive(Debug, Default)]
pub struct Pace {
    limit: Option<Limit>,
    /// What was sent under a limit is paid for by then.
    free_at: Instant,
    /// Hints obeyed.
    hints: u64,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    bytes_per_second: u64,
    until: Instant,
    /// Since when there has been a limit without a break.
    since: Instant,
}

impl Limit {
    /// Bytes a second, never 0.
    fn rate(self, now: Instant) -> u64 {
        let doublings = now.since(self.since).as_secs() / FLOOR_DOUBLES.as_secs();
        let doublings = u32::try_from(doublings).unwrap_or(u32::MAX);
        let floor = FLOOR.checked_shl(doublings.min(40)).unwrap_or(u64::MAX);
        self.bytes_per_second.max(floor)
    }
}

impl Pace {
    /// What the latest message of the cloud says.
    pub fn told(&mut self, hint: Option<Hint>, now: Instant) {
        let before = self.now(now);
        self.limit = hint.map(|hint| Limit {
            bytes_per_second: hint.bytes_per_second,
            until: now.plus(hint.holds.min(LONGEST)),
            since: before.map_or(now, |limit| limit.since),
        });
        self.hints += u64::from(hint.is_some());
        // What was sent is paid for at the new rate.
        let owed = self.free_at.since(now);
        if let (Some(before), Some(after)) = (before, self.limit)
            && !owed.is_zero()
        {
            let bytes = bytes_in(owed, before.rate(now));
            self.free_at = now.plus(span_of(bytes, after.rate(now)));
        }
    }

    /// Backlog of so many bytes was handed over.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        if let Some(limit) = self.now(now) {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let start = self.free_at.max(now);
            self.free_at = start.plus(span_of(bytes, limit.rate(now)));
        }
    }

    /// When backlog may go again; `None` for at once.
    #[must_use]
    pub fn waits_until(&self, now: Instant) -> Option<Instant> {
        let limit = self.now(now)?;
        Some(self.free_at.min(limit.until)).filter(|at| *at > now)
    }

    /// Bytes of backlog a second; `None` for no limit.
    #[must_use]
    pub fn bytes_per_second(&self, now: Instant) -> Option<u64> {
        Some(self.now(now)?.rate(now))
    }

    /// Longest envelope of backlog: a second's worth.
    #[must_use]
    pub fn max_envelope(&self, now: Instant) -> usize {
        let rate = self.bytes_per_second(now);
        rate.map_or(usize::MAX, |rate| {
            usize::try_from(rate).unwrap_or(usize::MAX)
        })
    }

    /// Hints obeyed so far.
    #[must_use]
    pub const fn hints(&self) -> u64 {
        self.hints
    }

    fn now(&self, now: Instant) -> Option<Limit> {
        self.limit.filter(|limit| limit.until > now)
    }
}

/// What goes in `span` at `rate` bytes a second.
fn bytes_in(span: Duration, rate: u64) -> u64 {
    let bytes = u128::from(rate).saturating_mul(span.as_millis()) / 1000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// How long `bytes` take at `rate` bytes a second; [`LONGEST`] at most, for no limit lasts longer.
fn span_of(bytes: u64, rate: u64) -> Duration {
    let ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(ns).map_or(LONGEST, |ns| Duration::from_nanos(ns).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    fn hint(bytes_per_second: u64, seconds: u64) -> Option<Hint> {
        Some(Hint {
            bytes_per_second,
            holds: Duration::from_secs(seconds),
        })
    }

    /// Bytes of backlog that go from `from` to `to` seconds in envelopes of `size`, with `hint` said
    /// again and again.
    fn drained(pace: &mut Pace, hint: Option<Hint>, from: u64, to: u64, size: usize) -> u64 {
        let mut bytes = 0;
        for ms in (from * 1000..to * 1000).step_by(100) {
            pace.told(hint, at(ms));
            if pace.waits_until(at(ms)).is_none() {
                let size = size.min(pace.max_envelope(at(ms)));
                pace.sent(size, at(ms));
                bytes += size as u64;
            }
        }
        bytes
    }

    #[test]
    fn backlog_goes_as_fast_as_the_hint_says_and_without_one_as_fast_as_it_can() {
        let mut pace = Pace::default();
        assert_eq!(pace.waits_until(at(0)), None);
        assert_eq!(pace.max_envelope(at(0)), usize::MAX);
        let bytes = drained(&mut pace, hint(20_000, 5), 0, 60, 8000);
        assert!((1_100_000..1_230_000).contains(&bytes), "{bytes}");
        pace.told(None, at(60_000));
        assert_eq!(pace.bytes_per_second(at(60_000)), None);
        assert_eq!(pace.waits_until(at(60_000)), None);
    }

    #[test]
    fn a_hint_ends_by_itself_however_long_it_says_to_hold() {
        let mut pace = Pace::default();
        pace.told(hint(0, u64::MAX), at(0));
        pace.sent(1 << 20, at(0));
        assert_eq!(pace.waits_until(at(0)), Some(Instant(LONGEST)));
        assert_eq!(pace.waits_until(Instant(LONGEST)), None);
        assert_eq!(pace.bytes_per_second(Instant(LONGEST)), None);
        assert_eq!(pace.hints(), 1);
    }

    #[test]
    fn a_cloud_that_says_stop_for_ever_cannot_keep_a_spool_from_draining() {
        let mut pace = Pace::default();
        let first_hour = drained(&mut pace, hint(0, 60), 0, 3600, 8000);
        assert!(first_hour > 1024 * 3600, "{first_hour}");
        let rate = pace.bytes_per_second(at(7_199_000));
        pace.told(hint(0, 60), at(7_199_000));
        assert_eq!(rate, None, "nobody said so for an hour");
        let mut stuck = Pace::default();
        drained(&mut stuck, hint(0, 60), 0, 3 * 3600, 8000);
        let after = stuck.bytes_per_second(at(3 * 3_600_000 - 100));
        assert!(after > Some(100_000_000), "{after:?}");
    }

    #[test]
    fn a_faster_hint_takes_effect_at_once_also_for_what_was_sent_before_it() {
        let mut pace = Pace::default();
        pace.told(hint(2000, 60), at(0));
        pace.sent(40_000, at(0));
        assert_eq!(pace.waits_until(at(0)), Some(at(20_000)));
        pace.told(hint(20_000, 60), at(0));
        assert_eq!(pace.waits_until(at(0)), Some(at(2000)));
    }

    proptest! {
        #[test]
        fn whatever_is_said_backlog_is_never_stopped_for_longer_than_a_minute(
            said in prop::collection::vec((any::<u64>(), any::<u64>(), 0u64..120_000, 0usize..300_000), 1..50)
        ) {
            let mut pace = Pace::default();
            let mut now = at(0);
            for (rate, ms, pause, sent) in said {
                pace.told(Some(Hint { bytes_per_second: rate, holds: Duration::from_millis(ms) }), now);
                pace.sent(sent, now);
                if let Some(until) = pace.waits_until(now) {
                    prop_assert!(until > now && until.since(now) <= LONGEST);
                    prop_assert_eq!(pace.waits_until(until), None);
                }
                prop_assert!(pace.bytes_per_second(now).is_none_or(|rate| rate >= FLOOR));
                prop_assert!(pace.max_envelope(now) >= 1024);
                now = now.plus(Duration::from_millis(pause));
            }
        }
    }
}
