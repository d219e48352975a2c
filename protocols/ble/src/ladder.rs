//! The supervision ladder: when the radio stops working, what is tried, in which order, how often.
//!
//! Progress is what counts: advertisements heard, calls answered. When it stops, steps are taken one at a
//! time, each harsher than the one before, each told with its cause:
//!
//! | step | what it repairs | budget |
//! |---|---|---|
//! | restart the scan | the kernel or the service stopped listening | 2 a trouble |
//! | rebuild the connection | the service was restarted or stopped sending signals, the adapter came back | 2 a trouble; without limit, with back-off, while service or adapter are away |
//! | power-cycle the adapter | firmware that hangs | 1 a trouble, [`CYCLES`] in [`CYCLE_SPAN`] |
//! | report | nothing helped | told once a trouble; then from "rebuild" again, with back-off |
//!
//! Pure: events and time go in, [`Act`]s come out. Invariants: 1. one step at a time; 2. no two steps
//! closer than [`SETTLE`], except to a harsher one after an error; 3. a trouble that returns within
//! [`PROBATION`] goes on one rung above where the last one ended.

use crate::radio::RadioError;
use protocols_model::Instant;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Time a step gets to show effect, at least; also the pause between two of them.
pub const SETTLE: Duration = Duration::from_secs(10);
/// Time a step gets when rare advertisements must show it, at most.
pub const MAX_SETTLE: Duration = Duration::from_mins(5);
/// First and longest wait between attempts while the service or the adapter is away.
pub const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// First and longest wait after a report.
pub const AFTER_REPORT: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(15));
/// Power cycles allowed in [`CYCLE_SPAN`]: they cut off everybody else's devices too.
pub const CYCLES: usize = 3;
/// See [`CYCLES`].
pub const CYCLE_SPAN: Duration = Duration::from_hours(1);
/// A trouble so soon after the last is the same one.
pub const PROBATION: Duration = Duration::from_mins(5);
/// An absence is reported when it lasts so long.
pub const REPORT_AFTER: Duration = Duration::from_mins(1);

/// What is done about a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Stop listening and begin again.
    RestartScan,
    /// Throw the connection to the service away, make a new one, find the adapter, listen.
    Rebuild,
    /// Switch the adapter off and on, listen.
    PowerCycle,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RestartScan => "restarting the scan",
            Self::Rebuild => "rebuilding the connection to the Bluetooth service",
            Self::PowerCycle => "power-cycling the adapter",
        })
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The driver starts: nothing is wrong, everything is to be done.
    Start,
    /// Nothing was heard for so long.
    AdvertsStopped(Duration),
    /// The scan ended although nobody ended it.
    ScanEnded,
    /// Somebody switched the adapter off.
    SwitchedOff,
    /// The connection to the system's message bus broke.
    BusLost,
    /// The Bluetooth service ended; a restarted one knows nothing of us.
    ServiceGone,
    /// The adapter was unplugged.
    AdapterGone,
    /// This call was not answered in time.
    NotAnswering(&'static str),
    /// This call failed.
    Failed(&'static str, RadioError),
}

impl Cause {
    /// The first step that can help.
    const fn entry(&self) -> Step {
        match self {
            Self::AdvertsStopped(_) | Self::ScanEnded | Self::SwitchedOff => Step::RestartScan,
            Self::Start
            | Self::BusLost
            | Self::ServiceGone
            | Self::AdapterGone
            | Self::NotAnswering(_)
            | Self::Failed(..) => Step::Rebuild,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("starting"),
            Self::AdvertsStopped(span) => write!(f, "no advertisement for {} s", span.as_secs()),
            Self::ScanEnded => f.write_str("the scan ended by itself"),
            Self::SwitchedOff => f.write_str("the adapter was switched off"),
            Self::BusLost => f.write_str("the connection to the message bus broke"),
            Self::ServiceGone => f.write_str("the Bluetooth service ended"),
            Self::AdapterGone => f.write_str("the adapter is gone"),
            Self::NotAnswering(call) => write!(f, "the Bluetooth service does not answer ({call})"),
            Self::Failed(call, error) => write!(f, "{call} failed: {error}"),
        }
    }
}

/// What the driver shall do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Take this step; tell the text, if there is one.
    Take(Step, Option<String>),
    /// Tell that nothing helped.
    Report(String),
}

#[derive(Debug)]
struct Trouble {
    cause: Cause,
    since: Instant,
    /// The step to take next.
    step: Step,
    /// How often it was taken, also without success.
    tries: u32,
    /// Not before.
    at: Instant,
    reported: bool,
    /// Rounds without success: the back-off after reports.
    rounds: u32,
    /// A step is being taken.
    busy: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Ladder {
    /// Silence that is a trouble; `None`: silence is none.
    silence: Option<Duration>,
    heard: Instant,
    trouble: Option<Trouble>,
    cycles: VecDeque<Instant>,
    /// The last step of the last trouble and when it ended.
    last: Option<(Step, Instant)>,
}

/// Taking a step so often without success makes it useless.
const fn budget(step: Step) -> u32 {
    match step {
        Step::RestartScan | Step::Rebuild => 2,
        Step::PowerCycle => 1,
    }
}

impl Ladder {
    /// A ladder for a radio that is not open yet: its first act is to build it.
    #[must_use]
    pub fn new(silence: Option<Duration>, now: Instant) -> Self {
        let mut ladder = Self {
            silence,
            heard: now,
            trouble: None,
            cycles: VecDeque::new(),
            last: None,
        };
        ladder.wrong(Cause::Start, now);
        ladder
    }

    /// Whether something is wrong now.
    #[must_use]
    pub const fn in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// Something was heard: the text to tell if that ended a trouble.
    pub fn heard(&mut self, now: Instant) -> Option<String> {
        self.heard = now;
        let silent = |trouble: &Trouble| matches!(trouble.cause, Cause::AdvertsStopped(_));
        // Something heard in the middle of another repair does not finish it.
        self.trouble.as_ref().filter(|t| silent(t) && !t.busy)?;
        self.end(now)
    }

    /// Nobody listens on purpose (a connection is being made): silence does not count.
    pub fn paused(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Something is wrong. While a trouble lasts, only a harsher cause changes it.
    pub fn wrong(&mut self, cause: Cause, now: Instant) {
        let entry = cause.entry();
        if let Some(trouble) = &mut self.trouble {
            if entry > trouble.step && !trouble.busy {
                (trouble.cause, trouble.step) = (cause, entry);
                (trouble.tries, trouble.at) = (0, now);
            }
            return;
        }
        let again = self.last.filter(|(_, end)| now.since(*end) < PROBATION);
        let step = match again {
            Some((Step::RestartScan, _)) if entry == Step::RestartScan => Step::Rebuild,
            Some((Step::Rebuild, _)) if !away(&cause) => Step::PowerCycle,
            Some((Step::PowerCycle, _)) if !away(&cause) => Step::Rebuild,
            _ => entry,
        };
        self.trouble = Some(Trouble {
            cause,
            since: now,
            step,
            tries: 0,
            at: now,
            reported: false,
            rounds: 0,
            busy: false,
        });
    }

    /// When [`Ladder::act`] is to be asked next; `None` while a step is being taken.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match &self.trouble {
            Some(trouble) => (!trouble.busy).then_some(trouble.at),
            None => Some(self.heard.plus(self.silence?)),
        }
    }

    /// What to do now, if anything. A step taken is answered by [`Ladder::took`].
    pub fn act(&mut self, now: Instant) -> Option<Act> {
        if self.trouble.is_none() {
            let silent = now.since(self.heard);
            if silent < self.silence? {
                return None;
            }
            self.wrong(Cause::AdvertsStopped(silent), now);
        }
        let cycles = &mut self.cycles;
        while cycles
            .front()
            .is_some_and(|at| now.since(*at) >= CYCLE_SPAN)
        {
            cycles.pop_front();
        }
        let trouble = self.trouble.as_mut()?;
        if trouble.busy || trouble.at > now {
            return None;
        }
        if trouble.step == Step::PowerCycle && cycles.len() >= CYCLES {
            return Some(trouble.exhausted(now, "and it was power-cycled often enough"));
        }
        if trouble.step == Step::PowerCycle {
            cycles.push_back(now);
        }
        trouble.busy = true;
        trouble.tries += 1;
        let text = format!("{}: {}", trouble.cause, trouble.step);
        let told = trouble.cause != Cause::Start && trouble.tries == 1 && trouble.rounds == 0;
        Some(Act::Take(trouble.step, told.then_some(text)))
    }

    /// How the step went. The text to tell, if that ended the trouble or was the last that could be done.
    pub fn took(&mut self, result: Result<(), RadioError>, now: Instant) -> Option<String> {
        let settle = self.silence.unwrap_or(SETTLE).clamp(SETTLE, MAX_SETTLE);
        let trouble = self.trouble.as_mut()?;
        trouble.busy = false;
        let step = trouble.step;
        let Err(error) = result else {
            if !matches!(trouble.cause, Cause::AdvertsStopped(_)) {
                // Silence from now on is a new trouble.
                self.heard = now;
                return self.end(now);
            }
            trouble.at = now.plus(settle);
            return trouble.climb(now);
        };
        let text = error.to_string();
        match (step, error) {
            (Step::Rebuild, RadioError::NoService(_) | RadioError::NoAdapter(..)) => {
                // Nothing harsher can be done to what is not there.
                let wait = doubled(AWAY, trouble.tries.saturating_sub(1));
                trouble.at = now.plus(wait);
                let first = trouble.cause == Cause::Start && trouble.tries == 1;
                let long = now.since(trouble.since) >= REPORT_AFTER;
                if trouble.reported || !(first || long) {
                    return None;
                }
                trouble.reported = true;
                Some(format!("{text}; trying on every {} s", AWAY.1.as_secs()))
            }
            (_, error) => {
                if trouble.cause == Cause::Start {
                    trouble.cause = Cause::Failed("opening the adapter", error);
                }
                trouble.at = now;
                if step == Step::Rebuild {
                    trouble.at = now.plus(SETTLE);
                } else {
                    trouble.tries = budget(step);
                }
                trouble.climb(now)
            }
        }
    }

    fn end(&mut self, now: Instant) -> Option<String> {
        let trouble = self.trouble.take()?;
        if trouble.cause == Cause::Start {
            return trouble.reported.then(|| "the adapter listens".to_owned());
        }
        let taken = if trouble.tries == 0 {
            trouble.below()
        } else {
            trouble.step
        };
        self.last = Some((taken, now));
        let span = now.since(trouble.since).as_secs();
        Some(format!("well again after {span} s ({taken} helped)"))
    }
}

/// Whether the cause is that something is not there, which no step of ours makes better or worse.
const fn away(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Start | Cause::BusLost | Cause::ServiceGone | Cause::AdapterGone
    )
}

fn doubled((min, max): (Duration, Duration), times: u32) -> Duration {
    min.saturating_mul(1 << times.min(16)).min(max)
}

impl Trouble {
    /// Goes to the next step once this one's budget is used up. The report, when there is none.
    fn climb(&mut self, now: Instant) -> Option<String> {
        if self.tries < budget(self.step) {
            return None;
        }
        self.step = match self.step {
            Step::RestartScan => Step::Rebuild,
            Step::Rebuild => Step::PowerCycle,
            Step::PowerCycle => {
                let Act::Report(text) = self.exhausted(now, "and no step helped") else {
                    return None;
                };
                return Some(text);
            }
        };
        self.tries = 0;
        None
    }

    /// Nothing is left: told once, then from the second step again, more and more rarely.
    fn exhausted(&mut self, now: Instant, why: &str) -> Act {
        let wait = doubled(AFTER_REPORT, self.rounds);
        let span = now.since(self.since).as_secs();
        let cause = &self.cause;
        let text = format!(
            "{cause} ({span} s ago), {why}; trying on in {} s",
            wait.as_secs()
        );
        self.rounds += 1;
        self.reported = true;
        (self.step, self.tries, self.at) = (Step::Rebuild, 0, now.plus(wait));
        Act::Report(text)
    }

    /// The step that was taken before the one that is next.
    const fn below(&self) -> Step {
        match self.step {
            Step::RestartScan | Step::Rebuild => Step::RestartScan,
            Step::PowerCycle => Step::Rebuild,
        }
    }
}

#[cfg(test)]
mod tests;
