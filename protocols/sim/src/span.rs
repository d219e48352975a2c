//! Lengths of time as people write them: `"250ms"`, `"1.5s"`, `"2m"`, `"1h"`, and `"60 polls"` where a
//! value may move with the number of its polls instead of with time.
//!
//! Everything a site file says about time is one of these two types. A text that is neither is refused
//! with the forms that are allowed.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest span, a year: more is a slip of the pen and would overflow sums.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no length of time; write {allowed}")]
pub struct SpanError {
    found: String,
    allowed: &'static str,
}

/// A length of time in a site file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub Duration);

/// A length by which a value moves: time, or polls of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The value is a function of time.
    Time(Duration),
    /// The value is a function of how often it was polled (sent, for a device that sends by itself).
    Polls(u64),
}

/// When a value is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since the simulator's start.
    pub elapsed: Duration,
    /// How often this value was asked for before.
    pub poll: u64,
}

impl Span {
    /// How many of this span have passed at `moment`, as a whole number and the rest of 0 to 1.
    #[must_use]
    pub fn passed(self, moment: Moment) -> (u64, f64) {
        match self {
            Self::Time(span) => {
                let span = span.as_nanos().max(1);
                let elapsed = moment.elapsed.as_nanos();
                let whole = u64::try_from(elapsed / span).unwrap_or(u64::MAX);
                (whole, (elapsed % span) as f64 / span as f64)
            }
            Self::Polls(polls) => {
                let polls = polls.max(1);
                let rest = (moment.poll % polls) as f64 / polls as f64;
                (moment.poll / polls, rest)
            }
        }
    }
}

impl FromStr for Time {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let refused = || SpanError {
            found: text.to_owned(),
            allowed: "a number and a unit: \"500us\", \"250ms\", \"1.5s\", \"2m\", \"1h\"",
        };
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == 'µ');
        let factor = match text.strip_prefix(digits).unwrap_or_default() {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(refused()),
        };
        let number: f64 = digits.trim_end().parse().map_err(|_| refused())?;
        let span = Duration::try_from_secs_f64(number * factor).map_err(|_| refused())?;
        if span > LONGEST {
            return Err(refused());
        }
        Ok(Self(span))
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let refused = || SpanError {
            found: text.to_owned(),
            allowed: "time (\"250ms\", \"1.5s\", \"2m\") or polls (\"60 polls\"), above zero",
        };
        let polls = text
            .trim()
            .strip_suffix("polls")
            .or_else(|| text.trim().strip_suffix("poll"));
        let span = match polls {
            Some(number) => Self::Polls(number.trim().parse().map_err(|_| refused())?),
            None => Self::Time(text.parse::<Time>().map_err(|_| refused())?.0),
        };
        let is_zero = matches!(span, Self::Polls(0) | Self::Time(Duration::ZERO));
        if is_zero { Err(refused()) } else { Ok(span) }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            f.write_str("0s")
        } else if nanos.is_multiple_of(1_000_000_000) {
            write!(f, "{}s", self.0.as_secs())
        } else if nanos.is_multiple_of(1_000_000) {
            write!(f, "{}ms", self.0.as_millis())
        } else {
            write!(f, "{}us", self.0.as_micros())
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(span) => Time(*span).fmt(f),
            Self::Polls(1) => f.write_str("1 poll"),
            Self::Polls(polls) => write!(f, "{polls} polls"),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_written_alike() {
        for text in ["250ms", "60s", "1 poll", "60 polls", "500us"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("1.5s".parse::<Time>().unwrap().0.as_millis(), 1500);
        assert_eq!("2m".parse::<Time>().unwrap().0.as_secs(), 120);
    }

    #[test]
    fn what_is_no_length_is_refused_with_what_is_allowed() {
        for text in [
            "", "5", "s", "-1s", "0s", "0 polls", "1e9d", "NaNs", "x polls",
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("60 polls"), "{text}: {error}");
        }
        assert_eq!("0s".parse::<Time>().unwrap().0, Duration::ZERO);
    }
}
