//! What the targets of the wire do with their bytes. Plain functions, so that the committed seeds also run
//! as ordinary tests of protocols-wire.
//!
//! Each target decodes, checks that what came out keeps the limits and the rules of the domain, and
//! that it survives being written again. Checksums are put right first where they would keep the
//! fuzzer out.

use bytes::Bytes;
use protocols_model::{Timestamp, Value};
use protocols_wire::limits::{
    MAX_DICTIONARY_BYTES, MAX_ENVELOPE_RECORDS, MAX_RECORD_BYTES, MAX_RECORD_CLAIMS,
    MAX_RECORD_COLUMNS, MAX_RECORD_READINGS,
};
use protocols_wire::{
    Body, Dictionary, Down, EncodeError, Hello, Record, Telemetry, Topic, decode_envelope,
    encode_envelope,
};

/// Target `record`: a record body.
pub fn record(data: &[u8]) {
    let Ok(record) = Record::decode(data) else {
        return;
    };
    let (summary, points) = Record::losses(data).expect("what decodes can be counted");
    match &record.body {
        Body::Telemetry(telemetry) => {
            let readings = check_telemetry(telemetry);
            assert_eq!(summary.readings, readings as u64);
            assert_eq!(points.len(), telemetry.columns.len());
        }
        Body::Claims(claims) => {
            let points: usize = claims.iter().map(|claim| claim.points.len()).sum();
            assert!(points <= MAX_RECORD_COLUMNS && claims.len() <= MAX_RECORD_CLAIMS);
        }
        Body::Event(_) | Body::TimeMap(_) => {}
    }
    match record.encode() {
        Ok(again) => {
            let back = Record::decode(&again.body).expect("own bytes are read");
            assert_eq!(
                exact(&back),
                exact(&record),
                "another record after a round trip"
            );
        }
        // Foreign bytes may be packed better than ours.
        Err(EncodeError::TooLarge { .. }) => {}
        Err(other) => panic!("what decodes cannot be written: {other}"),
    }
}

fn check_telemetry(telemetry: &Telemetry) -> usize {
    assert!(telemetry.columns.len() <= MAX_RECORD_COLUMNS);
    for column in &telemetry.columns {
        assert!((column.dictionary as usize) < telemetry.dictionaries.len());
        let mut kind = None;
        for sample in &column.samples {
            assert_eq!(sample.value.is_none(), sample.quality.is_bad());
            let Some(value) = &sample.value else { continue };
            assert_eq!(value.value_type(), *kind.get_or_insert(value.value_type()));
        }
    }
    let readings = telemetry
        .columns
        .iter()
        .map(|column| column.samples.len())
        .sum();
    assert!(readings <= MAX_RECORD_READINGS);
    readings
}

/// Debug text with the bits of floats, and times at the millisecond they travel at.
fn exact(record: &Record) -> String {
    let mut record = record.clone();
    let mut bits = String::new();
    if let Body::Telemetry(telemetry) = &mut record.body {
        let samples = telemetry.columns.iter_mut().flat_map(|c| &mut c.samples);
        for sample in samples {
            sample.time = Timestamp::from_millis(sample.time.as_millis());
            if let Some(Value::F64(float)) = sample.value {
                bits.push_str(&format!(" {:016x}", float.to_bits()));
            }
        }
    }
    format!("{record:?}{bits}")
}

/// Target `envelope`: a publish, as it is and with its checksums put right.
pub fn envelope(data: &[u8]) {
    open(data);
    let mut resealed = data.to_vec();
    reseal(&mut resealed);
    open(&resealed);
}

fn open(data: &[u8]) {
    match decode_envelope(data) {
        Ok(envelope) => {
            assert!(envelope.records.len() <= MAX_ENVELOPE_RECORDS);
            let whole: Vec<_> = envelope
                .records
                .into_iter()
                .filter_map(|record| Some((record.key, record.body.ok()?)))
                .collect();
            let one_lane = whole.windows(2).all(|pair| match pair {
                [a, b] => a.0.lane == b.0.lane,
                _ => true,
            });
            for (_, body) in &whole {
                assert!(body.len() <= MAX_RECORD_BYTES);
            }
            if one_lane && !whole.is_empty() {
                match encode_envelope(&whole, &[]) {
                    Ok(again) => {
                        let back = decode_envelope(&again).expect("own bytes are read");
                        assert_eq!(back.records.len(), whole.len());
                    }
                    Err(EncodeError::TooLarge { .. }) => {}
                    Err(other) => panic!("what decodes cannot be written: {other}"),
                }
            }
        }
        Err(error) => assert!(error.named.len() <= MAX_ENVELOPE_RECORDS),
    }
}

/// Puts right the checksums of the head, the record headers and the dictionary headers.
fn reseal(data: &mut [u8]) {
    let Some((head, rest)) = data.split_at_mut_checked(16) else {
        return;
    };
    let count = |at: usize| usize::from(head.get(at).copied().unwrap_or_default());
    let (records, dictionaries) = (count(4), count(6));
    seal(head);
    let Some((headers, rest)) = rest.split_at_mut_checked(records * 31) else {
        return;
    };
    headers.chunks_exact_mut(31).for_each(seal);
    rest.chunks_exact_mut(10).take(dictionaries).for_each(seal);
}

fn seal(part: &mut [u8]) {
    if let Some((content, crc)) = part.split_last_chunk_mut::<4>() {
        *crc = crc32fast::hash(content).to_le_bytes();
    }
}

/// Target `control`: the kind, then the protobuf of a control message; the frame is put around it.
pub fn control(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let mut framed = vec![1, kind % 4];
    framed.extend_from_slice(body);
    framed.extend_from_slice(&crc32fast::hash(&framed).to_le_bytes());
    if let Ok(hello) = Hello::decode(&framed) {
        match hello.encode() {
            Ok(again) => assert_eq!(Hello::decode(&again), Ok(hello)),
            Err(error) => assert!(matches!(error, EncodeError::TooLarge { .. })),
        }
    }
    if let Ok(down) = Down::decode(&framed) {
        match down.encode() {
            Ok(again) => assert_eq!(Down::decode(&again), Ok(down)),
            Err(error) => assert!(matches!(error, EncodeError::TooLarge { .. })),
        }
    }
}

/// Target `dictionary`: a canonical dictionary.
pub fn dictionary(data: &[u8]) {
    if let Ok(dictionary) = Dictionary::decode(Bytes::copy_from_slice(data)) {
        assert!(data.len() <= MAX_DICTIONARY_BYTES);
        let again = Dictionary::try_new(dictionary.entries().to_vec()).expect("it was one");
        assert_eq!(again.encoded().as_ref(), data, "not canonical");
        assert_eq!(again.hash(), dictionary.hash());
    }
}

/// Target `topic`: an MQTT topic or a NATS subject.
pub fn topic(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(topic) = Topic::parse(text) {
        assert!(topic.to_mqtt() == text || topic.to_nats() == text);
    }
}
