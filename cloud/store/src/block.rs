//! Blocks: the samples of one series over at most an hour, packed into one row.
//!
//! ```text
//! version | value type | zstd( n, times as delta of delta, qualities as runs,
//!                              sources as runs, values by type ) | crc32
//! ```
//!
//! Every sample keeps the record that brought it: the export, and so the oracle, can name it for
//! ever. Times are kept as sent; a correction is the row's business. Decoding is bounded and never
//! panics; a damaged block is an error that names what is wrong.

mod codec;

use protocols_model::{Quality, RecordKey, Timestamp, Value, ValueType};

pub(crate) use codec::{decode, encode};

/// Most samples in a block.
pub(crate) const MAX_BLOCK_SAMPLES: usize = 3_600;

/// Most bytes of text or byte values in a block: keeps a row readable in one go.
const MAX_BLOCK_VALUE_BYTES: usize = 256 * 1024;

/// One hour, the longest span of a block, in nanoseconds. Blocks begin and end within one hour of
/// the clock.
pub(crate) const HOUR_NS: i64 = 3_600_000_000_000;

/// One sample of a block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BlockSample {
    /// When it was taken, as sent.
    pub(crate) time: Timestamp,
    /// The value; `None` exactly when the quality is bad.
    pub(crate) value: Option<Value>,
    /// How far it can be trusted.
    pub(crate) quality: Quality,
    /// The record that brought it.
    pub(crate) record: RecordKey,
}

/// Brings samples into the order of blocks: by time, then by record, then as they were taken.
pub(crate) fn sort(samples: &mut [BlockSample]) {
    samples.sort_by_key(|sample| (sample.time, sample.record));
}

/// Cuts sorted samples into pieces that fit a block each.
pub(crate) fn cut(mut samples: Vec<BlockSample>) -> Vec<Vec<BlockSample>> {
    let mut pieces = Vec::new();
    while !samples.is_empty() {
        let mut bytes = 0usize;
        let fitting = samples
            .iter()
            .take(MAX_BLOCK_SAMPLES)
            .take_while(|sample| {
                bytes += value_bytes(sample.value.as_ref());
                bytes <= MAX_BLOCK_VALUE_BYTES
            })
            .count()
            .max(1);
        let rest = samples.split_off(fitting);
        pieces.push(std::mem::replace(&mut samples, rest));
    }
    pieces
}

fn value_bytes(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Text(text)) => text.len(),
        Some(Value::Bytes(bytes)) => bytes.len(),
        _ => 0,
    }
}

/// The type of the values, where there is one.
pub(crate) fn value_type(samples: &[BlockSample]) -> ValueType {
    samples
        .iter()
        .find_map(|sample| sample.value.as_ref().map(Value::value_type))
        .unwrap_or(ValueType::Bool)
}
