use super::*;
use gateway_config::Deadband;
use proptest::prelude::*;
use protocols_model::{
    BootId, DeviceId, PointDescriptor, PointId, PointKey, Quality, Reason, Timestamp,
};
use protocols_wire::Body;
use std::collections::BTreeMap;

fn point(name: &str, report: Report) -> PointConfig {
    PointConfig {
        descriptor: PointDescriptor {
            device: DeviceId::try_new("meter").unwrap(),
            point: PointId::try_new(name).unwrap(),
            value_type: ValueType::F64,
            unit: "V".into(),
            scale: 0.1,
        },
        report,
    }
}

fn pipeline(points: u32, report: impl Fn(u32) -> Report) -> Pipeline {
    let points: Vec<_> = (0..points)
        .map(|n| point(&format!("p{n}"), report(n)))
        .collect();
    Pipeline::try_new(points, BatchAge::default(), Arc::default()).unwrap()
}

fn at(millis: u64) -> Instant {
    Instant(Duration::from_millis(millis))
}

fn stamp(now: Instant) -> RecordStamp {
    RecordStamp {
        boot: BootId(1),
        mono: now,
        wall: Timestamp(0).plus(now.0),
    }
}

fn reading(point: u32, millis: u64, value: f64) -> Reading {
    let time = Timestamp(0).plus(Duration::from_millis(millis));
    Reading::good(PointKey(point), time, Value::F64(value))
}

const CHANGES: Report = Report::Changes {
    deadband: Deadband::Absolute(1.0),
    beat: None,
};

/// What records say of each point: kept samples and filtered counts.
fn contents(
    pipeline: &Pipeline,
    records: &[SealedRecord],
    into: &mut BTreeMap<u32, (Vec<Sample>, u64)>,
) {
    let mut first = BTreeMap::new();
    let mut start = 0;
    for dictionary in &pipeline.dictionaries {
        first.insert(dictionary.hash(), start);
        start += u32::try_from(dictionary.entries().len()).unwrap();
    }
    for record in records {
        let Body::Telemetry(telemetry) = Record::decode(&record.body).unwrap().body else {
            panic!("not telemetry");
        };
        for column in telemetry.columns {
            let hash = telemetry.dictionaries[column.dictionary as usize];
            let (samples, filtered) = into.entry(first[&hash] + column.index).or_default();
            samples.extend(column.samples);
            *filtered += column.filtered;
        }
    }
}

#[test]
fn a_batch_is_due_at_its_age_and_nothing_is_due_while_nothing_arrives() {
    let mut pipeline = pipeline(1, |_| Report::Every);
    assert_eq!(pipeline.due(), None);
    assert!(pipeline.seal(stamp(at(0))).is_empty());
    pipeline.take(at(500), [reading(0, 500, 1.0)]);
    pipeline.take(at(900), [reading(0, 900, 2.0)]);
    assert_eq!(pipeline.due(), Some(at(10_500)));
    pipeline.set_live(true);
    assert_eq!(pipeline.due(), Some(at(1_500)));
    assert!(!pipeline.is_due(at(1_499)) && pipeline.is_due(at(1_500)));
    assert_eq!(pipeline.seal(stamp(at(1_500))).len(), 1);
    assert_eq!(pipeline.due(), None);
}

#[test]
fn filtered_counts_leave_with_the_next_batch_even_when_nothing_of_the_point_is_sent() {
    let mut pipeline = pipeline(2, |_| CHANGES);
    pipeline.take(at(0), [reading(0, 0, 1.0), reading(1, 0, 1.0)]);
    pipeline.seal(stamp(at(0)));
    pipeline.take(at(1), [reading(0, 1, 1.5), reading(0, 2, 1.2)]);
    assert_eq!(
        pipeline.due(),
        Some(at(10_001)),
        "counts alone make a batch due"
    );
    let records = pipeline.seal(stamp(at(2)));
    let mut seen = BTreeMap::new();
    contents(&pipeline, &records, &mut seen);
    assert_eq!(seen, BTreeMap::from([(0, (vec![], 2))]));
    assert_eq!(records[0].summary.filtered, 2);
}

#[test]
fn a_batch_that_grows_too_large_is_due_at_once() {
    let mut pipeline = pipeline(1, |_| Report::Every);
    let mut taken = 0;
    while !pipeline.is_due(at(0)) {
        pipeline.take(at(0), (0..1000).map(|n| reading(0, n, 0.0)));
        taken += 1000;
        assert!(taken < 1_000_000);
    }
    let records = pipeline.seal(stamp(at(0)));
    let kept: u64 = records.iter().map(|record| record.summary.readings).sum();
    assert_eq!(kept, taken);
}

#[test]
fn a_reading_of_an_unknown_point_is_told_and_not_taken() {
    let mut pipeline = pipeline(1, |_| Report::Every);
    assert_eq!(pipeline.take(at(0), [reading(7, 0, 1.0)]), 1);
    assert_eq!(pipeline.due(), None);
    assert_eq!(pipeline.stats.totals().taken, 0);
}

#[test]
fn many_points_are_spread_over_dictionaries_and_each_keeps_its_place() {
    const POINTS: u32 = 3000;
    let mut pipeline = pipeline(POINTS, |_| Report::Every);
    assert!(pipeline.dictionaries.len() > 1);
    pipeline.take(
        at(0),
        (0..POINTS).rev().map(|n| reading(n, 0, f64::from(n % 50))),
    );
    let mut seen = BTreeMap::new();
    let records = pipeline.seal(stamp(at(0)));
    contents(&pipeline, &records, &mut seen);
    assert_eq!(seen.len(), POINTS as usize);
    for (point, (samples, _)) in seen {
        assert_eq!(samples[0].value, Some(Value::F64(f64::from(point % 50))));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Take(u32, Result<i8, Reason>),
    Seal,
    Link(bool),
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![
        4 => any::<i8>().prop_map(Ok),
        1 => prop_oneof![Just(Reason::Timeout), Just(Reason::NotAsked)].prop_map(Err),
    ];
    let step = prop_oneof![
        20 => (0u32..4, value).prop_map(|(point, value)| Step::Take(point, value)),
        1 => Just(Step::Seal),
        1 => any::<bool>().prop_map(Step::Link),
        3 => (0u16..3000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    /// C5: for every point, taken = kept + filtered, counted from the sealed bytes alone; and what
    /// was kept is what was read, in its order.
    #[test]
    fn every_reading_taken_is_in_exactly_one_record_as_sample_or_as_count(steps in steps()) {
        let mut pipeline = pipeline(4, |n| match n {
            0 => Report::Every,
            1 => CHANGES,
            2 => Report::Changes { deadband: Deadband::Percent(20.0), beat: None },
            _ => Report::Changes {
                deadband: Deadband::Absolute(200.0),
                beat: Some(Duration::from_secs(2)),
            },
        });
        let mut now = 0;
        let mut taken: BTreeMap<u32, Vec<(Timestamp, Quality)>> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for step in steps {
            match step {
                Step::Take(point, value) => {
                    now += 1;
                    let reading = match value {
                        Ok(value) => reading(point, now, f64::from(value)),
                        Err(reason) => {
                            let time = Timestamp(0).plus(Duration::from_millis(now));
                            Reading::bad(PointKey(point), time, reason)
                        }
                    };
                    taken.entry(point).or_default().push((reading.sampled, reading.quality));
                    prop_assert_eq!(pipeline.take(at(now), [reading]), 0);
                }
                Step::Seal => {
                    let records = pipeline.seal(stamp(at(now)));
                    contents(&pipeline, &records, &mut seen);
                }
                Step::Link(live) => pipeline.set_live(live),
                Step::Wait(millis) => {
                    now += u64::from(millis);
                    if pipeline.is_due(at(now)) {
                        let records = pipeline.seal(stamp(at(now)));
                        contents(&pipeline, &records, &mut seen);
                    }
                }
            }
        }
        let records = pipeline.seal(stamp(at(now)));
        contents(&pipeline, &records, &mut seen);
        for (point, readings) in &taken {
            let (kept, filtered) = &seen[point];
            prop_assert_eq!(kept.len() as u64 + filtered, readings.len() as u64);
            let mut rest = readings.iter();
            for sample in kept {
                let found = rest.any(|(time, quality)| *time == sample.time && *quality == sample.quality);
                prop_assert!(found, "a sample that was never read, or out of order");
            }
            if *point == 0 {
                prop_assert_eq!(*filtered, 0);
            }
        }
        let totals = pipeline.stats.totals();
        prop_assert_eq!(totals.taken, totals.kept + totals.filtered);
        prop_assert_eq!(totals.taken, taken.values().map(|r| r.len() as u64).sum::<u64>());
        prop_assert_eq!(totals.unsealable, 0);
    }
}
