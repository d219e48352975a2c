//! The heartbeat: asks the adapter for a sign of life and compares what the system says with what is
//! wanted.
//!
//! Signals of the system can be lost together with what they come from; a question with a time-out cannot.

use crate::ladder::Cause;
use crate::radio::{Health, RadioError};
use std::time::Duration;

/// How often the adapter is asked.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
/// How long it may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// So many unanswered questions in a row make an adapter that does not answer.
const MISSES: u32 = 2;
/// So many looks in a row must show the same before a scan counts as ended: it is paused and begun again
/// all the time.
const LOOKS: u32 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Beat {
    missed: u32,
    idle: u32,
}

impl Beat {
    /// A new adapter: nothing is held against it.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The answer to a heartbeat; `paused` while somebody has stopped the scan on purpose.
    pub(super) fn answered(
        &mut self,
        answer: Result<bool, RadioError>,
        health: Health,
        paused: bool,
    ) -> Option<Cause> {
        match answer {
            Err(RadioError::TimedOut) => {
                self.missed += 1;
                return (self.missed >= MISSES).then_some(Cause::NotAnswering("its state"));
            }
            Err(error) => {
                self.missed += 1;
                return (self.missed >= MISSES).then_some(Cause::Failed("asking its state", error));
            }
            Ok(false) => {
                self.missed = 0;
                return Some(Cause::SwitchedOff);
            }
            Ok(true) => self.missed = 0,
        }
        if health.scanning || paused {
            self.idle = 0;
            return None;
        }
        self.idle += 1;
        (self.idle >= LOOKS).then_some(Cause::ScanEnded)
    }
}

/// What the system tells by itself and what of it is a trouble.
pub(super) const fn trouble(health: Health) -> Option<Cause> {
    if !health.connected {
        return Some(Cause::BusLost);
    }
    if !health.service {
        return Some(Cause::ServiceGone);
    }
    if !health.adapter {
        return Some(Cause::AdapterGone);
    }
    if !health.powered {
        return Some(Cause::SwitchedOff);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Health = Health {
        connected: true,
        service: true,
        adapter: true,
        powered: true,
        scanning: true,
        overrun: 0,
    };

    #[test]
    fn one_missed_answer_is_forgiven_two_in_a_row_are_not() {
        let mut beat = Beat::default();
        let missed = || Err(RadioError::TimedOut);
        assert_eq!(beat.answered(missed(), WELL, false), None);
        assert_eq!(beat.answered(Ok(true), WELL, false), None);
        assert_eq!(beat.answered(missed(), WELL, false), None);
        let cause = beat.answered(missed(), WELL, false);
        assert_eq!(cause, Some(Cause::NotAnswering("its state")));
    }

    #[test]
    fn a_scan_that_nobody_paused_and_that_is_off_twice_has_ended() {
        let mut beat = Beat::default();
        let idle = Health {
            scanning: false,
            ..WELL
        };
        assert_eq!(beat.answered(Ok(true), idle, true), None);
        assert_eq!(beat.answered(Ok(true), idle, false), None);
        assert_eq!(beat.answered(Ok(true), WELL, false), None);
        assert_eq!(beat.answered(Ok(true), idle, false), None);
        assert_eq!(beat.answered(Ok(true), idle, false), Some(Cause::ScanEnded));
        assert_eq!(
            beat.answered(Ok(false), WELL, false),
            Some(Cause::SwitchedOff)
        );
    }

    #[test]
    fn the_greatest_loss_is_the_cause() {
        let mut health = WELL;
        assert_eq!(trouble(health), None);
        health.powered = false;
        assert_eq!(trouble(health), Some(Cause::SwitchedOff));
        health.adapter = false;
        assert_eq!(trouble(health), Some(Cause::AdapterGone));
        health.service = false;
        assert_eq!(trouble(health), Some(Cause::ServiceGone));
        health.connected = false;
        assert_eq!(trouble(health), Some(Cause::BusLost));
    }
}
