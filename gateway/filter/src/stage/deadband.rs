//! Deadbands: a value near the last sent one says nothing new.

use super::Passed;
use crate::bound::Bound;
use protocols_model::{Instant, Value};
use protocols_wire::Sample;
use std::time::Duration;

/// How far a number must move to be sent. Texts, bytes and truths are sent when they differ at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Band {
    /// More than this many of the point's units from the last sent value; 0 sends any change. A percent
    /// of the point's range is this too, once the range is known.
    Absolute(f64),
    /// More than this many percent of the last sent value.
    Percent(f64),
    /// Faster than this many units a second since the reading before. A slow drift is not seen: give a
    /// beat, or another band behind it.
    Rate(f64),
}

/// See [`Band`].
#[derive(Debug, Clone)]
pub struct Deadband {
    band: Band,
    beat: Option<Duration>,
    passed: Option<Passed>,
    /// The reading before, for the rate.
    before: Option<(Instant, f64)>,
}

impl Deadband {
    pub(super) const fn new(band: Band, beat: Option<Duration>) -> Self {
        Self {
            band,
            beat,
            passed: None,
            before: None,
        }
    }

    pub(super) const fn bound(&self) -> Bound {
        match self.band {
            Band::Absolute(absolute) => Bound::Hold {
                absolute,
                relative: 0.0,
            },
            Band::Percent(percent) => Bound::Hold {
                absolute: 0.0,
                relative: percent / 100.0,
            },
            Band::Rate(_) => Bound::Unstated,
        }
    }

    pub(super) fn keeps(&mut self, now: Instant, sample: &Sample) -> bool {
        let fast = self.is_fast(now, sample);
        let keeps = self.passed.as_ref().is_none_or(|passed| {
            passed.must_follow(now, sample, self.beat)
                || match self.band {
                    Band::Rate(_) => fast.unwrap_or(passed.value != sample.value),
                    band => differs(band, passed.value.as_ref(), sample.value.as_ref()),
                }
        });
        if keeps {
            self.passed = Some(Passed::new(now, sample));
        }
        keeps
    }

    /// Whether the number moved faster than the rate since the reading before; `None` where there is no
    /// number to tell by.
    fn is_fast(&mut self, now: Instant, sample: &Sample) -> Option<bool> {
        let Band::Rate(per_second) = self.band else {
            return None;
        };
        let number = match sample.value.as_ref()? {
            Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => return None,
            number => number.as_f64()?,
        };
        let before = self.before.replace((now, number));
        Some(before.is_some_and(|(at, old)| {
            let moved = (number - old).abs();
            moved > 0.0 && moved > per_second * now.since(at).as_secs_f64()
        }))
    }
}

/// Whether `new` lies beyond the band around `old`.
fn differs(band: Band, old: Option<&Value>, new: Option<&Value>) -> bool {
    let (old, new) = match (old, new) {
        (None, None) => return false,
        (Some(old), Some(new)) => (old, new),
        _ => return true,
    };
    let moved = match (old, new) {
        // Integers are compared as integers: beyond 2^53 a float could not see a step of one.
        (Value::I64(a), Value::I64(b)) => wide(a.abs_diff(*b)),
        (Value::U64(a), Value::U64(b)) => wide(a.abs_diff(*b)),
        // Equal infinities would give NaN.
        (Value::F64(a), Value::F64(b)) if a.total_cmp(b).is_eq() => 0.0,
        (Value::F64(a), Value::F64(b)) => (a - b).abs(),
        _ => return old != new,
    };
    let width = match band {
        Band::Absolute(width) => width,
        Band::Percent(percent) => {
            let base = old.as_f64().unwrap_or(0.0).abs() * percent / 100.0;
            // An infinite base would never be left again.
            if base.is_finite() { base } else { 0.0 }
        }
        Band::Rate(_) => return false,
    };
    moved > width
}

/// A distance: its size matters, not its last bit, and zero stays zero.
const fn wide(distance: u64) -> f64 {
    distance as f64
}

#[cfg(test)]
mod tests;
