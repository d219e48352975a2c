//! What every implementation of the store must answer: charts, rollups, retention, latest values.

use crate::kit::*;
use cloud_store::{
    GapKind, Limits, MaintainStep, Points, QueryRange, QueryResult, SeriesId, Store, TimeRange,
};
use protocols_model::{BootId, Lane, Quality, Reason, Timestamp, Value, ValueType};
use protocols_wire::{Dictionary, EnvelopeRecord, RecordStamp, Sample};
use std::time::Duration;

const HOUR: i64 = 3600;

fn asked(from: i64, to: i64, points: usize) -> QueryRange {
    QueryRange {
        range: TimeRange {
            from: seconds(from),
            to: seconds(to),
        },
        points,
        silence: None,
    }
}

/// Ranges at which every source of numbers takes part.
fn questions() -> Vec<QueryRange> {
    let t = NOW_S;
    vec![
        asked(t - 60, t, 1000),
        asked(t - 1800, t - 900, 50),
        asked(t - 3 * HOUR - 17, t - 31, 100),
        asked(t - 3 * HOUR, t, 10_000),
        asked(t - 5 * HOUR, t + HOUR, 7),
        asked(t - 40 * HOUR, t, 20),
        asked(t - 200 * HOUR, t + 10 * HOUR, 12),
        asked(t - 2 * HOUR, t - 2 * HOUR, 3),
    ]
}

async fn answers(store: &dyn Store, series: SeriesId) -> Vec<QueryResult> {
    let mut all = Vec::new();
    for question in questions() {
        all.push(store.query(series, question).await.unwrap());
    }
    all
}

/// Whole numbers, so that sums do not depend on their order.
fn wave(second: i64) -> f64 {
    ((second * 7919) % 1000 - 500) as f64
}

/// A record with one sample a second of column 0, some of them bad.
fn minute(dictionary: &Dictionary, seq: u64, from: i64) -> EnvelopeRecord {
    minute_of(BOOT, dictionary, seq, from)
}

fn minute_of(boot: BootId, dictionary: &Dictionary, seq: u64, from: i64) -> EnvelopeRecord {
    let sample = |s: i64| match s % 97 {
        0 => bad(seconds(s)),
        _ => good(seconds(s), wave(s)),
    };
    let samples: Vec<Sample> = (from..from + 60).map(sample).collect();
    let stamp = RecordStamp {
        boot,
        ..stamp_at(now())
    };
    let body = telemetry_stamped(stamp, dictionary, vec![(0, samples)]);
    record(key(1, Lane::Telemetry, seq), body)
}

pub(crate) async fn an_answer_does_not_depend_on_how_much_was_compacted(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    // Three hours of minutes, and some days before with a minute each, backwards.
    let mut records = Vec::new();
    for i in 0..180 {
        records.push(minute(
            &dict,
            records.len() as u64 + 1,
            NOW_S - 60 * (i + 1),
        ));
    }
    for day in 1..8 {
        let from = NOW_S - day * 24 * HOUR - 1000;
        records.push(minute(&dict, records.len() as u64 + 1, from));
    }
    // Received minute by minute, so that the compactor can be stopped in between.
    for (i, record) in (0i64..).zip(records) {
        let received = seconds(NOW_S - 1000 + i);
        send_at(&*store, &gw, received, vec![dict.clone()], vec![record]).await;
    }
    let series = store.series(None).await.unwrap()[0].id;
    let before = answers(&*store, series).await;
    let exported = export(&*store).await;
    assert_eq!(exported.len(), 187 * 60);
    for (at, what) in [
        (NOW_S - 950, "a part"),
        (NOW_S - 870, "more"),
        (NOW_S, "all"),
    ] {
        maintain(&*store, seconds(at)).await;
        let after = answers(&*store, series).await;
        for ((question, before), after) in questions().iter().zip(&before).zip(&after) {
            assert_eq!(before, after, "{question:?} after compacting {what}");
        }
        assert_eq!(export(&*store).await, exported);
    }
    assert_eq!(store.maintain_report().await.unwrap().record_rows, 0);
    drop(store);
    let store = kit.open(eager());
    assert_eq!(answers(&*store, series).await, before);
}

pub(crate) async fn a_peak_survives_every_resolution(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let mut records = Vec::new();
    for i in 0..120i64 {
        records.push(minute(&dict, i.cast_unsigned() + 1, NOW_S - 60 * (i + 1)));
    }
    let peak = good(Timestamp(seconds(NOW_S - 3000).0 + 500_000_000), 1e6);
    let dip = good(Timestamp(seconds(NOW_S - 4000).0 + 500_000_000), -1e6);
    let body = telemetry(&dict, vec![(0, vec![dip, peak])]);
    records.push(record(key(1, Lane::Telemetry, 121), body));
    send(&*store, &gw, vec![dict], records).await;
    for _ in 0..2 {
        let series = store.series(None).await.unwrap()[0].id;
        for (hours, points) in [(2, 3), (2, 100), (2, 500), (24, 100), (24 * 30, 40)] {
            let question = asked(NOW_S - hours * HOUR, NOW_S, points);
            let answer = store.query(series, question).await.unwrap();
            let Points::Buckets { buckets, .. } = answer.points else {
                panic!("raw")
            };
            assert!(buckets.len() <= points.max(3), "{} buckets", buckets.len());
            let has = |value| move |v: &Option<Value>| *v == Some(Value::F64(value));
            assert!(buckets.iter().map(|b| b.max.clone()).any(|v| has(1e6)(&v)));
            assert!(buckets.iter().map(|b| b.min.clone()).any(|v| has(-1e6)(&v)));
        }
        maintain(&*store, now()).await;
    }
}

pub(crate) async fn late_data_joins_its_hour_and_its_rollups(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    for seq in [3, 1, 2, 5, 4] {
        // Of two boots: their samples share the hour and its rollups, but no block.
        let boot = BootId(seq % 2);
        let body = minute_of(boot, &dict, seq, NOW_S - 3000 + 60 * seq.cast_signed());
        send(&*store, &gw, vec![dict.clone()], vec![body]).await;
        maintain(&*store, now()).await;
    }
    let series = store.series(None).await.unwrap()[0].id;
    let answer = store
        .query(series, asked(NOW_S - 400 * 24 * HOUR, NOW_S, 3))
        .await
        .unwrap();
    let Points::Buckets { buckets, .. } = answer.points else {
        panic!("raw")
    };
    assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 300);
    let times: Vec<_> = export(&*store)
        .await
        .iter()
        .map(|sample| sample.time)
        .collect();
    let expected: Vec<_> = (NOW_S - 2940..NOW_S - 2640).map(seconds).collect();
    assert_eq!(times, expected);
}

pub(crate) async fn every_type_survives_compaction_and_reopening(mut kit: impl Kit) {
    let values = [
        vec![Value::Bool(true), Value::Bool(false)],
        vec![Value::I64(i64::MIN), Value::I64(-1), Value::I64(i64::MAX)],
        vec![Value::U64(u64::MAX), Value::U64((1 << 53) + 1)],
        vec![
            Value::F64(-0.0),
            Value::F64(0.1),
            Value::F64(f64::MAX),
            Value::F64(f64::INFINITY),
        ],
        vec![Value::Text("".into()), Value::Text("ünï".into())],
        vec![Value::Bytes([0, 255].as_slice().into())],
    ];
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let entries = values.iter().map(|of| {
        let kind = of[0].value_type();
        descriptor("m", kind.as_str(), kind)
    });
    let dict = Dictionary::try_new(entries.collect()).unwrap();
    let columns = (0u32..).zip(&values).map(|(index, of)| {
        let sample = |(i, value): (i64, &Value)| Sample {
            time: seconds(NOW_S - 100 + i),
            value: Some(value.clone()),
            quality: Quality::Uncertain(Reason::OutOfRange),
        };
        (index, (0..).zip(of).map(sample).collect())
    });
    let body = telemetry(&dict, columns.collect());
    let sent = vec![record(key(1, Lane::Telemetry, 1), body)];
    let settled = send(&*store, &gw, vec![dict], sent).await;
    assert_eq!(settled.readings, 14);
    let before = export(&*store).await;
    let latest = store.latest(&gw, None).await.unwrap();
    maintain(&*store, now()).await;
    drop(store);
    let store = kit.open(eager());
    assert_eq!(export(&*store).await, before);
    assert_eq!(store.latest(&gw, None).await.unwrap(), latest);
    for series in store.series(Some(&gw)).await.unwrap() {
        let of = values
            .iter()
            .find(|of| of[0].value_type() == series.value_type)
            .unwrap();
        let answer = store
            .query(series.id, asked(NOW_S - 1000 * HOUR, NOW_S, 1))
            .await
            .unwrap();
        let bucket = match answer.points {
            Points::Buckets { mut buckets, .. } => buckets.remove(0),
            Points::Raw(raw) => {
                assert_eq!(raw.len(), of.len());
                continue;
            }
        };
        assert_eq!(bucket.first.as_ref(), of.first());
        assert_eq!(bucket.last.as_ref(), of.last());
        let ordered = !matches!(series.value_type, ValueType::Text | ValueType::Bytes);
        assert_eq!(bucket.max.is_some(), ordered);
    }
}

pub(crate) async fn retention_drops_old_weeks_and_keeps_long_rollups(mut kit: impl Kit) {
    let limits = Limits {
        retention: Duration::from_secs(20 * 24 * 3600),
        ..eager()
    };
    let store = kit.open(limits);
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let records = vec![
        minute(&dict, 1, NOW_S - 600),
        minute(&dict, 2, NOW_S - 15 * 24 * HOUR),
    ];
    send(&*store, &gw, vec![dict.clone()], records).await;
    maintain(&*store, now()).await;
    assert_eq!(export(&*store).await.len(), 120);
    let later = seconds(NOW_S + 16 * 24 * HOUR);
    maintain(&*store, later).await;
    assert_eq!(
        export(&*store).await.len(),
        60,
        "the old week is gone, the young one is not"
    );
    let series = store.series(None).await.unwrap()[0].id;
    let answer = store
        .query(series, asked(NOW_S - 100 * 24 * HOUR, NOW_S, 40))
        .await
        .unwrap();
    let Points::Raw(raw) = answer.points else {
        let Points::Buckets { buckets, .. } = answer.points else {
            unreachable!()
        };
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 120);
        assert_eq!(store.maintain(later).await.unwrap(), MaintainStep::Idle);
        assert_eq!(
            store.counts(&gw).await.unwrap()[0].stored,
            120,
            "counts know no retention"
        );
        return;
    };
    panic!("{} raw samples", raw.len());
}

pub(crate) async fn counts_and_latest_values_survive_compaction_and_reopening(mut kit: impl Kit) {
    let gw = gateway("gw-1");
    let dict = floats(1);
    let mut expected: Option<(u64, Option<Value>)> = None;
    for round in 0..6u64 {
        let store = kit.open(eager());
        if round == 0 {
            enter(&*store, "gw-1").await;
        }
        if let Some((stored, value)) = &expected {
            let counts = store.counts(&gw).await.unwrap();
            assert_eq!((counts[0].stored, counts[0].filtered), (*stored, 4 * round));
            assert_eq!(store.latest(&gw, None).await.unwrap()[0].value, *value);
        }
        let first = minute(
            &dict,
            2 * round + 1,
            NOW_S - 900 + 120 * round.cast_signed(),
        );
        let second = minute(
            &dict,
            2 * round + 2,
            NOW_S - 840 + 120 * round.cast_signed(),
        );
        send(&*store, &gw, vec![dict.clone()], vec![first]).await;
        if round % 2 == 0 {
            maintain(&*store, now()).await;
        }
        send(&*store, &gw, vec![], vec![second]).await;
        let latest = store.latest(&gw, None).await.unwrap();
        assert_eq!(
            latest[0].time,
            seconds(NOW_S - 781 + 120 * round.cast_signed())
        );
        expected = Some((120 * (round + 1), latest[0].value.clone()));
        if round % 3 == 0 {
            store.close().await.unwrap();
        }
        drop(store);
    }
}

pub(crate) async fn gaps_of_bad_quality_and_of_silence_are_told(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let sample = |s: i64| match s {
        100..110 => bad(seconds(NOW_S - 600 + s)),
        _ => good(seconds(NOW_S - 600 + s), 1.0),
    };
    let samples = (0..200).chain(300..400).map(sample).collect();
    let body = telemetry(&dict, vec![(0, samples)]);
    send(
        &*store,
        &gw,
        vec![dict],
        vec![record(key(1, Lane::Telemetry, 1), body)],
    )
    .await;
    let series = store.series(None).await.unwrap()[0].id;
    let answer = store
        .query(series, asked(NOW_S - 600, NOW_S, 1000))
        .await
        .unwrap();
    let relative = |time: Timestamp| time.0 / 1_000_000_000 - NOW_S + 600;
    let gaps: Vec<_> = answer
        .gaps
        .iter()
        .map(|gap| (relative(gap.from), relative(gap.to), gap.kind))
        .collect();
    let timeout = GapKind::Bad(Quality::Bad(Reason::Timeout));
    assert_eq!(gaps, [(100, 109, timeout), (199, 300, GapKind::Missing)]);
    let mut patient = asked(NOW_S - 600, NOW_S, 1000);
    patient.silence = Some(Duration::from_secs(200));
    assert_eq!(store.query(series, patient).await.unwrap().gaps.len(), 1);
}

pub(crate) async fn the_compactor_gathers_before_it_works(mut kit: impl Kit) {
    let store = kit.open(Limits {
        compact_after: Duration::from_secs(60),
        ..eager()
    });
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    for (seq, received) in [(1, 0), (2, 30), (3, 90)] {
        let sent = minute(&dict, seq, NOW_S - 600 + 60 * seq.cast_signed());
        let received = seconds(NOW_S + received);
        send_at(&*store, &gw, received, vec![dict.clone()], vec![sent]).await;
    }
    for (at, rows) in [(100, 3), (119, 3), (121, 1), (200, 1), (211, 0)] {
        maintain(&*store, seconds(NOW_S + at)).await;
        let report = store.maintain_report().await.unwrap();
        assert_eq!(report.record_rows, rows, "after {at} s");
    }
}
