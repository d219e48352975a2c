//! How fast the link is, learnt from PUBACKs.
//!
//! A sample is what the broker took between the sending of an envelope and its PUBACK. Such a sample
//! is a lower bound whenever little was under way, so samples always raise the estimate and lower it
//! only when much was under way and stood in line (the PUBACK took twice as long as on the idle link),
//! or when the PUBACK took longer than anything may. The estimate lives across connections. It bounds
//! the length of an envelope and what may be under way at once, so that on a slow line live data
//! never stands behind more than about two seconds of what was handed over before it.

use protocols_model::Instant;
use std::time::Duration;

/// First estimate, bytes a second: a fast line is learnt within one exchange, a slow one is not
/// flooded for longer than the PUBACK time-out.
const START: f64 = 32.0 * 1024.0;
/// The estimate never falls below this, bytes a second.
const FLOOR: f64 = 512.0;
/// The estimate never rises above this, bytes a second.
const CEILING: f64 = 64.0 * 1024.0 * 1024.0;
/// How far one low sample on a filled link pulls the estimate down.
const FALL: f64 = 0.25;
/// The idle time to a PUBACK rises by one part in so many a sample.
const IDLE_RISE: u32 = 64;
/// What remains of it when a connection ends with PUBACKs overdue.
const STALLED: f64 = 0.25;
/// Least that may always be under way: one record and its neighbours.
const MIN_FLIGHT_BYTES: usize = 16 * 1024;
/// What may be under way, in seconds of the link.
const FLIGHT: Duration = Duration::from_secs(2);

/// What has to be remembered of an envelope to make a sample of its PUBACK.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    at: Instant,
    taken_then: u64,
    filled: bool,
}

/// The estimate.
#[derive(Debug, Clone)]
pub struct LinkRate {
    bytes_per_second: f64,
    taken: u64,
    /// About the shortest time to a PUBACK: the link without anything in line.
    idle: Option<Duration>,
}

impl Default for LinkRate {
    fn default() -> Self {
        Self {
            bytes_per_second: START,
            taken: 0,
            idle: None,
        }
    }
}

impl LinkRate {
    /// An envelope goes out while, with it, `under_way` bytes wait for their PUBACK.
    #[must_use]
    pub fn sent(&self, under_way: usize, now: Instant) -> Sent {
        Sent {
            at: now,
            taken_then: self.taken,
            filled: under_way.saturating_mul(8) >= self.max_under_way(),
        }
    }

    /// Its PUBACK came.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn taken(&mut self, sent: Sent, bytes: usize, now: Instant) {
        self.taken = self
            .taken
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let span = now.since(sent.at).max(Duration::from_micros(100));
        let sample = self.taken.saturating_sub(sent.taken_then) as f64 / span.as_secs_f64();
        // Rises slowly, so that a longer way is learnt in time.
        let idle = self
            .idle
            .map_or(span, |idle| span.min(idle + idle / IDLE_RISE));
        self.idle = Some(idle);
        let in_line = sent.filled && span > idle * 2;
        if sample > self.bytes_per_second {
            self.bytes_per_second += (sample - self.bytes_per_second) / 2.0;
        } else if in_line || span >= FLIGHT {
            self.bytes_per_second += (sample - self.bytes_per_second) * FALL;
        }
        self.bytes_per_second = self.bytes_per_second.clamp(FLOOR, CEILING);
    }

    /// A connection ended while its oldest envelope had waited `waiting` for its PUBACK.
    pub fn lost(&mut self, waiting: Duration) {
        if waiting >= FLIGHT {
            self.bytes_per_second = (self.bytes_per_second * STALLED).max(FLOOR);
        }
    }

    /// Bytes a second.
    #[must_use]
    pub const fn bytes_per_second(&self) -> f64 {
        self.bytes_per_second
    }

    /// Longest envelope: one second of the link.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped between FLOOR and CEILING"
    )]
    pub fn max_envelope(&self) -> usize {
        self.bytes_per_second as usize
    }

    /// Most bytes that may wait for their PUBACK at once.
    #[must_use]
    pub fn max_under_way(&self) -> usize {
        let seconds = usize::try_from(FLIGHT.as_secs()).unwrap_or(1);
        self.max_envelope()
            .saturating_mul(seconds)
            .max(MIN_FLIGHT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    fn seconds(clock: f64) -> Instant {
        Instant(Duration::from_secs_f64(clock))
    }

    /// Sends `size`-byte envelopes over a line of `rate` bytes/s, as many at once as estimate and
    /// window allow; returns the clock.
    fn run(link: &mut LinkRate, mut clock: f64, rate: f64, size: usize, rounds: usize) -> f64 {
        let mut line_free = clock;
        let mut flight: std::collections::VecDeque<(f64, Sent)> = std::collections::VecDeque::new();
        for _ in 0..rounds {
            let limit = link.max_under_way().min(256 * 1024);
            while flight.is_empty() || (flight.len() + 1) * size <= limit {
                let sent = link.sent((flight.len() + 1) * size, seconds(clock));
                line_free = line_free.max(clock) + size as f64 / rate;
                flight.push_back((line_free + 0.05, sent));
            }
            let (done, sent) = flight.pop_front().unwrap();
            clock = done;
            link.taken(sent, size, seconds(clock));
        }
        clock
    }

    #[test]
    fn a_fast_link_is_learnt_within_a_few_envelopes_and_a_slow_one_pulls_the_estimate_down() {
        let mut link = LinkRate::default();
        let clock = run(&mut link, 0.0, 2e6, 8192, 40);
        let learnt = link.bytes_per_second();
        assert!(learnt > 500_000.0, "{learnt}");
        run(&mut link, clock, 4_000.0, 4096, 200);
        let learnt = link.bytes_per_second();
        assert!((2_000.0..9_000.0).contains(&learnt), "{learnt}");
    }

    #[test]
    fn overdue_pubacks_at_the_end_of_a_connection_lower_the_estimate_at_once() {
        let mut link = LinkRate::default();
        link.lost(Duration::from_millis(300));
        assert!(link.bytes_per_second() >= START);
        for _ in 0..20 {
            link.lost(Duration::from_secs(20));
        }
        assert!((FLOOR..START / 10.0).contains(&link.bytes_per_second()));
    }

    #[test]
    fn a_long_way_does_not_make_the_link_look_slow() {
        let mut link = LinkRate::default();
        let mut clock = 0.0;
        for _ in 0..500 {
            // 12 KiB of backlog at once over 600 ms of satellite: little in line, much on the way.
            let sent = link.sent(12 * 1024, seconds(clock));
            clock += 0.65 + fastrand::f64() * 0.1;
            link.taken(sent, 12 * 1024, seconds(clock));
        }
        assert!(
            link.bytes_per_second() >= START / 2.0,
            "{}",
            link.bytes_per_second()
        );
    }

    #[test]
    fn small_envelopes_on_a_long_line_do_not_make_it_look_slow() {
        let mut link = LinkRate::default();
        for i in 0..100 {
            let sent = link.sent(200, at(i * 1000));
            link.taken(sent, 200, at(i * 1000 + 600));
        }
        assert!(link.bytes_per_second() >= START);
    }
}
