//! From samples and rollups to what a chart draws: buckets, raw samples, gaps. Pure.
//!
//! Buckets begin at multiples of their width, and widths above a minute, an hour or a day are whole
//! ones, so that a rollup row always lies within one bucket.

use crate::query::{Gap, GapKind, MAX_GAPS, Points, RawSample, TimeRange};
use crate::summary::Summary;
use protocols_model::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const MINUTE_NS: i64 = 60_000_000_000;
pub(crate) const HOUR_NS: i64 = 60 * MINUTE_NS;
pub(crate) const DAY_NS: i64 = 24 * HOUR_NS;

/// Where the numbers for a bucket width come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Samples.
    Samples,
    /// 1-minute rollups.
    Minute,
    /// 1-hour rollups.
    Hour,
    /// 1-day rollups.
    Day,
}

/// Bucket width, nanoseconds, and where its numbers come from, for `points` buckets over `range`.
pub(crate) fn plan(range: TimeRange, points: usize) -> (i64, Level) {
    let span = range.to.0.saturating_sub(range.from.0).max(1);
    let points = i64::try_from(points.max(1)).unwrap_or(i64::MAX);
    // Two less than asked for: aligned buckets may reach out at both ends.
    let width = span.div_euclid((points - 2).max(1)).saturating_add(1);
    let whole = |unit: i64| (width.saturating_add(unit - 1) / unit).saturating_mul(unit);
    match width {
        w if w > 12 * HOUR_NS => (whole(DAY_NS), Level::Day),
        w if w > HOUR_NS / 2 => (whole(HOUR_NS), Level::Hour),
        w if w > MINUTE_NS / 2 => (whole(MINUTE_NS), Level::Minute),
        _ => (whole(1_000_000), Level::Samples),
    }
}

/// Begin of the bucket of `width` that holds `time`.
pub(crate) const fn bucket_start(time: Timestamp, width: i64) -> i64 {
    time.0.div_euclid(width).saturating_mul(width)
}

/// Gathers samples: keeps them as long as they are few, sums them up in any case.
#[derive(Debug)]
pub(crate) struct Gather {
    width: i64,
    points: usize,
    raw: Option<Vec<RawSample>>,
    buckets: BTreeMap<i64, Summary>,
}

impl Gather {
    /// Gathers for `points` samples or buckets of `width`.
    pub(crate) const fn new(width: i64, points: usize) -> Self {
        Self {
            width,
            points,
            raw: Some(Vec::new()),
            buckets: BTreeMap::new(),
        }
    }

    /// The answer will be buckets, however few samples there are.
    pub(crate) fn only_buckets(&mut self) {
        self.raw = None;
    }

    /// Adds a sample.
    pub(crate) fn sample(&mut self, sample: RawSample) {
        let bucket = self.buckets.entry(bucket_start(sample.time, self.width));
        bucket
            .or_default()
            .add(sample.time, sample.value.as_ref(), sample.quality);
        if let Some(raw) = &mut self.raw {
            raw.push(sample);
            if raw.len() > self.points {
                self.raw = None;
            }
        }
    }

    /// Adds a rollup row that begins at `start`; only for an answer in buckets.
    pub(crate) fn rollup(&mut self, start: Timestamp, summary: &Summary) {
        let bucket = self.buckets.entry(bucket_start(start, self.width));
        bucket.or_default().merge(summary);
    }

    /// What was gathered, and its gaps.
    pub(crate) fn finish(self, silence: Option<Duration>) -> (Points, Vec<Gap>) {
        if let Some(mut raw) = self.raw {
            raw.sort_by_key(|sample| sample.time);
            let gaps = gaps_of_samples(&raw, silence);
            return (Points::Raw(raw), gaps);
        }
        let gaps = gaps_of_buckets(&self.buckets, self.width, silence);
        let buckets = self.buckets.into_iter();
        let points = Points::Buckets {
            width: Duration::from_nanos(self.width.unsigned_abs()),
            buckets: buckets
                .map(|(start, sum)| sum.into_bucket(Timestamp(start)))
                .collect(),
        };
        (points, gaps)
    }
}

/// A silence that stands out, where nobody says what is usual: three times the spacing that nine of
/// ten readings keep. Deadbands make spacing irregular; this follows them.
fn usual_silence(times: &[i64]) -> i64 {
    let steps = times.iter().zip(times.iter().skip(1));
    let mut spacings: Vec<i64> = steps.map(|(a, b)| b - a).collect();
    spacings.sort_unstable();
    let place = spacings.len().saturating_sub(1) * 9 / 10;
    let usual = spacings
        .get(place)
        .or(spacings.last())
        .copied()
        .unwrap_or(0);
    usual.saturating_mul(3).max(5_000_000_000)
}

impl Points {
    /// The silence that would stand out among these, see [`QueryRange::silence`](crate::QueryRange); `None` where
    /// they are too few to say.
    #[must_use]
    pub fn usual_silence(&self) -> Option<Duration> {
        let times: Vec<i64> = match self {
            Self::Raw(samples) => samples.iter().map(|sample| sample.time.0).collect(),
            Self::Buckets { buckets, .. } => buckets.iter().map(|bucket| bucket.start.0).collect(),
        };
        let enough = times.len() >= ENOUGH;
        enough.then(|| Duration::from_nanos(usual_silence(&times).unsigned_abs()))
    }
}

/// So many readings say how often a series usually speaks.
const ENOUGH: usize = 8;

fn gaps_of_samples(samples: &[RawSample], silence: Option<Duration>) -> Vec<Gap> {
    let times: Vec<i64> = samples.iter().map(|sample| sample.time.0).collect();
    let limit = silence.map_or_else(|| usual_silence(&times), nanos);
    let mut gaps = missing(&times, limit, 0);
    for run in samples.chunk_by(|a, b| a.value.is_none() == b.value.is_none()) {
        if let (Some(first), Some(last)) = (run.first(), run.last())
            && first.value.is_none()
        {
            gaps.push(Gap {
                from: first.time,
                to: last.time,
                kind: GapKind::Bad(first.quality),
            });
        }
    }
    bounded(gaps)
}

fn gaps_of_buckets(
    buckets: &BTreeMap<i64, Summary>,
    width: i64,
    silence: Option<Duration>,
) -> Vec<Gap> {
    let starts: Vec<i64> = buckets.keys().copied().collect();
    // A bucket without samples says little where readings are rarer than buckets.
    let limit = silence
        .map_or_else(|| usual_silence(&starts), nanos)
        .max(width);
    let mut gaps = missing(&starts, limit, width);
    let all: Vec<(&i64, &Summary)> = buckets.iter().collect();
    for run in all.chunk_by(|(_, a), (_, b)| (a.bad == a.count) == (b.bad == b.count)) {
        if let (Some((from, first)), Some((to, _))) = (run.first(), run.last())
            && first.bad == first.count
            && let Some((_, quality)) = first.bad_quality
        {
            gaps.push(Gap {
                from: Timestamp(**from),
                to: Timestamp(**to + width),
                kind: GapKind::Bad(quality),
            });
        }
    }
    bounded(gaps)
}

/// Steps longer than `limit`; each begins `width` after the earlier time.
fn missing(times: &[i64], limit: i64, width: i64) -> Vec<Gap> {
    let steps = times.iter().zip(times.iter().skip(1));
    steps
        .filter(|(a, b)| *b - *a > limit)
        .map(|(a, b)| Gap {
            from: Timestamp(a.saturating_add(width)),
            to: Timestamp(*b),
            kind: GapKind::Missing,
        })
        .collect()
}

/// The longest [`MAX_GAPS`], by time.
fn bounded(mut gaps: Vec<Gap>) -> Vec<Gap> {
    if gaps.len() > MAX_GAPS {
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.to.0 - gap.from.0));
        gaps.truncate(MAX_GAPS);
    }
    gaps.sort_by_key(|gap| gap.from);
    gaps
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
