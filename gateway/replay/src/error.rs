//! The largest error: what was read against what a receiver reconstructs from what was sent.

use gateway_filter::Bound;
use protocols_model::Value;
use protocols_wire::Sample;
use std::borrow::Borrow;

/// The largest distance of a good number that was read from its reconstruction, drawn as `bound` says;
/// held where the bound states nothing. `None` where there is no number to compare.
#[must_use]
pub fn largest(
    bound: Bound,
    read: impl Iterator<Item = impl Borrow<Sample>>,
    sent: &[Sample],
) -> Option<f64> {
    let mut largest: Option<f64> = None;
    let mut next = 0;
    for original in read {
        let original = original.borrow();
        while sent
            .get(next)
            .is_some_and(|sample| sample.time <= original.time)
        {
            next += 1;
        }
        let Some(held) = next.checked_sub(1).and_then(|last| sent.get(last)) else {
            continue;
        };
        let (Some(x), Some(v)) = (number(original), number(held)) else {
            continue;
        };
        let drawn = match (bound, sent.get(next)) {
            (Bound::Linear { .. }, Some(end)) => line(held, v, end, original).unwrap_or(v),
            _ => v,
        };
        let error = (x - drawn).abs();
        largest = Some(largest.map_or(error, |worst| worst.max(error)));
    }
    largest
}

fn line(held: &Sample, v: f64, end: &Sample, at: &Sample) -> Option<f64> {
    let w = number(end)?;
    let whole = end.time.since(held.time).as_secs_f64();
    let part = at.time.since(held.time).as_secs_f64();
    (whole > 0.0).then(|| v + (w - v) * part / whole)
}

fn number(sample: &Sample) -> Option<f64> {
    match sample.value.as_ref()? {
        Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => None,
        value => value.as_f64().filter(|x| x.is_finite()),
    }
}
