//! The treatments of one point, in order.

use crate::place::Grid;
use crate::pseudonym::PseudonymKey;
use protocols_model::{Instant, Quality, Reason, Timestamp, Value, ValueType};
use protocols_wire::Sample;
use std::time::Duration;

/// What happens to a point's values before they leave.
#[derive(Debug, Clone)]
pub enum Treatment {
    /// To the nearest multiple of a step, in the point's unit.
    Round(f64),
    /// The point is a latitude in degrees: the middle of its row.
    Latitude(Grid),
    /// The point is a longitude in degrees: the middle of its cell, in the row of the latitude last told.
    Longitude(Grid),
    /// One value a bucket of time, the last one, stamped with the bucket's start.
    Time(Duration),
    /// A pseudonym instead of the text.
    Pseudonym(Box<PseudonymKey>),
}

/// Why a treatment does not go with a point.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TreatmentError {
    /// Another type is needed.
    #[error("{0} needs {1}; the point is of type {2}")]
    Type(&'static str, &'static str, &'static str),
    /// A step that is none.
    #[error("a step of {0} rounds nothing: a finite number above 0 is needed")]
    Step(f64),
    /// A bucket that is none.
    #[error("a bucket of {0:?} hides nothing: at least a second is needed")]
    Bucket(Duration),
}

impl Treatment {
    /// Whether it goes with points of this type, and type and form of what leaves.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, of: ValueType) -> Result<(), TreatmentError> {
        let number = matches!(of, ValueType::I64 | ValueType::U64 | ValueType::F64);
        let wrong = |what, needed| Err(TreatmentError::Type(what, needed, of.as_str()));
        match self {
            Self::Round(_) if !number => wrong("rounding", "a number"),
            Self::Round(step) if !(step.is_finite() && *step > 0.0) => {
                Err(TreatmentError::Step(*step))
            }
            Self::Round(step) if of != ValueType::F64 && *step < 1.0 => {
                Err(TreatmentError::Step(*step))
            }
            Self::Latitude(_) | Self::Longitude(_) if of != ValueType::F64 => {
                wrong("a grid", "degrees as a float")
            }
            Self::Pseudonym(_) if !matches!(of, ValueType::Text | ValueType::Bytes) => {
                wrong("a pseudonym", "a text")
            }
            Self::Time(bucket) if *bucket < Duration::from_secs(1) => {
                Err(TreatmentError::Bucket(*bucket))
            }
            _ => Ok(()),
        }
    }

    /// In what form the value leaves, for people.
    #[must_use]
    pub fn form(&self) -> String {
        match self {
            Self::Round(step) => format!("rounded to multiples of {step}"),
            Self::Latitude(_) | Self::Longitude(_) => {
                "as the middle of a cell of a grid".to_owned()
            }
            Self::Time(bucket) => format!("one value in {bucket:?}, told when it is over"),
            Self::Pseudonym(_) => "as a keyed pseudonym".to_owned(),
        }
    }
}

/// All treatments of one point.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    treatments: Vec<Treatment>,
    /// The last value of the open bucket, and its bucket.
    waiting: Option<(Sample, Timestamp)>,
    /// When the open bucket ends.
    ends: Option<Instant>,
    /// The bucket told last: a filter may hand on a reading of it later, and it has been told.
    told: Option<Timestamp>,
}

impl Guard {
    /// Treatments in this order; none lets everything pass as it is.
    #[must_use]
    pub const fn new(treatments: Vec<Treatment>) -> Self {
        Self {
            treatments,
            waiting: None,
            ends: None,
            told: None,
        }
    }

    /// Whether values leave as they are.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.treatments.is_empty()
    }

    /// The treatments.
    #[must_use]
    pub fn treatments(&self) -> &[Treatment] {
        &self.treatments
    }

    /// Treats a sample that would leave at `now`. `latitude` is the raw latitude that belongs to a
    /// longitude. What leaves goes to `sink`; whether a sample was left out, this one or one that waited.
    pub fn take(
        &mut self,
        now: Instant,
        mut sample: Sample,
        latitude: Option<f64>,
        sink: &mut dyn FnMut(Sample),
    ) -> bool {
        let mut bucket = None;
        for treatment in &mut self.treatments {
            match treatment {
                Treatment::Time(span) => bucket = Some(*span),
                treatment => {
                    let Some(value) = sample.value.take() else {
                        continue;
                    };
                    match treat(treatment, value, sample.time, latitude) {
                        Some(value) => sample.value = Some(value),
                        // Never raw.
                        None => sample.quality = Quality::Bad(Reason::OutOfRange),
                    }
                }
            }
        }
        let Some(bucket) = bucket else {
            sink(sample);
            return false;
        };
        self.tick(now, sink);
        let start = floor(sample.time, bucket);
        if self.told == Some(start) {
            return true;
        }
        // A clock that steps into another bucket ends the open one.
        if self
            .waiting
            .as_ref()
            .is_some_and(|(_, open)| *open != start)
        {
            self.flush(sink);
        }
        if self.ends.is_none() {
            let past = sample.time.since(start);
            self.ends = Some(now.plus(bucket.saturating_sub(past)));
        }
        sample.time = start;
        self.waiting.replace((sample, start)).is_some()
    }

    /// When the open bucket ends.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.ends
    }

    /// Whether a sample waits.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.waiting.is_some()
    }

    /// Lets go what waited until `now`.
    pub fn tick(&mut self, now: Instant, sink: &mut dyn FnMut(Sample)) {
        if self.ends.is_some_and(|ends| ends <= now) {
            self.flush(sink);
        }
    }

    /// Lets go what waits, before a stop: its record then tells when the gateway stopped, not more.
    pub fn flush(&mut self, sink: &mut dyn FnMut(Sample)) {
        self.ends = None;
        if let Some((sample, bucket)) = self.waiting.take() {
            self.told = Some(bucket);
            sink(sample);
        }
    }
}

fn floor(time: Timestamp, bucket: Duration) -> Timestamp {
    let bucket = i64::try_from(bucket.as_nanos()).unwrap_or(i64::MAX).max(1);
    Timestamp(time.0.saturating_sub(time.0.rem_euclid(bucket)))
}

/// The treated value; `None` where it cannot be treated.
fn treat(
    treatment: &mut Treatment,
    value: Value,
    at: Timestamp,
    latitude: Option<f64>,
) -> Option<Value> {
    match (treatment, value) {
        (Treatment::Round(step), value) => round(*step, &value),
        (Treatment::Latitude(grid), Value::F64(x)) => grid.latitude(x).map(Value::F64),
        (Treatment::Longitude(grid), Value::F64(x)) => grid.longitude(x, latitude?).map(Value::F64),
        (Treatment::Pseudonym(key), Value::Text(text)) => {
            Some(Value::Text(key.pseudonym(at, text.as_bytes()).into()))
        }
        (Treatment::Pseudonym(key), Value::Bytes(bytes)) => {
            let name = key.pseudonym(at, &bytes);
            Some(Value::Bytes(name.into_bytes().into()))
        }
        _ => None,
    }
}

fn round(step: f64, value: &Value) -> Option<Value> {
    match value {
        Value::F64(x) => {
            let rounded = (x / step).round() * step;
            rounded.is_finite().then_some(Value::F64(rounded))
        }
        // Integers stay integers: beyond 2^53 a float would make up digits.
        Value::I64(x) => {
            let step = whole(step)?;
            nearest((*x).into(), step)
                .and_then(|x| i64::try_from(x).ok())
                .map(Value::I64)
        }
        Value::U64(x) => {
            let step = whole(step)?;
            nearest((*x).into(), step)
                .and_then(|x| u64::try_from(x).ok())
                .map(Value::U64)
        }
        Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => None,
    }
}

fn nearest(x: i128, step: i128) -> Option<i128> {
    let half = x.checked_add(step / 2)?;
    Some(half.div_euclid(step) * step)
}

/// A step for integers.
fn whole(step: f64) -> Option<i128> {
    let step = step.round();
    if !(1.0..=9e18).contains(&step) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 63 bits")]
    let step = step as i128;
    Some(step)
}

#[cfg(test)]
mod tests;
