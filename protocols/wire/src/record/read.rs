//! Columns back into values. Untrusted bytes: everything is counted before anything is kept.

use super::layout::{Coding, Layout};
use super::proto;
use crate::error::DecodeError;
use crate::limits::MAX_VALUE_BYTES;
use crate::pack::frames::FrameReader;
use crate::pack::varint::low_byte;
use crate::pack::{BitReader, IntReader, Reader, RunReader};
use protocols_model::Value;
use std::sync::Arc;

const FIRSTS: &str = "first values";

/// Reads the values of columns with samples.
pub(super) struct ValueReader<'a> {
    layouts: std::vec::IntoIter<Layout>,
    firsts: Firsts<'a>,
    deltas: IntReader<'a>,
    bits: BitReader<'a>,
    blobs: Reader<'a>,
}

/// First numbers, packed either way.
enum Firsts<'a> {
    Loose(IntReader<'a>),
    Frames(FrameReader<'a>),
}

/// Where a column stands.
pub(super) struct ColumnValues {
    /// Its place in the record.
    place: usize,
    layout: Layout,
    before: Option<i64>,
    constant: Option<Value>,
}

impl<'a> ValueReader<'a> {
    /// Reads columns with so many values (readings that are not bad) each.
    pub(super) fn new(
        message: &'a proto::Telemetry,
        values: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Self, DecodeError> {
        let mut runs = RunReader::new(&message.layouts, "layouts");
        let mut layouts = Vec::with_capacity(values.len());
        let (mut firsts, mut deltas) = (0, 0);
        for count in values {
            let layout = Layout::from_index(runs.value()?)?;
            layouts.push(layout);
            match layout.coding {
                Coding::Nothing if count > 0 => {
                    return Err(DecodeError::Malformed("a column with values has no layout"));
                }
                Coding::Nothing | Coding::Bool | Coding::Text | Coding::Bytes => {}
                Coding::I64 | Coding::U64 | Coding::Xor64 | Coding::Xor32 | Coding::Grid(_) => {
                    if count > 0 {
                        firsts += 1;
                        deltas += if layout.constant { 0 } else { count - 1 };
                    }
                }
            }
        }
        runs.finish()?;
        Ok(Self {
            layouts: layouts.into_iter(),
            firsts: match message.stride as usize {
                0 => Firsts::Loose(IntReader::new(&message.firsts, firsts, FIRSTS)?),
                stride => Firsts::Frames(FrameReader::new(&message.firsts, stride, FIRSTS)?),
            },
            deltas: IntReader::new(&message.deltas, deltas, "value differences")?,
            bits: BitReader::new(&message.bits, "bool values"),
            blobs: Reader::new(&message.blobs, "text and byte values"),
        })
    }

    /// Goes on to the next column, at `place` of the record.
    pub(super) fn column(&mut self, place: usize) -> Result<ColumnValues, DecodeError> {
        let layout = self
            .layouts
            .next()
            .ok_or(DecodeError::Truncated("layouts"))?;
        Ok(ColumnValues {
            place,
            layout,
            before: None,
            constant: None,
        })
    }

    /// The next value of `column`.
    pub(super) fn value(&mut self, column: &mut ColumnValues) -> Result<Value, DecodeError> {
        if let Some(value) = &column.constant {
            return Ok(value.clone());
        }
        let value = match column.layout.coding {
            Coding::Nothing => {
                return Err(DecodeError::Malformed("a column with values has no layout"));
            }
            Coding::Bool => Value::Bool(self.bits.bit()?),
            Coding::Text => {
                let text = std::str::from_utf8(self.blob()?)
                    .map_err(|_| DecodeError::Malformed("a text value is not UTF-8"))?;
                Value::Text(Arc::from(text))
            }
            Coding::Bytes => Value::Bytes(Arc::from(self.blob()?)),
            Coding::I64 => Value::I64(self.number(column)?),
            Coding::U64 => Value::U64(self.number(column)?.cast_unsigned()),
            Coding::Grid(grid) => Value::F64(grid.value(self.number(column)?)),
            Coding::Xor64 => Value::F64(f64::from_bits(self.number(column)?.cast_unsigned())),
            Coding::Xor32 => {
                let bits = u32::try_from(self.number(column)?)
                    .map_err(|_| DecodeError::Malformed("a short float is longer than 4 bytes"))?;
                Value::F64(f64::from(f32::from_bits(bits)))
            }
        };
        if column.layout.constant {
            column.constant = Some(value.clone());
        }
        Ok(value)
    }

    fn blob(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.blobs.bounded("value in bytes", MAX_VALUE_BYTES)?;
        self.blobs.take(length)
    }

    fn number(&mut self, column: &mut ColumnValues) -> Result<i64, DecodeError> {
        let coding = column.layout.coding;
        let number = match (column.before, &mut self.firsts) {
            (Some(before), _) => coding.follow(before, self.deltas.value()?)?,
            (None, Firsts::Loose(ints)) => coding.unfold(ints.value()?)?,
            (None, Firsts::Frames(frames)) => frames.value(column.place)?,
        };
        column.before = Some(number);
        Ok(number)
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if let Firsts::Frames(frames) = &self.firsts {
            frames.finish()?;
        }
        self.bits.finish()?;
        self.blobs.finish()
    }
}

/// The quality with this wire number.
pub(super) fn quality(code: u64) -> Result<protocols_model::Quality, DecodeError> {
    (code <= 0xff)
        .then(|| protocols_model::Quality::from_code(low_byte(code)))
        .flatten()
        .ok_or(DecodeError::Malformed("unknown quality"))
}
