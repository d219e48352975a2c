//! Sums over samples: what a block row, a rollup row and a chart bucket have in common.
//!
//! Minimum, maximum, first and last are exact in the series' own type; the sum is floating point
//! and only the mean is made of it. Values that are not a number count, but are in no statistic.

use crate::query::Bucket;
use protocols_model::{Quality, Timestamp, Value};

/// Statistics of some samples of one series.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Summary {
    /// All samples.
    pub(crate) count: u64,
    /// Of these, samples without a value.
    pub(crate) bad: u64,
    /// Values that went into `sum`.
    pub(crate) valued: u64,
    /// Their sum.
    pub(crate) sum: f64,
    /// Smallest value that is a number.
    pub(crate) min: Option<Value>,
    /// Largest.
    pub(crate) max: Option<Value>,
    /// Earliest value and its time.
    pub(crate) first: Option<(Timestamp, Value)>,
    /// Latest value and its time.
    pub(crate) last: Option<(Timestamp, Value)>,
    /// Quality of the earliest sample without a value.
    pub(crate) bad_quality: Option<(Timestamp, Quality)>,
}

impl Summary {
    /// Adds one sample.
    pub(crate) fn add(&mut self, time: Timestamp, value: Option<&Value>, quality: Quality) {
        self.count += 1;
        let Some(value) = value else {
            self.bad += 1;
            if self.bad_quality.is_none_or(|(earliest, _)| time < earliest) {
                self.bad_quality = Some((time, quality));
            }
            return;
        };
        if let Some(number) = value.as_f64().filter(|number| !number.is_nan()) {
            self.valued += 1;
            self.sum += number;
            if self.min.as_ref().is_none_or(|min| less(value, min)) {
                self.min = Some(value.clone());
            }
            if self.max.as_ref().is_none_or(|max| less(max, value)) {
                self.max = Some(value.clone());
            }
        }
        if self
            .first
            .as_ref()
            .is_none_or(|(earliest, _)| time < *earliest)
        {
            self.first = Some((time, value.clone()));
        }
        if self.last.as_ref().is_none_or(|(latest, _)| time >= *latest) {
            self.last = Some((time, value.clone()));
        }
    }

    /// Adds what `other` sums up.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.bad += other.bad;
        self.valued += other.valued;
        self.sum += other.sum;
        if let Some(value) = &other.min
            && self.min.as_ref().is_none_or(|min| less(value, min))
        {
            self.min = Some(value.clone());
        }
        if let Some(value) = &other.max
            && self.max.as_ref().is_none_or(|max| less(max, value))
        {
            self.max = Some(value.clone());
        }
        if let Some((time, value)) = &other.first
            && self
                .first
                .as_ref()
                .is_none_or(|(earliest, _)| time < earliest)
        {
            self.first = Some((*time, value.clone()));
        }
        if let Some((time, value)) = &other.last
            && self.last.as_ref().is_none_or(|(latest, _)| time >= latest)
        {
            self.last = Some((*time, value.clone()));
        }
        if let Some((time, quality)) = other.bad_quality
            && self.bad_quality.is_none_or(|(earliest, _)| time < earliest)
        {
            self.bad_quality = Some((time, quality));
        }
    }

    /// The bucket that begins at `start` and holds exactly these samples.
    pub(crate) fn into_bucket(self, start: Timestamp) -> Bucket {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count above 2^53 is out of reach"
        )]
        let avg = (self.valued > 0).then(|| self.sum / self.valued as f64);
        Bucket {
            start,
            count: self.count,
            bad: self.bad,
            min: self.min,
            max: self.max,
            first: self.first.map(|(_, value)| value),
            last: self.last.map(|(_, value)| value),
            avg,
        }
    }
}

/// Whether `a` is smaller than `b`. Integers are compared as integers: beyond 2^53 a float would
/// call different ones equal.
fn less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::I64(a), Value::I64(b)) => a < b,
        (Value::U64(a), Value::U64(b)) => a < b,
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a < b,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_beyond_the_reach_of_floats_keep_their_order() {
        let mut summary = Summary::default();
        for value in [u64::MAX - 1, u64::MAX, u64::MAX - 2] {
            summary.add(Timestamp(1), Some(&Value::U64(value)), Quality::Good);
        }
        assert_eq!(summary.max, Some(Value::U64(u64::MAX)));
        assert_eq!(summary.min, Some(Value::U64(u64::MAX - 2)));
    }

    #[test]
    fn what_is_not_a_number_is_counted_and_hides_no_peak() {
        let mut summary = Summary::default();
        for (time, value) in [(1, f64::NAN), (2, 5.0), (3, -1.0), (4, f64::NAN)] {
            summary.add(Timestamp(time), Some(&Value::F64(value)), Quality::Good);
        }
        let bucket = summary.into_bucket(Timestamp(0));
        assert_eq!(
            (bucket.count, bucket.max, bucket.min),
            (4, Some(Value::F64(5.0)), Some(Value::F64(-1.0)))
        );
        assert_eq!(bucket.avg, Some(2.0));
    }
}
