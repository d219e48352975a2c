//! When to say hello, and what silence means.
//!
//! Pure. A hello goes out after each connect, and again when something that the broker took stays
//! unsettled for five seconds, doubling to sixty. A hello that nobody answers means that the cloud
//! behind the broker is away: the sender stops at its window and asks again with the same back-off;
//! the connection stays, nothing is sent twice.

use protocols_model::Instant;
use std::time::Duration;

/// Spans of the hello rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloTimes {
    /// Something taken and unsettled for so long asks for a hello; also the first repetition.
    pub first: Duration,
    /// Longest pause between hellos.
    pub longest: Duration,
    /// How long an answer may take before the hello counts as unanswered.
    pub answer: Duration,
    /// How long history waits for the first answer of a connection.
    pub history_wait: Duration,
    /// What is missing in an answer while ingest is still behind is sent again after so long.
    pub resend_anyway: Duration,
}

impl Default for HelloTimes {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(60),
            answer: Duration::from_secs(5),
            history_wait: Duration::from_secs(10),
            resend_anyway: Duration::from_secs(60),
        }
    }
}

/// A hello asked for at once does not follow the one before sooner than this.
const AT_ONCE_PAUSE: Duration = Duration::from_secs(1);

/// So many unanswered hellos in a row make the store "away".
const AWAY_AFTER: u32 = 2;

#[derive(Debug, Clone, Copy)]
struct Asked {
    nonce: u64,
    at: Instant,
}

/// The state of the conversation.
#[derive(Debug)]
pub struct Hellos {
    times: HelloTimes,
    nonce: u64,
    connected: Option<Instant>,
    /// History waits so long after a connect in any case.
    spread: Duration,
    answered: bool,
    waiting: Option<Asked>,
    last: Option<Instant>,
    pause: Duration,
    unanswered: u32,
    at_once: bool,
    away: bool,
}

impl Hellos {
    /// Nothing said yet.
    #[must_use]
    pub const fn new(times: HelloTimes) -> Self {
        Self {
            times,
            nonce: 0,
            connected: None,
            spread: Duration::ZERO,
            answered: false,
            waiting: None,
            last: None,
            pause: times.first,
            unanswered: 0,
            at_once: false,
            away: false,
        }
    }

    /// A connection stands: a hello is due. History waits for `spread` besides.
    pub const fn connected(&mut self, now: Instant, spread: Duration) {
        self.connected = Some(now);
        self.spread = spread;
        self.answered = false;
        self.waiting = None;
        self.last = None;
        self.pause = self.times.first;
        self.at_once = true;
    }

    /// The connection is gone; a hello under way will not be answered and says nothing about the cloud.
    pub const fn disconnected(&mut self) {
        self.connected = None;
        self.waiting = None;
        self.at_once = false;
    }

    /// Something makes a hello due (a new store generation): as soon as none is under way, and at
    /// most once a second.
    pub const fn ask_at_once(&mut self) {
        self.at_once = true;
    }

    /// When the next hello is due or the one under way counts as unanswered. `taken_since`: since
    /// when the broker has the oldest unsettled envelope.
    #[must_use]
    pub fn due(&self, taken_since: Option<Instant>) -> Option<Instant> {
        let connected = self.connected?;
        // The answer under way tells everything: another hello would only make it look stale.
        if let Some(asked) = self.waiting {
            return Some(asked.at.plus(self.times.answer));
        }
        if self.at_once {
            return Some(self.last.map_or(connected, |last| last.plus(AT_ONCE_PAUSE)));
        }
        let repeat = self.last.unwrap_or(connected).plus(self.pause);
        match taken_since {
            Some(since) => Some(repeat.max(since.plus(self.times.first))),
            // Without an answer the settled state of the backlog is not known: keep asking.
            None => (!self.answered).then_some(repeat),
        }
    }

    /// Whether a hello has to go out now; counts one that stayed unanswered.
    pub fn poll(&mut self, taken_since: Option<Instant>, now: Instant) -> bool {
        if let Some(asked) = self.waiting
            && now >= asked.at.plus(self.times.answer)
        {
            self.waiting = None;
            self.unanswered = self.unanswered.saturating_add(1);
        }
        self.waiting.is_none() && self.due(taken_since).is_some_and(|at| now >= at)
    }

    /// The nonce of the next hello, which goes out now.
    pub fn say(&mut self, now: Instant) -> u64 {
        self.nonce += 1;
        if self.last.is_some() {
            self.pause = self.pause.saturating_mul(2).min(self.times.longest);
        }
        self.waiting = Some(Asked {
            nonce: self.nonce,
            at: now,
        });
        self.last = Some(now);
        self.at_once = false;
        self.nonce
    }

    /// An answer came: when its hello was said. `None` for one that is not awaited (a repetition, a
    /// foreign one, one that came too late): its settled sets are still good, its gaps are not.
    pub fn answered(&mut self, nonce: u64) -> Option<Instant> {
        let asked = self.waiting.filter(|asked| asked.nonce == nonce)?;
        self.waiting = None;
        self.answered = true;
        self.unanswered = 0;
        self.away = false;
        Some(asked.at)
    }

    /// Something was settled: the cloud is there and works.
    pub const fn progress(&mut self) {
        self.pause = self.times.first;
        self.unanswered = 0;
        self.away = false;
    }

    /// Whether backlog may be sent: its time has come, and the answer is there or has been waited for
    /// long enough.
    #[must_use]
    pub fn history_open(&self, now: Instant) -> bool {
        self.history_opens().is_some_and(|at| now >= at)
    }

    /// When the waiting of history ends, unless an answer ends it before; `None` without a connection.
    #[must_use]
    pub fn history_opens(&self) -> Option<Instant> {
        let wait = if self.answered {
            self.spread
        } else {
            self.spread.max(self.times.history_wait)
        };
        Some(self.connected?.plus(wait))
    }

    /// Whether the cloud has just become silent: true once per silence. PUBACKs flow, so the link
    /// is there; either nobody answers, or what was taken stays unsettled beyond all repetitions.
    pub fn away_now(&mut self, taken_since: Option<Instant>, now: Instant) -> bool {
        let stuck = taken_since.is_some_and(|since| now.since(since) > self.times.resend_anyway);
        let away = self.connected.is_some() && (self.unanswered >= AWAY_AFTER || stuck);
        let news = away && !self.away;
        self.away |= away;
        news
    }

    /// Whether the cloud behind the broker is silent.
    #[must_use]
    pub const fn away(&self) -> bool {
        self.away
    }

    /// The spans.
    #[must_use]
    pub const fn times(&self) -> HelloTimes {
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    /// Seconds at which hellos go out in `0..until` when nobody answers.
    fn said(hellos: &mut Hellos, taken: Option<Instant>, from: u64, until: u64) -> Vec<u64> {
        (from..until)
            .filter(|&s| {
                let due = hellos.poll(taken, at(s));
                if due {
                    hellos.say(at(s));
                }
                due
            })
            .collect()
    }

    #[test]
    fn unanswered_hellos_repeat_with_doubling_pauses_and_raise_the_alarm_once() {
        let mut hellos = Hellos::new(HelloTimes::default());
        hellos.connected(at(0), Duration::ZERO);
        let mut alarms = Vec::new();
        let mut said = Vec::new();
        for s in 0..300 {
            if hellos.poll(Some(at(0)), at(s)) {
                hellos.say(at(s));
                said.push(s);
            }
            if hellos.away_now(Some(at(0)), at(s)) {
                alarms.push(s);
            }
        }
        assert_eq!(said, [0, 5, 15, 35, 75, 135, 195, 255]);
        assert_eq!(alarms, [10]);
        hellos.say(at(300));
        assert_eq!(hellos.answered(hellos.nonce), Some(at(300)));
        assert!(!hellos.away());
    }

    #[test]
    fn an_answered_gateway_with_nothing_unsettled_stays_quiet() {
        let mut hellos = Hellos::new(HelloTimes::default());
        hellos.connected(at(0), Duration::ZERO);
        assert!(hellos.poll(None, at(0)));
        let nonce = hellos.say(at(0));
        hellos.answered(nonce).unwrap();
        assert!(said(&mut hellos, None, 1, 1000).is_empty());
        assert_eq!(said(&mut hellos, Some(at(1000)), 1000, 1006), [1005]);
    }

    #[test]
    fn settling_resets_the_pause() {
        let mut hellos = Hellos::new(HelloTimes::default());
        hellos.connected(at(0), Duration::ZERO);
        said(&mut hellos, Some(at(0)), 0, 100);
        hellos.progress();
        hellos.waiting = None;
        assert_eq!(hellos.due(Some(at(100))), Some(at(105)));
    }

    #[test]
    fn history_waits_for_the_answer_but_not_for_ever() {
        let mut hellos = Hellos::new(HelloTimes::default());
        assert!(!hellos.history_open(at(0)));
        hellos.connected(at(0), Duration::ZERO);
        let nonce = hellos.say(at(0));
        assert!(!hellos.history_open(at(9)));
        assert!(hellos.history_open(at(10)));
        hellos.answered(nonce).unwrap();
        assert!(hellos.history_open(at(1)));
    }

    #[test]
    fn after_an_outage_history_waits_its_turn_although_the_answer_is_there() {
        let mut hellos = Hellos::new(HelloTimes::default());
        hellos.connected(at(100), Duration::from_secs(7));
        let nonce = hellos.say(at(100));
        hellos.answered(nonce).unwrap();
        assert!(!hellos.history_open(at(106)));
        assert_eq!(hellos.history_opens(), Some(at(107)));
        assert!(hellos.history_open(at(107)));
    }

    #[test]
    fn asking_at_once_again_and_again_does_not_outrun_the_answers() {
        let mut hellos = Hellos::new(HelloTimes::default());
        hellos.connected(at(0), Duration::ZERO);
        let first = hellos.say(at(0));
        hellos.ask_at_once();
        assert!(!hellos.poll(None, at(0)), "the first one is under way");
        assert!(hellos.answered(first).is_some());
        assert!(!hellos.poll(None, at(0)), "once a second");
        assert!(hellos.poll(None, at(1)));
    }

    #[test]
    fn a_stale_or_foreign_answer_does_not_count() {
        let mut hellos = Hellos::new(HelloTimes::default());
        hellos.connected(at(0), Duration::ZERO);
        let old = hellos.say(at(0));
        hellos.disconnected();
        hellos.connected(at(1), Duration::ZERO);
        let new = hellos.say(at(1));
        assert_eq!(hellos.answered(old), None);
        assert_eq!(hellos.answered(99), None);
        assert_eq!(hellos.answered(new), Some(at(1)));
        assert_eq!(hellos.answered(new), None, "a repetition");
    }
}
