//! When a process that ended is started again. Pure: time is an argument.
//!
//! As orchestrators do: at once the first time, then after a pause that doubles up to a bound; whoever
//! ran long enough begins anew. What was told to be off stays off.

use std::time::Duration;

/// Pause before the first restart.
const FIRST: Duration = Duration::from_millis(500);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(20);
/// Whoever ran for this long is well.
const WELL: Duration = Duration::from_secs(30);
/// Whoever says for so long that it is not alive, or nothing, is ended: three probes ten seconds apart, as
/// orchestrators have them.
const SILENCE: Duration = Duration::from_secs(30);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Runs since then.
    Running(Duration),
    /// Ended by itself; is started then.
    Waiting(Duration),
    /// Is not to run.
    Off,
}

/// Keeps one process going. Times count from any origin that does not change.
#[derive(Debug)]
pub struct Keeper {
    phase: Phase,
    pause: Duration,
    restarts: u64,
    /// When it was started, or last said that it is alive.
    heard: Duration,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            phase: Phase::Off,
            pause: FIRST,
            restarts: 0,
            heard: Duration::ZERO,
        }
    }
}

impl Keeper {
    /// What the process does.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How often it was started again after it had ended by itself.
    #[must_use]
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }

    /// It was started.
    pub fn started(&mut self, now: Duration) {
        if let Phase::Waiting(_) = self.phase {
            self.restarts += 1;
        }
        self.phase = Phase::Running(now);
        self.heard = now;
    }

    /// It says that it is alive.
    pub fn heard(&mut self, now: Duration) {
        self.heard = self.heard.max(now);
    }

    /// Whether it runs and has not said for too long that it is alive.
    #[must_use]
    pub fn is_silent(&self, now: Duration) -> bool {
        let runs = matches!(self.phase, Phase::Running(_));
        runs && now.saturating_sub(self.heard) > SILENCE
    }

    /// It ended, or could not be started, and nobody had told it to.
    pub fn ended(&mut self, now: Duration) {
        match self.phase {
            Phase::Off => return,
            Phase::Running(since) if now.saturating_sub(since) >= WELL => self.pause = FIRST,
            Phase::Running(_) | Phase::Waiting(_) => {}
        }
        self.phase = Phase::Waiting(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST);
    }

    /// It is not to run.
    pub fn off(&mut self) {
        self.phase = Phase::Off;
        self.pause = FIRST;
    }

    /// It is to run again, at once.
    pub fn on(&mut self, now: Duration) {
        if self.phase == Phase::Off {
            self.phase = Phase::Waiting(now);
        }
    }

    /// Whether it is to be started now.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        matches!(self.phase, Phase::Waiting(at) if at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn whoever_ends_again_and_again_is_started_more_and_more_rarely() {
        let (mut keeper, mut now) = (Keeper::default(), Duration::ZERO);
        keeper.started(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            keeper.ended(now);
            let Phase::Waiting(at) = keeper.phase() else {
                panic!("{keeper:?}")
            };
            assert!(!keeper.is_due(at - Duration::from_millis(1)) && keeper.is_due(at));
            pauses.push((at - now).as_millis());
            now = at;
            keeper.started(now);
        }
        assert_eq!(
            pauses,
            [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]
        );
        assert_eq!(keeper.restarts(), 8);
    }

    #[test]
    fn whoever_ran_long_enough_is_started_soon() {
        let mut keeper = Keeper::default();
        keeper.started(Duration::ZERO);
        (0..5).for_each(|_| keeper.ended(SECOND));
        keeper.started(60 * SECOND);
        keeper.ended(60 * SECOND + WELL);
        assert_eq!(keeper.phase(), Phase::Waiting(60 * SECOND + WELL + FIRST));
    }

    #[test]
    fn who_says_for_too_long_that_it_is_not_alive_is_silent_and_a_start_begins_anew() {
        let mut keeper = Keeper::default();
        assert!(!keeper.is_silent(1000 * SECOND));
        keeper.started(SECOND);
        keeper.heard(20 * SECOND);
        assert!(!keeper.is_silent(20 * SECOND + SILENCE));
        assert!(keeper.is_silent(21 * SECOND + SILENCE));
        keeper.ended(60 * SECOND);
        assert!(!keeper.is_silent(100 * SECOND));
        keeper.started(100 * SECOND);
        assert!(!keeper.is_silent(100 * SECOND + SILENCE));
    }

    #[test]
    fn what_was_told_to_be_off_stays_off_until_it_is_told_to_run() {
        let mut keeper = Keeper::default();
        keeper.started(Duration::ZERO);
        keeper.off();
        keeper.ended(SECOND);
        assert!(!keeper.is_due(1000 * SECOND));
        keeper.on(2 * SECOND);
        assert!(keeper.is_due(2 * SECOND));
    }
}
