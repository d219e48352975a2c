use super::*;
use protocols_model::Value::{Bool, F64, I64, Text, U64};
use protocols_model::{Quality, Reason, Timestamp};

const GOOD: Quality = Quality::Good;

fn at(seconds: u64) -> Instant {
    Instant(Duration::from_secs(seconds))
}

fn absolute(band: f64) -> Deadband {
    Deadband::new(Band::Absolute(band), None)
}

fn keep(stage: &mut Deadband, now: Instant, value: Option<Value>, quality: Quality) -> bool {
    let time = Timestamp::default();
    let sample = Sample {
        time,
        value,
        quality,
    };
    stage.keeps(now, &sample)
}

/// Feeds good values one second apart and tells which were kept.
fn kept(mut stage: Deadband, values: impl IntoIterator<Item = Value>) -> Vec<bool> {
    let values = values.into_iter().zip(0..);
    values
        .map(|(value, second)| keep(&mut stage, at(second), Some(value), GOOD))
        .collect()
}

#[test]
fn a_change_of_exactly_the_deadband_is_filtered_and_more_is_kept() {
    let values = [10.0, 10.5, 10.6, 10.2, 10.0].map(F64);
    assert_eq!(
        kept(absolute(0.5), values),
        [true, false, true, false, true]
    );
}

#[test]
fn a_slow_creep_is_measured_against_the_last_kept_value_and_cannot_hide() {
    let values = (0..10).map(|step| F64(f64::from(step) * 0.4));
    let kept = kept(absolute(1.0), values);
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 4);
}

#[test]
fn percent_is_of_the_last_kept_value_and_zero_is_left_by_any_change() {
    let report = Deadband::new(Band::Percent(10.0), None);
    let values = [-100.0, -109.0, -111.0, 0.0, 0.001, 0.001].map(F64);
    assert_eq!(kept(report, values), [true, false, true, true, true, false]);
}

#[test]
fn large_integers_are_compared_as_integers() {
    let big = 1u64 << 60;
    assert_eq!(
        kept(absolute(0.0), [big, big, big + 1].map(U64)),
        [true, false, true]
    );
    assert_eq!(
        kept(absolute(5.0), [i64::MIN, i64::MAX].map(I64)),
        [true, true]
    );
}

#[test]
fn texts_and_booleans_are_kept_when_they_differ_at_all() {
    assert_eq!(
        kept(absolute(9.0), [true, true, false].map(Bool)),
        [true, false, true]
    );
    let texts = ["a", "a", "b"].map(|text| Text(text.into()));
    assert_eq!(kept(absolute(9.0), texts), [true, false, true]);
}

#[test]
fn infinities_neither_stick_nor_repeat() {
    let infinity = f64::INFINITY;
    let values = [1.0, infinity, infinity, -infinity, 1.0].map(F64);
    assert_eq!(
        kept(absolute(1.0), values.clone()),
        [true, true, false, true, true]
    );
    let percent = Deadband::new(Band::Percent(1.0), None);
    assert_eq!(kept(percent, values), [true, true, false, true, true]);
}

#[test]
fn the_beat_lets_the_next_reading_pass_after_the_longest_silence() {
    let report = Deadband::new(Band::Absolute(1.0), Some(Duration::from_secs(3)));
    let kept = kept(report, std::iter::repeat_n(F64(1.0), 8));
    assert_eq!(kept, [true, false, false, true, false, false, true, false]);
}

#[test]
fn a_change_of_quality_passes_and_the_same_trouble_is_told_once() {
    let mut stage = absolute(1.0);
    let mut feed = |value: Option<f64>, quality| keep(&mut stage, at(0), value.map(F64), quality);
    let timeout = Quality::Bad(Reason::Timeout);
    assert!(feed(Some(1.0), GOOD));
    assert!(feed(None, timeout));
    assert!(!feed(None, timeout));
    assert!(feed(None, Quality::Bad(Reason::NotAsked)));
    assert!(feed(Some(1.0), GOOD), "the return of a device is told");
    assert!(feed(Some(1.0), Quality::Uncertain(Reason::OutOfRange)));
}
