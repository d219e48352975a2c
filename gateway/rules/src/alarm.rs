//! Alarms: raised and cleared by rules, acknowledged and shelved by people.
//!
//! ```text
//!            raise                 acknowledge
//!  Normal ─────────▶ Raised ──────────────────▶ Acknowledged
//!    ▲                 │ clear (latched)             │ clear
//!    │                 ▼                             │
//!    ├───────────── Returned                         │
//!    │  acknowledge                                  │
//!    └───────────────────────────────────────────────┘     (after ISA-18.2; without latch a clear
//!                                                             leads from Raised to Normal at once)
//! ```
//! A shelved alarm lives on without telling anybody until its time is over or somebody takes it back.
//!
//! The book is a value that can be kept: [`AlarmBook::snapshot`] and [`AlarmBook::restore`]. Restoring
//! gives the states of alarms that still exist; spans of shelving go on with what was left of them.

use protocols_model::{AlarmLevel, AlarmState, Instant, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest shelving: what is put aside for longer belongs to the configuration.
pub const MAX_SHELVING: Duration = Duration::from_hours(7 * 24);

/// An alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// How bad.
    pub level: AlarmLevel,
    /// For people.
    pub text: String,
    /// Whether it stays until acknowledged.
    pub latch: bool,
    /// Where it stands.
    pub state: AlarmState,
    /// Since when, wall clock, nanoseconds.
    pub since: i64,
    /// Who acknowledged it; empty for nobody.
    pub by: String,
    /// What is left of its shelving when the snapshot was made, milliseconds.
    shelved_ms: Option<u64>,
    #[serde(skip)]
    shelved_until: Option<Instant>,
}

/// Something that people may have to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmChange {
    /// The alarm's name.
    pub name: String,
    /// How bad.
    pub level: AlarmLevel,
    /// Where it stands now.
    pub state: AlarmState,
    /// For people.
    pub text: String,
    /// Nobody is to be disturbed: it is shelved.
    pub quiet: bool,
}

/// All alarms of a gateway by name.
#[derive(Debug, Clone, Default)]
pub struct AlarmBook(BTreeMap<String, Alarm>);

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AlarmError {
    /// No such alarm.
    #[error("there is no alarm of this name")]
    Unknown,
    /// Nothing to acknowledge.
    #[error("the alarm is not raised, or somebody acknowledged it before")]
    NothingToAcknowledge,
    /// Too long.
    #[error("an alarm is shelved for at most seven days")]
    TooLong,
}

impl AlarmBook {
    /// Makes an alarm known; one that is known keeps its state and takes the new words.
    pub fn define(&mut self, name: &str, level: AlarmLevel, text: &str, latch: bool) {
        let alarm = self.0.entry(name.to_owned()).or_insert_with(|| Alarm {
            level,
            text: String::new(),
            latch,
            state: AlarmState::Normal,
            since: 0,
            by: String::new(),
            shelved_ms: None,
            shelved_until: None,
        });
        alarm.level = level;
        text.clone_into(&mut alarm.text);
        alarm.latch = latch;
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Alarm)> {
        self.0.iter().map(|(name, alarm)| (name.as_str(), alarm))
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Alarm> {
        self.0.get(name)
    }

    /// Its cause is there.
    pub fn raise(&mut self, name: &str, now: Instant, wall: Timestamp) -> Option<AlarmChange> {
        self.change(name, now, wall, |state, _| match state {
            AlarmState::Normal | AlarmState::Returned => Some(AlarmState::Raised),
            AlarmState::Raised | AlarmState::Acknowledged => None,
        })
    }

    /// Its cause is gone.
    pub fn clear(&mut self, name: &str, now: Instant, wall: Timestamp) -> Option<AlarmChange> {
        self.change(name, now, wall, |state, latch| match state {
            AlarmState::Raised if latch => Some(AlarmState::Returned),
            AlarmState::Raised | AlarmState::Acknowledged => Some(AlarmState::Normal),
            AlarmState::Normal | AlarmState::Returned => None,
        })
    }

    /// Somebody knows.
    ///
    /// # Errors
    /// No such alarm, or nothing to acknowledge.
    pub fn acknowledge(
        &mut self,
        name: &str,
        by: &str,
        now: Instant,
        wall: Timestamp,
    ) -> Result<AlarmChange, AlarmError> {
        if !self.0.contains_key(name) {
            return Err(AlarmError::Unknown);
        }
        let change = self.change(name, now, wall, |state, _| match state {
            AlarmState::Raised => Some(AlarmState::Acknowledged),
            AlarmState::Returned => Some(AlarmState::Normal),
            AlarmState::Normal | AlarmState::Acknowledged => None,
        });
        if let Some(alarm) = self.0.get_mut(name).filter(|_| change.is_some()) {
            by.clone_into(&mut alarm.by);
        }
        change.ok_or(AlarmError::NothingToAcknowledge)
    }

    /// Puts an alarm aside for `span`; zero takes it back. What is open is told: whoever looks at it from
    /// afar sees that somebody put it aside.
    ///
    /// # Errors
    /// No such alarm, or too long.
    pub fn shelve(
        &mut self,
        name: &str,
        span: Duration,
        now: Instant,
    ) -> Result<Option<AlarmChange>, AlarmError> {
        if span > MAX_SHELVING {
            return Err(AlarmError::TooLong);
        }
        let alarm = self.0.get_mut(name).ok_or(AlarmError::Unknown)?;
        let was_shelved = alarm.is_shelved(now);
        alarm.shelved_until = (!span.is_zero()).then(|| now.plus(span));
        let is_shelved = alarm.is_shelved(now);
        let is_told = alarm.state.is_open() && was_shelved != is_shelved;
        Ok(is_told.then(|| alarm.told(name, is_shelved)))
    }

    /// Whether an alarm is put aside.
    #[must_use]
    pub fn is_shelved(&self, name: &str, now: Instant) -> bool {
        let alarm = self.0.get(name);
        alarm.is_some_and(|alarm| alarm.is_shelved(now))
    }

    /// When the next shelving ends; then [`AlarmBook::unshelve`] tells of alarms that are still raised.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.0
            .values()
            .filter_map(|alarm| alarm.shelved_until)
            .min()
    }

    /// Ends the shelvings whose time is over; alarms that are raised speak up again.
    pub fn unshelve(&mut self, now: Instant) -> Vec<AlarmChange> {
        let mut changes = Vec::new();
        for (name, alarm) in &mut self.0 {
            if alarm.shelved_until.is_some() && !alarm.is_shelved(now) {
                alarm.shelved_until = None;
                if alarm.state != AlarmState::Normal {
                    changes.push(alarm.told(name, false));
                }
            }
        }
        changes
    }

    /// What must survive a restart.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> BTreeMap<String, Alarm> {
        let mut all = self.0.clone();
        for alarm in all.values_mut() {
            let left = alarm
                .shelved_until
                .map(|until| until.since(now).as_millis());
            alarm.shelved_ms = left.map(|left| u64::try_from(left).unwrap_or(u64::MAX));
        }
        // What is normal and not put aside is what it would be without a book.
        all.retain(|_, alarm| alarm.state != AlarmState::Normal || alarm.shelved_ms.is_some());
        all
    }

    /// Takes the states of a snapshot for alarms that are known. Of those that are not known any more and
    /// were open, the end is to be told.
    #[must_use]
    pub fn restore(&mut self, kept: BTreeMap<String, Alarm>, now: Instant) -> Vec<AlarmChange> {
        let mut gone = Vec::new();
        for (name, mut old) in kept {
            let Some(alarm) = self.0.get_mut(&name) else {
                if old.state.is_open() {
                    old.state = AlarmState::Normal;
                    old.text = format!("no rule has this alarm any more: {}", old.text);
                    gone.push(old.told(&name, false));
                }
                continue;
            };
            alarm.state = old.state;
            alarm.since = old.since;
            alarm.by = old.by;
            let left = old.shelved_ms.map(Duration::from_millis);
            alarm.shelved_until = left.map(|left| now.plus(left.min(MAX_SHELVING)));
        }
        gone
    }

    fn change(
        &mut self,
        name: &str,
        now: Instant,
        wall: Timestamp,
        next: impl FnOnce(AlarmState, bool) -> Option<AlarmState>,
    ) -> Option<AlarmChange> {
        let alarm = self.0.get_mut(name)?;
        let state = next(alarm.state, alarm.latch)?;
        alarm.state = state;
        alarm.since = wall.0;
        if state == AlarmState::Raised {
            alarm.by.clear();
        }
        let quiet = alarm.is_shelved(now);
        Some(alarm.told(name, quiet))
    }
}

impl Alarm {
    /// What is left of its shelving.
    #[must_use]
    pub fn shelved_for(&self, now: Instant) -> Option<Duration> {
        let left = self.shelved_until?.since(now);
        (!left.is_zero()).then_some(left)
    }

    fn is_shelved(&self, now: Instant) -> bool {
        self.shelved_until.is_some_and(|until| now < until)
    }

    fn told(&self, name: &str, quiet: bool) -> AlarmChange {
        AlarmChange {
            name: name.to_owned(),
            level: self.level,
            state: self.state,
            text: self.text.clone(),
            quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    const WALL: Timestamp = Timestamp(5);

    fn book(latch: bool) -> AlarmBook {
        let mut book = AlarmBook::default();
        book.define("hot", AlarmLevel::High, "cellar hot", latch);
        book
    }

    fn state(book: &AlarmBook) -> AlarmState {
        book.get("hot").unwrap().state
    }

    #[test]
    fn a_latched_alarm_stays_until_somebody_knows() {
        let mut book = book(true);
        assert!(book.raise("hot", at(1), WALL).is_some());
        assert!(book.raise("hot", at(2), WALL).is_none(), "raised once");
        let change = book.clear("hot", at(3), WALL).unwrap();
        assert_eq!(change.state, AlarmState::Returned);
        book.acknowledge("hot", "ada", at(4), WALL).unwrap();
        assert_eq!(state(&book), AlarmState::Normal);
        assert_eq!(
            book.acknowledge("hot", "ada", at(5), WALL),
            Err(AlarmError::NothingToAcknowledge)
        );
        assert_eq!(
            book.acknowledge("cold", "ada", at(5), WALL),
            Err(AlarmError::Unknown)
        );
    }

    #[test]
    fn without_latch_it_goes_with_its_cause_and_a_returned_one_rises_again() {
        let mut plain = book(false);
        plain.raise("hot", at(1), WALL);
        plain.clear("hot", at(2), WALL);
        assert_eq!(state(&plain), AlarmState::Normal);
        let mut latched = book(true);
        latched.raise("hot", at(1), WALL);
        latched.clear("hot", at(2), WALL);
        assert_eq!(
            latched.raise("hot", at(3), WALL).unwrap().state,
            AlarmState::Raised
        );
    }

    #[test]
    fn a_shelved_alarm_is_quiet_and_speaks_up_when_its_time_is_over() {
        let mut book = book(true);
        let told = book.shelve("hot", Duration::from_secs(60), at(0));
        assert_eq!(told, Ok(None), "nobody has to know of what is not raised");
        assert!(book.raise("hot", at(1), WALL).unwrap().quiet);
        assert_eq!(book.due(), Some(at(60)));
        assert!(book.unshelve(at(59)).is_empty());
        let spoken = book.unshelve(at(60));
        assert_eq!(spoken.len(), 1);
        assert!(!spoken[0].quiet);
        assert_eq!(book.due(), None);
        let aside = book.shelve("hot", Duration::from_secs(60), at(70));
        assert!(aside.unwrap().unwrap().quiet);
        let longer = book.shelve("hot", Duration::from_secs(90), at(71));
        assert_eq!(longer, Ok(None), "told before");
        let back = book.shelve("hot", Duration::ZERO, at(80));
        assert!(!back.unwrap().unwrap().quiet);
        let long = Duration::from_hours(24 * 8);
        assert_eq!(book.shelve("hot", long, at(0)), Err(AlarmError::TooLong));
    }

    #[test]
    fn a_restart_changes_nothing_and_clears_alarms_that_no_rule_has_any_more() {
        let mut old = book(true);
        old.define("gone", AlarmLevel::Low, "away", false);
        old.raise("gone", at(1), WALL);
        old.raise("hot", at(1), WALL);
        old.acknowledge("hot", "ada", at(2), WALL).unwrap();
        old.shelve("hot", Duration::from_secs(100), at(10)).unwrap();
        let kept = old.snapshot(at(40));
        let mut new = book(true);
        let gone = new.restore(kept, at(5));
        let [gone] = gone.as_slice() else {
            panic!("{gone:?}")
        };
        assert_eq!(
            (gone.name.as_str(), gone.state),
            ("gone", AlarmState::Normal)
        );
        assert!(gone.text.contains("away"));
        assert_eq!(state(&new), AlarmState::Acknowledged);
        assert_eq!(new.get("hot").unwrap().by, "ada");
        assert_eq!(new.due(), Some(at(75)), "what was left of the shelving");
        assert!(new.get("gone").is_none());
    }
}
