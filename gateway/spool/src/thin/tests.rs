//! Thinning one bucket after the other: first, last, least and largest stay with their times, the rest is counted.

use super::*;
use proptest::prelude::*;
use protocols_model::{Quality, Reason};
use std::sync::Arc;

const HASH: DictionaryHash = DictionaryHash([7; 16]);

fn values(kind: u8) -> BoxedStrategy<Value> {
    match kind {
        0 => (-20_i64..20).prop_map(Value::I64).boxed(),
        1 => (0_u64..40).prop_map(Value::U64).boxed(),
        2 => prop_oneof![
            8 => (-9_i32..9).prop_map(|n| Value::F64(f64::from(n) / 4.0)),
            1 => Just(Value::F64(f64::NAN)),
            1 => Just(Value::F64(f64::INFINITY)),
        ]
        .boxed(),
        3 => any::<bool>().prop_map(Value::Bool).boxed(),
        _ => (0_u8..4)
            .prop_map(|n| Value::Text(Arc::from(format!("state {n}"))))
            .boxed(),
    }
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let step = prop_oneof![
        20 => 0_i64..4_000,
        2 => 30_000_i64..200_000,
        1 => -100_000_i64..0,
    ];
    let quality = prop_oneof![
        12 => Just(Quality::Good),
        2 => Just(Quality::Uncertain(Reason::Stale)),
        1 => Just(Quality::Uncertain(Reason::ClockUnsynced)),
        2 => Just(Quality::Bad(Reason::Timeout)),
    ];
    (0_u8..5).prop_flat_map(move |kind| {
        let one = (step.clone(), quality.clone(), values(kind));
        prop::collection::vec(one, 0..150).prop_map(|ones| {
            let mut time = 1_700_000_000_000_i64;
            let sample = |(step, quality, value): (i64, Quality, Value)| {
                time += step;
                Sample {
                    time: Timestamp::from_millis(time),
                    value: (!quality.is_bad()).then_some(value),
                    quality,
                }
            };
            ones.into_iter().map(sample).collect()
        })
    })
}

fn record(samples: &[Sample], filtered: u64) -> Telemetry {
    Telemetry {
        dictionaries: vec![DictionaryHash([1; 16]), HASH],
        columns: vec![Column {
            dictionary: 1,
            index: 3,
            filtered,
            samples: samples.to_vec(),
        }],
        unchanged: Vec::new(),
    }
}

fn thin(parts: &[&[Sample]], bucket: Duration) -> Thinned {
    let mut thinner = Thinner::new(bucket);
    for part in parts {
        assert!(thinner.take(&record(part, 2)));
    }
    thinner.finish()
}

fn kept(thinned: &Thinned) -> Vec<Sample> {
    let columns = thinned.telemetry.columns.iter();
    columns.flat_map(|column| column.samples.clone()).collect()
}

fn same(a: &Sample, b: &Sample) -> bool {
    let value = match (&a.value, &b.value) {
        (Some(Value::F64(a)), Some(Value::F64(b))) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    };
    value && a.time == b.time && a.quality == b.quality
}

/// Runs of readings in one bucket of absolute time, in order.
fn runs(samples: &[Sample], bucket: Duration) -> Vec<&[Sample]> {
    let number = |s: &Sample| {
        s.time
            .0
            .div_euclid(i64::try_from(bucket.as_nanos()).unwrap())
    };
    samples.chunk_by(|a, b| number(a) == number(b)).collect()
}

/// The first smallest and the first largest number among good readings, found the plain way.
fn extremes(run: &[Sample]) -> Vec<Sample> {
    let number = |s: &Sample| match s.value {
        Some(Value::I64(n)) => Some(n as f64),
        Some(Value::U64(n)) => Some(n as f64),
        Some(Value::F64(n)) if !n.is_nan() => Some(n),
        _ => None,
    };
    let good = run.iter().filter(|s| s.quality.is_good());
    let numbers: Vec<_> = good.filter_map(|s| Some((number(s)?, s))).collect();
    let least = numbers.iter().map(|n| n.0).fold(f64::INFINITY, f64::min);
    let most = numbers
        .iter()
        .map(|n| n.0)
        .fold(f64::NEG_INFINITY, f64::max);
    [least, most]
        .iter()
        .filter_map(|extreme| numbers.iter().find(|n| n.0.total_cmp(extreme).is_eq()))
        .map(|n| n.1.clone())
        .collect()
}

fn assert_keeps_what_matters(original: &[Sample], kept: &[Sample], bucket: Duration) {
    let has = |sample: &Sample| kept.iter().any(|k| same(k, sample));
    for run in runs(original, bucket) {
        assert!(has(run.first().unwrap()) && has(run.last().unwrap()));
        for extreme in extremes(run) {
            assert!(has(&extreme), "{extreme:?} of {run:?} is not in {kept:?}");
        }
        for sample in run {
            let of_quality = run.iter().find(|s| s.quality == sample.quality).unwrap();
            assert!(has(of_quality), "the first of {:?} went", sample.quality);
        }
    }
}

/// Whether `kept` is a part of `original`, in order.
fn is_part(original: &[Sample], kept: &[Sample]) -> bool {
    let mut rest = original.iter();
    kept.iter().all(|k| rest.any(|o| same(o, k)))
}

proptest! {
    #[test]
    fn each_bucket_keeps_its_extremes_at_their_times_and_counts_are_conserved(
        samples in samples(),
        cut in any::<prop::sample::Index>(),
        level in 1_u8..4,
    ) {
        let span = bucket(level);
        let at = cut.index(samples.len() + 1);
        let thinned = thin(&[&samples[..at], &samples[at..]], span);
        let stay = kept(&thinned);
        prop_assert!(is_part(&samples, &stay));
        assert_keeps_what_matters(&samples, &stay, span);
        let lost: u64 = thinned.lost.iter().map(|point| point.readings).sum();
        prop_assert_eq!(thinned.taken, samples.len() as u64);
        prop_assert_eq!(stay.len() as u64, thinned.kept);
        prop_assert_eq!(thinned.kept + lost, thinned.taken);
        prop_assert_eq!(thinned.telemetry.columns[0].filtered, 4);
        for run in runs(&stay, span) {
            // First, last, two extremes good and uncertain, four qualities, four changes.
            prop_assert!(run.len() <= 2 + 4 + 3 + CHANGES);
        }
    }

    #[test]
    fn thinning_what_was_thinned_keeps_the_extremes_of_the_original(samples in samples()) {
        let once = kept(&thin(&[&samples], bucket(1)));
        let twice = kept(&thin(&[&once], bucket(2)));
        prop_assert!(is_part(&once, &twice));
        assert_keeps_what_matters(&samples, &twice, bucket(2));
    }
}

#[test]
fn an_hour_at_one_hertz_keeps_four_readings_a_bucket() {
    let hour: Vec<_> = (0..3600_i64)
        .map(|n| Sample {
            time: Timestamp::from_millis(1_700_000_010_000 + n * 1000),
            value: Some(Value::I64(n * 7919 % 1009)),
            quality: Quality::Good,
        })
        .collect();
    let thinned = thin(&[&hour], bucket(1));
    let runs = runs(&hour, bucket(1)).len() as u64;
    assert!(
        thinned.kept <= 4 * runs && thinned.kept > 2 * runs,
        "{}",
        thinned.kept
    );
    assert_eq!(bucket(COARSEST), Duration::from_secs(30 << 14));
}

#[test]
fn a_record_that_names_an_unlisted_dictionary_is_not_taken() {
    let mut wrong = record(&[], 1);
    wrong.columns[0].dictionary = 2;
    let mut thinner = Thinner::new(bucket(1));
    assert!(!thinner.take(&wrong));
    assert_eq!(thinner.finish().telemetry.columns, []);
}
