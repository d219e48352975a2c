//! The pipeline without its task: filters, windows, derived points, rules, privacy and keep-alives on given times.

use super::*;
use crate::setup::{DerivedSetup, WindowSetup};
use gateway_expr::{Names, compile};
use gateway_filter::{Aggregate, Band, Stage, WindowSpec};
use gateway_privacy::Treatment;
use gateway_rules::{Action, OnBad, Rule, WriteLimit};
use proptest::prelude::*;
use protocols_model::{
    AlarmLevel, BootId, DeviceId, PointDescriptor, PointId, PointKey, Quality, Reason, Timestamp,
    Value,
};
use protocols_wire::{Body, Record, Sample};
use std::collections::BTreeMap;

fn point(name: &str, stages: Vec<Stage>) -> PointSetup {
    let descriptor = PointDescriptor {
        device: DeviceId::try_new("meter").unwrap(),
        point: PointId::try_new(name).unwrap(),
        value_type: ValueType::F64,
        unit: "V".into(),
        scale: 0.1,
    };
    PointSetup {
        stages,
        ..PointSetup::open(descriptor)
    }
}

const START: (Instant, Timestamp) = (Instant(Duration::ZERO), Timestamp(0));

fn made(setup: Setup, rules: Vec<Rule>) -> Pipeline {
    let engine = Engine::new(rules, BTreeMap::new(), START.0);
    Pipeline::try_new(setup, engine, BatchAge::default(), Arc::default(), START).unwrap()
}

fn pipeline(points: u32, stages: impl Fn(u32) -> Vec<Stage>) -> Pipeline {
    let points = (0..points).map(|n| point(&format!("p{n}"), stages(n)));
    let setup = Setup {
        points: points.collect(),
        ..Setup::default()
    };
    made(setup, Vec::new())
}

/// Takes readings as they come when no rule is there to want anything.
fn take(pipeline: &mut Pipeline, now: Instant, readings: impl IntoIterator<Item = Reading>) -> u64 {
    let mut effects = Vec::new();
    let wall = Timestamp(0).plus(now.0);
    let unknown = pipeline.take(now, wall, readings.into_iter().collect(), &mut effects);
    assert_eq!(effects, []);
    unknown
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

fn changes() -> Vec<Stage> {
    vec![Stage::deadband(Band::Absolute(1.0), None)]
}

/// What records say of each point: kept samples and filtered counts.
fn contents(
    pipeline: &Pipeline,
    records: &[SealedRecord],
    into: &mut BTreeMap<u32, (Vec<Sample>, u64)>,
) {
    let mut first = BTreeMap::new();
    let mut start = 0;
    for dictionary in pipeline.batch.dictionaries() {
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
    let mut pipeline = pipeline(1, |_| Vec::new());
    assert_eq!(pipeline.due(), None);
    assert!(pipeline.seal(stamp(at(0))).is_empty());
    take(&mut pipeline, at(500), [reading(0, 500, 1.0)]);
    take(&mut pipeline, at(900), [reading(0, 900, 2.0)]);
    assert_eq!(pipeline.due(), Some(at(10_500)));
    pipeline.set_live(true);
    assert_eq!(pipeline.due(), Some(at(1_500)));
    assert!(!pipeline.is_due(at(1_499)) && pipeline.is_due(at(1_500)));
    assert_eq!(pipeline.seal(stamp(at(1_500))).len(), 1);
    assert_eq!(pipeline.due(), None);
}

#[test]
fn filtered_counts_leave_with_the_next_batch_even_when_nothing_of_the_point_is_sent() {
    let mut pipeline = pipeline(2, |_| changes());
    take(
        &mut pipeline,
        at(0),
        [reading(0, 0, 1.0), reading(1, 0, 1.0)],
    );
    pipeline.seal(stamp(at(0)));
    take(
        &mut pipeline,
        at(1),
        [reading(0, 1, 1.5), reading(0, 2, 1.2)],
    );
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
    let mut pipeline = pipeline(1, |_| Vec::new());
    let mut taken = 0;
    while !pipeline.is_due(at(0)) {
        take(&mut pipeline, at(0), (0..1000).map(|n| reading(0, n, 0.0)));
        taken += 1000;
        assert!(taken < 1_000_000);
    }
    let records = pipeline.seal(stamp(at(0)));
    let kept: u64 = records.iter().map(|record| record.summary.readings).sum();
    assert_eq!(kept, taken);
}

#[test]
fn a_reading_of_an_unknown_point_is_told_and_not_taken() {
    let mut pipeline = pipeline(1, |_| Vec::new());
    assert_eq!(take(&mut pipeline, at(0), [reading(7, 0, 1.0)]), 1);
    assert_eq!(pipeline.due(), None);
    assert_eq!(pipeline.stats.totals().taken, 0);
}

#[test]
fn many_points_are_spread_over_dictionaries_and_each_keeps_its_place() {
    const POINTS: u32 = 3000;
    let mut pipeline = pipeline(POINTS, |_| Vec::new());
    assert!(pipeline.batch.dictionaries().len() > 1);
    take(
        &mut pipeline,
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
            0 => Vec::new(),
            1 => changes(),
            2 => vec![Stage::swing(20.0, Some(Duration::from_secs(5)))],
            _ => vec![
                Stage::deadband(Band::Absolute(200.0), Some(Duration::from_secs(2))),
                Stage::every(2),
            ],
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
                    prop_assert_eq!(take(&mut pipeline, at(now), [reading]), 0);
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
        pipeline.flush(at(now));
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
        for (point, counts) in pipeline.counts().enumerate() {
            let read = taken.get(&u32::try_from(point).unwrap()).map_or(0, Vec::len);
            prop_assert_eq!(counts.taken, read as u64);
            prop_assert_eq!(counts.taken, counts.sent + counts.filtered);
        }
        let totals = pipeline.stats.totals();
        prop_assert_eq!(totals.taken, totals.kept + totals.filtered);
        prop_assert_eq!(totals.taken, taken.values().map(|r| r.len() as u64).sum::<u64>());
        prop_assert_eq!(totals.unsealable, 0);
    }
}

/// Names of the points of [`computed`].
struct Site;

const NAMES: [&str; 5] = ["a", "b", "sum", "mean", "secret"];

impl Names for Site {
    fn find(&self, name: &str) -> Option<(PointKey, ValueType)> {
        let name = name.strip_prefix("meter.")?;
        let place = NAMES.iter().position(|known| *known == name)?;
        Some((PointKey(u32::try_from(place).unwrap()), ValueType::F64))
    }

    fn all(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Two points that are read, their sum, the mean of the sum over ten seconds, and a point that must not
/// leave.
fn computed(rules: Vec<Rule>) -> Pipeline {
    let mut points: Vec<_> = NAMES.iter().map(|name| point(name, Vec::new())).collect();
    points[4].privacy = Privacy::Withheld;
    let setup = Setup {
        points,
        derived: vec![DerivedSetup {
            point: PointKey(2),
            program: compile("meter.a + meter.b", &Site).unwrap(),
            stale: Some(Duration::from_secs(60)),
        }],
        windows: vec![WindowSetup {
            of: PointKey(2),
            period: Duration::from_secs(1),
            spec: WindowSpec {
                size: Duration::from_secs(10),
                step: Duration::from_secs(10),
                aggregates: vec![Aggregate::Mean],
                late: Duration::from_secs(60),
                min_count: 0,
            },
            results: vec![PointKey(3)],
        }],
    };
    made(setup, rules)
}

fn rule(when: &str) -> Rule {
    Rule {
        name: "r".to_owned(),
        when: compile(when, &Site).unwrap(),
        hold: Duration::ZERO,
        clear: None,
        clear_hold: Duration::ZERO,
        on_bad: OnBad::Hold,
        bad_after: Duration::from_secs(3600),
        stale: None,
        never: None,
        limit: WriteLimit::default(),
        actions: vec![Action::Event {
            text: "seen".to_owned(),
        }],
        on_clear: Vec::new(),
        safe: Vec::new(),
    }
}

fn sealed(pipeline: &mut Pipeline, now: Instant) -> BTreeMap<String, (Vec<Value>, u64)> {
    let records = pipeline.seal(stamp(now));
    let names: BTreeMap<_, Vec<String>> = pipeline
        .batch
        .dictionaries()
        .iter()
        .map(|d| {
            (
                d.hash(),
                d.entries().iter().map(|e| e.point.to_string()).collect(),
            )
        })
        .collect();
    let mut all = BTreeMap::new();
    for record in records {
        let Body::Telemetry(telemetry) = Record::decode(&record.body).unwrap().body else {
            panic!("not telemetry");
        };
        for column in telemetry.columns {
            let hash = telemetry.dictionaries[column.dictionary as usize];
            let name = names[&hash][column.index as usize].clone();
            let values = column.samples.into_iter().filter_map(|sample| sample.value);
            all.insert(name, (values.collect(), column.filtered));
        }
    }
    all
}

#[test]
fn derived_points_windows_and_rules_follow_from_the_readings_of_a_sweep() {
    let mut pipeline = computed(vec![rule("meter.mean > 2.5")]);
    let mut effects = Vec::new();
    for second in 0..10 {
        let millis = second * 1000;
        let wall = Timestamp::from_millis(i64::try_from(millis).unwrap());
        let readings = vec![reading(0, millis, 1.0), reading(1, millis, second as f64)];
        pipeline.take(at(millis), wall, readings, &mut effects);
    }
    assert_eq!(effects, [], "no window is over yet");
    assert_eq!(pipeline.due(), Some(at(10_000)));
    pipeline.tick(at(10_000), Timestamp::from_millis(10_000), &mut effects);
    assert!(matches!(&effects[..], [Effect::Event { text, .. }] if text == "seen"));
    let seen = sealed(&mut pipeline, at(10_000));
    assert_eq!(seen["sum"].0[..2], [Value::F64(1.0), Value::F64(2.0)]);
    assert_eq!(seen["mean"].0, [Value::F64(5.5)]);
    let totals = pipeline.stats.totals();
    assert_eq!(totals.taken, 31, "computed readings are taken too");
    assert_eq!(totals.taken, totals.kept);
}

#[test]
fn a_withheld_point_serves_rules_and_leaves_nothing_not_even_its_name() {
    let mut pipeline = computed(vec![rule("meter.secret > 4711")]);
    let mut effects = Vec::new();
    let readings = vec![reading(4, 0, 4712.0), reading(0, 0, 1.0)];
    pipeline.take(at(0), Timestamp(0), readings, &mut effects);
    assert_eq!(effects.len(), 1, "the rule sees it");
    let records = pipeline.seal(stamp(at(1)));
    for record in &records {
        let bytes = &record.body;
        assert!(!bytes.windows(6).any(|part| part == b"secret"));
    }
    let hidden = |d: &Dictionary| d.entries().iter().any(|e| e.point.to_string() == "secret");
    assert!(!pipeline.batch.dictionaries().iter().any(hidden));
    let counts: Vec<_> = pipeline.counts().collect();
    assert_eq!((counts[4].taken, counts[4].filtered), (1, 1));
}

#[test]
fn an_alarm_names_the_points_it_is_about_but_none_that_is_withheld() {
    let alarm = Rule {
        actions: vec![Action::Alarm {
            level: AlarmLevel::High,
            text: "hot".to_owned(),
            latch: false,
        }],
        ..rule("meter.secret > 1 && meter.b > meter.a")
    };
    let quiet = Rule {
        name: "quiet".to_owned(),
        ..rule("meter.a > 1")
    };
    let about = computed(vec![alarm, quiet]).take_alarm_points();
    let names: Vec<_> = about["r"].iter().map(|at| at.point.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(about.len(), 1, "a rule without an alarm is about nothing");
}

#[test]
fn a_captured_point_sends_everything_for_a_while_and_then_filters_again() {
    let mut pipeline = pipeline(1, |_| {
        vec![Stage::swing(5.0, Some(Duration::from_secs(60)))]
    });
    let feed = |pipeline: &mut Pipeline, from: u64, to: u64| {
        for n in from..to {
            take(pipeline, at(n * 1000), [reading(0, n * 1000, 0.0)]);
        }
        sealed_count(pipeline, at(to * 1000))
    };
    assert_eq!(feed(&mut pipeline, 0, 10), 1);
    pipeline.capture(&[PointKey(0)], at(20_000));
    assert_eq!(
        feed(&mut pipeline, 10, 20),
        11,
        "what was held back goes first"
    );
    assert_eq!(feed(&mut pipeline, 20, 30), 1);
    let counts = pipeline.counts().next().unwrap();
    assert_eq!(
        counts.taken,
        counts.sent + counts.filtered + 1,
        "one is held back"
    );
}

fn sealed_count(pipeline: &mut Pipeline, now: Instant) -> u64 {
    let records = pipeline.seal(stamp(now));
    records.iter().map(|record| record.summary.readings).sum()
}

#[test]
fn what_privacy_treats_leaves_treated_also_when_captured_held_or_flushed() {
    let mut treated = point("p0", vec![Stage::swing(0.5, Some(Duration::from_secs(60)))]);
    treated.privacy = Privacy::Treated {
        treatments: vec![
            Treatment::Round(10.0),
            Treatment::Time(Duration::from_secs(60)),
        ],
        latitude: None,
    };
    let setup = Setup {
        points: vec![treated],
        ..Setup::default()
    };
    let mut pipeline = made(setup, Vec::new());
    pipeline.capture(&[PointKey(0)], at(30_000));
    for n in 0..200u64 {
        let value = 1000.0 + (n * 7 % 13) as f64;
        take(&mut pipeline, at(n * 1000), [reading(0, n * 1000, value)]);
        let mut effects = Vec::new();
        pipeline.tick(at(n * 1000), Timestamp(0), &mut effects);
    }
    pipeline.flush(at(200_000));
    let records = pipeline.seal(stamp(at(200_000)));
    let mut seen = BTreeMap::new();
    contents(&pipeline, &records, &mut seen);
    let (samples, filtered) = &seen[&0];
    assert_eq!(samples.len(), 4, "one a minute");
    for sample in samples {
        assert_eq!(sample.time.as_millis() % 60_000, 0);
        let rounded = [1000.0, 1010.0].map(|value| Some(Value::F64(value)));
        assert!(rounded.contains(&sample.value), "{sample:?}");
    }
    assert_eq!(samples.len() as u64 + filtered, 200);
}

#[test]
fn the_latest_reading_is_seen_raw_whatever_filters_and_privacy_do() {
    use crate::latest::{Latest, Look};
    let withheld = PointSetup {
        privacy: Privacy::Withheld,
        ..point("secret", Vec::new())
    };
    let setup = Setup {
        points: vec![point("u", changes()), withheld, point("i", Vec::new())],
        ..Setup::default()
    };
    let mut pipeline = made(setup, Vec::new());
    take(
        &mut pipeline,
        at(100),
        [reading(0, 100, 1.0), reading(1, 100, 7.0)],
    );
    take(&mut pipeline, at(200), [reading(0, 200, 1.1)]);
    let look = Look {
        among: None,
        trouble: false,
        from: 0,
        most: 10,
    };
    let seen = look.at(&pipeline);
    let latest = |value, millis| {
        let (value, quality) = (Some(Value::F64(value)), Quality::Good);
        Some(Latest {
            value,
            quality,
            at: at(millis),
        })
    };
    let rows = [
        (PointKey(0), latest(1.1, 200)),
        (PointKey(1), latest(7.0, 100)),
        (PointKey(2), None),
    ];
    assert_eq!(seen.rows, rows);
    assert_eq!((seen.standing.good, seen.standing.silent), (2, 1));

    // Pages, a choice, and trouble alone.
    let page = Look {
        from: 1,
        most: 1,
        ..look.clone()
    }
    .at(&pipeline);
    assert_eq!((page.fitting, page.rows.len()), (3, 1));
    assert_eq!(page.rows[0].0, PointKey(1));
    let among = Some(vec![PointKey(2), PointKey(99)]);
    let chosen = Look {
        among,
        ..look.clone()
    }
    .at(&pipeline);
    assert_eq!(chosen.rows, [(PointKey(2), None)]);
    let timeout = Reading::bad(PointKey(0), Timestamp(0), Reason::Timeout);
    take(&mut pipeline, at(300), [timeout]);
    let trouble = Look {
        trouble: true,
        ..look
    }
    .at(&pipeline);
    let keys: Vec<_> = trouble.rows.iter().map(|(key, _)| key.0).collect();
    assert_eq!((keys, trouble.standing.bad), (vec![0, 2], 1));
}

#[test]
fn what_is_kept_of_a_point_for_people_stays_small() {
    // Ten thousand points times this is what the view costs.
    assert!(size_of::<Latest>() <= 48);
}

#[test]
fn a_quiet_point_tells_that_it_still_says_the_same_and_counts_nothing_twice() {
    let mut quiet = point("p0", vec![Stage::deadband(Band::Absolute(1.0), None)]);
    quiet.keep_alive = Some(Duration::from_secs(10));
    let setup = Setup {
        points: vec![
            quiet,
            point("p1", vec![Stage::deadband(Band::Absolute(1.0), None)]),
        ],
        ..Setup::default()
    };
    let mut pipeline = made(setup, Vec::new());
    let mut signs = Vec::new();
    let (mut sent, mut filtered) = (0, 0);
    for n in 0..45u64 {
        // Moves at 25 s, and loses its value at 40 s.
        let value = if n < 25 { 5.0 } else { 9.0 };
        let mut first = reading(0, n * 1000, value);
        if n >= 40 {
            first = Reading::bad(PointKey(0), first.sampled, Reason::Timeout);
        }
        take(
            &mut pipeline,
            at(n * 1000),
            [first, reading(1, n * 1000, 5.0)],
        );
        for record in pipeline.seal(stamp(at(n * 1000))) {
            sent += record.summary.readings;
            filtered += record.summary.filtered;
            let Body::Telemetry(telemetry) = Record::decode(&record.body).unwrap().body else {
                panic!("not telemetry");
            };
            signs.extend(telemetry.unchanged.into_iter().map(|sign| {
                let at = sign.sample.time.as_millis() / 1000;
                (
                    n,
                    sign.index,
                    at,
                    sign.sample.value,
                    sign.confirmed.as_millis() / 1000,
                )
            }));
        }
    }
    let five = Some(Value::F64(5.0));
    let nine = Some(Value::F64(9.0));
    assert_eq!(
        signs,
        [
            (10, 0, 0, five.clone(), 10),
            (20, 0, 0, five, 20),
            (35, 0, 25, nine, 35),
        ]
    );
    assert_eq!((sent, filtered), (3 + 1, 90 - 4));
    for counts in pipeline.counts() {
        assert_eq!(counts.taken, counts.sent + counts.filtered);
    }
}

#[test]
fn of_one_batch_the_newest_reading_says_more_than_a_sign_of_life() {
    let mut quiet = point("p0", vec![Stage::deadband(Band::Absolute(1.0), None)]);
    quiet.keep_alive = Some(Duration::from_secs(1));
    let setup = Setup {
        points: vec![quiet],
        ..Setup::default()
    };
    let mut pipeline = made(setup, Vec::new());
    for (n, value) in [(0, 5.0), (2, 5.0), (3, 9.0), (4, 9.0), (6, 9.0)] {
        take(&mut pipeline, at(n * 1000), [reading(0, n * 1000, value)]);
    }
    let records = pipeline.seal(stamp(at(7000)));
    let Body::Telemetry(telemetry) = Record::decode(&records[0].body).unwrap().body else {
        panic!("not telemetry");
    };
    assert_eq!(telemetry.unchanged, []);
    assert_eq!(telemetry.columns[0].samples.len(), 2);
}
