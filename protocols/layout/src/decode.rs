//! From bytes to values: total, reads nothing outside the payload.

use crate::field::{ByteOrder, Encoding, Field, IntWidth, Offset};
use protocols_model::value::MAX_VALUE_BYTES;
use protocols_model::{Reason, Value};
use std::ops::Range;

/// Why a payload has no value for a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The payload has a length in which the field does not exist.
    #[error("a payload of {0} bytes does not hold the field")]
    Absent(usize),
    /// The payload ends before the field does.
    #[error("the payload has {len} bytes, the field ends at {end}")]
    TooShort {
        /// Bytes there are.
        len: usize,
        /// Bytes there must be.
        end: usize,
    },
    /// The device says that it has no reading.
    #[error("the device reports no reading (raw value {0:#x})")]
    NoReading(u64),
    /// A nibble above nine.
    #[error("the bytes are no decimal digits")]
    NotBcd,
    /// NaN or infinity.
    #[error("the number is not finite")]
    NotFinite,
    /// Not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// A text or bytes beyond what a value may have.
    #[error("{0} bytes are more than the {MAX_VALUE_BYTES} a value may have")]
    TooLong(usize),
}

impl FieldError {
    /// What a reading without a value says.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoReading(_) => Reason::DeviceError,
            Self::Absent(_)
            | Self::TooShort { .. }
            | Self::NotBcd
            | Self::NotFinite
            | Self::NotUtf8
            | Self::TooLong(_) => Reason::Undecodable,
        }
    }
}

impl Field {
    /// The bytes of the field within a payload of `len` bytes.
    pub(crate) fn place(&self, len: usize) -> Result<Range<usize>, FieldError> {
        if self.lengths.is_some_and(|lengths| !lengths.contains(len)) {
            return Err(FieldError::Absent(len));
        }
        let start = match self.offset {
            Offset::Start(at) => usize::from(at),
            Offset::End(back) => {
                len.checked_sub(usize::from(back))
                    .ok_or(FieldError::TooShort {
                        len,
                        end: usize::from(back),
                    })?
            }
        };
        let own = self.encoding.len().map(usize::from);
        let end = own.map_or(len, |own| start + own);
        if start > len || end > len {
            let end = end.max(start);
            return Err(FieldError::TooShort { len, end });
        }
        Ok(start..end)
    }

    /// The value of the field in `payload`.
    ///
    /// # Errors
    /// [`FieldError`]; [`FieldError::reason`] is what a reading says then.
    pub fn decode(&self, payload: &[u8]) -> Result<Value, FieldError> {
        let place = self.place(payload.len())?;
        let bytes = payload.get(place).unwrap_or_default();
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(FieldError::TooLong(bytes.len()));
        }
        match self.encoding {
            Encoding::Bool => Ok(Value::Bool(bytes.first().is_some_and(|b| *b != 0))),
            Encoding::Text(_) => {
                let text = std::str::from_utf8(until_zero(bytes));
                let text = text.map_err(|_| FieldError::NotUtf8)?;
                Ok(Value::Text(text.trim().into()))
            }
            Encoding::Latin1(_) => {
                let text: String = until_zero(bytes).iter().map(|b| char::from(*b)).collect();
                let text = text.trim();
                if text.len() > MAX_VALUE_BYTES {
                    return Err(FieldError::TooLong(text.len()));
                }
                Ok(Value::Text(text.into()))
            }
            Encoding::Bytes(_) => Ok(Value::Bytes(bytes.into())),
            Encoding::Unsigned { .. }
            | Encoding::Signed(_)
            | Encoding::Float(_)
            | Encoding::Bcd(_) => self.number(join(bytes, self.order)),
        }
    }

    fn number(&self, raw: u64) -> Result<Value, FieldError> {
        if self.invalid.contains(&raw) {
            return Err(FieldError::NoReading(raw));
        }
        match self.encoding {
            Encoding::Unsigned {
                bits: Some((first, last)),
                ..
            } => {
                let picked = pick(raw, first, last);
                if first == last {
                    Ok(Value::Bool(picked != 0))
                } else {
                    Ok(self.unsigned(picked))
                }
            }
            Encoding::Signed(width) => {
                let number = sign_extend(raw, width);
                Ok(if self.scale.is_identity() {
                    Value::I64(number)
                } else {
                    Value::F64(self.scale.apply_integer(number.into()))
                })
            }
            Encoding::Float(width) => {
                let value = self.scale.apply_float(float(raw, width));
                if value.is_finite() {
                    Ok(Value::F64(value))
                } else {
                    Err(FieldError::NotFinite)
                }
            }
            Encoding::Bcd(bytes) => {
                let digits = (0..2 * u32::from(bytes))
                    .rev()
                    .map(|i| (raw >> (4 * i)) & 0xf);
                let number = digits
                    .into_iter()
                    .try_fold(0u64, |sum, digit| (digit <= 9).then_some(sum * 10 + digit));
                number.map(|n| self.unsigned(n)).ok_or(FieldError::NotBcd)
            }
            _ => Ok(self.unsigned(raw)),
        }
    }

    fn unsigned(&self, number: u64) -> Value {
        if self.scale.is_identity() {
            Value::U64(number)
        } else {
            Value::F64(self.scale.apply_integer(number.into()))
        }
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// Up to eight bytes as a number.
pub(crate) fn join(bytes: &[u8], order: ByteOrder) -> u64 {
    let push = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    match order {
        ByteOrder::Big => bytes.iter().fold(0, push),
        ByteOrder::Little => bytes.iter().rev().fold(0, push),
    }
}

const fn pick(raw: u64, first: u8, last: u8) -> u64 {
    let count = last - first + 1;
    (raw >> first) & (u64::MAX >> (64 - count))
}

#[expect(clippy::cast_possible_wrap, reason = "two's complement on purpose")]
const fn sign_extend(raw: u64, width: IntWidth) -> i64 {
    let unused = 64 - width.bits();
    (raw << unused) as i64 >> unused
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "each cast keeps the bits of its type"
)]
fn float(raw: u64, width: IntWidth) -> f64 {
    match width {
        IntWidth::W16 => half(raw as u16),
        IntWidth::W32 => f32::from_bits(raw as u32).into(),
        _ => f64::from_bits(raw),
    }
}

/// IEEE 754 binary16; exact in `f64`.
pub(crate) fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if bits & 0x3ff == 0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}
