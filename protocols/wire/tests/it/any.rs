//! Arbitrary messages of every kind, as the domain allows them.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocols_model::{
    AlarmLevel, AlarmState, BootId, Claim, DeviceId, DictionaryHash, Epoch, Instant, Lane,
    LossReason, PointDescriptor, PointId, PointLoss, Quality, RecordKey, RefuseReason, SeqRange,
    SeqSet, Timestamp, Value, ValueType,
};
use protocols_wire::limits::MAX_ALARM_POINTS;
use protocols_wire::{
    Ack, AckItem, AlarmNote, AlarmPoint, Body, ClockState, Column, Down, EpochState, Event,
    EventKind, Held, Hello, HelloAnswer, Pace, Record, RecordStamp, RetryLater, RetryReason,
    Sample, Telemetry, TimeMap, Unchanged,
};
use std::time::Duration;

/// Times travel at 1 ms.
pub(crate) fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        8 => (1_700_000_000_000i64..1_700_000_020_000).prop_map(Timestamp::from_millis),
        1 => any::<i64>().prop_map(|ns| Timestamp::from_millis(Timestamp(ns).as_millis())),
        1 => Just(Timestamp::from_millis(Timestamp(i64::MIN).as_millis())),
    ]
}

pub(crate) fn quality() -> impl Strategy<Value = Quality> {
    let codes: Vec<_> = (0..=u8::MAX).filter_map(Quality::from_code).collect();
    prop_oneof![6 => Just(Quality::Good), 1 => prop::sample::select(codes)]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-9999i32..9999).prop_map(|n| f64::from(n) / 10.0),
        (-9999i32..9999).prop_map(|n| f64::from(n) * 0.01),
        any::<i32>().prop_map(|n| f64::from(n) / 1000.0),
        any::<f32>().prop_map(f64::from),
        any::<u64>().prop_map(f64::from_bits),
        prop::sample::select(vec![
            0.0,
            -0.0,
            f64::NAN,
            f64::from_bits(0xfff8_0000_0000_0001),
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            9_007_199_254_740_993.0,
            1e15,
            0.1 + 0.2,
        ]),
    ]
}

pub(crate) fn value(kind: ValueType) -> BoxedStrategy<Value> {
    match kind {
        ValueType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ValueType::I64 => prop_oneof![any::<i64>(), -5i64..5]
            .prop_map(Value::I64)
            .boxed(),
        ValueType::U64 => prop_oneof![any::<u64>(), 0u64..5, Just(u64::MAX)]
            .prop_map(Value::U64)
            .boxed(),
        ValueType::F64 => float().prop_map(Value::F64).boxed(),
        ValueType::Text => "\\PC{0,12}".prop_map(|t| Value::Text(t.into())).boxed(),
        ValueType::Bytes => vec(any::<u8>(), 0..12)
            .prop_map(|b| Value::Bytes(b.into()))
            .boxed(),
    }
}

fn kind() -> impl Strategy<Value = ValueType> {
    (0u8..6).prop_map(|index| ValueType::from_index(index).unwrap())
}

fn samples(times: Vec<Timestamp>) -> impl Strategy<Value = Vec<Sample>> {
    (kind(), any::<bool>()).prop_flat_map(move |(kind, steady)| {
        let one = value(kind);
        let values = if steady {
            one.prop_map(|value| vec![value]).boxed()
        } else {
            vec(one, 1..12).boxed()
        };
        let times = times.clone();
        let count = times.len();
        (values, vec((quality(), prop::bool::weighted(0.8)), count)).prop_map(
            move |(values, marks)| {
                let values = values.iter().cycle();
                times
                    .iter()
                    .zip(values)
                    .zip(marks)
                    .filter(|(_, (_, kept))| *kept)
                    .map(|((time, value), (quality, _))| Sample {
                        time: *time,
                        value: (!quality.is_bad()).then(|| value.clone()),
                        quality,
                    })
                    .collect()
            },
        )
    })
}

fn columns(dictionaries: u32) -> impl Strategy<Value = Vec<Column>> {
    let group = (
        0..dictionaries,
        prop_oneof![0u32..50, any::<u32>()],
        vec(time(), 0..12),
    )
        .prop_flat_map(|(dictionary, first, mut times)| {
            if first % 3 != 0 {
                times.sort_unstable();
            }
            vec((samples(times), prop_oneof![Just(0), 0u64..20]), 0..6).prop_map(move |columns| {
                let columns = columns.into_iter().enumerate();
                columns
                    .map(|(place, (samples, filtered))| Column {
                        dictionary,
                        index: first.saturating_add(place as u32),
                        filtered,
                        samples,
                    })
                    .collect::<Vec<_>>()
            })
        });
    vec(group, 0..6).prop_map(|groups| groups.concat())
}

pub(crate) fn hash() -> impl Strategy<Value = DictionaryHash> {
    any::<[u8; 16]>().prop_map(DictionaryHash)
}

pub(crate) fn telemetry() -> impl Strategy<Value = Telemetry> {
    vec(hash(), 1..4).prop_flat_map(|dictionaries| {
        let count = dictionaries.len() as u32;
        let parts = (columns(count), vec(unchanged(count), 0..8));
        parts.prop_map(move |(columns, unchanged)| Telemetry {
            dictionaries: dictionaries.clone(),
            columns,
            unchanged,
        })
    })
}

/// A sign of life; of a point that need not have a column.
pub(crate) fn unchanged(dictionaries: u32) -> impl Strategy<Value = Unchanged> {
    let point = (0..dictionaries, prop_oneof![0u32..50, any::<u32>()]);
    let sample = (time(), kind().prop_flat_map(value), quality());
    (point, sample, time()).prop_map(|((dictionary, index), (time, value, quality), confirmed)| {
        Unchanged {
            dictionary,
            index,
            sample: Sample {
                time,
                value: (!quality.is_bad()).then_some(value),
                quality,
            },
            confirmed,
        }
    })
}

pub(crate) fn stamp() -> impl Strategy<Value = RecordStamp> {
    (any::<u64>(), any::<u64>(), any::<i64>()).prop_map(|(boot, mono, wall)| RecordStamp {
        boot: BootId(boot),
        mono: Instant(Duration::from_nanos(mono)),
        wall: Timestamp(wall),
    })
}

pub(crate) fn lane() -> impl Strategy<Value = Lane> {
    prop::sample::select(Lane::ALL.to_vec())
}

pub(crate) fn range() -> impl Strategy<Value = SeqRange> {
    prop_oneof![
        (1u64..1000, 0u64..50).prop_map(|(first, more)| (first, first + more)),
        (1u64..=u64::MAX, any::<u64>()).prop_map(|(a, b)| (a.min(b).max(1), a.max(b))),
    ]
    .prop_map(|(first, last)| SeqRange::new(first, last).unwrap())
}

pub(crate) fn claim() -> impl Strategy<Value = Claim> {
    let reasons: Vec<_> = (0..=u8::MAX).filter_map(LossReason::from_index).collect();
    let point = (0usize..3, 0u32..40, 0u64..9, any::<u64>());
    (
        (any::<u64>(), lane(), range(), prop::sample::select(reasons)),
        (any::<i64>(), any::<i64>()),
        (option::of(any::<u64>()), option::of(any::<u64>())),
        (vec(hash(), 3), vec(point, 0..30)),
    )
        .prop_map(|(head, times, counts, (hashes, points))| Claim {
            epoch: Epoch(head.0),
            lane: head.1,
            range: head.2,
            reason: head.3,
            from: Timestamp(times.0),
            to: Timestamp(times.1),
            readings: counts.0,
            at_most: counts.1,
            points: points
                .into_iter()
                .map(|(place, index, readings, filtered)| PointLoss {
                    dictionary: hashes[place],
                    index,
                    readings,
                    filtered: filtered >> 1,
                })
                .collect(),
        })
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    let point = ("[a-z0-9_-]{1,63}", "[a-z0-9_-]{1,63}").prop_map(|(device, point)| AlarmPoint {
        device: DeviceId::try_new(&device).unwrap(),
        point: PointId::try_new(&point).unwrap(),
    });
    let note = (
        1u8..5,
        0u8..4,
        any::<bool>(),
        vec(point, 0..=MAX_ALARM_POINTS),
    )
        .prop_map(|(level, state, quiet, points)| AlarmNote {
            level: AlarmLevel::from_code(level).unwrap(),
            state: AlarmState::from_code(state).unwrap(),
            quiet,
            points,
        });
    let note = option::of(note);
    let event = (any::<i64>(), 0u32..20, "\\PC{0,60}", "\\PC{0,200}", note).prop_map(
        |(time, kind, subject, text, alarm)| Event {
            time: Timestamp(time),
            kind: EventKind::from_index(kind),
            subject,
            text,
            alarm,
        },
    );
    let map = (any::<u64>(), any::<i64>(), any::<u64>()).prop_map(|(boot, origin, off)| TimeMap {
        boot: BootId(boot),
        origin: Timestamp(origin),
        uncertainty_ns: off,
    });
    let body = prop_oneof![
        5 => telemetry().prop_map(Body::Telemetry),
        2 => vec(claim(), 0..6).prop_map(Body::Claims),
        1 => event.prop_map(Body::Event),
        1 => map.prop_map(Body::TimeMap),
    ];
    (stamp(), body).prop_map(|(stamp, body)| Record { stamp, body })
}

pub(crate) fn descriptors() -> impl Strategy<Value = Vec<PointDescriptor>> {
    let scale = prop_oneof![
        prop::sample::select(vec![1.0, 0.1, 0.01, 1e-15, 1e15, 0.5, -0.1, 0.0, -0.0]),
        any::<f64>().prop_filter("finite", |scale| scale.is_finite()),
    ];
    let one = (
        "[a-z0-9_-]{1,4}",
        "[a-z0-9_-]{1,63}",
        kind(),
        "\\PC{0,8}",
        scale,
    );
    vec(one, 1..60).prop_map(|all| {
        all.into_iter()
            .map(|(device, point, value_type, unit, scale)| PointDescriptor {
                device: DeviceId::try_new(&device).unwrap(),
                point: PointId::try_new(&point).unwrap(),
                value_type,
                unit,
                scale,
            })
            .collect()
    })
}

pub(crate) fn keys_and_bodies() -> impl Strategy<Value = Vec<(RecordKey, Bytes)>> {
    let one = (
        any::<u64>(),
        1u64..=u64::MAX,
        vec(any::<u8>(), 0..300).prop_map(Bytes::from),
    );
    (lane(), vec(one, 1..9)).prop_map(|(lane, all)| {
        all.into_iter()
            .map(|(epoch, seq, body)| {
                let epoch = Epoch(epoch);
                (RecordKey { epoch, lane, seq }, body)
            })
            .collect()
    })
}

pub(crate) fn seq_set() -> impl Strategy<Value = SeqSet> {
    vec(range(), 0..20).prop_map(|ranges| ranges.into_iter().collect())
}

fn span() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let held = (any::<u64>(), lane(), any::<u64>(), any::<u64>()).prop_map(|h| Held {
        epoch: Epoch(h.0),
        lane: h.1,
        first: h.2,
        last: h.3,
    });
    let clock = (any::<bool>(), any::<i64>(), any::<u64>()).prop_map(|c| ClockState {
        synced: c.0,
        wall: Timestamp(c.1),
        mono: Duration::from_nanos(c.2),
    });
    (
        (vec(any::<u32>(), 0..4), any::<u64>(), any::<u64>()),
        (any::<u64>(), vec(held, 0..8), vec(hash(), 0..8), clock),
        (span(), any::<u64>(), any::<u64>()),
        ("\\PC{0,30}", "\\PC{0,30}", any::<bool>()),
    )
        .prop_map(|(a, b, c, d)| Hello {
            versions: a.0,
            nonce: a.1,
            boot: BootId(a.2),
            epoch: Epoch(b.0),
            held: b.1,
            partial: d.2,
            dictionaries: b.2,
            clock: b.3,
            loss_window: c.0,
            spool_bytes: c.1,
            spool_quota_bytes: c.2,
            software: d.0,
            config_revision: d.1,
        })
}

pub(crate) fn down() -> impl Strategy<Value = Down> {
    let refuse = (1u8..=5).prop_map(|index| RefuseReason::from_index(index).unwrap());
    let why = prop_oneof![
        hash().prop_map(RetryReason::UnknownDictionary),
        Just(RetryReason::Quota),
        Just(RetryReason::NewerVersion),
        Just(RetryReason::SlowDown),
    ];
    let retry = (range(), why, span()).prop_map(|(range, reason, after)| RetryLater {
        range,
        reason,
        after,
    });
    let item = (
        (any::<u64>(), lane(), seq_set()),
        vec((range(), refuse), 0..5),
        vec(retry, 0..5),
    )
        .prop_map(|((epoch, lane, stored), refused, retry)| AckItem {
            epoch: Epoch(epoch),
            lane,
            stored,
            refused,
            retry,
        });
    let ack = (any::<u64>(), vec(item, 0..6), pace()).prop_map(|(generation, items, pace)| {
        Down::Ack(Ack {
            generation,
            items,
            pace,
        })
    });
    let state = (any::<u64>(), lane(), seq_set(), any::<bool>()).prop_map(
        |(epoch, lane, settled, closed)| EpochState {
            epoch: Epoch(epoch),
            lane,
            settled,
            closed,
        },
    );
    let answer = (
        (any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>()),
        vec(state, 0..6),
        vec(hash(), 0..6),
        pace(),
    )
        .prop_map(|(numbers, epochs, missing_dictionaries, pace)| {
            Down::HelloAnswer(HelloAnswer {
                nonce: numbers.0,
                generation: numbers.1,
                newest_version: numbers.2,
                stream_pending: numbers.3,
                epochs,
                missing_dictionaries,
                pace,
            })
        });
    prop_oneof![ack, answer]
}

fn pace() -> impl Strategy<Value = Option<Pace>> {
    let pace = |(bytes_per_second, ms): (u64, u32)| Pace {
        bytes_per_second,
        holds: Duration::from_millis(ms.into()),
    };
    option::of((any::<u64>(), any::<u32>()).prop_map(pace))
}
