//! Faults as words: what, for how long, how often; as in the other simulators.
//!
//! ```text
//! <fault> [devices] [<time>] [every <time>]
//! ```
//! A fault without a time begins at the start and stays; with `every` it comes back, and the first period is
//! free of it, so that a start shows data.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use protocols_sim::span::Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fault::Fault;
use crate::names::Address;

/// What a fault befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One sensor.
    Sensor,
    /// One adapter.
    Adapter,
    /// bluetoothd, or everybody.
    Daemon,
}

macro_rules! words {
    ($($variant:ident $word:literal $scope:ident $help:literal),* $(,)?) => {
        /// The name of a fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Word { $(#[doc = $help] $variant),* }

        /// Word, what it befalls, what it does: the help text and the parser share the table.
        pub const WORDS: &[(&str, Scope, Word, &str)] =
            &[$(($word, Scope::$scope, Word::$variant, $help)),*];
    };
}
words! {
    Disconnect "disconnect" Sensor "its link breaks",
    OutOfRange "out-of-range" Sensor "not heard, cannot be connected, its link breaks",
    NeverResolved "never-resolved" Sensor "connects, but its services are never known",
    ConnectRefused "connect-refused" Sensor "connecting fails at once",
    ConnectHangs "connect-hangs" Sensor "connecting is never answered",
    NotificationsStop "notifications-stop" Sensor "subscribed, but nothing comes",
    ReadsFail "reads-fail" Sensor "reads fail",
    ReadsHang "reads-hang" Sensor "reads are never answered",
    WritesRefused "writes-refused" Sensor "writes are refused",
    WritesHang "writes-hang" Sensor "writes arrive but are never answered",
    Spoiled "spoiled" Sensor "its advertisements are cut, too long, or noise",
    Removed "removed" Adapter "unplugged; comes back switched off",
    Wedged "wedged" Adapter "its firmware hangs: orders are never answered, nothing is heard",
    AdvertsStop "adverts-stop" Adapter "nothing is heard until discovery is started again",
    PoweredOff "powered-off" Adapter "someone else switches it off",
    PowerBlocked "power-blocked" Adapter "off by rfkill, cannot be switched on",
    Stopped "stopped" Daemon "bluetoothd is not running",
    Hangs "hangs" Daemon "bluetoothd answers nothing",
    Crowd "crowd" Daemon "so many strangers pass by within the time",
}

impl Word {
    /// How it is written, and what it befalls.
    fn entry(self) -> (&'static str, Scope) {
        WORDS
            .iter()
            .find(|(_, _, word, _)| *word == self)
            .map_or(("", Scope::Daemon), |(text, scope, ..)| (text, *scope))
    }
}

/// A fault with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What.
    pub word: Word,
    /// `crowd`: how many.
    pub devices: u32,
    /// How long; until the end when left out.
    pub lasts: Option<Duration>,
    /// How often it comes back.
    pub every: Option<Duration>,
}

/// Words that are no fault here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A fault that does not exist.
    #[error("{0:?} is no fault; use one of {list}", list = list(|_| true))]
    Unknown(String),
    /// A fault of something else.
    #[error("{word:?} is no fault of this; use one of {allowed}")]
    Misplaced {
        /// The fault.
        word: &'static str,
        /// What is allowed here.
        allowed: String,
    },
    /// A crowd without a number.
    #[error("crowd needs a number of devices, 1 to 1000000, such as \"crowd 10000 1m\"")]
    Crowd,
    /// A word that means nothing.
    #[error(
        "{0:?} is not understood; behind a fault stand a time (10s), and \"every\" with a time (5m)"
    )]
    Word(String),
    /// It would come back before it ends.
    #[error(
        "\"every\" needs a longer time than the fault lasts, such as \"out-of-range 5s every 1m\""
    )]
    Every,
    /// A fault that has no duration.
    #[error("{0:?} happens in one moment: write how often, such as \"{0} every 5m\"")]
    Momentary(&'static str),
}

fn list(fits: impl Fn(Scope) -> bool) -> String {
    let names: Vec<&str> = WORDS
        .iter()
        .filter(|(_, scope, ..)| fits(*scope))
        .map(|(name, ..)| *name)
        .collect();
    names.join(", ")
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut words = text.split_whitespace().peekable();
        let name = words.next().unwrap_or_default();
        let (name, _, word, _) = WORDS
            .iter()
            .find(|(known, ..)| *known == name)
            .ok_or_else(|| PlanError::Unknown(name.to_owned()))?;
        let mut plan = Self {
            word: *word,
            devices: 0,
            lasts: None,
            every: None,
        };
        if plan.word == Word::Crowd {
            plan.devices = words
                .next()
                .and_then(|word| word.parse().ok())
                .filter(|devices| (1..=1_000_000).contains(devices))
                .ok_or(PlanError::Crowd)?;
        }
        while let Some(word) = words.next() {
            let (text, slot) = if word == "every" {
                (words.next().unwrap_or_default(), &mut plan.every)
            } else {
                (word, &mut plan.lasts)
            };
            let time: Time = text.parse().map_err(|_| PlanError::Word(word.to_owned()))?;
            if slot.is_some() || time.0.is_zero() {
                return Err(PlanError::Word(word.to_owned()));
            }
            *slot = Some(time.0);
        }
        if matches!(plan.word, Word::Disconnect | Word::PoweredOff) {
            if plan.lasts.is_some() || plan.every.is_none() {
                return Err(PlanError::Momentary(name));
            }
        } else if let Some(every) = plan.every
            && plan.lasts.is_none_or(|lasts| lasts >= every)
        {
            return Err(PlanError::Every);
        }
        Ok(plan)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word.entry().0)?;
        if self.word == Word::Crowd {
            write!(f, " {}", self.devices)?;
        }
        if let Some(lasts) = self.lasts {
            write!(f, " {}", Time(lasts))?;
        }
        if let Some(every) = self.every {
            write!(f, " every {}", Time(every))?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Plan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Plan {
    fn misplaced(&self, here: Scope) -> PlanError {
        PlanError::Misplaced {
            word: self.word.entry().0,
            allowed: list(|scope| scope == here),
        }
    }

    /// The fault, befalling a sensor.
    ///
    /// # Errors
    /// When it is not one of a sensor.
    pub fn sensor_fault(&self, address: Address) -> Result<Fault, PlanError> {
        Ok(match self.word {
            Word::Disconnect => Fault::Disconnect { address },
            Word::OutOfRange => Fault::OutOfRange { address },
            Word::NeverResolved => Fault::ServicesNeverResolved { address },
            Word::ConnectRefused => Fault::ConnectRefused { address },
            Word::ConnectHangs => Fault::ConnectHangs { address },
            Word::NotificationsStop => Fault::NotificationsStop { address },
            Word::ReadsFail => Fault::ReadsFail { address },
            Word::ReadsHang => Fault::ReadsHang { address },
            Word::WritesRefused => Fault::WritesRefused { address },
            Word::WritesHang => Fault::WritesHang { address },
            Word::Spoiled => Fault::Spoiled { address },
            _ => return Err(self.misplaced(Scope::Sensor)),
        })
    }

    /// The fault, befalling an adapter.
    ///
    /// # Errors
    /// When it is not one of an adapter.
    pub fn adapter_fault(&self, name: &str) -> Result<Fault, PlanError> {
        let adapter = name.to_owned();
        Ok(match self.word {
            Word::Removed => Fault::AdapterRemoved { adapter },
            Word::Wedged => Fault::AdapterWedged { adapter },
            Word::AdvertsStop => Fault::AdvertsStop { adapter },
            Word::PoweredOff => Fault::PoweredOff { adapter },
            Word::PowerBlocked => Fault::PowerBlocked { adapter },
            _ => return Err(self.misplaced(Scope::Adapter)),
        })
    }

    /// The fault, befalling bluetoothd or everybody.
    ///
    /// # Errors
    /// When it is one of a sensor or adapter.
    pub fn daemon_fault(&self) -> Result<Fault, PlanError> {
        Ok(match self.word {
            Word::Stopped => Fault::DaemonStopped,
            Word::Hangs => Fault::DaemonHangs,
            Word::Crowd => Fault::Crowd {
                devices: self.devices,
                within_ms: self.lasts.map_or(60_000, |lasts| {
                    u32::try_from(lasts.as_millis()).unwrap_or(u32::MAX)
                }),
            },
            _ => return Err(self.misplaced(Scope::Daemon)),
        })
    }
}
