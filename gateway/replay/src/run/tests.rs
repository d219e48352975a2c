//! A dry run over a recording made here: what filters save and cost, what alarms and fields would change.

use super::*;
use crate::compare;
use gateway_expr::{Names, compile};
use gateway_filter::{Band, Stage};
use gateway_pipeline::{BatchAge, PointSetup, Privacy, Setup};
use gateway_rules::{Action, Engine, OnBad, Rule, WriteLimit};
use protocols_model::{AlarmLevel, DeviceId, PointId, Quality, ValueType};
use std::sync::Arc;

fn descriptor(name: &str) -> PointDescriptor {
    PointDescriptor {
        device: DeviceId::try_new("cellar").unwrap(),
        point: PointId::try_new(name).unwrap(),
        value_type: ValueType::F64,
        unit: String::new(),
        scale: 1.0,
    }
}

const START: Timestamp = Timestamp(1_700_000_000_000_000_000);
const HOUR: u64 = 3600;

/// An hour of two points, one a slow wave and one a fast one.
fn recording() -> Recording {
    let mut recording = Recording {
        points: vec![descriptor("slow"), descriptor("fast"), descriptor("old")],
        ..Recording::default()
    };
    for second in 0..HOUR {
        for (point, period) in [(0, 1800.0), (1, 60.0), (2, 10.0)] {
            let value = 20.0 + 15.0 * (second as f64 / period * std::f64::consts::TAU).sin();
            recording.readings.push(Recorded {
                point,
                sample: Sample {
                    time: START.plus(Duration::from_secs(second)),
                    value: Some(Value::F64(value)),
                    quality: Quality::Good,
                },
            });
        }
    }
    recording
}

struct Site;

impl Names for Site {
    fn find(&self, name: &str) -> Option<(PointKey, ValueType)> {
        (name == "cellar.slow").then_some((PointKey(0), ValueType::F64))
    }

    fn all(&self) -> Vec<String> {
        Vec::new()
    }
}

fn ran(stages: impl Fn() -> Vec<Stage>, privacy: Privacy, limit: f64) -> Ran {
    let names = [descriptor("slow"), descriptor("fast")];
    let mut points: Vec<_> = names.iter().cloned().map(PointSetup::open).collect();
    for point in &mut points {
        point.stages = stages();
    }
    points[1].privacy = privacy;
    let rule = Rule {
        name: "hot".to_owned(),
        when: compile(&format!("cellar.slow > {limit}"), &Site).unwrap(),
        hold: Duration::from_secs(60),
        clear: None,
        clear_hold: Duration::ZERO,
        on_bad: OnBad::Hold,
        bad_after: Duration::from_secs(60),
        stale: None,
        never: None,
        limit: WriteLimit::default(),
        actions: vec![Action::Alarm {
            level: AlarmLevel::High,
            text: "hot".to_owned(),
            latch: false,
        }],
        on_clear: Vec::new(),
        safe: Vec::new(),
    };
    let engine = Engine::new(
        vec![rule],
        std::collections::BTreeMap::new(),
        Instant::default(),
    );
    let setup = Setup {
        points,
        ..Setup::default()
    };
    let now = (Instant::default(), START);
    let pipeline =
        Pipeline::try_new(setup, engine, BatchAge::default(), Arc::default(), now).unwrap();
    run(&recording(), pipeline, &names)
}

#[test]
fn a_dry_run_says_what_filters_save_and_what_they_cost() {
    let raw = ran(Vec::new, Privacy::Open, 30.0);
    assert_eq!(raw.points[0].taken, HOUR);
    assert_eq!(raw.points[0].sent, HOUR);
    assert_eq!(raw.points[0].error, Some(0.0));
    assert_eq!(raw.missing, [descriptor("old")]);
    let swung = ran(|| vec![Stage::swing(0.5, None)], Privacy::Open, 30.0);
    let slow = &swung.points[0];
    assert!(slow.sent < HOUR / 50, "{slow:?}");
    let error = slow.error.unwrap();
    assert!(error > 0.1 && error <= 0.5 + 1e-9, "{error}");
    let banded = ran(
        || vec![Stage::deadband(Band::Absolute(2.0), None)],
        Privacy::Open,
        30.0,
    );
    let error = banded.points[1].error.unwrap();
    assert!(error > 1.0 && error <= 2.0, "{error}");
    let difference = compare(&raw, &swung);
    let (readings, bytes) = (difference.readings_a_day, difference.bytes_a_day);
    assert!(readings.1 < readings.0 / 10.0, "{difference:?}");
    // An envelope each ten seconds has a size of its own.
    assert!(bytes.1 < bytes.0 * 0.6, "{difference:?}");
    assert_eq!(difference.errors.len(), 2);
    assert_eq!(difference.alarms, []);
}

#[test]
fn alarms_that_appear_and_fields_that_stay_home_are_told() {
    let before = ran(Vec::new, Privacy::Open, 30.0);
    assert_eq!(before.alarms.len(), 4, "two waves: raised and gone twice");
    let after = ran(Vec::new, Privacy::Withheld, 100.0);
    let difference = compare(&before, &after);
    assert_eq!(difference.alarms, [("hot".to_owned(), 2, 0)]);
    assert_eq!(difference.rules, [("hot".to_owned(), 2, 0)]);
    assert_eq!(difference.gone_fields, ["cellar/fast"]);
    assert_eq!(difference.new_fields, Vec::<String>::new());
    assert_eq!(after.points[1].sent, 0);
}

#[test]
fn a_point_of_another_type_is_told_and_left_out() {
    let mut recording = recording();
    recording.points[0].value_type = ValueType::I64;
    // In the table, and never read.
    recording.points.push(descriptor("idle"));
    let names = [descriptor("slow"), descriptor("fast")];
    let points = names.iter().cloned().map(PointSetup::open).collect();
    let setup = Setup {
        points,
        ..Setup::default()
    };
    let engine = Engine::new(
        Vec::new(),
        std::collections::BTreeMap::new(),
        Instant::default(),
    );
    let now = (Instant::default(), START);
    let pipeline =
        Pipeline::try_new(setup, engine, BatchAge::default(), Arc::default(), now).unwrap();
    let ran = run(&recording, pipeline, &names);
    assert_eq!(ran.retyped, [recording.points[0].clone()]);
    assert_eq!(ran.missing, [descriptor("old")]);
    assert_eq!((ran.points[0].taken, ran.points[1].taken), (0, HOUR));
    assert!(ran.bytes_a_day() > 24.0 * HOUR as f64);
}
