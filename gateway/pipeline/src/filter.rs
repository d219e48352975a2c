//! Which readings are worth sending: one decision per reading, pure.
//!
//! Rules, in this order (an independent model must be able to recompute them):
//! 1. without a report rule every reading is kept;
//! 2. the first reading of a point is kept;
//! 3. a change of quality against the last kept reading is kept;
//! 4. when the rule's beat has passed since the last kept reading, the reading is kept;
//! 5. a number is kept when it differs from the last *kept* number by more than the deadband;
//!    texts, bytes and booleans are kept when they differ at all;
//! 6. everything else is filtered.
//!
//! The range of a point is the driver's business: only it knows the raw number. The beat is measured on the monotonic clock. Readings without value (bad quality) are equal to
//! each other when their reasons are.

use gateway_config::{Deadband, Report};
use protocols_model::{Instant, Quality, Reason, Value, ValueType};

/// What the filter remembers of a point: the last reading that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct LastKept {
    value: Option<Value>,
    quality: Quality,
    at: Instant,
}

/// Makes a reading well formed: a value exactly when the quality is not bad, of the point's type,
/// short enough, and a number where it should be one.
#[must_use]
pub fn normalise(
    value_type: ValueType,
    value: Option<Value>,
    quality: Quality,
) -> (Option<Value>, Quality) {
    if quality.is_bad() {
        return (None, quality);
    }
    let Some(value) = value else {
        return (None, Quality::Bad(Reason::Undecodable));
    };
    let broken = value.value_type() != value_type
        || match &value {
            Value::F64(number) => number.is_nan(),
            Value::Text(text) => text.len() > protocols_model::value::MAX_VALUE_BYTES,
            Value::Bytes(bytes) => bytes.len() > protocols_model::value::MAX_VALUE_BYTES,
            Value::Bool(_) | Value::I64(_) | Value::U64(_) => false,
        };
    if broken {
        return (None, Quality::Bad(Reason::Undecodable));
    }
    (Some(value), quality)
}

/// Whether a well-formed reading is kept; when it is, `last` becomes it.
pub fn keep(
    report: &Report,
    last: &mut Option<LastKept>,
    now: Instant,
    value: Option<&Value>,
    quality: Quality,
) -> bool {
    let Report::Changes { deadband, beat } = report else {
        return true;
    };
    let worth = last.as_ref().is_none_or(|last| {
        last.quality != quality
            || beat.is_some_and(|beat| now.since(last.at) >= beat)
            || differs(*deadband, last.value.as_ref(), value)
    });
    if worth {
        *last = Some(LastKept {
            value: value.cloned(),
            quality,
            at: now,
        });
    }
    worth
}

/// Whether `new` lies beyond the deadband around `old`.
fn differs(deadband: Deadband, old: Option<&Value>, new: Option<&Value>) -> bool {
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
    let band = match deadband {
        Deadband::Absolute(band) => band,
        Deadband::Percent(percent) => {
            let base = old.as_f64().unwrap_or(0.0).abs() * percent / 100.0;
            // An infinite base would never be left again.
            if base.is_finite() { base } else { 0.0 }
        }
    };
    moved > band
}

/// A distance: its size matters, not its last bit, and zero stays zero.
const fn wide(distance: u64) -> f64 {
    distance as f64
}

#[cfg(test)]
mod tests;
