//! What was written reads back, bit by bit.

use crate::any;
use bytes::Bytes;
use proptest::prelude::*;
use protocols_model::{
    Claim, DictionaryHash, Epoch, Lane, LossReason, PointLoss, Quality, Reason, SeqRange,
    Timestamp, Value,
};
use protocols_wire::limits::{MAX_DICTIONARY_BYTES, MAX_RECORD_BYTES};
use protocols_wire::{
    Body, Column, ColumnHead, Dictionary, Down, EncodeError, EpochState, Event, EventKind, Hello,
    HelloAnswer, Record, RecordStamp, Sample, SealedRecord, Telemetry, decode_envelope,
    encode_envelope,
};

/// Debug text, with floats told apart by their bits (NaN, -0.0).
pub(crate) fn exact(record: &Record) -> String {
    let mut text = format!("{record:?}");
    if let Body::Telemetry(telemetry) = &record.body {
        let signs = telemetry.unchanged.iter().map(|sign| &sign.sample);
        for sample in readings(telemetry).chain(signs) {
            if let Some(Value::F64(float)) = sample.value {
                text.push_str(&format!(" {:016x}", float.to_bits()));
            }
        }
    }
    text
}

fn readings(telemetry: &Telemetry) -> impl Iterator<Item = &Sample> {
    telemetry.columns.iter().flat_map(|column| &column.samples)
}

/// Seals columns that are given one by one.
fn sealed_one_by_one(stamp: RecordStamp, telemetry: &Telemetry) -> Vec<SealedRecord> {
    let mut columns = telemetry.columns.iter();
    let mut next = |room: &mut Vec<Sample>| {
        let column = columns.next()?;
        room.extend_from_slice(&column.samples);
        Some(ColumnHead {
            dictionary: column.dictionary,
            index: column.index,
            filtered: column.filtered,
        })
    };
    let (dictionaries, unchanged) = (&telemetry.dictionaries, &telemetry.unchanged);
    Record::seal_columns(stamp, dictionaries, unchanged, &mut next).unwrap()
}

/// The columns of several records as one telemetry; parts of one column joined again.
fn joined(records: &[SealedRecord]) -> Vec<(DictionaryHash, Column)> {
    let mut all = Vec::<(_, Column)>::new();
    for record in records {
        let Body::Telemetry(part) = Record::decode(&record.body).unwrap().body else {
            panic!("not telemetry");
        };
        for column in part.columns {
            all.push((part.dictionaries[column.dictionary as usize], column));
        }
    }
    all
}

proptest! {
    #[test]
    fn a_record_comes_back_bit_by_bit(record in any::record()) {
        let sealed = record.encode().unwrap();
        let back = Record::decode(&sealed.body).unwrap();
        prop_assert_eq!(exact(&back), exact(&record));
        prop_assert_eq!(back.encode().unwrap(), sealed.clone());
        let (summary, points) = Record::losses(&sealed.body).unwrap();
        prop_assert_eq!(summary, sealed.summary);
        if let Body::Telemetry(telemetry) = &record.body {
            let expected: Vec<_> = telemetry.columns.iter().map(|column| PointLoss {
                dictionary: telemetry.dictionaries[column.dictionary as usize],
                index: column.index,
                readings: column.samples.len() as u64,
                filtered: column.filtered,
            }).collect();
            prop_assert_eq!(points, expected);
            prop_assert_eq!(summary.readings as usize, readings(telemetry).count());
            prop_assert_eq!(summary.filtered, telemetry.columns.iter().map(|c| c.filtered).sum::<u64>());
            if let Some(oldest) = readings(telemetry).map(|s| s.time).min() {
                prop_assert_eq!(summary.first, oldest);
                prop_assert_eq!(summary.last, readings(telemetry).map(|s| s.time).max().unwrap());
            }
        }
    }

    #[test]
    fn a_sign_of_life_goes_with_the_column_of_its_point_and_counts_as_nothing(
        stamp in any::stamp(),
        signs in prop::collection::vec(any::unchanged(2), 0..900),
        quiet in 0u32..900,
    ) {
        // One a point, each with a column as the filters leave it; some columns have none.
        let mut unchanged: Vec<_> = (0u32..).zip(signs).map(|(index, mut sign)| {
            sign.index = index;
            sign
        }).collect();
        unchanged.sort_by_key(|sign| (sign.dictionary, sign.index));
        let column = |dictionary, index| Column { dictionary, index, filtered: 3, samples: Vec::new() };
        let mut columns: Vec<_> = unchanged.iter().map(|sign| column(sign.dictionary, sign.index)).collect();
        columns.extend((0..quiet).map(|index| column(1, 1_000_000 + index)));
        let dictionaries = vec![DictionaryHash([7; 16]), DictionaryHash([8; 16])];
        let telemetry = Telemetry { dictionaries: dictionaries.clone(), columns, unchanged };
        let mut back = Vec::new();
        let mut filtered = 0;
        for record in Record::seal_telemetry(stamp, &telemetry).unwrap() {
            prop_assert!(record.body.len() <= MAX_RECORD_BYTES);
            prop_assert_eq!(record.summary.readings, 0);
            filtered += record.summary.filtered;
            let Body::Telemetry(part) = Record::decode(&record.body).unwrap().body else { panic!() };
            let known: std::collections::BTreeSet<_> = part.columns.iter().map(|c| (c.dictionary, c.index)).collect();
            for sign in part.unchanged {
                let hash = part.dictionaries[sign.dictionary as usize];
                prop_assert!(known.contains(&(sign.dictionary, sign.index)));
                back.push((hash, sign.index, format!("{:?}", (sign.sample, sign.confirmed))));
            }
        }
        let sent: Vec<_> = telemetry.unchanged.iter().map(|sign| {
            (dictionaries[sign.dictionary as usize], sign.index, format!("{:?}", (&sign.sample, sign.confirmed)))
        }).collect();
        prop_assert_eq!(back, sent);
        prop_assert_eq!(filtered, 3 * telemetry.columns.len() as u64);
    }

    #[test]
    fn times_travel_rounded_down_to_milliseconds(ns in any::<i64>()) {
        let sample = Sample { time: Timestamp(ns), value: Some(Value::Bool(true)), quality: Default::default() };
        let column = Column { dictionary: 0, index: 0, filtered: 0, samples: vec![sample] };
        let dictionaries = vec![DictionaryHash([7; 16])];
        let record = Record { stamp: stamp(), body: Body::Telemetry(Telemetry { dictionaries, columns: vec![column], unchanged: Vec::new() }) };
        let Body::Telemetry(back) = Record::decode(&record.encode().unwrap().body).unwrap().body else { panic!() };
        prop_assert_eq!(back.columns[0].samples[0].time, Timestamp::from_millis(Timestamp(ns).as_millis()));
    }

    #[test]
    fn sealing_keeps_every_sample_and_count_in_order(
        stamp in any::stamp(),
        telemetry in any::telemetry(),
        repeat in 1usize..200,
        long in prop::sample::select(vec![1usize, 1, 1, 40, 900]),
    ) {
        let mut telemetry = telemetry;
        telemetry.columns = telemetry.columns.iter().cycle().take(telemetry.columns.len() * repeat).cloned().collect();
        // Some columns alone too large for a record.
        if let Some(column) = telemetry.columns.first_mut() {
            column.samples = column.samples.iter().cycle().take(column.samples.len() * long).cloned().collect();
        }
        let mut sealed = Record::seal_telemetry(stamp, telemetry.clone()).unwrap();
        prop_assert!(sealed.iter().all(|record| record.body.len() <= MAX_RECORD_BYTES));
        prop_assert_eq!(telemetry.columns.is_empty(), sealed.is_empty());
        prop_assert_eq!(&sealed_one_by_one(stamp, &telemetry), &sealed);
        let got = joined(&sealed);
        let mut got = got.into_iter().peekable();
        for column in &telemetry.columns {
            let hash = telemetry.dictionaries[column.dictionary as usize];
            let (dictionary, mut part) = got.next().expect("a column is missing");
            prop_assert_eq!(dictionary, hash);
            prop_assert_eq!(part.index, column.index);
            prop_assert_eq!(part.filtered, column.filtered);
            while part.samples.len() < column.samples.len() {
                let (dictionary, more) = got.next().expect("a part is missing");
                prop_assert_eq!((dictionary, more.index, more.filtered), (hash, column.index, 0));
                prop_assert!(!more.samples.is_empty());
                part.samples.extend(more.samples);
            }
            prop_assert_eq!(format!("{:?}", part.samples), format!("{:?}", column.samples));
        }
        prop_assert!(got.next().is_none());
        let total: u64 = sealed.iter().map(|record| record.summary.readings).sum();
        prop_assert_eq!(total as usize, readings(&telemetry).count());
        for record in sealed.drain(..) {
            let (summary, _) = Record::losses(&record.body).unwrap();
            prop_assert_eq!(summary, record.summary);
        }
    }

    #[test]
    fn claims_of_any_number_fit_records(stamp in any::stamp(), claims in prop::collection::vec(any::claim(), 0..300)) {
        let sealed = Record::seal_claims(stamp, claims.clone()).unwrap();
        let mut back = Vec::new();
        for record in &sealed {
            prop_assert!(record.body.len() <= MAX_RECORD_BYTES);
            let Body::Claims(some) = Record::decode(&record.body).unwrap().body else { panic!() };
            back.extend(some);
        }
        prop_assert_eq!(back, claims);
    }

    #[test]
    fn a_dictionary_comes_back_under_the_same_name(entries in any::descriptors()) {
        let made = Dictionary::try_new(entries.clone()).unwrap();
        let back = Dictionary::decode(made.encoded().clone()).unwrap();
        prop_assert_eq!(&back, &made);
        prop_assert_eq!(back.entries(), entries.as_slice());
    }

    #[test]
    fn chunks_of_a_long_list_are_the_list_in_order(entries in any::descriptors(), repeat in 1usize..40) {
        let list: Vec<_> = entries.iter().cycle().take(entries.len() * repeat).cloned().collect();
        let chunks = Dictionary::chunk(list.clone()).unwrap();
        prop_assert!(chunks.iter().all(|chunk| chunk.encoded().len() <= MAX_DICTIONARY_BYTES));
        prop_assert_eq!(chunks.iter().flat_map(Dictionary::entries).cloned().collect::<Vec<_>>(), list);
        for pair in chunks.windows(2) {
            let mut longer = pair[0].entries().to_vec();
            longer.push(pair[1].entries()[0].clone());
            prop_assert!(Dictionary::try_new(longer).is_err(), "a chunk was cut too early");
        }
    }

    #[test]
    fn an_envelope_gives_back_what_was_put_in(records in any::keys_and_bodies(), entries in any::descriptors()) {
        let dictionary = Dictionary::try_new(entries).unwrap();
        let attached = [dictionary.encoded().clone(), dictionary.encoded().clone()];
        let bytes = encode_envelope(&records, &attached).unwrap();
        let back = decode_envelope(&bytes).unwrap();
        let got: Vec<(_, Bytes)> = back.records.into_iter().map(|r| (r.key, r.body.unwrap())).collect();
        prop_assert_eq!(got, records);
        prop_assert_eq!(back.dictionaries, vec![dictionary.clone(), dictionary]);
    }

    #[test]
    fn a_hello_comes_back(hello in any::hello()) {
        prop_assert_eq!(Hello::decode(&hello.encode().unwrap()).unwrap(), hello);
    }

    #[test]
    fn a_message_down_comes_back(down in any::down()) {
        prop_assert_eq!(Down::decode(&down.encode().unwrap()).unwrap(), down);
    }
}

#[test]
fn an_answer_that_would_be_too_long_says_less_instead_of_nothing() {
    let many = || (1..200_u64).filter_map(|n| SeqRange::one(n * 1_000_000_007));
    for (states, ranges, names) in [
        (256, 64, 0),
        (5_000, 1, 0),
        (20_000, 64, 3_000),
        (0, 0, 9_000),
    ] {
        let state = |n: u64| EpochState {
            epoch: Epoch(n),
            lane: Lane::Event,
            settled: many().take(ranges).collect(),
            closed: false,
        };
        let answer = HelloAnswer {
            nonce: 9,
            generation: 7,
            newest_version: 1,
            epochs: (0..states).map(state).collect(),
            missing_dictionaries: vec![DictionaryHash([3; 16]); names],
            stream_pending: 1,
            pace: None,
        };
        let bytes = Down::HelloAnswer(answer.clone()).encode().unwrap();
        let Down::HelloAnswer(cut) = Down::decode(&bytes).unwrap() else {
            panic!("not an answer");
        };
        assert_eq!((cut.nonce, cut.generation, cut.stream_pending), (9, 7, 1));
        for (said, whole) in cut.epochs.iter().zip(&answer.epochs) {
            assert_eq!(said.epoch, whole.epoch);
            assert!(
                said.settled
                    .ranges()
                    .iter()
                    .all(|r| whole.settled.contains_range(*r))
            );
            assert_eq!(said.settled.is_empty(), whole.settled.is_empty());
        }
        assert!(
            states > 256 || cut.epochs.len() as u64 == states,
            "every state fits"
        );
        assert!(states == 0 || !cut.epochs.is_empty() || names > 0);
    }
}

fn stamp() -> RecordStamp {
    RecordStamp {
        boot: protocols_model::BootId(1),
        mono: protocols_model::Instant::default(),
        wall: Timestamp::from_millis(1_700_000_000_123),
    }
}

#[test]
fn a_claim_of_more_points_than_fit_keeps_its_totals_and_loses_the_last_points() {
    // Scattered points with large counts: some six bytes each.
    let points = (0..8_000u32).map(|at| PointLoss {
        dictionary: DictionaryHash([9; 16]),
        index: at.wrapping_mul(2_654_435_761),
        readings: 100_000 + u64::from(at),
        filtered: u64::from(at % 7) << 20,
    });
    let claim = Claim {
        epoch: Epoch(1),
        lane: Lane::Telemetry,
        range: SeqRange::new(1, 9).unwrap(),
        reason: LossReason::Evicted,
        from: Timestamp(1),
        to: Timestamp(2),
        readings: Some(1 << 40),
        at_most: None,
        points: points.collect(),
    };
    let record = Record {
        stamp: stamp(),
        body: Body::Claims(vec![claim.clone()]),
    };
    assert!(matches!(record.encode(), Err(EncodeError::TooLarge { .. })));
    let sealed = Record::seal_claims(stamp(), vec![claim.clone()]).unwrap();
    assert_eq!(sealed.len(), 1, "a claim is never said twice");
    let Body::Claims(back) = Record::decode(&sealed[0].body).unwrap().body else {
        panic!("not claims");
    };
    assert_eq!(back[0].readings, claim.readings);
    assert!(back[0].points.len() > 300);
    assert_eq!(back[0].points, claim.points[..back[0].points.len()]);
}

#[test]
fn what_breaks_a_rule_of_the_domain_is_not_written() {
    let event = |subject: usize, text: usize| Record {
        stamp: stamp(),
        body: Body::Event(Event {
            time: Timestamp(0),
            kind: EventKind::Spool,
            subject: "s".repeat(subject),
            text: "t".repeat(text),
            alarm: None,
        }),
    };
    assert!(event(256, 1024).encode().is_ok());
    for (subject, text) in [(257, 0), (0, 1025)] {
        let refused = event(subject, text).encode();
        assert!(matches!(refused, Err(EncodeError::TooLarge { .. })));
    }
    let column = |dictionary, samples| Record {
        stamp: stamp(),
        body: Body::Telemetry(Telemetry {
            dictionaries: vec![DictionaryHash([7; 16])],
            columns: vec![Column {
                dictionary,
                index: 0,
                filtered: 0,
                samples,
            }],
            unchanged: Vec::new(),
        }),
    };
    let sample = |value, quality| Sample {
        time: Timestamp(0),
        value,
        quality,
    };
    let good = |value| sample(Some(value), Quality::Good);
    let text = |length: usize| good(Value::Text("x".repeat(length).into()));
    assert!(column(0, vec![text(4096)]).encode().is_ok());
    for (what, record) in [
        ("value over 4 KiB", column(0, vec![text(4097)])),
        (
            "mixed types",
            column(0, vec![good(Value::F64(1.0)), good(Value::I64(1))]),
        ),
        (
            "mixed types",
            column(0, vec![good(Value::I64(1)), good(Value::U64(1))]),
        ),
        (
            "mixed types",
            column(0, vec![good(Value::U64(1)), good(Value::Bool(true))]),
        ),
        (
            "mixed types",
            column(0, vec![good(Value::Bool(true)), text(1)]),
        ),
        (
            "mixed types",
            column(0, vec![text(1), good(Value::F64(1.0))]),
        ),
        ("unlisted dictionary", column(1, vec![text(1)])),
        (
            "good without value",
            column(0, vec![sample(None, Quality::Good)]),
        ),
        (
            "bad with value",
            column(
                0,
                vec![sample(
                    Some(Value::Bool(true)),
                    Quality::Bad(Reason::Timeout),
                )],
            ),
        ),
    ] {
        assert!(record.encode().is_err(), "{what}");
        let Body::Telemetry(telemetry) = record.body else {
            panic!()
        };
        assert!(
            Record::seal_telemetry(stamp(), telemetry).is_err(),
            "{what}"
        );
    }
}

#[test]
fn ten_thousand_columns_of_text_and_numbers_seal_into_full_records() {
    let columns = (0..10_000u32).map(|index| {
        let value = if index % 5 == 0 {
            Value::Text("y".repeat((index as usize * 37) % 4096).into())
        } else {
            Value::U64(index.into())
        };
        let time = Timestamp::from_millis(5);
        let quality = Quality::Good;
        Column {
            dictionary: index / 5000,
            index,
            filtered: 1,
            samples: vec![Sample {
                time,
                value: Some(value),
                quality,
            }],
        }
    });
    let telemetry = Telemetry {
        dictionaries: vec![DictionaryHash([1; 16]), DictionaryHash([2; 16])],
        columns: columns.collect(),
        unchanged: Vec::new(),
    };
    let sealed = Record::seal_telemetry(stamp(), telemetry.clone()).unwrap();
    assert_eq!(sealed_one_by_one(stamp(), &telemetry), sealed);
    let back: Vec<_> = joined(&sealed)
        .into_iter()
        .map(|(_, column)| column.samples)
        .collect();
    let given: Vec<_> = telemetry
        .columns
        .into_iter()
        .map(|column| column.samples)
        .collect();
    assert_eq!(back, given);
    let bytes: usize = sealed.iter().map(|record| record.body.len()).sum();
    assert!(
        bytes / sealed.len() > MAX_RECORD_BYTES / 3,
        "records are too empty"
    );
}
