//! Peaks survive, gaps are seen, answers are bounded.

use super::*;
use proptest::prelude::*;
use protocols_model::{Quality, Reason, Value};

fn sample(seconds: i64, value: Option<f64>) -> RawSample {
    RawSample {
        time: Timestamp(seconds * 1_000_000_000),
        quality: if value.is_some() {
            Quality::Good
        } else {
            Quality::Bad(Reason::Timeout)
        },
        value: value.map(Value::F64),
    }
}

proptest! {
    #[test]
    fn the_plan_gives_no_more_buckets_than_asked_for(from in -1_000_000_000_000_000_000i64..2_000_000_000_000_000_000, span in 0i64..500_000_000_000_000_000, points in 3u16..10_000) {
        let range = TimeRange { from: Timestamp(from), to: Timestamp(from + span) };
        let (width, level) = plan(range, points.into());
        let first = bucket_start(range.from, width);
        let last = bucket_start(range.to, width);
        prop_assert!((last - first) / width < i64::from(points));
        let unit = match level { Level::Day => DAY_NS, Level::Hour => HOUR_NS, Level::Minute => MINUTE_NS, Level::Samples => 1 };
        prop_assert_eq!(width % unit, 0);
    }

    #[test]
    fn every_peak_is_in_a_bucket(values in prop::collection::vec(-1e6f64..1e6, 20..300)) {
        let mut gather = Gather::new(10_000_000_000, 10);
        for (second, value) in (0..).zip(&values) {
            gather.sample(sample(second, Some(*value)));
        }
        let (Points::Buckets { buckets, .. }, _) = gather.finish(None) else { panic!("raw") };
        for (bucket, chunk) in buckets.iter().zip(values.chunks(10)) {
            prop_assert_eq!(bucket.count, chunk.len() as u64);
            prop_assert_eq!(bucket.max.clone(), chunk.iter().copied().reduce(f64::max).map(Value::F64));
            prop_assert_eq!(bucket.min.clone(), chunk.iter().copied().reduce(f64::min).map(Value::F64));
            prop_assert_eq!(bucket.first.clone(), Some(Value::F64(chunk[0])));
            prop_assert_eq!(bucket.last.clone(), Some(Value::F64(chunk[chunk.len() - 1])));
        }
    }
}

#[test]
fn silence_and_bad_runs_are_gaps_and_usual_spacing_is_not() {
    let mut gather = Gather::new(1_000_000_000, 1000);
    let bad = 20..25;
    for second in (0..60).chain(120..180) {
        gather.sample(sample(second, (!bad.contains(&second)).then_some(1.0)));
    }
    let (Points::Raw(raw), gaps) = gather.finish(None) else {
        panic!("buckets")
    };
    assert_eq!(raw.len(), 120);
    let seconds: Vec<_> = gaps
        .iter()
        .map(|g| (g.from.0 / 1_000_000_000, g.to.0 / 1_000_000_000, g.kind))
        .collect();
    assert_eq!(
        seconds,
        [
            (20, 24, GapKind::Bad(Quality::Bad(Reason::Timeout))),
            (59, 120, GapKind::Missing)
        ]
    );
}

#[test]
fn gaps_are_seen_in_buckets_too() {
    let mut gather = Gather::new(10_000_000_000, 5);
    for second in (0..60).chain(120..180) {
        gather.sample(sample(second, (second < 140).then_some(1.0)));
    }
    let (Points::Buckets { .. }, gaps) = gather.finish(None) else {
        panic!("raw")
    };
    let seconds: Vec<_> = gaps
        .iter()
        .map(|g| (g.from.0 / 1_000_000_000, g.to.0 / 1_000_000_000))
        .collect();
    assert_eq!(seconds, [(60, 120), (140, 180)]);
}
