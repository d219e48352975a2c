//! How fast the link is, learnt from PUBACKs.
//!
//! A sample is what the broker took between the sending of an envelope and its PUBACK, over the time
//! since the PUBACK before: an envelope that was nearly through when this one went out brings its own
//! time along. Such a sample is a lower bound whenever little was under way, so samples always raise the estimate and lower it
//! only when much was under way and stood in line (the PUBACK took twice as long as on the idle link),
//! or when the PUBACK took longer than anything may. The estimate lives across connections. It bounds
//! the length of an envelope and what may be under way at once, so that on a slow line live data
//! never stands behind more than about two seconds of what was handed over before it.
//!
//! Backlog fills the link and no more: what is on the way to the broker and back, and half a second in
//! line. A long way alone is not a line: the shortest time to a PUBACK is what the way takes, looked
//! for again each minute with little under way. Where records are long, as many as fill the way would
//! be one too many or one too few: another one follows when the line must be about through with those
//! before it.
//!
//! A link that comes back may be another link. Backlog therefore starts small on each connection and
//! grows with what that connection has shown to carry: one that became slow is not filled with
//! seconds of backlog, in front of everything that happens now, before its first PUBACK tells.

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
/// No way is longer: a satellite's, and half as much again.
const LONGEST_WAY: Duration = Duration::from_secs(1);
/// Bounds of the system's send buffer.
const SEND_BUFFER: (usize, usize) = (32 * 1024, 256 * 1024);
/// Least that may always be under way: one record and its neighbours.
const MIN_FLIGHT_BYTES: usize = 16 * 1024;
/// What may be under way, in seconds of the link.
const FLIGHT: Duration = Duration::from_secs(2);
/// Backlog in line, in seconds of the link: what live data may have to wait for.
const HISTORY: Duration = Duration::from_millis(500);
/// Another record of backlog follows so long before the line should be through.
const LEAD: Duration = Duration::from_millis(250);
/// What the way takes is looked for again after so long.
const WAY_HOLDS: Duration = Duration::from_secs(60);
/// Looking for it ends after so long: live data may fill the line by itself.
const WAY_LOOK: Duration = Duration::from_secs(5);
/// No time is shorter: a clock may not have moved.
const SHORTEST: Duration = Duration::from_micros(100);
/// Backlog that a connection which has shown nothing yet may carry.
const PROBE_BYTES: usize = 2 * 1024;

/// What has to be remembered of an envelope to make a sample of its PUBACK.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    at: Instant,
    /// The link has been busy with what this envelope's sample counts since then.
    busy_since: Instant,
    taken_then: u64,
    filled: bool,
    /// Next to nothing was under way before it.
    alone: bool,
}

/// How long the way to the broker and back is, with nothing in line; as of then.
#[derive(Debug, Clone, Copy)]
struct Way {
    takes: Duration,
    at: Instant,
}

/// The estimate.
#[derive(Debug, Clone)]
pub struct LinkRate {
    bytes_per_second: f64,
    taken: u64,
    /// The last PUBACK, or later the first publish on a link without any under way.
    busy_since: Instant,
    /// About the shortest time to a PUBACK: the link without anything in line.
    idle: Option<Duration>,
    /// What this connection has shown: its best sample, bytes a second, and its fastest PUBACK.
    shown: Option<(f64, Duration)>,
    way: Option<Way>,
    /// When the line should be through with everything handed over.
    through: Instant,
}

/// What may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// Bytes without PUBACK, live and history.
    pub all: usize,
    /// Bytes without PUBACK, history alone.
    pub history: usize,
    /// The line should be about through: one record of history may follow although the one before it
    /// has no PUBACK yet.
    pub is_through: bool,
    /// Bytes of history that may be unsettled.
    pub unsettled: usize,
}

impl Default for LinkRate {
    fn default() -> Self {
        Self {
            bytes_per_second: START,
            taken: 0,
            busy_since: Instant::default(),
            idle: None,
            shown: None,
            way: None,
            through: Instant::default(),
        }
    }
}

impl LinkRate {
    /// A connection begins: what it carries is not known.
    pub const fn connected(&mut self) {
        self.shown = None;
        self.way = None;
        self.through = Instant(Duration::ZERO);
    }

    /// Nothing waits for its PUBACK: the line is through.
    pub fn quiet(&mut self, now: Instant) {
        self.through = self.through.min(now);
    }

    /// An envelope of `bytes` goes out while, with it, `under_way` bytes wait for their PUBACK.
    #[must_use]
    pub fn sent(&mut self, bytes: usize, under_way: usize, now: Instant) -> Sent {
        if under_way <= bytes {
            self.busy_since = now;
        }
        Sent {
            at: now,
            busy_since: self.busy_since,
            taken_then: self.taken,
            filled: under_way.saturating_mul(8) >= self.max_under_way(),
            alone: under_way.saturating_sub(bytes).saturating_mul(8) <= self.max_envelope(),
        }
    }

    /// An envelope goes out: the line has so much more to carry.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn occupies(&mut self, bytes: usize, now: Instant) {
        let span = Duration::from_secs_f64(bytes as f64 / self.line_rate());
        self.through = self.through.max(now).plus(span);
    }

    /// Bytes a second that this connection is known to carry.
    fn line_rate(&self) -> f64 {
        let shown = self.shown.map_or(FLOOR, |(best, _)| best);
        self.bytes_per_second.min(shown).max(FLOOR)
    }

    /// Its PUBACK came.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn taken(&mut self, sent: Sent, bytes: usize, now: Instant) {
        self.taken = self
            .taken
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let span = now.since(sent.at).max(SHORTEST);
        let busy = now.since(sent.busy_since).max(SHORTEST);
        self.busy_since = now;
        let sample = self.taken.saturating_sub(sent.taken_then) as f64 / busy.as_secs_f64();
        let (best, fastest) = self.shown.unwrap_or((sample, span));
        self.shown = Some((best.max(sample), fastest.min(span)));
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
        self.learn_way(sent, bytes, span, now);
    }

    /// The span less the envelope's own time on the line; at least half of it, for a line that is
    /// thought slow may be a long one.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn learn_way(&mut self, sent: Sent, bytes: usize, span: Duration, now: Instant) {
        let own = Duration::from_secs_f64(bytes as f64 / self.line_rate());
        let takes = span.saturating_sub(own).max(span / 2);
        let news = match self.way {
            None => true,
            Some(way) if takes <= way.takes => true,
            Some(way) => {
                let age = now.since(way.at);
                age >= WAY_HOLDS + WAY_LOOK || (age >= WAY_HOLDS && sent.alone)
            }
        };
        if news {
            self.way = Some(Way { takes, at: now });
        }
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
    pub fn max_envelope(&self) -> usize {
        whole(self.bytes_per_second)
    }

    /// A cap for the system's send buffer: twice what may be under way, so that it never stands in the
    /// way and never holds seconds of a slow link.
    #[must_use]
    pub fn send_buffer(&self) -> u32 {
        let wanted = self
            .max_under_way()
            .saturating_mul(2)
            .clamp(SEND_BUFFER.0, SEND_BUFFER.1);
        u32::try_from(wanted).unwrap_or(u32::MAX)
    }

    /// When another record of backlog may follow the ones before it without waiting for their PUBACK. On
    /// a short way that comes soon enough by itself.
    #[must_use]
    pub fn next_turn(&self) -> Option<Instant> {
        let is_long = self.way.is_some_and(|way| way.takes >= LEAD);
        is_long.then(|| Instant(self.through.0.saturating_sub(LEAD)))
    }

    /// What may be under way at once.
    #[must_use]
    pub fn flight(&self, now: Instant) -> Flight {
        let all = self.max_under_way();
        let is_looking = self.way.is_some_and(|way| now.since(way.at) >= WAY_HOLDS);
        let way = self
            .way
            .map_or(Duration::ZERO, |way| way.takes)
            .min(LONGEST_WAY);
        let steady = whole(self.bytes_per_second * (way + HISTORY).as_secs_f64());
        let steady = if is_looking {
            PROBE_BYTES
        } else {
            steady.max(MIN_FLIGHT_BYTES / 4)
        };
        // What is on the way at the best rate shown, and half a second in line: more than what gave
        // the sample, so it grows from PUBACK to PUBACK until the line, not this, is what limits.
        let shown = self.shown.map_or(0.0, |(best, fastest)| {
            best * fastest.saturating_add(HISTORY).as_secs_f64()
        });
        Flight {
            all,
            history: steady.min(whole(shown).max(PROBE_BYTES)),
            is_through: !is_looking && self.next_turn().is_some_and(|turn| turn <= now),
            unsettled: usize::MAX,
        }
    }

    fn max_under_way(&self) -> usize {
        let seconds = usize::try_from(FLIGHT.as_secs()).unwrap_or(1);
        self.max_envelope()
            .saturating_mul(seconds)
            .max(MIN_FLIGHT_BYTES)
    }
}

/// Bytes, without what is left of one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and a cast of a float saturates"
)]
const fn whole(bytes: f64) -> usize {
    bytes as usize
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
                let sent = link.sent(size, (flight.len() + 1) * size, seconds(clock));
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
    fn backlog_starts_small_on_each_connection_and_grows_also_on_a_long_way() {
        let mut link = LinkRate::default();
        run(&mut link, 0.0, 2e6, 8192, 40);
        link.connected();
        assert_eq!(link.flight(seconds(60.0)).history, PROBE_BYTES);
        let mut clock = 100.0;
        for _ in 0..10 {
            let bytes = link.flight(seconds(clock)).history;
            let sent = link.sent(bytes, bytes, seconds(clock));
            clock += 0.7;
            link.taken(sent, bytes, seconds(clock));
        }
        let grown = link.flight(seconds(clock)).history;
        assert!(
            grown > 192 * 1024,
            "{grown} after seven seconds of satellite"
        );
    }

    #[test]
    fn an_envelope_that_follows_a_large_one_does_not_make_the_link_look_fast() {
        let mut link = LinkRate {
            bytes_per_second: FLOOR,
            ..LinkRate::default()
        };
        // 10 kB/s: a large one takes 0.8 s; a small one goes out just before that one is through.
        for i in 0..50u32 {
            let begin = f64::from(i) * 2.0;
            let large = link.sent(8000, 8000, seconds(begin));
            let small = link.sent(500, 8500, seconds(begin + 0.79));
            link.taken(large, 8000, seconds(begin + 0.8));
            link.taken(small, 500, seconds(begin + 0.85));
        }
        let learnt = link.bytes_per_second();
        assert!((9_000.0..=10_001.0).contains(&learnt), "{learnt}");
    }

    #[test]
    fn a_long_way_does_not_make_the_link_look_slow() {
        let mut link = LinkRate::default();
        let mut clock = 0.0;
        for _ in 0..500 {
            // 12 KiB of backlog at once over 600 ms of satellite: little in line, much on the way.
            let sent = link.sent(12 * 1024, 12 * 1024, seconds(clock));
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
            let sent = link.sent(200, 200, at(i * 1000));
            link.taken(sent, 200, at(i * 1000 + 600));
        }
        assert!(link.bytes_per_second() >= START);
    }
}
