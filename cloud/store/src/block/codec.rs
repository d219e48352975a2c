//! Bytes of a block. The format is on disks: a change is a new version beside the old.

use super::{BlockSample, value_type};
use protocols_model::{Epoch, Lane, Quality, RecordKey, Timestamp, Value, ValueType};
use std::sync::Arc;

const VERSION: u8 = 1;
/// zstd level: blocks are written once and read often.
const LEVEL: i32 = 3;
/// Most samples that a decoder believes; above what any block holds.
const MAX_SAMPLES: usize = 1 << 16;
/// Most bytes that a block may unfold to.
const MAX_PLAIN_BYTES: usize = 1 << 25;
/// Powers of ten tried as the grid of decimal values.
const GRIDS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Integers beyond this are not exact as floating point.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Values that sit on no decimal grid.
const RAW: u8 = 255;

/// Why a block does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BlockError(pub(crate) &'static str);

/// Packs sorted samples of one series.
pub(crate) fn encode(samples: &[BlockSample]) -> Result<Vec<u8>, BlockError> {
    let kind = value_type(samples);
    let mut plain = Vec::with_capacity(samples.len() * 6 + 64);
    put(&mut plain, samples.len() as u64);
    put_times(&mut plain, samples);
    put_qualities(&mut plain, samples);
    put_sources(&mut plain, samples);
    put_values(&mut plain, samples, kind)?;
    let packed = zstd::bulk::compress(&plain, LEVEL).map_err(|_| BlockError("zstd failed"))?;
    let mut out = Vec::with_capacity(packed.len() + 16);
    out.extend([VERSION, kind.to_index()]);
    put(&mut out, plain.len() as u64);
    out.extend(packed);
    let crc = crc32fast::hash(&out);
    out.extend(crc.to_le_bytes());
    Ok(out)
}

/// Unpacks a block.
pub(crate) fn decode(block: &[u8]) -> Result<Vec<BlockSample>, BlockError> {
    let (body, crc) = block
        .split_last_chunk::<4>()
        .ok_or(BlockError("block is cut short"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(BlockError("checksum of a block does not match"));
    }
    let mut head = Input(body);
    if head.byte()? != VERSION {
        return Err(BlockError("block version is unknown"));
    }
    let kind = ValueType::from_index(head.byte()?).ok_or(BlockError("value type is unknown"))?;
    let length = head.length(MAX_PLAIN_BYTES)?;
    let plain = zstd::bulk::decompress(head.0, length)
        .map_err(|_| BlockError("compressed part is damaged"))?;
    let mut input = Input(&plain);
    let count = input.length(MAX_SAMPLES)?;
    let times = take_times(&mut input, count)?;
    let qualities = take_qualities(&mut input, count)?;
    let sources = take_sources(&mut input, count)?;
    let mut values = take_values(&mut input, &qualities, kind)?.into_iter();
    let rows = times.into_iter().zip(qualities).zip(sources);
    rows.map(|((time, (quality, present)), record)| {
        let value = present.then(|| values.next()).flatten();
        Ok(BlockSample {
            time: Timestamp(time),
            value,
            quality,
            record,
        })
    })
    .collect()
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 0x80")]
    out.push(value as u8);
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Times as delta of delta in the coarsest unit that keeps them exact.
fn put_times(out: &mut Vec<u8>, samples: &[BlockSample]) {
    let fits = |unit: i64| samples.iter().all(|sample| sample.time.0 % unit == 0);
    let unit = [1_000_000_000, 1_000_000, 1_000]
        .into_iter()
        .find(|&unit| fits(unit))
        .unwrap_or(1);
    put(out, unit.cast_unsigned());
    let (mut last, mut step) = (0i64, 0i64);
    for sample in samples {
        let time = sample.time.0 / unit;
        let delta = time.wrapping_sub(last);
        put(out, zigzag(delta.wrapping_sub(step)));
        (last, step) = (time, delta);
    }
}

fn take_times(input: &mut Input<'_>, count: usize) -> Result<Vec<i64>, BlockError> {
    let unit = input.varint()?.cast_signed();
    let (mut last, mut step) = (0i64, 0i64);
    (0..count)
        .map(|_| {
            step = step.wrapping_add(unzigzag(input.varint()?));
            last = last.wrapping_add(step);
            Ok(last.wrapping_mul(unit))
        })
        .collect()
}

/// Quality and whether there is a value, as runs.
fn put_qualities(out: &mut Vec<u8>, samples: &[BlockSample]) {
    let code = |sample: &BlockSample| {
        u64::from(sample.quality.to_code()) | u64::from(sample.value.is_some()) << 8
    };
    for run in samples.chunk_by(|a, b| code(a) == code(b)) {
        put(out, run.first().map_or(0, code));
        put(out, run.len() as u64);
    }
}

fn take_qualities(input: &mut Input<'_>, count: usize) -> Result<Vec<(Quality, bool)>, BlockError> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let code = input.varint()?;
        let quality = u8::try_from(code & 0xff)
            .ok()
            .and_then(Quality::from_code)
            .ok_or(BlockError("quality is unknown"))?;
        let run = input.length(count - all.len())?;
        if run == 0 {
            return Err(BlockError("a run is empty"));
        }
        all.resize(all.len() + run, (quality, code & 0x100 != 0));
    }
    Ok(all)
}

/// Records as runs: table of epochs, then epoch and lane, step of seq, length of the run.
fn put_sources(out: &mut Vec<u8>, samples: &[BlockSample]) {
    let mut epochs: Vec<Epoch> = samples.iter().map(|sample| sample.record.epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    put(out, epochs.len() as u64);
    for epoch in &epochs {
        out.extend(epoch.0.to_le_bytes());
    }
    let runs: Vec<&[BlockSample]> = samples.chunk_by(|a, b| a.record == b.record).collect();
    put(out, runs.len() as u64);
    let keys = || {
        runs.iter()
            .filter_map(|run| run.first().map(|sample| sample.record))
    };
    for key in keys() {
        let place = epochs.binary_search(&key.epoch).unwrap_or(0) as u64;
        put(out, place << 2 | u64::from(key.lane.to_index()));
    }
    let mut last = 0u64;
    for key in keys() {
        put(out, zigzag(key.seq.wrapping_sub(last).cast_signed()));
        last = key.seq;
    }
    for run in &runs {
        put(out, run.len() as u64);
    }
}

fn take_sources(input: &mut Input<'_>, count: usize) -> Result<Vec<RecordKey>, BlockError> {
    let n = input.length(count)?;
    let epochs: Vec<Epoch> = (0..n)
        .map(|_| input.array().map(|bytes| Epoch(u64::from_le_bytes(bytes))))
        .collect::<Result<_, _>>()?;
    let runs = input.length(count)?;
    let mut keys = Vec::with_capacity(runs);
    for _ in 0..runs {
        let code = input.varint()?;
        let lane = u8::try_from(code & 3).ok().and_then(Lane::from_index);
        let place = usize::try_from(code >> 2).ok();
        let epoch = place.and_then(|place| epochs.get(place).copied());
        let (Some(lane), Some(epoch)) = (lane, epoch) else {
            return Err(BlockError("a source is unknown"));
        };
        keys.push(RecordKey {
            epoch,
            lane,
            seq: 0,
        });
    }
    let mut last = 0u64;
    for key in &mut keys {
        last = last.wrapping_add(unzigzag(input.varint()?).cast_unsigned());
        key.seq = last;
    }
    let mut all = Vec::with_capacity(count);
    for key in keys {
        let run = input.length(count - all.len())?;
        all.resize(all.len() + run, key);
    }
    if all.len() == count {
        Ok(all)
    } else {
        Err(BlockError("sources do not cover the samples"))
    }
}

fn put_values(
    out: &mut Vec<u8>,
    samples: &[BlockSample],
    kind: ValueType,
) -> Result<(), BlockError> {
    let values: Vec<&Value> = samples.iter().filter_map(|s| s.value.as_ref()).collect();
    if values.iter().any(|value| value.value_type() != kind) {
        return Err(BlockError("a series holds values of two types"));
    }
    let mut last = 0i64;
    let mut delta = |out: &mut Vec<u8>, value: i64| {
        put(out, zigzag(value.wrapping_sub(last)));
        last = value;
    };
    if kind == ValueType::F64 {
        let floats: Vec<f64> = values.iter().filter_map(|value| value.as_f64()).collect();
        put_floats(out, &floats);
        return Ok(());
    }
    for value in values {
        match value {
            Value::Bool(value) => out.push(u8::from(*value)),
            Value::I64(value) => delta(out, *value),
            Value::U64(value) => delta(out, value.cast_signed()),
            Value::F64(_) => {}
            Value::Text(text) => put_bytes(out, text.as_bytes()),
            Value::Bytes(bytes) => put_bytes(out, bytes),
        }
    }
    Ok(())
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Steps on the coarsest decimal grid that keeps every bit, or raw bits by byte plane.
fn put_floats(out: &mut Vec<u8>, floats: &[f64]) {
    let grid = (0u8..)
        .zip(GRIDS)
        .find(|(_, scale)| floats.iter().all(|&v| on_grid(v, *scale).is_some()));
    if let Some((index, scale)) = grid {
        out.push(index);
        let mut last = 0i64;
        for step in floats.iter().filter_map(|&value| on_grid(value, scale)) {
            put(out, zigzag(step.wrapping_sub(last)));
            last = step;
        }
        return;
    }
    out.push(RAW);
    let mut last = 0u64;
    let crossed: Vec<[u8; 8]> = floats
        .iter()
        .map(|value| {
            let bits = value.to_bits();
            let crossed = bits ^ last;
            last = bits;
            crossed.to_le_bytes()
        })
        .collect();
    for plane in 0..8 {
        out.extend(crossed.iter().filter_map(|bytes| bytes.get(plane)));
    }
}

fn on_grid(value: f64, scale: f64) -> Option<i64> {
    let step = (value * scale).round();
    if step.is_nan() || step.abs() >= EXACT {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
    let step = step as i64;
    // Back as the decoder will do it: a negative zero, for one, is not on the grid.
    #[expect(clippy::cast_precision_loss, reason = "a whole number below 2^53")]
    let back = step as f64 / scale;
    (back.to_bits() == value.to_bits()).then_some(step)
}

fn take_values(
    input: &mut Input<'_>,
    qualities: &[(Quality, bool)],
    kind: ValueType,
) -> Result<Vec<Value>, BlockError> {
    let count = qualities.iter().filter(|(_, present)| *present).count();
    if kind == ValueType::F64 {
        let floats = take_floats(input, count)?;
        return Ok(floats.into_iter().map(Value::F64).collect());
    }
    let mut last = 0i64;
    let mut delta = |input: &mut Input<'_>| {
        last = last.wrapping_add(unzigzag(input.varint()?));
        Ok::<_, BlockError>(last)
    };
    (0..count)
        .map(|_| match kind {
            ValueType::Bool => Ok(Value::Bool(input.byte()? != 0)),
            ValueType::I64 => delta(input).map(Value::I64),
            ValueType::U64 => delta(input).map(|v| Value::U64(v.cast_unsigned())),
            ValueType::F64 => Err(BlockError("floats are packed apart")),
            ValueType::Text => {
                let text = std::str::from_utf8(input.bytes()?);
                text.map(|text| Value::Text(Arc::from(text)))
                    .map_err(|_| BlockError("a text is not UTF-8"))
            }
            ValueType::Bytes => Ok(Value::Bytes(Arc::from(input.bytes()?))),
        })
        .collect()
}

fn take_floats(input: &mut Input<'_>, count: usize) -> Result<Vec<f64>, BlockError> {
    let grid = input.byte()?;
    if grid != RAW {
        let scale = GRIDS
            .get(usize::from(grid))
            .ok_or(BlockError("grid is unknown"))?;
        let mut last = 0i64;
        return (0..count)
            .map(|_| {
                last = last.wrapping_add(unzigzag(input.varint()?));
                #[expect(clippy::cast_precision_loss, reason = "steps are below 2^53")]
                Ok(last as f64 / scale)
            })
            .collect();
    }
    let mut crossed = vec![[0u8; 8]; count];
    for plane in 0..8 {
        for (bytes, &value) in crossed.iter_mut().zip(input.take(count)?) {
            if let Some(byte) = bytes.get_mut(plane) {
                *byte = value;
            }
        }
    }
    let mut last = 0u64;
    Ok(crossed
        .into_iter()
        .map(|bytes| {
            last ^= u64::from_le_bytes(bytes);
            f64::from_bits(last)
        })
        .collect())
}

/// Bytes still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BlockError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(BlockError("block is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BlockError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BlockError> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(BlockError("block is cut short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn varint(&mut self) -> Result<u64, BlockError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BlockError("a number is too long"))
    }

    fn length(&mut self, most: usize) -> Result<usize, BlockError> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|&length| length <= most)
            .ok_or(BlockError("a length is out of bounds"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], BlockError> {
        let length = self.length(MAX_PLAIN_BYTES)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocols_model::Reason;

    fn value(kind: ValueType) -> BoxedStrategy<Value> {
        match kind {
            ValueType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            ValueType::I64 => any::<i64>().prop_map(Value::I64).boxed(),
            ValueType::U64 => any::<u64>().prop_map(Value::U64).boxed(),
            ValueType::F64 => prop_oneof![
                any::<f64>(),
                (-10_000i32..10_000).prop_map(|v| f64::from(v) / 10.0),
                Just(-0.0),
                Just(f64::INFINITY),
            ]
            .prop_map(Value::F64)
            .boxed(),
            ValueType::Text => ".{0,12}".prop_map(|t| Value::Text(t.into())).boxed(),
            ValueType::Bytes => prop::collection::vec(any::<u8>(), 0..12)
                .prop_map(|b| Value::Bytes(b.into()))
                .boxed(),
        }
    }

    fn samples() -> impl Strategy<Value = Vec<BlockSample>> {
        (0u8..6).prop_flat_map(|kind| {
            let kind = ValueType::from_index(kind).unwrap();
            let time = prop_oneof![any::<i64>(), (0i64..1000).prop_map(|ms| ms * 1_000_000)];
            let one = (time, prop::option::of(value(kind)), 0u64..3, any::<u64>());
            let one = one.prop_map(|(time, value, epoch, seq)| BlockSample {
                time: Timestamp(time),
                quality: if value.is_some() {
                    Quality::Good
                } else {
                    Quality::Bad(Reason::Timeout)
                },
                value,
                record: RecordKey {
                    epoch: Epoch(epoch * 77),
                    lane: Lane::Telemetry,
                    seq,
                },
            });
            prop::collection::vec(one, 0..80)
        })
    }

    /// Bits, so that what is not a number equals itself.
    fn bits(samples: &[BlockSample]) -> Vec<String> {
        let show = |s: &BlockSample| match s.value {
            Some(Value::F64(v)) => format!(
                "{:?} {:?} {:x} {:?}",
                s.time,
                s.quality,
                v.to_bits(),
                s.record
            ),
            _ => format!("{s:?}"),
        };
        samples.iter().map(show).collect()
    }

    proptest! {
        #[test]
        fn what_was_packed_unpacks_to_the_same_bits(samples in samples()) {
            let packed = encode(&samples).unwrap();
            prop_assert_eq!(bits(&decode(&packed).unwrap()), bits(&samples));
        }

        #[test]
        fn damaged_bytes_are_an_error_and_never_a_panic(samples in samples(), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut packed = encode(&samples).unwrap();
            let place = at.index(packed.len());
            packed[place] ^= flip;
            prop_assert!(decode(&packed).is_err());
            // Also behind a checksum that is right.
            let end = packed.len() - 4;
            let crc = crc32fast::hash(&packed[..end]).to_le_bytes();
            packed[end..].copy_from_slice(&crc);
            drop(decode(&packed));
        }
    }

    #[test]
    fn an_hour_of_a_meter_takes_less_than_two_bytes_a_sample() {
        let samples: Vec<BlockSample> = (0..3600i64)
            .map(|i| BlockSample {
                time: Timestamp::from_millis(1_700_000_000_000 + i * 1000),
                value: Some(Value::F64(2300.0 / 10.0 + (i % 17) as f64 / 10.0)),
                quality: Quality::Good,
                record: RecordKey {
                    epoch: Epoch(9),
                    lane: Lane::Telemetry,
                    seq: i.cast_unsigned() + 1,
                },
            })
            .collect();
        let packed = encode(&samples).unwrap();
        assert!(packed.len() < 2 * samples.len(), "{} bytes", packed.len());
    }
}
