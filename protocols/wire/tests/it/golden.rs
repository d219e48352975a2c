//! Bytes that were released once. Their files are never edited: a test that fails here means that
//! this program no longer reads what an older one wrote.
//!
//! A new case gets a new file: run the tests once with `WIRE_GOLDEN_NEW=1`, which writes missing
//! files and touches no others.

use bytes::Bytes;
use protocols_model::{
    AlarmLevel, AlarmState, BootId, Claim, DeviceId, DictionaryHash, Epoch, Instant, Lane,
    LossReason, PointDescriptor, PointId, PointLoss, Quality, Reason, RecordKey, RefuseReason,
    SeqRange, SeqSet, Timestamp, Value, ValueType,
};
use protocols_wire::{
    Ack, AckItem, AlarmNote, AlarmPoint, Body, ClockState, Column, Dictionary, Down, EpochState,
    Event, EventKind, Held, Hello, HelloAnswer, Pace, Record, RecordStamp, RetryLater, RetryReason,
    Sample, Telemetry, TimeMap, Unchanged, decode_envelope, encode_envelope,
};
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

const START: i64 = 1_800_000_000_000;

fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(name).with_extension("hex")
}

/// The bytes of a golden file; `now` makes the file if it is missing and that was asked for.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = file(name);
    if !path.exists() && std::env::var_os("WIRE_GOLDEN_NEW").is_some() {
        let lines: Vec<String> = now
            .chunks(32)
            .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Old bytes must read as `expected`; today's encoder must still write them.
fn check<T: Debug>(name: &str, now: &[u8], expected: &T, decode: impl Fn(&[u8]) -> T) {
    let old = golden(name, now);
    // Debug text, because NaN is not equal to itself.
    assert_eq!(
        format!("{:?}", decode(&old)),
        format!("{expected:?}"),
        "{name}"
    );
    assert_eq!(
        old, now,
        "{name}: the encoder writes other bytes than before"
    );
}

fn stamp() -> RecordStamp {
    RecordStamp {
        boot: BootId(0x0102_0304_0506_0708),
        mono: Instant(Duration::from_millis(90_061)),
        wall: Timestamp(START * 1_000_000 + 10_123_456_789),
    }
}

fn column(index: u32, filtered: u64, samples: Vec<Sample>) -> Column {
    Column {
        dictionary: 0,
        index,
        filtered,
        samples,
    }
}

fn good(offset: i64, value: Value) -> Sample {
    Sample {
        time: Timestamp::from_millis(START + offset),
        value: Some(value),
        quality: Quality::Good,
    }
}

fn every_second(values: impl IntoIterator<Item = Value>) -> Vec<Sample> {
    (0..)
        .zip(values)
        .map(|(second, value)| good(second * 1000 + second % 3, value))
        .collect()
}

fn floats(values: &[f64]) -> Vec<Sample> {
    every_second(values.iter().map(|value| Value::F64(*value)))
}

/// Every value type and every coding.
fn kinds() -> Telemetry {
    let mut columns = vec![
        column(0, 0, floats(&[230.1, 230.4, 229.9, 230.0])),
        column(1, 0, floats(&[2301.0 * 0.1, 2303.0 * 0.1, 0.1 + 0.2, 0.7])),
        column(
            2,
            3,
            floats(&[f64::from(1.1_f32), f64::from(1.2_f32), 0.0, 1.0]),
        ),
        column(
            3,
            0,
            floats(&[std::f64::consts::PI, -0.0, f64::NAN, f64::INFINITY]),
        ),
        column(
            4,
            0,
            every_second([i64::MIN, -1, 0, i64::MAX].map(Value::I64)),
        ),
        column(
            5,
            0,
            every_second([u64::MAX, 0, 1 << 53, (1 << 53) + 1].map(Value::U64)),
        ),
        column(
            6,
            0,
            every_second([true, false, true, true].map(Value::Bool)),
        ),
        column(
            7,
            0,
            every_second(["", "läuft", "läuft"].map(|t| Value::Text(t.into()))),
        ),
        column(
            8,
            0,
            every_second([&[0, 255][..], &[]].map(|b| Value::Bytes(b.into()))),
        ),
        column(9, 0, floats(&[50.0; 12])),
        column(
            10,
            0,
            every_second((0..3).map(|_| Value::Text("const".into()))),
        ),
        column(11, 12, Vec::new()),
        column(12, 0, Vec::new()),
    ];
    columns[0].samples[1].quality = Quality::Uncertain(Reason::ClockUnsynced);
    for sample in &mut columns[4].samples[1..3] {
        sample.quality = Quality::Bad(Reason::Timeout);
        sample.value = None;
    }
    // Filtered readings: parts of one time vector.
    let all = floats(&[1.5, 1.6, 1.7, 1.8, 1.9, 2.0]);
    let part = |kept: &[usize]| kept.iter().map(|at| all[*at].clone()).collect();
    for (index, kept) in [(20, &[0, 2, 3][..]), (21, &[2, 3, 5]), (22, &[0, 5])] {
        columns.push(column(index, 6 - kept.len() as u64, part(kept)));
    }
    // All bad, another dictionary, an index far away and back.
    let mut dead = column(4_000_000_000, 0, every_second([Value::Bool(true)]));
    dead.samples[0].quality = Quality::Bad(Reason::LinkDown);
    dead.samples[0].value = None;
    columns.push(dead);
    columns.push(Column {
        dictionary: 1,
        ..column(7, 0, floats(&[1e-5, 2e-5]))
    });
    columns.push(column(6, 0, every_second([Value::Bool(false)])));
    Telemetry {
        dictionaries: vec![DictionaryHash([0xd1; 16]), DictionaryHash([0xd2; 16])],
        columns,
        unchanged: Vec::new(),
    }
}

/// Twenty alike meters: first values in frames.
fn fleet() -> Telemetry {
    let columns = (0..400).map(|point: u32| {
        let (meter, register) = (point / 20, point % 20);
        let n = f64::from((meter * 37 + register * 11) % 50);
        let value = match register {
            0..3 => Value::F64((2300.0 + n) / 10.0),
            3..10 => Value::F64((n - 20.0) / 100.0),
            10..14 => Value::F64((4_000_000.0 + n * 997.0) / 1000.0),
            14..17 => Value::U64(u64::from(point) * 7),
            17 => Value::I64(-5),
            18 => Value::Bool(meter.is_multiple_of(3)),
            _ => Value::F64(f64::from((20.0 + n / 7.0) as f32)),
        };
        let time = i64::from(meter) * 13;
        column(point, 0, vec![good(time, value)])
    });
    Telemetry {
        dictionaries: vec![DictionaryHash([0xd3; 16])],
        columns: columns.collect(),
        unchanged: Vec::new(),
    }
}

/// Three quiet points, one of them without a value, beside one that moved.
fn quiet() -> Telemetry {
    let sign = |index, confirmed, sample| Unchanged {
        dictionary: 0,
        index,
        sample,
        confirmed: Timestamp::from_millis(START + confirmed),
    };
    let mut dead = good(-60_000, Value::Bool(true));
    dead.value = None;
    dead.quality = Quality::Bad(Reason::Timeout);
    Telemetry {
        dictionaries: vec![DictionaryHash([0xd1; 16])],
        columns: vec![
            column(0, 0, vec![good(0, Value::F64(21.5))]),
            column(1, 10, Vec::new()),
            column(2, 10, Vec::new()),
            column(9, 1, Vec::new()),
        ],
        unchanged: vec![
            sign(1, 9_000, good(-600_000, Value::F64(230.1))),
            sign(2, 9_000, good(-45_123, Value::Text("idle".into()))),
            sign(9, 8_900, dead),
        ],
    }
}

fn claims() -> Vec<Claim> {
    let point = |index| PointLoss {
        dictionary: DictionaryHash([0xd1; 16]),
        index,
        readings: 10,
        filtered: u64::from(index),
    };
    vec![
        Claim {
            epoch: Epoch(0xfeed),
            lane: Lane::Telemetry,
            range: SeqRange::new(17, 40).unwrap(),
            reason: LossReason::Evicted,
            from: Timestamp::from_millis(START),
            to: Timestamp::from_millis(START + 60_000),
            readings: Some(60),
            at_most: None,
            points: (0..6).map(point).collect(),
        },
        Claim {
            epoch: Epoch(1),
            lane: Lane::Bulk,
            range: SeqRange::new(41, u64::MAX).unwrap(),
            reason: LossReason::CrashTail,
            from: Timestamp(START),
            to: Timestamp(START + 1),
            readings: None,
            at_most: Some(10_000),
            points: Vec::new(),
        },
        Claim {
            epoch: Epoch(2),
            lane: Lane::Alarm,
            range: SeqRange::one(1).unwrap(),
            reason: LossReason::Refused(RefuseReason::SeriesLimit),
            from: Timestamp(0),
            to: Timestamp(0),
            readings: Some(0),
            at_most: None,
            points: Vec::new(),
        },
    ]
}

pub(crate) fn records() -> Vec<(&'static str, Record)> {
    let record = |body| Record {
        stamp: stamp(),
        body,
    };
    let event = Event {
        time: Timestamp(START * 1_000_000 + 1),
        kind: EventKind::DeviceLink,
        subject: "meter-7".into(),
        text: "no answer for 30 s".into(),
        alarm: None,
    };
    let alarm = Event {
        time: Timestamp(START * 1_000_000 + 2),
        kind: EventKind::Alarm,
        subject: "overtemp".into(),
        text: "cellar hot".into(),
        alarm: Some(AlarmNote {
            level: AlarmLevel::High,
            state: AlarmState::Returned,
            quiet: true,
            points: Vec::new(),
        }),
    };
    let about = |device: &str, point: &str| AlarmPoint {
        device: DeviceId::try_new(device).unwrap(),
        point: PointId::try_new(point).unwrap(),
    };
    let pointed = Event {
        alarm: Some(AlarmNote {
            level: AlarmLevel::Critical,
            state: AlarmState::Raised,
            quiet: false,
            points: vec![about("cellar", "temperature"), about("cellar", "door")],
        }),
        ..alarm.clone()
    };
    let map = TimeMap {
        boot: BootId(7),
        origin: Timestamp(START * 1_000_000 + 999),
        uncertainty_ns: 20_000_000,
    };
    vec![
        ("record-v1-kinds", record(Body::Telemetry(kinds()))),
        ("record-v1-fleet", record(Body::Telemetry(fleet()))),
        ("record-v1-claims", record(Body::Claims(claims()))),
        ("record-v1-event", record(Body::Event(event))),
        ("record-v1-time-map", record(Body::TimeMap(map))),
        ("record-v1-alarm", record(Body::Event(alarm))),
        ("record-v1-alarm-points", record(Body::Event(pointed))),
        ("record-v1-unchanged", record(Body::Telemetry(quiet()))),
    ]
}

fn descriptors() -> Vec<PointDescriptor> {
    let entry = |device: &str, point: &str, value_type, unit: &str, scale| PointDescriptor {
        device: DeviceId::try_new(device).unwrap(),
        point: PointId::try_new(point).unwrap(),
        value_type,
        unit: unit.into(),
        scale,
    };
    vec![
        entry("meter-1", "u_l1", ValueType::F64, "V", 0.1),
        entry("meter-1", "u_l2", ValueType::F64, "V", 0.1),
        entry("meter-1", "temp", ValueType::F64, "°C", 0.25),
        entry("meter-2", "state", ValueType::U64, "", 1.0),
        entry("meter-2", "name", ValueType::Text, "", 1.0),
    ]
}

pub(crate) fn dictionary() -> Dictionary {
    Dictionary::try_new(descriptors()).unwrap()
}

pub(crate) fn envelope_parts() -> (Vec<(RecordKey, Bytes)>, Dictionary) {
    let records = (1..)
        .zip(records().into_iter().skip(2).take(3))
        .map(|(seq, (_, record))| {
            let (epoch, lane) = (Epoch(0xabcd_ef01_2345_6789), Lane::Event);
            (
                RecordKey { epoch, lane, seq },
                record.encode().unwrap().body,
            )
        })
        .collect();
    (records, dictionary())
}

pub(crate) fn control() -> (Hello, Vec<Down>) {
    let set = |ranges: &[(u64, u64)]| -> SeqSet {
        let ranges = ranges.iter().map(|(a, b)| SeqRange::new(*a, *b).unwrap());
        ranges.collect()
    };
    let hello = Hello {
        versions: vec![1],
        nonce: 3,
        boot: BootId(9),
        epoch: Epoch(0x1122_3344_5566_7788),
        held: vec![Held {
            epoch: Epoch(5),
            lane: Lane::Telemetry,
            first: 0,
            last: 77,
        }],
        partial: false,
        dictionaries: vec![dictionary().hash()],
        clock: ClockState {
            synced: true,
            wall: Timestamp(START * 1_000_000),
            mono: Duration::from_nanos(123_456_789),
        },
        loss_window: Duration::from_millis(3500),
        spool_bytes: 4096,
        spool_quota_bytes: 1 << 30,
        software: "0.1.0".into(),
        config_revision: "a1b2".into(),
    };
    let range = SeqRange::new(8, 9).unwrap();
    let after = Duration::from_secs(5);
    let retry = [
        RetryReason::UnknownDictionary(dictionary().hash()),
        RetryReason::Quota,
        RetryReason::NewerVersion,
        RetryReason::SlowDown,
    ];
    let ack = Ack {
        generation: 2,
        items: vec![AckItem {
            epoch: Epoch(5),
            lane: Lane::Alarm,
            stored: set(&[(1, 7), (10, 10), (20, u64::MAX)]),
            refused: vec![(SeqRange::one(11).unwrap(), RefuseReason::Malformed)],
            retry: retry
                .map(|reason| RetryLater {
                    range,
                    reason,
                    after,
                })
                .to_vec(),
        }],
        pace: None,
    };
    let answer = HelloAnswer {
        nonce: 3,
        generation: 2,
        newest_version: 1,
        epochs: vec![EpochState {
            epoch: Epoch(5),
            lane: Lane::Telemetry,
            settled: set(&[(1, 50), (60, 61)]),
            closed: true,
        }],
        missing_dictionaries: vec![dictionary().hash()],
        stream_pending: 12,
        pace: None,
    };
    let pace = Some(Pace {
        bytes_per_second: 70_000,
        holds: Duration::from_millis(2500),
    });
    let slowed = [
        Down::Ack(Ack {
            pace,
            ..ack.clone()
        }),
        Down::HelloAnswer(HelloAnswer {
            pace,
            ..answer.clone()
        }),
    ];
    let plain = [Down::Ack(ack), Down::HelloAnswer(answer)];
    (hello, plain.into_iter().chain(slowed).collect())
}

#[test]
fn released_records_decode_for_ever() {
    for (name, record) in records() {
        let now = record.encode().unwrap().body;
        check(name, &now, &record, |bytes| Record::decode(bytes).unwrap());
    }
}

#[test]
fn released_dictionaries_decode_for_ever_under_the_same_name() {
    let made = dictionary();
    check("dictionary-v1", made.encoded(), &made, |bytes| {
        Dictionary::decode(Bytes::copy_from_slice(bytes)).unwrap()
    });
    let name = "dictionary-v1-hash";
    check(name, &made.hash().0, &made.hash(), |bytes| {
        DictionaryHash(bytes.try_into().unwrap())
    });
}

#[test]
fn released_control_messages_decode_for_ever() {
    let (hello, downs) = control();
    let now = hello.encode().unwrap();
    check("hello-v1", &now, &hello, |bytes| {
        Hello::decode(bytes).unwrap()
    });
    let names = [
        "ack-v1",
        "hello-answer-v1",
        "ack-v1-pace",
        "hello-answer-v1-pace",
    ];
    for (name, down) in names.into_iter().zip(downs) {
        let now = down.encode().unwrap();
        check(name, &now, &down, |bytes| Down::decode(bytes).unwrap());
    }
}

#[test]
fn released_envelopes_decode_for_ever() {
    // Only decoded: another version of zstd may compress to other bytes.
    let (records, dictionary) = envelope_parts();
    let now = encode_envelope(&records, &[dictionary.encoded().clone()]).unwrap();
    let envelope = decode_envelope(&golden("envelope-v1", &now)).unwrap();
    let got: Vec<_> = envelope
        .records
        .into_iter()
        .map(|record| (record.key, record.body.unwrap()))
        .collect();
    assert_eq!(got, records);
    assert_eq!(envelope.dictionaries, [dictionary]);
}
