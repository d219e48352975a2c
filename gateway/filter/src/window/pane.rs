//! One step of a window, and the aggregates over several of them.

use super::{Aggregate, MAX_KEPT};
use protocols_model::{Reason, Value, ValueType};
use protocols_wire::Sample;
use std::collections::VecDeque;
use std::time::Duration;

/// What is known of one step. Everything but kept values merges in constant time.
#[derive(Debug, Clone, Default)]
pub(super) struct Pane {
    count: u64,
    min: Option<Value>,
    max: Option<Value>,
    last: Option<Value>,
    mean: f64,
    /// Sum of squared distances from the mean (Welford), so that large values with small spread do not
    /// cancel out.
    squares: f64,
    /// Integral of the value over time, and the time it had one, in seconds.
    integral: f64,
    held: f64,
    /// Seconds in the state of each `TimeIn`, in their order.
    states: Vec<f64>,
    values: Option<Vec<f64>>,
    doubt: Option<Reason>,
}

impl Pane {
    pub(super) fn new(aggregates: &[Aggregate]) -> Self {
        let states = aggregates
            .iter()
            .filter(|a| matches!(a, Aggregate::TimeIn(_)));
        Self {
            states: vec![0.0; states.count()],
            values: aggregates
                .iter()
                .any(Aggregate::keeps_values)
                .then(Vec::new),
            ..Self::default()
        }
    }

    /// Why a reading of the step was not good.
    pub(super) const fn doubt(&self) -> Option<Reason> {
        self.doubt
    }

    pub(super) fn take(&mut self, sample: &Sample) {
        if let Some(reason) = sample.quality.reason() {
            self.doubt.get_or_insert(reason);
        }
        let Some(value) = &sample.value else { return };
        self.count += 1;
        self.last = Some(value.clone());
        let number = match value {
            Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => return,
            number => number.as_f64().filter(|number| number.is_finite()),
        };
        let Some(number) = number else {
            self.doubt.get_or_insert(Reason::OutOfRange);
            return;
        };
        keep(&mut self.min, value, |new, old| new < old);
        keep(&mut self.max, value, |new, old| new > old);
        let distance = number - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (number - self.mean);
        if let Some(values) = self
            .values
            .as_mut()
            .filter(|values| values.len() < MAX_KEPT)
        {
            values.push(number);
        }
    }

    /// `value` held for `span`.
    pub(super) fn hold(&mut self, value: &Value, span: Duration, aggregates: &[Aggregate]) {
        let seconds = span.as_secs_f64();
        self.held += seconds;
        if let Some(number) = value.as_f64() {
            self.integral += number * seconds;
        }
        let states = aggregates.iter().filter_map(|a| match a {
            Aggregate::TimeIn(state) => Some(state),
            _ => None,
        });
        for (state, sum) in states.zip(&mut self.states) {
            if state == value {
                *sum += seconds;
            }
        }
    }
}

/// Integers are compared as integers.
fn less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::I64(a), Value::I64(b)) => a < b,
        (Value::U64(a), Value::U64(b)) => a < b,
        (Value::F64(a), Value::F64(b)) => a < b,
        _ => false,
    }
}

struct Ordered<'a>(&'a Value);

impl PartialEq for Ordered<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl PartialOrd for Ordered<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        Some(match (less(self.0, other.0), less(other.0, self.0)) {
            (true, _) => Less,
            (_, true) => Greater,
            _ => Equal,
        })
    }
}

fn keep(best: &mut Option<Value>, new: &Value, better: fn(Ordered<'_>, Ordered<'_>) -> bool) {
    if best
        .as_ref()
        .is_none_or(|old| better(Ordered(new), Ordered(old)))
    {
        *best = Some(new.clone());
    }
}

/// Readings with a value.
pub(super) fn count(panes: &VecDeque<Pane>) -> u64 {
    panes.iter().map(|pane| pane.count).sum()
}

/// The aggregate over all panes; `None` where there is nothing to compute it from.
pub(super) fn compute(
    aggregate: &Aggregate,
    of: ValueType,
    panes: &VecDeque<Pane>,
) -> Option<Value> {
    match aggregate {
        Aggregate::Count => Some(Value::U64(count(panes))),
        Aggregate::Last => panes.iter().rev().find_map(|pane| pane.last.clone()),
        Aggregate::Min => {
            let all = panes.iter().filter_map(|pane| pane.min.as_ref());
            all.reduce(|best, next| if less(next, best) { next } else { best })
                .cloned()
        }
        Aggregate::Max => {
            let all = panes.iter().filter_map(|pane| pane.max.as_ref());
            all.reduce(|best, next| if less(best, next) { next } else { best })
                .cloned()
        }
        Aggregate::Mean => merged(panes).map(|(_, mean, _)| Value::F64(mean)),
        Aggregate::Deviation => merged(panes)
            .filter(|(count, ..)| *count >= 2.0)
            .map(|(count, _, squares)| Value::F64((squares / (count - 1.0)).sqrt())),
        Aggregate::TimeMean => {
            let held: f64 = panes.iter().map(|pane| pane.held).sum();
            let integral: f64 = panes.iter().map(|pane| pane.integral).sum();
            (held > 0.0).then(|| Value::F64(integral / held))
        }
        Aggregate::Percentile(percent) => percentile(*percent, of, panes),
        Aggregate::TimeIn(_) => None,
    }
}

/// Seconds in the `place`th state of the window; `None` while nothing ever held.
pub(super) fn time_in(place: usize, panes: &VecDeque<Pane>) -> Option<Value> {
    let held: f64 = panes.iter().map(|pane| pane.held).sum();
    let sum = panes.iter().filter_map(|pane| pane.states.get(place)).sum();
    (held > 0.0).then_some(Value::F64(sum))
}

/// Count, mean and sum of squares over all panes (Chan's rule for parallel variance).
fn merged(panes: &VecDeque<Pane>) -> Option<(f64, f64, f64)> {
    let with_values = panes.iter().filter(|pane| pane.count > 0);
    with_values
        .map(|pane| (pane.count as f64, pane.mean, pane.squares))
        .reduce(|(n, mean, squares), (m, other, more)| {
            let distance = other - mean;
            let total = n + m;
            (
                total,
                mean + distance * m / total,
                squares + more + distance * distance * n * m / total,
            )
        })
}

/// The nearest-rank percentile.
fn percentile(percent: f64, of: ValueType, panes: &VecDeque<Pane>) -> Option<Value> {
    let kept = panes.iter().filter_map(|pane| pane.values.as_deref());
    let mut values: Vec<f64> = kept.flatten().copied().collect();
    values.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of values"
    )]
    let rank = (percent.clamp(0.0, 100.0) / 100.0 * values.len() as f64).ceil() as usize;
    let number = *values.get(rank.saturating_sub(1))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it came from an integer of this type"
    )]
    Some(match of {
        ValueType::I64 => Value::I64(number as i64),
        ValueType::U64 => Value::U64(number as u64),
        _ => Value::F64(number),
    })
}
