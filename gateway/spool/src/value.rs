//! How a record lies on disk: key and value as bytes, and back.
//!
//! ```text
//! key    ordinal u64 · epoch u64 · seq u64                      big-endian: sorted oldest first
//! value  format u8 · flags u8 · crc32 u32 · readings u64 · filtered u64 · first i64 · last i64 ·
//!        plain length u32 · dictionaries u16 · 16 bytes each · body (zstd where that is smaller)
//! flags  1 zstd · 2 claim · upper four bits: level of thinning
//! ```
//! The checksum covers lane, flags, key and everything behind it, so a value under a wrong key is damaged
//! too. A key names its record without any other file: a damaged value can still be claimed.
//! Decoding never panics and never allocates more than a record may hold.

use crate::record::Age;
use crate::thin::COARSEST;
use bytes::Bytes;
use protocols_model::{DictionaryHash, Epoch, Lane, RecordKey, Seq, Timestamp};
use protocols_wire::limits::MAX_RECORD_BYTES;
use protocols_wire::{RecordSummary, SealedRecord};

const FORMAT: u8 = 1;
const FLAG_ZSTD: u8 = 1;
const FLAG_CLAIM: u8 = 2;
/// The upper four bits: how often the record was thinned.
const LEVEL_SHIFT: u32 = 4;
/// format, flags, crc.
const CRC_END: usize = 6;
/// Everything before the dictionaries.
const HEAD: usize = CRC_END + 4 * 8 + 4 + 2;
const KEY: usize = 24;
const LEVEL: i32 = 1;

/// What a record takes beside its body and its dictionaries' names, for the accounting.
pub(crate) const OVERHEAD_BYTES: u64 = (HEAD + KEY) as u64;

/// A value, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) body: Bytes,
    pub(crate) summary: RecordSummary,
    pub(crate) dictionaries: Vec<DictionaryHash>,
    /// Whether the body is an entry of the loss ledger: never evicted.
    pub(crate) claim: bool,
    /// How far it was thinned ([`crate::thin::bucket`]); 0 as appended.
    pub(crate) level: u8,
}

/// What a value says without its body being unfolded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) summary: RecordSummary,
    pub(crate) dictionaries: Vec<DictionaryHash>,
    pub(crate) claim: bool,
    pub(crate) level: u8,
}

/// The key of a record in its lane's tree.
pub(crate) fn key(age: Age, seq: Seq) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY);
    key.extend_from_slice(&age.ordinal.to_be_bytes());
    key.extend_from_slice(&age.epoch.0.to_be_bytes());
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// Reads a key; `None` when it is none of ours.
pub(crate) fn parse_key(key: &[u8]) -> Option<(Age, Seq)> {
    let (ordinal, rest) = key.split_first_chunk::<8>()?;
    let (epoch, seq) = rest.split_first_chunk::<8>()?;
    let seq = Seq::from_be_bytes(<[u8; 8]>::try_from(seq).ok()?);
    let age = Age {
        ordinal: u64::from_be_bytes(*ordinal),
        epoch: Epoch(u64::from_be_bytes(*epoch)),
    };
    (seq > 0).then_some((age, seq))
}

fn checksum(lane: Lane, flags: u8, key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[lane.to_index(), flags]);
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

/// How a record would lie on disk, without a spool around: for counting what that costs.
#[must_use]
pub fn stored_form(
    record: RecordKey,
    sealed: &SealedRecord,
    dictionaries: &[DictionaryHash],
) -> Vec<u8> {
    let age = Age {
        ordinal: 1,
        epoch: record.epoch,
    };
    let value = Value {
        body: sealed.body.clone(),
        summary: sealed.summary,
        dictionaries: dictionaries.to_vec(),
        claim: false,
        level: 0,
    };
    encode(record.lane, &key(age, record.seq), &value)
}

/// The value of a record under `key` in `lane`.
pub(crate) fn encode(lane: Lane, key: &[u8], value: &Value) -> Vec<u8> {
    let packed = zstd::bulk::compress(&value.body, LEVEL)
        .ok()
        .filter(|packed| packed.len() < value.body.len());
    let payload: &[u8] = packed.as_deref().unwrap_or(&value.body);
    let mut flags = value.level.min(COARSEST) << LEVEL_SHIFT;
    if packed.is_some() {
        flags |= FLAG_ZSTD;
    }
    if value.claim {
        flags |= FLAG_CLAIM;
    }
    let names = u16::try_from(value.dictionaries.len()).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(HEAD + usize::from(names) * 16 + payload.len());
    out.extend_from_slice(&[FORMAT, flags, 0, 0, 0, 0]);
    out.extend_from_slice(&value.summary.readings.to_le_bytes());
    out.extend_from_slice(&value.summary.filtered.to_le_bytes());
    out.extend_from_slice(&value.summary.first.0.to_le_bytes());
    out.extend_from_slice(&value.summary.last.0.to_le_bytes());
    let plain = u32::try_from(value.body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&plain.to_le_bytes());
    out.extend_from_slice(&names.to_le_bytes());
    for name in value.dictionaries.iter().take(usize::from(names)) {
        out.extend_from_slice(&name.0);
    }
    out.extend_from_slice(payload);
    let crc = checksum(lane, flags, key, out.get(CRC_END..).unwrap_or_default());
    if let Some(place) = out.get_mut(2..CRC_END) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    out
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    const fn rest(self) -> &'a [u8] {
        self.0
    }
}

fn split<'a>(lane: Lane, key: &[u8], bytes: &'a [u8]) -> Option<(Head, u8, usize, &'a [u8])> {
    let mut reader = Reader(bytes);
    let [format, flags] = reader.take::<2>()?;
    let crc = u32::from_le_bytes(reader.take()?);
    if format != FORMAT || crc != checksum(lane, flags, key, reader.0) {
        return None;
    }
    let summary = RecordSummary {
        readings: u64::from_le_bytes(reader.take()?),
        filtered: u64::from_le_bytes(reader.take()?),
        first: Timestamp(i64::from_le_bytes(reader.take()?)),
        last: Timestamp(i64::from_le_bytes(reader.take()?)),
    };
    let plain = usize::try_from(u32::from_le_bytes(reader.take()?)).ok()?;
    let names = u16::from_le_bytes(reader.take()?);
    let mut dictionaries = Vec::with_capacity(usize::from(names).min(bytes.len() / 16));
    for _ in 0..names {
        dictionaries.push(DictionaryHash(reader.take()?));
    }
    let head = Head {
        summary,
        dictionaries,
        claim: flags & FLAG_CLAIM != 0,
        level: flags >> LEVEL_SHIFT,
    };
    Some((head, flags, plain, reader.rest()))
}

/// Reads a value without unfolding its body; `None` when it is damaged.
pub(crate) fn head(lane: Lane, key: &[u8], bytes: &[u8]) -> Option<Head> {
    split(lane, key, bytes).map(|(head, ..)| head)
}

/// Reads a value; `None` when it is damaged.
pub(crate) fn decode(lane: Lane, key: &[u8], bytes: &[u8]) -> Option<Value> {
    let (head, flags, plain, payload) = split(lane, key, bytes)?;
    let body = if flags & FLAG_ZSTD == 0 {
        Bytes::copy_from_slice(payload)
    } else if plain <= MAX_RECORD_BYTES {
        Bytes::from(zstd::bulk::decompress(payload, plain).ok()?)
    } else {
        return None;
    };
    (body.len() == plain).then_some(Value {
        body,
        summary: head.summary,
        dictionaries: head.dictionaries,
        claim: head.claim,
        level: head.level,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_comes_back_and_any_changed_bit_is_noticed(
            body in prop::collection::vec(prop_oneof![Just(7_u8), any::<u8>()], 0..600),
            numbers in any::<(u64, u64, i64, i64)>(),
            names in prop::collection::vec(any::<[u8; 16]>(), 0..3),
            claim in any::<bool>(),
            level in 0_u8..16,
            place in (any::<u64>(), any::<u64>(), 1_u64..),
            flip in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let (readings, filtered, first, last) = numbers;
            let value = Value {
                body: Bytes::from(body),
                summary: RecordSummary { readings, filtered, first: Timestamp(first), last: Timestamp(last) },
                dictionaries: names.into_iter().map(DictionaryHash).collect(),
                claim,
                level,
            };
            let age = Age { ordinal: place.0, epoch: Epoch(place.1) };
            let key = key(age, place.2);
            prop_assert_eq!(parse_key(&key), Some((age, place.2)));
            let mut bytes = encode(Lane::Telemetry, &key, &value);
            prop_assert_eq!(decode(Lane::Telemetry, &key, &bytes), Some(value));
            prop_assert_eq!(decode(Lane::Bulk, &key, &bytes), None);
            let at = flip.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(decode(Lane::Telemetry, &key, &bytes), None);
            prop_assert_eq!(head(Lane::Telemetry, &key, &bytes), None);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode(Lane::Alarm, b"key", &bytes));
            assert!(parse_key(&bytes).is_none_or(|(_, seq)| seq > 0));
        }
    }
}
