//! From a value to the bytes of its field, for writing a single field (GATT).
//!
//! Written is only what reads back as the same value within the field's resolution; everything else is
//! refused with the reason.

use crate::FieldError;
use crate::decode::half;
use crate::field::{ByteOrder, Encoding, Field, IntWidth, Offset};
use protocols_model::{Value, ValueType};

/// Why a value cannot be written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFieldError {
    /// The value is of another type.
    #[error("the field takes {}, not {}", .expected.as_str(), .found.as_str())]
    Type {
        /// The field's type.
        expected: ValueType,
        /// The value's type.
        found: ValueType,
    },
    /// The number does not fit.
    #[error("{value} does not fit the field; it holds {min} to {max}")]
    Range {
        /// What was to be written.
        value: f64,
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
    },
    /// NaN or infinity.
    #[error("{0} is no number that a field can hold")]
    NotFinite(f64),
    /// The raw value that means "no reading".
    #[error("the raw value {0:#x} means \"no reading\" in this field")]
    Invalid(u64),
    /// The text or the bytes are too long, or not as long as the field.
    #[error("{found} bytes do not fit the field of {len}")]
    Length {
        /// Bytes to be written.
        found: usize,
        /// Bytes of the field.
        len: usize,
    },
    /// A text that would not read back: with a zero, with blanks around it, or not in Latin-1.
    #[error(
        "the text would read back as something else: zero bytes, blanks around it, or characters that the field cannot hold"
    )]
    Text,
    /// The payload does not hold the field.
    #[error(transparent)]
    Place(#[from] FieldError),
}

use WriteFieldError as Error;

impl Field {
    /// A payload that holds only this field: zeros before it, nothing more than needed behind it.
    ///
    /// # Errors
    /// [`WriteFieldError`].
    pub fn encode(&self, value: &Value) -> Result<Vec<u8>, Error> {
        let open = match (self.encoding.len(), value) {
            (None, Value::Text(text)) => self.text_bytes(text)?.len(),
            (None, Value::Bytes(bytes)) => bytes.len(),
            _ => 0,
        };
        let len = match self.offset {
            // A text to the end makes the payload as long as it is.
            Offset::Start(at) => self.min_payload().max(usize::from(at) + open),
            Offset::End(_) => self.min_payload(),
        };
        let mut payload = vec![0; len];
        self.write(value, &mut payload)?;
        Ok(payload)
    }

    /// Puts the value into its place in `payload`; other bits and bytes stay as they are. After an error
    /// the payload is unchanged.
    ///
    /// # Errors
    /// [`WriteFieldError`].
    pub fn write(&self, value: &Value, payload: &mut [u8]) -> Result<(), Error> {
        let place = self.place(payload.len())?;
        let target = payload.get_mut(place).unwrap_or_default();
        let wrong = || Error::Type {
            expected: self.value_type(),
            found: value.value_type(),
        };
        match (self.encoding, value) {
            (Encoding::Bool, Value::Bool(on)) => {
                target.fill(u8::from(*on));
                Ok(())
            }
            (Encoding::Text(_) | Encoding::Latin1(_), Value::Text(text)) => {
                fill(target, &self.text_bytes(text)?, false)
            }
            (Encoding::Bytes(_), Value::Bytes(bytes)) => fill(target, bytes, true),
            (
                Encoding::Unsigned {
                    bits: Some((first, last)),
                    ..
                },
                _,
            ) => {
                let part = match value {
                    Value::Bool(on) if first == last => u64::from(*on),
                    _ if first == last => return Err(wrong()),
                    _ => self.raw_integer(value, 0, (1i128 << (last - first + 1)) - 1)?,
                };
                let mask = (u64::MAX >> (64 - (last - first + 1))) << first;
                let before = crate::decode::join(target, self.order);
                self.store(before & !mask | part << first, target)
            }
            (Encoding::Unsigned { .. }, _) => {
                let raw = self.raw_integer(value, 0, (1i128 << (8 * target.len())) - 1)?;
                self.store(raw, target)
            }
            (Encoding::Signed(width), _) => {
                let half = 1i128 << (width.bits() - 1);
                let raw = self.raw_integer(value, -half, half - 1)?;
                self.store(raw, target)
            }
            (Encoding::Bcd(bytes), _) => {
                let most = 10i128.pow(2 * u32::from(bytes)) - 1;
                let mut number = self.raw_integer(value, 0, most)?;
                let mut raw = 0;
                for digit in 0..2 * u32::from(bytes) {
                    raw |= (number % 10) << (4 * digit);
                    number /= 10;
                }
                self.store(raw, target)
            }
            (Encoding::Float(width), Value::F64(number)) => {
                let raw = self.raw_float(*number, width)?;
                self.store(raw, target)
            }
            _ => Err(wrong()),
        }
    }

    fn store(&self, raw: u64, target: &mut [u8]) -> Result<(), Error> {
        if self.invalid.contains(&raw) {
            return Err(Error::Invalid(raw));
        }
        let bytes = raw.to_le_bytes();
        let place = |(to, from): (&mut u8, &u8)| *to = *from;
        match self.order {
            ByteOrder::Little => target.iter_mut().zip(&bytes).for_each(place),
            ByteOrder::Big => target.iter_mut().rev().zip(&bytes).for_each(place),
        }
        Ok(())
    }

    /// The raw integer of a value, as the low bits of the result, if it lies in `min..=max`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounds for people; rounded and checked on the line after; two's complement on purpose"
    )]
    fn raw_integer(&self, value: &Value, min: i128, max: i128) -> Result<u64, Error> {
        let scaled = !self.scale.is_identity();
        let (raw, shown) = match value {
            Value::F64(number) if scaled => {
                if !number.is_finite() {
                    return Err(Error::NotFinite(*number));
                }
                (self.scale.raw_of(*number).round() as i128, *number)
            }
            Value::U64(number) if self.value_type() == ValueType::U64 => {
                (i128::from(*number), *number as f64)
            }
            Value::I64(number) if self.value_type() == ValueType::I64 => {
                (i128::from(*number), *number as f64)
            }
            _ => {
                return Err(Error::Type {
                    expected: self.value_type(),
                    found: value.value_type(),
                });
            }
        };
        if !(min..=max).contains(&raw) {
            let (a, b) = (self.scale.apply_integer(min), self.scale.apply_integer(max));
            return Err(Error::Range {
                value: shown,
                min: a.min(b),
                max: a.max(b),
            });
        }
        Ok(raw as u64)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded to the field's width on purpose"
    )]
    fn raw_float(&self, number: f64, width: IntWidth) -> Result<u64, Error> {
        if !number.is_finite() {
            return Err(Error::NotFinite(number));
        }
        let raw = self.scale.raw_of(number);
        let (bits, back, most) = match width {
            IntWidth::W16 => {
                let bits = half_of(raw);
                (bits.into(), half(bits), 65504.0)
            }
            IntWidth::W32 => {
                let narrow = raw as f32;
                (narrow.to_bits().into(), narrow.into(), f32::MAX.into())
            }
            _ => (raw.to_bits(), raw, f64::MAX),
        };
        if back.is_finite() {
            Ok(bits)
        } else {
            let (a, b) = (self.scale.apply_float(-most), self.scale.apply_float(most));
            Err(Error::Range {
                value: number,
                min: a.min(b),
                max: a.max(b),
            })
        }
    }

    /// The bytes of a text that reads back as it is.
    fn text_bytes(&self, text: &str) -> Result<Vec<u8>, Error> {
        if text.contains('\0') || text.trim().len() != text.len() {
            return Err(Error::Text);
        }
        if matches!(self.encoding, Encoding::Latin1(_)) {
            let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).ok());
            return bytes.collect::<Option<_>>().ok_or(Error::Text);
        }
        Ok(text.as_bytes().to_vec())
    }
}

/// Puts `bytes` into `target`, zeros behind them.
fn fill(target: &mut [u8], bytes: &[u8], exactly: bool) -> Result<(), Error> {
    let (found, len) = (bytes.len(), target.len());
    if found > len || exactly && found != len {
        return Err(Error::Length { found, len });
    }
    let padded = bytes.iter().copied().chain(std::iter::repeat(0));
    target
        .iter_mut()
        .zip(padded)
        .for_each(|(to, from)| *to = from);
    Ok(())
}

/// The nearest binary16, ties to even; beyond the greatest, infinity.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by the branches"
)]
fn half_of(number: f64) -> u16 {
    let sign = if number.is_sign_negative() { 0x8000 } else { 0 };
    let size = number.abs();
    let bits = if size < 2f64.powi(-14) {
        // A carry into the exponent is the smallest normal number, as it should be.
        (size * 2f64.powi(24)).round_ties_even() as u16
    } else if size >= 65520.0 {
        0x7c00
    } else {
        let exponent = ((size.to_bits() >> 52) as i32) - 1023;
        let fraction = (size * 2f64.powi(10 - exponent)).round_ties_even() as u16;
        // `fraction` holds the leading one: 1024 to 2048.
        ((exponent + 15) as u16) * 1024 + fraction - 1024
    };
    sign | bits
}
