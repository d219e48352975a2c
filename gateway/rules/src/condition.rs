//! The state machine of one condition: true for long enough, false for long enough, bad for too long.

use crate::rule::OnBad;
use protocols_model::Instant;
use std::time::Duration;

/// What an evaluation said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// `fire` and `end`; both may be false between the two thresholds of a hysteresis.
    Known { fire: bool, end: bool },
    /// An input that matters has no value.
    Bad,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Fired,
    Ended,
    /// Bad for too long; the safe values are due. Comes before `Fired` or `Ended` of the same moment.
    Unsafe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Rising { since: Instant },
    Active,
    Falling { since: Instant },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) hold: Duration,
    pub(crate) clear_hold: Duration,
    pub(crate) bad_after: Duration,
    pub(crate) on_bad: OnBad,
}

#[derive(Debug, Clone)]
pub(crate) struct Condition {
    times: Times,
    phase: Phase,
    bad_since: Option<Instant>,
    /// The safe values of this bad spell were asked for.
    safe_asked: bool,
}

impl Condition {
    pub(crate) const fn new(times: Times, active: bool) -> Self {
        Self {
            times,
            phase: if active { Phase::Active } else { Phase::Idle },
            bad_since: None,
            safe_asked: false,
        }
    }

    pub(crate) const fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Falling { .. })
    }

    /// When it must be looked at again although nothing arrives.
    pub(crate) fn due(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Rising { since } => Some(since.plus(self.times.hold)),
            Phase::Falling { since } => Some(since.plus(self.times.clear_hold)),
            Phase::Idle | Phase::Active => None,
        };
        let bad = self
            .bad_since
            .filter(|_| !self.safe_asked)
            .map(|since| since.plus(self.times.bad_after));
        match (phase, bad) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Goes on with what an evaluation at `now` said; at most two changes.
    pub(crate) fn step(&mut self, now: Instant, said: Said) -> [Option<Change>; 2] {
        let (fire, end) = match said {
            Said::Known { fire, end } => {
                self.bad_since = None;
                self.safe_asked = false;
                (fire, end)
            }
            Said::Bad => {
                let since = *self.bad_since.get_or_insert(now);
                // What is not known does not go on being true: a hold starts over.
                match self.phase {
                    Phase::Rising { .. } => self.phase = Phase::Idle,
                    Phase::Falling { .. } => self.phase = Phase::Active,
                    Phase::Idle | Phase::Active => {}
                }
                if self.safe_asked || now.since(since) < self.times.bad_after {
                    return [None, None];
                }
                self.safe_asked = true;
                let second = match self.times.on_bad {
                    OnBad::Hold => None,
                    OnBad::Clear if self.is_active() => {
                        self.phase = Phase::Idle;
                        Some(Change::Ended)
                    }
                    OnBad::Fire if !self.is_active() => {
                        self.phase = Phase::Active;
                        Some(Change::Fired)
                    }
                    OnBad::Clear | OnBad::Fire => None,
                };
                return [Some(Change::Unsafe), second];
            }
        };
        let change = match self.phase {
            Phase::Idle | Phase::Rising { .. } if !fire => {
                self.phase = Phase::Idle;
                None
            }
            Phase::Idle | Phase::Rising { .. } => {
                let since = match self.phase {
                    Phase::Rising { since } => since,
                    _ => now,
                };
                if now.since(since) >= self.times.hold {
                    self.phase = Phase::Active;
                    Some(Change::Fired)
                } else {
                    self.phase = Phase::Rising { since };
                    None
                }
            }
            Phase::Active | Phase::Falling { .. } if !end => {
                self.phase = Phase::Active;
                None
            }
            Phase::Active | Phase::Falling { .. } => {
                let since = match self.phase {
                    Phase::Falling { since } => since,
                    _ => now,
                };
                if now.since(since) >= self.times.clear_hold {
                    self.phase = Phase::Idle;
                    Some(Change::Ended)
                } else {
                    self.phase = Phase::Falling { since };
                    None
                }
            }
        };
        [change, None]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TRUE: Said = Said::Known {
        fire: true,
        end: false,
    };
    const FALSE: Said = Said::Known {
        fire: false,
        end: true,
    };
    const BETWEEN: Said = Said::Known {
        fire: false,
        end: false,
    };

    fn condition(on_bad: OnBad) -> Condition {
        let times = Times {
            hold: 20 * SECOND,
            clear_hold: 5 * SECOND,
            bad_after: 10 * SECOND,
            on_bad,
        };
        Condition::new(times, false)
    }

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    fn run(condition: &mut Condition, steps: &[(u64, Said)]) -> Vec<(u64, Change)> {
        let mut changes = Vec::new();
        for (seconds, said) in steps {
            let found = condition.step(at(*seconds), *said);
            changes.extend(found.into_iter().flatten().map(|change| (*seconds, change)));
        }
        changes
    }

    #[test]
    fn it_fires_after_holding_and_ends_after_clearing_and_a_break_starts_over() {
        let mut c = condition(OnBad::Hold);
        let steps = [
            (0, TRUE),
            (10, TRUE),
            (12, FALSE),
            (13, TRUE),
            (32, TRUE),
            (33, TRUE),
            (40, FALSE),
            (43, TRUE),
            (44, FALSE),
            (49, FALSE),
        ];
        let changes = run(&mut c, &steps);
        assert_eq!(changes, [(33, Change::Fired), (49, Change::Ended)]);
    }

    #[test]
    fn between_two_thresholds_nothing_changes() {
        let mut c = condition(OnBad::Hold);
        assert_eq!(
            run(&mut c, &[(0, TRUE), (19, BETWEEN), (21, TRUE), (42, TRUE)]),
            [(42, Change::Fired)]
        );
        assert_eq!(run(&mut c, &[(50, BETWEEN), (500, BETWEEN)]), []);
        assert!(c.is_active());
    }

    #[test]
    fn it_says_when_it_must_be_looked_at_again() {
        let mut c = condition(OnBad::Hold);
        assert_eq!(c.due(), None);
        run(&mut c, &[(1, TRUE)]);
        assert_eq!(c.due(), Some(at(21)));
        run(&mut c, &[(2, Said::Bad)]);
        assert_eq!(c.due(), Some(at(12)));
        run(&mut c, &[(12, Said::Bad)]);
        assert_eq!(c.due(), None);
    }

    #[test]
    fn bad_inputs_count_only_after_their_time_and_then_as_the_rule_says() {
        let bad = [
            (100, Said::Bad),
            (109, Said::Bad),
            (110, Said::Bad),
            (200, Said::Bad),
        ];
        assert_eq!(
            run(&mut condition(OnBad::Hold), &bad),
            [(110, Change::Unsafe)]
        );
        assert_eq!(
            run(&mut condition(OnBad::Fire), &bad),
            [(110, Change::Unsafe), (110, Change::Fired)]
        );
        let mut active = condition(OnBad::Clear);
        run(&mut active, &[(0, TRUE), (20, TRUE)]);
        assert_eq!(
            run(&mut active, &bad),
            [(110, Change::Unsafe), (110, Change::Ended)]
        );
        // A good answer in between ends the spell.
        let mut c = condition(OnBad::Hold);
        assert_eq!(
            run(
                &mut c,
                &[(0, Said::Bad), (9, FALSE), (10, Said::Bad), (19, Said::Bad)]
            ),
            []
        );
    }

    #[test]
    fn what_is_not_known_does_not_go_on_being_true() {
        let mut c = condition(OnBad::Hold);
        assert_eq!(
            run(
                &mut c,
                &[(0, TRUE), (15, Said::Bad), (16, TRUE), (30, TRUE)]
            ),
            []
        );
    }
}
