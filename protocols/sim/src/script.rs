//! Values by script: what a point of a simulated device shows at a moment.
//!
//! ```toml
//! value = 50.0                                                       # constant; true, "text" as well
//! value = { ramp = { from = 0, to = 100, over = "60s", back = true } }
//! value = { sine = { mean = 230, amplitude = 4, period = "90 polls" } }
//! value = { square = { low = 0, high = 1, period = "10s", duty = 0.3 } }
//! value = { noise = { mean = 20, spread = 0.5, every = "1s" } }
//! value = { counter = { from = 0, step = 1, every = "1 poll", wrap = 65536 } }
//! value = { steps = { values = [1, 2, 5], every = "10s" } }
//! value = { course = { at = [0, 10.5, 60], values = [20.0, 20.5, 19.5], over = "90s" } }
//! value = { recording = { file = "day.csv", column = "voltage", time = "seconds" } }
//! value = { sum = [ { sine = { mean = 230, amplitude = 4 } }, { noise = { spread = 0.2 } } ] }
//! ```
//!
//! Flow: [`Script`] (as written) → [`Script::prepare`] (recordings read, bounds checked) → [`Signal`],
//! which gives a [`Value`] for every [`Moment`]. A signal is a closed form of the moment and its seed: it
//! holds no state, so the same moment always gives the same value, on every machine.

mod recording;

use crate::span::Time;
pub use crate::span::{Moment, Span};
pub use recording::RecordingError;

use recording::Recording;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Parts of a sum, and how deep sums may nest: a hostile file cannot use up the stack.
const MOST_PARTS: usize = 16;
/// See [`MOST_PARTS`].
const DEEPEST: usize = 4;

/// What a point shows at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A whole number; exact.
    Int(i64),
    /// Any number.
    Float(f64),
    /// A text.
    Text(String),
}

impl Value {
    /// As a number; a text is none and counts as 0.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Int(int) => *int as f64,
            Self::Float(float) => *float,
            Self::Text(_) => 0.0,
        }
    }

    /// As a whole number: rounded, and clamped to what 64 bits hold.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, which is what is promised"
    )]
    pub fn as_i64(&self) -> i64 {
        match self {
            Self::Int(int) => *int,
            Self::Float(float) => float.round() as i64,
            Self::Text(_) => 0,
        }
    }

    /// Whether a coil of this value is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            number => number.as_f64().abs() >= 0.5,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, f.precision()) {
            (Self::Int(int), None) => write!(f, "{int}"),
            (Self::Text(text), _) => f.write_str(text),
            (number, Some(digits)) => write!(f, "{:.digits$}", number.as_f64()),
            (Self::Float(float), None) => write!(f, "{float}"),
        }
    }
}

/// A script as it is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Script {
    /// Always the same.
    Constant(Value),
    /// Something that moves.
    Moving(Shape),
}

/// The ways in which a value moves. `over`, `period` and `every` are time or polls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Shape {
    /// From one value to another, again and again.
    Ramp {
        /// First value.
        from: f64,
        /// Last value.
        to: f64,
        /// How long one way takes.
        #[serde(default = "minute")]
        over: Span,
        /// Back the same way instead of jumping.
        #[serde(default)]
        back: bool,
    },
    /// A sine.
    Sine {
        /// Its middle.
        #[serde(default)]
        mean: f64,
        /// Highest distance from the middle.
        amplitude: f64,
        /// Length of one wave.
        #[serde(default = "minute")]
        period: Span,
        /// Where in the wave it begins, 0 to 1.
        #[serde(default)]
        phase: f64,
    },
    /// Two values in turn, the low one first.
    Square {
        /// The lower.
        #[serde(default)]
        low: f64,
        /// The higher.
        #[serde(default = "one")]
        high: f64,
        /// Length of both together.
        #[serde(default = "minute")]
        period: Span,
        /// Share of the period that is high, 0 to 1.
        #[serde(default = "half")]
        duty: f64,
    },
    /// Any value within a spread, evenly.
    Noise {
        /// Middle.
        #[serde(default)]
        mean: f64,
        /// Highest distance from the middle.
        spread: f64,
        /// How long a value stays.
        #[serde(default = "second")]
        every: Span,
        /// Another seed gives other values.
        #[serde(default)]
        seed: u64,
    },
    /// Counts whole numbers.
    Counter {
        /// First value.
        #[serde(default)]
        from: i64,
        /// By how much it moves.
        #[serde(default = "one_step")]
        step: i64,
        /// How long a value stays.
        #[serde(default = "poll")]
        every: Span,
        /// Begins again at 0 before it reaches this, above 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wrap: Option<i64>,
    },
    /// Some values in turn.
    Steps {
        /// The values.
        values: Vec<Value>,
        /// How long each stays.
        #[serde(default = "second")]
        every: Span,
    },
    /// Values at their times, again and again: what was recorded, say.
    Course {
        /// When each value begins, in seconds: rising from 0.
        at: Vec<f64>,
        /// The values.
        values: Vec<Value>,
        /// How long one way takes.
        over: Time,
    },
    /// A column of a CSV file with a header, again and again.
    Recording {
        /// The file, relative to the site file.
        file: PathBuf,
        /// Name of the column with the values.
        column: String,
        /// Name of the column with the time of each row in seconds, rising; without one every row
        /// stays for `every`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<String>,
        /// How long a row stays where no column has the time.
        #[serde(default = "second")]
        every: Span,
    },
    /// All of these added.
    Sum(Vec<Script>),
}

const fn minute() -> Span {
    Span::Time(Duration::from_mins(1))
}
const fn second() -> Span {
    Span::Time(Duration::from_secs(1))
}
const fn poll() -> Span {
    Span::Polls(1)
}
const fn one() -> f64 {
    1.0
}
const fn half() -> f64 {
    0.5
}
const fn one_step() -> i64 {
    1
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Script;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a constant or one of { ramp, sine, square, noise, counter, steps, course, recording, sum }",
                )
            }
            fn visit_bool<E>(self, on: bool) -> Result<Script, E> {
                Ok(Script::Constant(Value::Int(on.into())))
            }
            fn visit_i64<E>(self, int: i64) -> Result<Script, E> {
                Ok(Script::Constant(Value::Int(int)))
            }
            fn visit_u64<E: serde::de::Error>(self, int: u64) -> Result<Script, E> {
                let int = i64::try_from(int).map_err(E::custom)?;
                Ok(Script::Constant(Value::Int(int)))
            }
            fn visit_f64<E>(self, float: f64) -> Result<Script, E> {
                Ok(Script::Constant(Value::Float(float)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Script, E> {
                Ok(Script::Constant(Value::Text(text.to_owned())))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Script, A::Error> {
                Shape::deserialize(MapAccessDeserializer::new(map)).map(Script::Moving)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Why a script cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// Steps or a sum without parts.
    #[error("{0} has no values; write at least one")]
    Empty(&'static str),
    /// A sum that is too long or too deep.
    #[error("a sum has at most {MOST_PARTS} parts and nests at most {DEEPEST} deep")]
    TooMuch,
    /// A share that is none.
    #[error("{0} = {1} is not allowed; use 0 to 1")]
    Share(&'static str, f64),
    /// A counter that cannot wrap.
    #[error("wrap = {0} is not allowed; use a number above 0")]
    Wrap(i64),
    /// A course that nobody can follow.
    #[error(
        "a course has a time for each value, in seconds: 0 first, rising, the last before `over`"
    )]
    Course,
    /// A number that is none.
    #[error("a script needs finite numbers; nan and inf are none")]
    NotFinite,
    /// The recording cannot be played.
    #[error("recording {}", file.display())]
    Recording {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: RecordingError,
    },
}

/// A script that can be played: a closed form of the moment.
#[derive(Debug, Clone)]
pub struct Signal {
    part: Part,
}

#[derive(Debug, Clone)]
enum Part {
    Constant(Value),
    Shape(Shape, u64),
    Recording(Recording),
    Sum(Vec<Part>),
    Computed(Computed),
}

/// A value that somebody else computes.
#[derive(Clone)]
struct Computed(Arc<dyn Fn(Moment) -> Value + Send + Sync>);

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Computed")
    }
}

impl Script {
    /// A script that never moves.
    #[must_use]
    pub const fn constant(value: f64) -> Self {
        Self::Constant(Value::Float(value))
    }

    /// Makes the script playable: reads recordings relative to `folder`, checks what only shows now.
    /// `salt` tells scripts with the same seed apart, say a number for each point.
    ///
    /// # Errors
    /// What is wrong with the script or its file.
    pub fn prepare(&self, folder: &Path, salt: u64) -> Result<Signal, ScriptError> {
        let part = self.part(folder, salt, 0)?;
        Ok(Signal { part })
    }

    fn part(&self, folder: &Path, salt: u64, depth: usize) -> Result<Part, ScriptError> {
        let shape = match self {
            Self::Constant(value) => {
                finite(&[value.as_f64()])?;
                return Ok(Part::Constant(value.clone()));
            }
            Self::Moving(shape) => shape,
        };
        match shape {
            Shape::Ramp { from, to, .. } => finite(&[*from, *to])?,
            Shape::Sine {
                mean,
                amplitude,
                phase,
                ..
            } => {
                finite(&[*mean, *amplitude])?;
                share("phase", *phase)?;
            }
            Shape::Square {
                low, high, duty, ..
            } => {
                finite(&[*low, *high])?;
                share("duty", *duty)?;
            }
            Shape::Noise { mean, spread, .. } => finite(&[*mean, *spread])?,
            Shape::Counter { wrap, .. } => {
                if let Some(wrap) = wrap.filter(|wrap| *wrap <= 0) {
                    return Err(ScriptError::Wrap(wrap));
                }
            }
            Shape::Steps { values, .. } => {
                if values.is_empty() {
                    return Err(ScriptError::Empty("steps"));
                }
                values.iter().try_for_each(|v| finite(&[v.as_f64()]))?;
            }
            Shape::Course { at, values, over } => {
                values.iter().try_for_each(|v| finite(&[v.as_f64()]))?;
                let rises = at.iter().is_sorted_by(|a, b| a < b);
                let fits = at.last().is_some_and(|last| *last < over.0.as_secs_f64());
                let begins = at.first().is_some_and(|first| *first == 0.0);
                if at.len() != values.len() || !rises || !fits || !begins {
                    return Err(ScriptError::Course);
                }
            }
            Shape::Recording {
                file,
                column,
                time,
                every,
            } => {
                let recording =
                    Recording::read(&folder.join(file), column, time.as_deref(), *every);
                return recording
                    .map(Part::Recording)
                    .map_err(|source| ScriptError::Recording {
                        file: file.clone(),
                        source,
                    });
            }
            Shape::Sum(parts) => {
                if parts.is_empty() {
                    return Err(ScriptError::Empty("sum"));
                }
                if parts.len() > MOST_PARTS || depth >= DEEPEST {
                    return Err(ScriptError::TooMuch);
                }
                let parts = (0u64..).zip(parts).map(|(place, part)| {
                    part.part(folder, scattered(salt, place.wrapping_add(1)), depth + 1)
                });
                return Ok(Part::Sum(parts.collect::<Result<_, _>>()?));
            }
        }
        Ok(Part::Shape(shape.clone(), salt))
    }
}

fn finite(numbers: &[f64]) -> Result<(), ScriptError> {
    let all = numbers.iter().all(|number| number.is_finite());
    all.then_some(()).ok_or(ScriptError::NotFinite)
}

fn share(name: &'static str, number: f64) -> Result<(), ScriptError> {
    let fits = (0.0..=1.0).contains(&number);
    fits.then_some(()).ok_or(ScriptError::Share(name, number))
}

impl Signal {
    /// A signal that never moves.
    #[must_use]
    pub const fn constant(value: Value) -> Self {
        Self {
            part: Part::Constant(value),
        }
    }

    /// A signal that `compute` gives: for whoever needs values that no script has. The same moment must
    /// always give the same value.
    #[must_use]
    pub fn computed(compute: impl Fn(Moment) -> Value + Send + Sync + 'static) -> Self {
        Self {
            part: Part::Computed(Computed(Arc::new(compute))),
        }
    }

    /// The value at `moment`.
    #[must_use]
    pub fn at(&self, moment: Moment) -> Value {
        at(&self.part, moment)
    }
}

fn at(part: &Part, moment: Moment) -> Value {
    match part {
        Part::Constant(value) => value.clone(),
        Part::Shape(shape, salt) => moving(shape, *salt, moment),
        Part::Recording(recording) => Value::Float(recording.at(moment)),
        Part::Computed(Computed(compute)) => compute(moment),
        Part::Sum(parts) => {
            let values: Vec<Value> = parts.iter().map(|part| at(part, moment)).collect();
            let whole = values.iter().try_fold(0i64, |sum, value| match value {
                Value::Int(int) => sum.checked_add(*int),
                Value::Float(_) | Value::Text(_) => None,
            });
            whole.map_or_else(
                || Value::Float(values.iter().map(Value::as_f64).sum()),
                Value::Int,
            )
        }
    }
}

fn moving(shape: &Shape, salt: u64, moment: Moment) -> Value {
    match shape {
        Shape::Ramp {
            from,
            to,
            over,
            back,
        } => {
            let (turn, rest) = over.passed(moment);
            let way = if *back && turn % 2 == 1 {
                1.0 - rest
            } else {
                rest
            };
            Value::Float(from + (to - from) * way)
        }
        Shape::Sine {
            mean,
            amplitude,
            period,
            phase,
        } => {
            let angle = std::f64::consts::TAU * (period.passed(moment).1 + phase);
            Value::Float(mean + amplitude * angle.sin())
        }
        Shape::Square {
            low,
            high,
            period,
            duty,
        } => {
            let is_high = period.passed(moment).1 >= 1.0 - duty;
            Value::Float(if is_high { *high } else { *low })
        }
        Shape::Noise {
            mean,
            spread,
            every,
            seed,
        } => {
            let turn = every.passed(moment).0;
            let drawn = scattered(seed ^ scattered(salt, 0), turn) >> 11;
            let share = drawn as f64 / (1u64 << 53) as f64;
            Value::Float(mean + spread * (2.0 * share - 1.0))
        }
        Shape::Counter {
            from,
            step,
            every,
            wrap,
        } => {
            let turns = i128::from(every.passed(moment).0);
            let count = i128::from(*from) + i128::from(*step) * turns;
            let count = wrap.map_or(count, |wrap| count.rem_euclid(i128::from(wrap)));
            Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
        }
        Shape::Steps { values, every } => {
            let turn = usize::try_from(every.passed(moment).0).unwrap_or(0);
            let value = values.get(turn % values.len().max(1));
            value.cloned().unwrap_or(Value::Int(0))
        }
        Shape::Course { at, values, over } => {
            let span = over.0.as_nanos().max(1);
            let into = moment.elapsed.as_nanos() % span;
            let into = into as f64 / 1e9;
            let place = at.partition_point(|begin| *begin <= into).saturating_sub(1);
            values.get(place).cloned().unwrap_or(Value::Int(0))
        }
        // Made into parts of their own when the script was prepared.
        Shape::Recording { .. } | Shape::Sum(_) => Value::Int(0),
    }
}

/// A number that looks random and is always the same (the finalizer of `SplitMix64`).
#[must_use]
pub const fn scattered(seed: u64, n: u64) -> u64 {
    let mut x = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
