//! Damaged and hostile bytes: named where possible, bounded always, never a panic.

use crate::{any, golden};
use bytes::Bytes;
use proptest::prelude::*;
use protocols_model::RecordKey;
use protocols_wire::limits::{
    MAX_CONTROL_BYTES, MAX_ENVELOPE_BYTES, MAX_ENVELOPE_PLAIN_BYTES, MAX_ENVELOPE_RECORDS,
    MAX_RECORD_BYTES, MAX_RECORD_CLAIMS, MAX_RECORD_COLUMNS, MAX_RECORD_READINGS,
};
use protocols_wire::{
    Body, DecodeError, Dictionary, Down, EncodeError, Envelope, Hello, Record, Topic,
    decode_envelope, encode_envelope,
};

const HEAD: usize = 16;
const HEADER: usize = 31;

fn keys(records: &[(RecordKey, Bytes)]) -> Vec<RecordKey> {
    records.iter().map(|(key, _)| *key).collect()
}

/// Some records and one dictionary, packed.
fn packed() -> (Vec<(RecordKey, Bytes)>, Dictionary, Vec<u8>) {
    let (records, dictionary) = golden::envelope_parts();
    let bytes = encode_envelope(&records, &[dictionary.encoded().clone()]).unwrap();
    (records, dictionary, bytes.to_vec())
}

/// Corrects the checksum of the head after it was changed.
fn reseal(bytes: &mut [u8]) {
    let crc = crc32fast::hash(&bytes[..HEAD - 4]);
    bytes[HEAD - 4..HEAD].copy_from_slice(&crc.to_le_bytes());
}

/// Decodes with every decoder; whatever comes out must keep the limits.
fn decode_all(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        check_limits(&record);
        Record::losses(bytes).unwrap();
    }
    if let Ok(envelope) = decode_envelope(bytes) {
        check_envelope(&envelope);
    }
    drop(Hello::decode(bytes));
    drop(Down::decode(bytes));
    drop(Dictionary::decode(Bytes::copy_from_slice(bytes)));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Topic::parse(text));
    }
}

fn check_limits(record: &Record) {
    match &record.body {
        Body::Telemetry(telemetry) => {
            let readings: usize = telemetry.columns.iter().map(|c| c.samples.len()).sum();
            assert!(readings <= MAX_RECORD_READINGS);
            assert!(telemetry.columns.len() <= MAX_RECORD_COLUMNS);
            for column in &telemetry.columns {
                assert!((column.dictionary as usize) < telemetry.dictionaries.len());
                for sample in &column.samples {
                    assert_eq!(sample.value.is_none(), sample.quality.is_bad());
                }
            }
        }
        Body::Claims(claims) => {
            let points: usize = claims.iter().map(|c| c.points.len()).sum();
            assert!(points <= MAX_RECORD_COLUMNS && claims.len() <= MAX_RECORD_CLAIMS);
        }
        Body::Event(_) | Body::TimeMap(_) => {}
    }
}

fn check_envelope(envelope: &Envelope) {
    assert!(envelope.records.len() <= MAX_ENVELOPE_RECORDS);
    let bodies = envelope.records.iter().filter_map(|r| r.body.as_ref().ok());
    assert!(bodies.clone().all(|body| body.len() <= MAX_RECORD_BYTES));
}

#[test]
fn an_envelope_cut_anywhere_names_the_records_whose_headers_are_whole() {
    let (records, _, bytes) = packed();
    for cut in 0..bytes.len() {
        let error = decode_envelope(&bytes[..cut]).unwrap_err();
        let whole = (cut.saturating_sub(HEAD) / HEADER).min(records.len());
        assert_eq!(error.named, keys(&records)[..whole], "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_never_changes_a_body_or_invents_a_record() {
    let (records, dictionary, good) = packed();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let hit = (bit / 8).checked_sub(HEAD).map(|at| at / HEADER);
        let expected: Vec<_> = records
            .iter()
            .enumerate()
            .filter(|(place, _)| Some(*place) != hit)
            .map(|(_, record)| record.clone())
            .collect();
        match decode_envelope(&bytes) {
            Err(error) => assert_eq!(error.named, keys(&expected), "bit {bit}"),
            Ok(envelope) => {
                assert_eq!(envelope.records.len(), expected.len(), "bit {bit}");
                for (got, (key, body)) in envelope.records.iter().zip(&expected) {
                    assert_eq!(got.key, *key);
                    assert!(
                        got.body.as_ref().map_or(true, |got| got == body),
                        "bit {bit}"
                    );
                }
                assert!(envelope.dictionaries.iter().all(|d| *d == dictionary));
            }
        }
    }
}

#[test]
fn a_damaged_record_header_leaves_the_other_records_and_dictionaries_readable() {
    let (records, dictionary, mut bytes) = packed();
    bytes[HEAD + HEADER + 3] ^= 0x10;
    let envelope = decode_envelope(&bytes).unwrap();
    let left: Vec<_> = envelope
        .records
        .iter()
        .map(|r| (r.key, r.body.clone().unwrap()))
        .collect();
    let mut expected = records;
    expected.remove(1);
    assert_eq!(left, expected);
    assert_eq!(envelope.dictionaries, [dictionary]);
}

#[test]
fn a_damaged_body_is_named_and_the_others_are_read() {
    let (mut records, dictionary, good) = packed();
    let intact = records.clone();
    // The same envelope around another second body: headers of the one, bodies of the other.
    let mut body = records[1].1.to_vec();
    body[4] ^= 1;
    records[1].1 = body.into();
    let other = encode_envelope(&records, &[dictionary.encoded().clone()]).unwrap();
    let fixed = HEAD + HEADER * records.len() + 10;
    let mixed = [&good[..fixed], &other[fixed..]].concat();
    let envelope = decode_envelope(&mixed).unwrap();
    assert_eq!(envelope.records[1].key, records[1].0);
    assert_eq!(
        envelope.records[1].body,
        Err(DecodeError::Checksum("record"))
    );
    assert_eq!(envelope.records[0].body.as_ref(), Ok(&intact[0].1));
    assert_eq!(envelope.records[2].body.as_ref(), Ok(&intact[2].1));
}

#[test]
fn a_newer_version_is_told_as_such_with_the_records_named() {
    let (records, _, mut bytes) = packed();
    bytes[2] = 9;
    reseal(&mut bytes);
    // What follows the record headers may be anything then.
    let fixed = HEAD + HEADER * records.len();
    bytes[fixed..].fill(0xa5);
    let error = decode_envelope(&bytes).unwrap_err();
    assert_eq!(error.why, DecodeError::UnknownVersion(9));
    assert_eq!(error.named, keys(&records));
}

#[test]
fn a_zip_bomb_stops_at_the_announced_length() {
    let (records, _, good) = packed();
    let fixed = HEAD + HEADER * records.len() + 10;
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    assert!(bomb.len() < MAX_ENVELOPE_BYTES);
    let largest = u32::try_from(MAX_ENVELOPE_PLAIN_BYTES).unwrap();
    for announced in [64 << 20, largest + 1, largest, 1000, 0] {
        let mut bytes = [&good[..fixed], &bomb[..]].concat();
        bytes[8..12].copy_from_slice(&u32::to_le_bytes(announced));
        reseal(&mut bytes);
        let error = decode_envelope(&bytes).unwrap_err();
        assert_eq!(error.named, keys(&records), "announced {announced}");
        let too_large = matches!(error.why, DecodeError::TooLarge { .. });
        assert_eq!(too_large, announced > largest, "{}", error.why);
    }
}

#[test]
fn what_breaks_a_limit_is_refused_by_the_encoder_with_found_and_allowed() {
    let (records, _, _) = packed();
    let too_many = vec![records[0].clone(); MAX_ENVELOPE_RECORDS + 1];
    assert!(matches!(
        encode_envelope(&too_many, &[]),
        Err(EncodeError::TooLarge {
            found: 513,
            allowed: 512,
            ..
        })
    ));
    let long = (records[0].0, Bytes::from(vec![0; MAX_RECORD_BYTES + 1]));
    assert!(matches!(
        encode_envelope(&[long], &[]),
        Err(EncodeError::TooLarge { .. })
    ));
    assert!(matches!(
        encode_envelope(&[], &[]),
        Err(EncodeError::Invalid(_))
    ));
    let mut mixed = records.clone();
    mixed[0].0.lane = protocols_model::Lane::Bulk;
    assert!(matches!(
        encode_envelope(&mixed, &[]),
        Err(EncodeError::Invalid(_))
    ));
    // Noise does not compress: the sum is refused though every part is within its limit.
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(MAX_RECORD_BYTES)
    .collect();
    let noise = vec![(records[0].0, Bytes::from(noise)); 1];
    let shuffled: Vec<_> = (0..40)
        .map(|turn| {
            let mut body = noise[0].1.to_vec();
            body.iter_mut().enumerate().for_each(|(at, byte)| {
                *byte ^= (at * turn * 7 + (at * at * turn) / 31) as u8;
            });
            (noise[0].0, Bytes::from(body))
        })
        .collect();
    assert!(matches!(
        encode_envelope(&shuffled, &[]),
        Err(EncodeError::TooLarge {
            what: "envelope in bytes",
            ..
        })
    ));
}

#[test]
fn a_control_message_with_any_flipped_bit_or_cut_is_refused() {
    let (hello, downs) = golden::control();
    let good = hello.encode().unwrap();
    for_each_damage(&good, |bytes| Hello::decode(bytes).is_err());
    for down in downs {
        let good = down.encode().unwrap();
        for_each_damage(&good, |bytes| Down::decode(bytes).is_err());
    }
    let long = vec![1; MAX_CONTROL_BYTES + 1];
    assert!(matches!(
        Hello::decode(&long),
        Err(DecodeError::TooLarge { .. })
    ));
}

fn for_each_damage(good: &[u8], refused: impl Fn(&[u8]) -> bool) {
    for cut in 0..good.len() {
        assert!(refused(&good[..cut]), "cut at {cut}");
    }
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(&bytes), "bit {bit}");
    }
}

#[test]
fn a_control_message_of_a_newer_version_is_told_as_such() {
    let (hello, downs) = golden::control();
    for good in [hello.encode().unwrap(), downs[0].encode().unwrap()] {
        let mut bytes = good.to_vec();
        bytes[0] = 2;
        let end = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Hello::decode(&bytes), Err(DecodeError::UnknownVersion(2)));
        assert_eq!(Down::decode(&bytes), Err(DecodeError::UnknownVersion(2)));
    }
}

#[test]
fn a_record_cut_anywhere_is_refused_or_keeps_the_limits() {
    for (name, record) in golden::records() {
        let good = record.encode().unwrap().body;
        for cut in 0..good.len() {
            decode_all(&good[..cut]);
        }
        // Every column is needed: what lacks its end does not pass as the whole.
        let cut = Record::decode(&good[..good.len() - 1]);
        assert_ne!(cut.ok(), Some(record), "{name}");
    }
}

#[test]
fn a_dictionary_with_a_flipped_bit_is_refused_or_another_one() {
    let (_, dictionary, _) = packed();
    let good = dictionary.encoded();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Dictionary::decode(bytes.into()) {
            assert_ne!(other.hash(), dictionary.hash());
        }
    }
}

/// Some cuts, overwrites and insertions.
fn mutations() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>(), 0u8..4), 1..6)
}

fn mutate(bytes: &mut Vec<u8>, mutations: &[(usize, u8, u8)]) {
    for &(place, byte, what) in mutations {
        if bytes.is_empty() {
            return;
        }
        let place = place % bytes.len();
        match what {
            0 => bytes[place] = byte,
            1 => bytes[place] ^= 1 << (byte % 8),
            2 => bytes.insert(place, byte),
            _ => {
                bytes.remove(place);
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode_all(&bytes);
        // And behind a right frame, where a control message is really read.
        for kind in 0..4 {
            let mut framed = vec![1, kind];
            framed.extend_from_slice(&bytes);
            framed.extend_from_slice(&crc32fast::hash(&framed).to_le_bytes());
            decode_all(&framed);
        }
    }

    #[test]
    fn mutated_records_keep_the_limits(record in any::record(), mutations in mutations()) {
        let mut bytes = record.encode().unwrap().body.to_vec();
        mutate(&mut bytes, &mutations);
        decode_all(&bytes);
    }

    #[test]
    fn mutated_control_messages_behind_a_right_checksum_never_panic(
        hello in any::hello(), down in any::down(), mutations in mutations(),
    ) {
        for good in [hello.encode().unwrap(), down.encode().unwrap()] {
            let mut bytes = good[2..good.len() - 4].to_vec();
            mutate(&mut bytes, &mutations);
            let mut framed = good[..2].to_vec();
            framed.extend_from_slice(&bytes);
            framed.extend_from_slice(&crc32fast::hash(&framed).to_le_bytes());
            decode_all(&framed);
        }
    }

    #[test]
    fn mutated_dictionaries_and_envelopes_never_panic(
        entries in any::descriptors(), records in any::keys_and_bodies(), mutations in mutations(),
    ) {
        let dictionary = Dictionary::try_new(entries).unwrap();
        let mut bytes = dictionary.encoded().to_vec();
        mutate(&mut bytes, &mutations);
        decode_all(&bytes);
        let mut bytes = encode_envelope(&records, &[dictionary.encoded().clone()]).unwrap().to_vec();
        mutate(&mut bytes, &mutations);
        decode_all(&bytes);
    }
}
