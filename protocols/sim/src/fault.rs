//! Faults on request: what a device or its line does wrong, for how long and how often.
//!
//! Written as words, in a site file (`faults = ["silent 5s every 1m"]`) and on the control channel
//! (`meter1 late 300ms 10s`):
//!
//! ```text
//! <fault> [argument] [<time>] [every <time>] [<share>%]
//! ```
//!
//! [`Kind`] lists the faults. A fault without a time stays until `ok`; with `every` it comes back, and
//! the first period is free of it, so that a start shows data; with a share it hits only so many answers.

use crate::script::scattered;
use crate::span::Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Faults that one device can have at once.
const MOST: usize = 16;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No answer; a device that sends by itself sends nothing.
    Silent,
    /// Answers so much later than it should.
    Late(Duration),
    /// Modbus: answers with this exception code.
    Exception(u8),
    /// As many bytes as an answer, but others.
    Garbage,
    /// Modbus: the answer carries another unit id.
    WrongUnit,
    /// The checksum is wrong; over Modbus TCP the transaction number.
    WrongCrc,
    /// Only the first half of the answer.
    Cut,
    /// A pause of this length in the middle of the answer.
    Stall(Duration),
    /// Modbus: exception 2 for a request that spans addresses without a point.
    RefuseGaps,
    /// Modbus: exception 3 for a request of more registers than this.
    Limit(u16),
    /// TCP: the connection ends instead of an answer.
    Drop,
}

/// Names, what they take, what they do: the help text and the parser share the table.
pub const KINDS: [(&str, &str, &str); 11] = [
    ("silent", "", "does not answer; sends nothing by itself"),
    ("late", "<time>", "answers so much later"),
    (
        "exception",
        "[code]",
        "Modbus: refuses with this code (4 when left out)",
    ),
    ("garbage", "", "other bytes than it should, as many"),
    ("wrong-unit", "", "Modbus: answers under another unit id"),
    (
        "wrong-crc",
        "",
        "wrong checksum; over Modbus TCP a wrong transaction number",
    ),
    ("cut", "", "only the first half of an answer"),
    ("stall", "<time>", "pauses in the middle of an answer"),
    (
        "refuse-gaps",
        "",
        "Modbus: exception 2 across addresses without a point",
    ),
    (
        "limit",
        "<registers>",
        "Modbus: exception 3 above so many registers",
    ),
    ("drop", "", "TCP: ends the connection instead of answering"),
];

/// A fault with its times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// How long; until it is taken back when left out.
    pub time: Option<Duration>,
    /// How often it comes back.
    pub every: Option<Duration>,
    /// Share of the answers it hits, above 0 and at most 1.
    pub share: f64,
}

/// Words that are no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// A fault that does not exist.
    #[error("{0:?} is no fault; use one of {list}", list = names())]
    Unknown(String),
    /// An argument that is missing or wrong.
    #[error("{fault} needs {needs}, such as {example:?}; found {found:?}")]
    Argument {
        /// The fault.
        fault: &'static str,
        /// What it needs.
        needs: &'static str,
        /// How it is written.
        example: &'static str,
        /// What stands there.
        found: String,
    },
    /// A word behind the fault that means nothing.
    #[error(
        "{0:?} is not understood; behind a fault stand a time (10s), \"every\" and a time, a share (20%)"
    )]
    Word(String),
    /// A time that comes back sooner than it ends.
    #[error("\"every\" needs a time before it that is shorter, such as \"silent 5s every 1m\"")]
    Every,
    /// Too many.
    #[error("at most {MOST} faults at once; take some back with \"ok\"")]
    TooMany,
}

fn names() -> String {
    KINDS.map(|(name, ..)| name).join(", ")
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut words = text.split_ascii_whitespace().peekable();
        let name = words.next().unwrap_or_default();
        let mut argument = |fault, needs, example| {
            let found = words.next().unwrap_or_default();
            let refused = FaultError::Argument {
                fault,
                needs,
                example,
                found: found.to_owned(),
            };
            (found, refused)
        };
        let kind = match name {
            "silent" => Kind::Silent,
            "garbage" => Kind::Garbage,
            "wrong-unit" => Kind::WrongUnit,
            "wrong-crc" | "wrong-checksum" => Kind::WrongCrc,
            "cut" => Kind::Cut,
            "refuse-gaps" => Kind::RefuseGaps,
            "drop" => Kind::Drop,
            "late" => {
                let (found, refused) = argument("late", "a time", "late 300ms");
                Kind::Late(found.parse::<Time>().map_err(|_| refused)?.0)
            }
            "stall" => {
                let (found, refused) = argument("stall", "a time", "stall 500ms");
                Kind::Stall(found.parse::<Time>().map_err(|_| refused)?.0)
            }
            "limit" => {
                let (found, refused) = argument("limit", "a number of registers", "limit 30");
                Kind::Limit(found.parse().map_err(|_| refused)?)
            }
            "exception" => {
                let code = words.peek().and_then(|word| word.parse().ok());
                if code.is_some() {
                    words.next();
                }
                Kind::Exception(code.unwrap_or(4))
            }
            _ => return Err(FaultError::Unknown(name.to_owned())),
        };
        let mut fault = Self {
            kind,
            time: None,
            every: None,
            share: 1.0,
        };
        while let Some(word) = words.next() {
            let refused = || FaultError::Word(word.to_owned());
            if word == "every" {
                let every = words.next().and_then(|word| word.parse::<Time>().ok());
                fault.every = Some(every.ok_or(FaultError::Every)?.0);
            } else if let Some(percent) = word.strip_suffix('%') {
                let percent: f64 = percent.parse().map_err(|_| refused())?;
                if !(percent > 0.0 && percent <= 100.0) {
                    return Err(refused());
                }
                fault.share = percent / 100.0;
            } else if word != "for" {
                fault.time = Some(word.parse::<Time>().map_err(|_| refused())?.0);
            }
        }
        let comes_back_while_it_lasts = fault
            .every
            .is_some_and(|every| fault.time.is_none_or(|time| time >= every));
        if comes_back_while_it_lasts {
            return Err(FaultError::Every);
        }
        Ok(fault)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("silent"),
            Self::Late(time) => write!(f, "late {}", Time(*time)),
            Self::Exception(code) => write!(f, "exception {code}"),
            Self::Garbage => f.write_str("garbage"),
            Self::WrongUnit => f.write_str("wrong-unit"),
            Self::WrongCrc => f.write_str("wrong-crc"),
            Self::Cut => f.write_str("cut"),
            Self::Stall(time) => write!(f, "stall {}", Time(*time)),
            Self::RefuseGaps => f.write_str("refuse-gaps"),
            Self::Limit(registers) => write!(f, "limit {registers}"),
            Self::Drop => f.write_str("drop"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(time) = self.time {
            write!(f, " {}", Time(time))?;
        }
        if let Some(every) = self.every {
            write!(f, " every {}", Time(every))?;
        }
        if self.share < 1.0 {
            write!(f, " {}%", self.share * 100.0)?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The faults that a device has. Pure: takes the time since the simulator's start.
#[derive(Debug, Clone, Default)]
pub struct Board {
    armed: Vec<(Fault, Duration)>,
}

impl Board {
    /// The faults of a site file, counted from the start.
    ///
    /// # Errors
    /// Where there are too many.
    pub fn new(faults: &[Fault]) -> Result<Self, FaultError> {
        let mut board = Self::default();
        for fault in faults {
            board.arm(*fault, Duration::ZERO)?;
        }
        Ok(board)
    }

    /// Adds a fault at `now`.
    ///
    /// # Errors
    /// Where there are too many.
    pub fn arm(&mut self, fault: Fault, now: Duration) -> Result<(), FaultError> {
        self.armed
            .retain(|(fault, since)| !is_over(fault, now.saturating_sub(*since)));
        if self.armed.len() >= MOST {
            return Err(FaultError::TooMany);
        }
        self.armed.push((fault, now));
        Ok(())
    }

    /// Takes all faults back.
    pub fn clear(&mut self) {
        self.armed.clear();
    }

    /// The faults that hit an answer at `now`; `draw` differs from answer to answer.
    pub fn active(&self, now: Duration, draw: u64) -> impl Iterator<Item = Kind> {
        let armed = (0u64..).zip(&self.armed);
        armed.filter_map(move |(place, (fault, since))| {
            let age = now.saturating_sub(*since);
            let in_time = match (fault.time, fault.every) {
                (Some(time), Some(every)) => {
                    let into = age.as_nanos() % every.as_nanos().max(1);
                    age >= every && into < time.as_nanos()
                }
                (Some(time), None) => age < time,
                (None, _) => true,
            };
            let drawn = scattered(place, draw) >> 11;
            let hits = fault.share >= 1.0 || (drawn as f64 / (1u64 << 53) as f64) < fault.share;
            (in_time && hits).then_some(fault.kind)
        })
    }

    /// What is armed and not over, for people.
    pub fn armed(&self, now: Duration) -> impl Iterator<Item = &Fault> {
        let left =
            move |(fault, since): &&(Fault, Duration)| !is_over(fault, now.saturating_sub(*since));
        self.armed.iter().filter(left).map(|(fault, _)| fault)
    }
}

fn is_over(fault: &Fault, age: Duration) -> bool {
    fault.every.is_none() && fault.time.is_some_and(|time| age >= time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        text.parse().unwrap()
    }

    fn active(board: &Board, seconds: u64) -> Vec<Kind> {
        board.active(Duration::from_secs(seconds), 0).collect()
    }

    #[test]
    fn faults_are_read_as_they_are_written() {
        for text in [
            "silent",
            "late 300ms 10s",
            "exception 2",
            "garbage 10s 20%",
            "wrong-unit",
            "wrong-crc",
            "cut",
            "stall 500ms",
            "refuse-gaps",
            "limit 30",
            "drop",
            "silent 5s every 60s",
        ] {
            assert_eq!(fault(text).to_string(), text);
        }
        assert_eq!(fault("silent for 10s"), fault("silent 10s"));
        assert_eq!(fault("exception").kind, Kind::Exception(4));
    }

    #[test]
    fn what_is_no_fault_is_refused_with_what_is_allowed() {
        for (text, part) in [
            ("", "silent, late"),
            ("slient", "silent, late"),
            ("late", "late 300ms"),
            ("limit x", "limit 30"),
            ("silent 10", "a time (10s)"),
            ("silent 0%", "a share"),
            ("silent every 5s", "shorter"),
            ("silent 5s every 5s", "shorter"),
            ("silent 5s every", "shorter"),
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_fault_lasts_its_time_comes_back_when_told_and_spares_the_start() {
        let mut board = Board::new(&[fault("silent 5s every 15s")]).unwrap();
        let hit: Vec<u64> = (0..40).filter(|s| !active(&board, *s).is_empty()).collect();
        assert_eq!(hit, [15, 16, 17, 18, 19, 30, 31, 32, 33, 34]);
        board.clear();
        board
            .arm(fault("late 1s 10s"), Duration::from_secs(100))
            .unwrap();
        assert_eq!(active(&board, 109), [Kind::Late(Duration::from_secs(1))]);
        assert_eq!(active(&board, 110), []);
        assert_eq!(board.armed(Duration::from_secs(110)).count(), 0);
    }

    #[test]
    fn a_share_hits_about_so_many_answers_and_faults_are_bounded() {
        let mut board = Board::new(&[fault("garbage 20%")]).unwrap();
        let hits = |draw: &u64| board.active(Duration::ZERO, *draw).next().is_some();
        let hit = (0..1000).filter(hits).count();
        assert!((150..250).contains(&hit), "{hit}");
        for _ in 1..MOST {
            board.arm(fault("cut"), Duration::ZERO).unwrap();
        }
        assert_eq!(
            board.arm(fault("cut"), Duration::ZERO),
            Err(FaultError::TooMany)
        );
    }
}
