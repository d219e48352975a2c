//! Columns back into values. Untrusted bytes: everything is counted before anything is kept.

use super::layout::{Coding, Layout};
use super::proto;
use crate::error::DecodeError;
use crate::limits::MAX_VALUE_BYTES;
use crate::pack::varint::low_byte;
use crate::pack::{BitReader, IntReader, Reader, RunReader, unzigzag};
use protocols_model::Value;
use std::sync::Arc;

/// Reads the values of columns with samples.
pub(super) struct ValueReader<'a> {
    layouts: std::vec::IntoIter<Layout>,
    firsts: IntReader<'a>,
    deltas: IntReader<'a>,
    bits: BitReader<'a>,
    blobs: Reader<'a>,
}

/// Where a column stands.
pub(super) struct ColumnValues {
    layout: Layout,
    before: Option<u64>,
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
            firsts: IntReader::new(&message.firsts, firsts, "first values")?,
            deltas: IntReader::new(&message.deltas, deltas, "value differences")?,
            bits: BitReader::new(&message.bits, "bool values"),
            blobs: Reader::new(&message.blobs, "text and byte values"),
        })
    }

    /// Goes on to the next column.
    pub(super) fn column(&mut self) -> Result<ColumnValues, DecodeError> {
        let layout = self
            .layouts
            .next()
            .ok_or(DecodeError::Truncated("layouts"))?;
        Ok(ColumnValues {
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
            Coding::I64 => Value::I64(self.integer(column, unzigzag)?),
            Coding::U64 => Value::U64(self.integer(column, u64::cast_signed)?.cast_unsigned()),
            Coding::Grid(grid) => Value::F64(grid.value(self.integer(column, unzigzag)?)),
            Coding::Xor64 => Value::F64(f64::from_bits(self.pattern(column)?.swap_bytes())),
            Coding::Xor32 => {
                let pattern = u32::try_from(self.pattern(column)?)
                    .map_err(|_| DecodeError::Malformed("a short float is longer than 4 bytes"))?;
                Value::F64(f64::from(f32::from_bits(pattern.swap_bytes())))
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

    fn integer(
        &mut self,
        column: &mut ColumnValues,
        first: impl Fn(u64) -> i64,
    ) -> Result<i64, DecodeError> {
        let int = match column.before {
            None => first(self.firsts.value()?),
            Some(before) => before
                .cast_signed()
                .wrapping_add(unzigzag(self.deltas.value()?)),
        };
        column.before = Some(int.cast_unsigned());
        Ok(int)
    }

    fn pattern(&mut self, column: &mut ColumnValues) -> Result<u64, DecodeError> {
        let pattern = match column.before {
            None => self.firsts.value()?,
            Some(before) => before ^ self.deltas.value()?,
        };
        column.before = Some(pattern);
        Ok(pattern)
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
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
