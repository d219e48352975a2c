//! What only hand-made protobuf shows: resolutions that the encoder does not write, and rules that a
//! well-behaved encoder cannot break.

use super::proto;
use super::*;
use crate::error::DecodeError;
use crate::limits::{MAX_RECORD_COLUMNS, MAX_RECORD_READINGS};
use prost::Message;

fn record(body: Option<proto::Body>) -> proto::Record {
    proto::Record {
        version: 1,
        boot: 1,
        mono_ns: 2,
        wall_ns: 1_000_000_000,
        body,
        unchanged: None,
    }
}

/// One column of one bool.
fn small() -> proto::Telemetry {
    let sealed = Record {
        stamp: RecordStamp {
            boot: BootId(1),
            mono: Instant::default(),
            wall: Timestamp(1_000_000_000),
        },
        body: Body::Telemetry(Telemetry {
            dictionaries: vec![DictionaryHash([1; 16])],
            columns: vec![Column {
                dictionary: 0,
                index: 0,
                filtered: 0,
                samples: vec![Sample {
                    time: Timestamp(1_005_000_000),
                    value: Some(Value::Bool(true)),
                    quality: Quality::Good,
                }],
            }],
            unchanged: Vec::new(),
        }),
    };
    let bytes = sealed.encode().unwrap().body;
    match proto::Record::decode(bytes).unwrap().body {
        Some(proto::Body::Telemetry(telemetry)) => telemetry,
        _ => panic!("not telemetry"),
    }
}

fn decode(change: impl FnOnce(&mut proto::Telemetry)) -> Result<Telemetry, DecodeError> {
    let mut telemetry = small();
    change(&mut telemetry);
    let message = record(Some(proto::Body::Telemetry(telemetry)));
    match Record::decode(&message.encode_to_vec())?.body {
        Body::Telemetry(telemetry) => Ok(telemetry),
        _ => panic!("not telemetry"),
    }
}

#[test]
fn a_finer_resolution_than_ours_is_read() {
    // Wall time 1 s and first tick 5 later, at 1 µs, 1 ns and 1 s.
    for (resolution, expected) in [
        (1_000, 1_000_005_000),
        (1, 1_000_000_005),
        (1_000_000_000, 6_000_000_000),
    ] {
        let telemetry = decode(|t| t.resolutions = vec![resolution]).unwrap();
        assert_eq!(telemetry.columns[0].samples[0].time, Timestamp(expected));
    }
    assert!(decode(|t| t.resolutions = vec![0]).is_err());
    assert!(decode(|t| t.resolutions = vec![1, 1]).is_err());
}

#[test]
fn versions_and_bodies_of_the_future_are_told_from_damage() {
    let mut newer = record(Some(proto::Body::Telemetry(small())));
    newer.version = 2;
    assert_eq!(
        Record::decode(&newer.encode_to_vec()),
        Err(DecodeError::UnknownVersion(2))
    );
    newer.version = 0;
    assert!(matches!(
        Record::decode(&newer.encode_to_vec()),
        Err(DecodeError::Malformed(_))
    ));
    assert!(matches!(
        Record::decode(&record(None).encode_to_vec()),
        Err(DecodeError::Malformed(_))
    ));
}

#[test]
fn unknown_fields_are_tolerated() {
    let mut bytes = record(Some(proto::Body::Telemetry(small()))).encode_to_vec();
    // Field 100, varint 7.
    bytes.extend_from_slice(&[0xa0, 0x06, 0x07]);
    assert!(Record::decode(&bytes).is_ok());
}

#[test]
fn columns_that_contradict_each_other_are_refused() {
    type Change = fn(&mut proto::Telemetry);
    let changes: [(&str, Change); 16] = [
        ("no dictionary", |t| t.dictionaries.clear()),
        ("half a hash", |t| t.dictionaries.truncate(8)),
        ("a column more", |t| t.columns += 1),
        ("a column less", |t| t.columns -= 1),
        ("points left over", |t| t.points.push(0)),
        ("absent though it has samples", |t| t.absent = vec![1]),
        ("padding of a bitmap", |t| t.absent = vec![0x80]),
        ("a run past the end", |t| t.filtered_present = vec![2, 9]),
        ("no such time vector", |t| t.time_places = vec![0x11]),
        ("an empty part of a time vector", |t| {
            t.time_places = vec![3];
            t.time_masks = vec![0];
        }),
        ("an empty time vector", |t| {
            t.time_lengths = vec![0];
            t.times.clear();
        }),
        ("unknown quality", |t| t.qualities = vec![0x7f]),
        ("unknown layout", |t| t.layouts = vec![0x13]),
        ("no layout", |t| t.layouts.clear()),
        ("a bit too many", |t| t.bits.push(0)),
        ("blobs nobody reads", |t| t.blobs.push(0)),
    ];
    for (what, change) in changes {
        assert!(decode(change).is_err(), "{what}");
    }
    assert!(decode(|_| {}).is_ok());
}

#[test]
fn few_bytes_cannot_ask_for_much_memory() {
    let many = u32::try_from(MAX_RECORD_COLUMNS).unwrap() + 1;
    let refused = decode(|t| t.columns = many);
    assert!(matches!(refused, Err(DecodeError::TooLarge { .. })));
    // One vector of the most readings, and two columns that use it.
    let refused = decode(|t| {
        t.columns = 2;
        t.points = vec![0, 1];
        t.time_lengths.clear();
        crate::pack::put_varint(&mut t.time_lengths, MAX_RECORD_READINGS as u64);
        t.times = vec![0; MAX_RECORD_READINGS / 4];
    });
    assert!(
        matches!(refused, Err(DecodeError::TooLarge { .. })),
        "{refused:?}"
    );
    let refused = decode(|t| t.time_lengths = vec![0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(matches!(refused, Err(DecodeError::TooLarge { .. })));
    let claim = proto::Claim {
        epoch: 1,
        first: 1,
        last: 1,
        reason: 1,
        points: 5000,
        ..proto::Claim::default()
    };
    let claims = vec![claim; 2];
    let message = record(Some(proto::Body::Claims(proto::Claims { claims })));
    assert!(matches!(
        Record::decode(&message.encode_to_vec()),
        Err(DecodeError::TooLarge { .. })
    ));
}

#[test]
fn alike_devices_are_packed_in_frames_and_a_few_columns_are_not() {
    let stride = |columns: u32| {
        let columns = (0..columns).map(|point| Column {
            dictionary: 0,
            index: point,
            filtered: 0,
            samples: vec![Sample {
                time: Timestamp::from_millis(0),
                value: Some(Value::F64(
                    f64::from((point % 100) * 977 + point / 100) / 10.0,
                )),
                quality: Quality::Good,
            }],
        });
        let columns: Vec<_> = columns.collect();
        let hash = [DictionaryHash([0; 16])];
        let columns: Vec<_> = columns.iter().map(Column::view).collect();
        let (packed, _) = telemetry::pack(Timestamp(0), &hash, &columns, Some).unwrap();
        packed.stride
    };
    assert_eq!(stride(2000), 100);
    assert_eq!(stride(50), 0);
}

/// The record as readers knew it before there were signs of life.
#[derive(Clone, PartialEq, Message)]
struct Before {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(fixed64, tag = "2")]
    boot: u64,
    #[prost(uint64, tag = "3")]
    mono_ns: u64,
    #[prost(sfixed64, tag = "4")]
    wall_ns: i64,
    #[prost(oneof = "proto::Body", tags = "5, 6, 7, 8")]
    body: Option<proto::Body>,
}

fn alive() -> Record {
    let sample = Sample {
        time: Timestamp(900_000_000),
        value: Some(Value::F64(20.5)),
        quality: Quality::Good,
    };
    Record {
        stamp: RecordStamp {
            boot: BootId(1),
            mono: Instant::default(),
            wall: Timestamp(1_000_000_000),
        },
        body: Body::Telemetry(Telemetry {
            dictionaries: vec![DictionaryHash([1; 16])],
            columns: vec![Column {
                dictionary: 0,
                index: 3,
                filtered: 10,
                samples: Vec::new(),
            }],
            unchanged: vec![Unchanged {
                dictionary: 0,
                index: 3,
                sample,
                confirmed: Timestamp(999_000_000),
            }],
        }),
    }
}

#[test]
fn a_reader_that_knows_no_signs_of_life_reads_all_the_rest() {
    let mut record = alive();
    let sealed = record.encode().unwrap();
    assert_eq!((sealed.summary.readings, sealed.summary.filtered), (0, 10));
    let before = Before::decode(sealed.body.clone()).unwrap();
    assert_eq!(before.version, 1);
    let Body::Telemetry(telemetry) = &mut record.body else {
        panic!("not telemetry");
    };
    telemetry.unchanged.clear();
    let without = record.encode().unwrap();
    assert_eq!(before.encode_to_vec(), without.body);
    assert_eq!(sealed.summary, without.summary);
    assert_eq!(
        Record::losses(&sealed.body).unwrap(),
        Record::losses(&without.body).unwrap(),
        "nothing of it is a reading"
    );
    assert!(sealed.body.len() - without.body.len() < 40);
}

#[test]
fn a_sign_of_life_that_is_none_is_refused() {
    let change = |change: fn(&mut proto::Telemetry)| {
        let mut message = proto::Record::decode(alive().encode().unwrap().body).unwrap();
        change(message.unchanged.as_mut().unwrap());
        Record::decode(&message.encode_to_vec()).is_err()
    };
    assert!(!change(|_| {}));
    assert!(change(|signs| signs.dictionaries = vec![1; 16]));
    // One sample, and three.
    assert!(change(|signs| signs.time_lengths = vec![1]));
    assert!(change(|signs| signs.filtered_present = vec![3]));
    assert!(change(|signs| signs.qualities = vec![0x81, 1]));
    assert!(change(|signs| signs.points = vec![1, 7, 0]));
    // Beside anything else it is not looked at.
    let mut message = record(Some(proto::Body::TimeMap(proto::TimeMap::default())));
    message.unchanged = Some(proto::Telemetry {
        columns: u32::MAX,
        ..proto::Telemetry::default()
    });
    assert!(Record::decode(&message.encode_to_vec()).is_ok());
}
