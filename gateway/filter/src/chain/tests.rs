//! The guarantees of the crate over random series, by a model that knows only the rules.

use crate::{Band, Bound, Chain, Stage};
use fastrand::Rng;
use protocols_model::{Instant, Quality, Reason, Timestamp, Value};
use protocols_wire::Sample;
use std::time::Duration;

/// Series in the large test, each time; of 2 to 40 readings each.
const SERIES: u64 = 1_000_000;

/// A random chain with at most one stage that draws lines.
fn chain(rng: &mut Rng) -> Chain {
    let mut stages = Vec::new();
    for _ in 0..rng.usize(1..=3) {
        let beat = rng
            .bool()
            .then(|| Duration::from_millis(rng.u64(500..20_000)));
        stages.push(match rng.u8(0..8) {
            0 => Stage::deadband(Band::Absolute(0.0), beat),
            1 | 2 => Stage::deadband(Band::Absolute(rng.f64() * 5.0), beat),
            3 => Stage::deadband(Band::Percent(0.1 + rng.f64() * 20.0), beat),
            4 => Stage::every(rng.u32(1..4)),
            5 => Stage::min_interval(Duration::from_millis(rng.u64(1..3000))),
            6 => Stage::deadband(Band::Rate(rng.f64() * 5.0), beat),
            _ => Stage::swing(rng.f64() * 5.0, beat),
        });
    }
    Chain::new(stages)
}

/// Readings as a bad day brings them: holes, flips of quality, steps of the clock, leaps of the value,
/// numbers that are none.
fn series(rng: &mut Rng) -> Vec<(Instant, Sample)> {
    let (mut now, mut wall) = (Duration::from_secs(5), 1_700_000_000_000i64);
    let mut level = rng.f64() * 100.0 - 50.0;
    let mut quality = Quality::Good;
    let text = rng.u8(0..20) == 0;
    (0..rng.usize(2..40))
        .map(|_| {
            let wait = if rng.u8(0..20) == 0 {
                60_000
            } else {
                rng.u64(0..1500)
            };
            now += Duration::from_millis(wait);
            wall += i64::try_from(wait).unwrap();
            match rng.u8(0..30) {
                0 => wall -= rng.i64(0..100_000),
                1 => wall += rng.i64(0..100_000_000),
                _ => {}
            }
            if rng.u8(0..12) == 0 {
                quality = match rng.u8(0..4) {
                    0 => Quality::Bad(Reason::Timeout),
                    1 => Quality::Bad(Reason::LinkDown),
                    2 => Quality::Uncertain(Reason::Stale),
                    _ => Quality::Good,
                };
            }
            level += match rng.u8(0..10) {
                0 => rng.f64() * 100.0 - 50.0,
                1..4 => 0.0,
                _ => rng.f64() * 2.0 - 1.0,
            };
            let value = match rng.u16(0..400) {
                0 => f64::INFINITY,
                1 => 1e300,
                2 => -0.0,
                3 => f64::NAN,
                _ => level,
            };
            // What is no number reaches filters as a bad reading: the pipeline sees to that.
            let quality = if value.is_nan() {
                Quality::Bad(Reason::Undecodable)
            } else {
                quality
            };
            let value = if text {
                Value::Text(if value > 0.0 { "on" } else { "off" }.into())
            } else {
                Value::F64(value)
            };
            let sample = Sample {
                time: Timestamp::from_millis(wall),
                value: (!quality.is_bad()).then_some(value),
                quality,
            };
            (Instant(now), sample)
        })
        .collect()
}

fn number(sample: &Sample) -> Option<f64> {
    match sample.value.as_ref()? {
        Value::F64(value) if value.is_finite() => Some(*value),
        _ => None,
    }
}

/// Rounding of the few operations that lead from a reading to its reconstruction.
fn slack(parts: [f64; 3]) -> f64 {
    parts
        .into_iter()
        .fold(0.0, |sum: f64, part| sum.max(part.abs()))
        * 1e-12
}

fn check(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut chain = chain(&mut rng);
    let readings = series(&mut rng);
    let bound = chain.bound();
    let mut sent: Vec<Sample> = Vec::new();
    for (now, sample) in &readings {
        let before = sent.len();
        chain.take(*now, sample.clone(), &mut |s| sent.push(s));
        let counts = chain.counts();
        assert_eq!(
            counts.taken,
            counts.sent + counts.filtered + chain.held(),
            "seed {seed}"
        );
        // What waits in another stage may pass first, so the last one is looked at.
        if before > 0 && sent.get(before - 1).unwrap().quality != sample.quality {
            assert_eq!(
                sent.last().unwrap().quality,
                sample.quality,
                "seed {seed}: quality held back"
            );
        }
    }
    chain.flush(readings.last().unwrap().0, &mut |s| sent.push(s));
    let counts = chain.counts();
    assert_eq!(chain.held(), 0, "seed {seed}");
    assert_eq!(counts.taken, readings.len() as u64, "seed {seed}");
    assert_eq!(counts.sent, sent.len() as u64, "seed {seed}");
    assert_eq!(counts.filtered, counts.taken - counts.sent, "seed {seed}");
    reconstruct(seed, bound, &readings, &sent);
}

/// Walks along the original with what was sent beside it, as a receiver would draw it.
fn reconstruct(seed: u64, bound: Bound, readings: &[(Instant, Sample)], sent: &[Sample]) {
    let mut last = 0;
    assert_eq!(
        sent.first(),
        readings.first().map(|(_, s)| s),
        "seed {seed}: the first passes"
    );
    for (index, (_, original)) in readings.iter().enumerate() {
        if index > 0 && sent.get(last + 1) == Some(original) {
            last += 1;
        }
        let held = sent.get(last).unwrap();
        if bound == Bound::Exact {
            assert_eq!(held, original, "seed {seed}: nothing may be left out");
            continue;
        }
        assert_eq!(
            held.quality, original.quality,
            "seed {seed}: reading {index}"
        );
        let (Some(x), Some(v)) = (number(original), number(held)) else {
            if bound != Bound::Unstated {
                assert_eq!(held.value, original.value, "seed {seed}: reading {index}");
            }
            continue;
        };
        match bound {
            Bound::Exact | Bound::Unstated => {}
            Bound::Hold { absolute, relative } => {
                let allowed = absolute + relative * v.abs() + slack([x, v, absolute]);
                assert!(
                    (x - v).abs() <= allowed,
                    "seed {seed}: {x} held as {v}, {bound}"
                );
            }
            Bound::Linear { absolute } => {
                if held == original {
                    continue;
                }
                let next = sent.get(last + 1).expect("a line has an end");
                let w = number(next).expect("a line ends at a number");
                let at = |s: &Sample| s.time.as_millis() as f64;
                assert!(
                    at(held) < at(original) && at(original) < at(next),
                    "seed {seed}"
                );
                let part = (at(original) - at(held)) / (at(next) - at(held));
                let line = v + (w - v) * part;
                let allowed = absolute + slack([x, v, w]);
                assert!(
                    (x - line).abs() <= allowed,
                    "seed {seed}: {x} drawn as {line}, {bound}"
                );
            }
        }
    }
    assert_eq!(
        last + 1,
        sent.len(),
        "seed {seed}: what was sent are readings in their order"
    );
}

#[test]
fn over_a_million_random_series_nothing_is_miscounted_and_the_stated_bound_holds() {
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (0..SERIES / 2).for_each(|n| check(2 * n + half)));
        }
    });
}

#[test]
fn a_stage_that_leaves_out_more_than_it_states_is_found() {
    // The same walk with a bound that is too small: the test itself must be able to fail.
    let mut rng = Rng::with_seed(7);
    let found = (0..200).any(|seed| {
        let mut chain = Chain::new([Stage::deadband(Band::Absolute(3.0), None)]);
        let readings = series(&mut rng);
        let mut sent = Vec::new();
        for (now, sample) in &readings {
            chain.take(*now, sample.clone(), &mut |s| sent.push(s));
        }
        let small = Bound::Hold {
            absolute: 1.0,
            relative: 0.0,
        };
        let walk = || reconstruct(seed, small, &readings, &sent);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(walk)).is_err()
    });
    assert!(found);
}

fn sample(millis: i64, value: f64) -> Sample {
    Sample {
        time: Timestamp::from_millis(millis),
        value: Some(Value::F64(value)),
        quality: Quality::Good,
    }
}

fn run(stage: Stage, samples: impl IntoIterator<Item = (i64, f64)>) -> Vec<(i64, f64)> {
    let mut chain = Chain::new([stage]);
    let mut sent = Vec::new();
    let mut out = |s: Sample| sent.push((s.time.as_millis(), number(&s).unwrap()));
    let mut last = Instant::default();
    for (millis, value) in samples {
        last = Instant(Duration::from_millis(u64::try_from(millis).unwrap()));
        chain.take(last, sample(millis, value), &mut out);
    }
    chain.flush(last, &mut out);
    sent
}

#[test]
fn a_swinging_door_keeps_the_corners_of_a_ramp_only() {
    let ramp = (0..100)
        .map(|i| (i * 1000, i as f64))
        .chain((100..200).map(|i| (i * 1000, 99.0)));
    let sent = run(Stage::swing(0.1, None), ramp);
    assert_eq!(sent, [(0, 0.0), (99_000, 99.0), (199_000, 99.0)]);
}

#[test]
fn a_swinging_door_is_silent_no_longer_than_its_beat() {
    let flat = (0..100).map(|i| (i * 1000, 5.0));
    let sent = run(Stage::swing(0.1, Some(Duration::from_secs(30))), flat);
    let times: Vec<i64> = sent.iter().map(|(at, _)| at / 1000).collect();
    assert_eq!(times, [0, 30, 60, 90, 99]);
}

#[test]
fn a_rate_lets_leaps_pass_and_drifts_not() {
    let drift = (0..50).map(|i| (i * 1000, i as f64 * 0.1));
    let leap = [(50_000, 50.0), (51_000, 50.0)];
    let sent = run(Stage::deadband(Band::Rate(1.0), None), drift.chain(leap));
    assert_eq!(sent, [(0, 0.0), (50_000, 50.0)]);
}

#[test]
fn integers_beyond_what_a_float_counts_are_seen_to_move() {
    let mut chain = Chain::new([Stage::deadband(Band::Absolute(0.0), None)]);
    let mut sent = 0;
    for value in [u64::MAX - 1, u64::MAX, u64::MAX] {
        let sample = Sample {
            time: Timestamp::default(),
            value: Some(Value::U64(value)),
            quality: Quality::Good,
        };
        chain.take(Instant::default(), sample, &mut |_| sent += 1);
    }
    assert_eq!(sent, 2);
}

#[test]
fn errors_add_where_values_are_held_and_lines_compose_with_nothing() {
    let hold = |absolute, relative| Bound::Hold { absolute, relative };
    assert_eq!(hold(1.0, 0.0).then(hold(2.0, 0.0)), hold(3.0, 0.0));
    assert_eq!(Bound::Exact.then(hold(2.0, 0.5)), hold(2.0, 0.5));
    assert_eq!(hold(0.0, 0.5).then(hold(2.0, 0.0)), hold(3.0, 0.5));
    let line = Bound::Linear { absolute: 1.0 };
    assert_eq!(line.then(Bound::Exact), line);
    assert_eq!(line.then(hold(1.0, 0.0)), Bound::Unstated);
    assert_eq!(hold(1.0, 0.0).then(line), Bound::Unstated);
}
