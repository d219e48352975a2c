//! Values to registers.

use super::{Codec, half, reorder, step};
use crate::config::{Names, RawType};
use protocols_model::{Reason, Value, ValueType};
use std::fmt;

/// What has to be written for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// A coil.
    Coil(bool),
    /// Whole registers.
    Words(Vec<u16>),
    /// Some bits of one register: it becomes `(register & and) | (or & !and)`, as function 22 has it.
    Mask {
        /// Bits that stay as they are.
        and: u16,
        /// The others, as they shall be.
        or: u16,
    },
}

impl Encoded {
    /// The registers afterwards, when `before` stood there.
    #[must_use]
    pub fn over(&self, before: u16) -> Option<u16> {
        match self {
            Self::Mask { and, or } => Some(before & and | or & !and),
            Self::Coil(_) | Self::Words(_) => None,
        }
    }
}

/// Why a value cannot be written to a point.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Another type.
    #[error("{found} is no value of this point, which takes {wanted}")]
    Type {
        /// What was given.
        found: String,
        /// What is taken.
        wanted: &'static str,
    },
    /// Outside the range of the point.
    #[error("{value} lies outside the point's range {low} to {high}")]
    Range {
        /// The value.
        value: f64,
        /// Lowest allowed.
        low: f64,
        /// Highest allowed.
        high: f64,
    },
    /// Too large, too small, too long or not whole.
    #[error("{value} does not fit {raw}: {why}")]
    Fit {
        /// The value.
        value: String,
        /// The type in the registers.
        raw: RawType,
        /// In which way.
        why: &'static str,
    },
    /// A text that is no name.
    #[error("{found:?} is no name of this point; use {allowed}")]
    Name {
        /// The text.
        found: String,
        /// All names.
        allowed: String,
    },
}

struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Bool(v) => v.fmt(f),
            Value::I64(v) => v.fmt(f),
            Value::U64(v) => v.fmt(f),
            Value::F64(v) => v.fmt(f),
            Value::Text(v) => write!(f, "{v:?}"),
            Value::Bytes(v) => write!(f, "{} bytes", v.len()),
        }
    }
}

/// Decimal digits as nibbles.
fn to_bcd(mut number: u64, digits: u32) -> Option<u64> {
    let mut bits = 0;
    for digit in 0..digits {
        bits |= (number % 10) << (4 * digit);
        number /= 10;
    }
    (number == 0).then_some(bits)
}

/// The whole number nearest to `number`, if that is in the reach of any register type.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a whole number below 2^65 in magnitude"
)]
fn whole(number: f64) -> Option<i128> {
    let rounded = number.round();
    (rounded.abs() < 3.0e19).then_some(rounded as i128)
}

impl Codec {
    /// What to write so that the point reads as `value`, to the nearest step of its resolution.
    ///
    /// Whole numbers are taken for any numeric point, a float for an integer point only when it is whole.
    ///
    /// # Errors
    /// [`EncodeError`]: the value is of another type, out of range or does not fit.
    pub fn encode(&self, value: &Value) -> Result<Encoded, EncodeError> {
        let numbered;
        let value = match (self.names.as_deref(), value) {
            (Some(names @ Names::Values(_)), Value::Text(text)) => {
                numbered = self.by_name(names, text)?;
                &numbered
            }
            _ => value,
        };
        if let (Some(range), Some(number)) = (&self.range, value.as_f64())
            && !range.contains(&number)
        {
            let (value, low, high) = (number, *range.start(), *range.end());
            return Err(EncodeError::Range { value, low, high });
        }
        match self.raw {
            RawType::Bool => {
                let on = match value {
                    Value::Bool(on) => *on,
                    _ => return Err(self.wrong_type(value)),
                };
                return Ok(if self.is_bit {
                    Encoded::Coil(on)
                } else {
                    self.masked(u16::from(on))
                });
            }
            RawType::Bits => {
                let number = self.integer(value)?;
                let highest = self.bits.map_or(u16::MAX, |bits| bits.of(u16::MAX));
                let number = u16::try_from(number).ok().filter(|n| *n <= highest);
                let number =
                    number.ok_or_else(|| self.unfit(value, "so many bits cannot hold it"))?;
                return Ok(self.masked(number));
            }
            RawType::Text { .. } => return self.encode_text(value),
            _ => {}
        }
        let registers = usize::from(self.raw.registers());
        let bits = reorder(self.encode_number(value)?, self.order, registers);
        Ok(Encoded::Words(split(bits, registers)))
    }

    /// Whether `read` is what a device holds after `written` was written: equal, or for floats equal
    /// within the precision of their registers.
    #[must_use]
    pub fn is_same(&self, written: &Value, read: &Value) -> bool {
        let expected = match self.encode(written) {
            Ok(Encoded::Words(words)) => self.decode(&words),
            Ok(Encoded::Coil(on)) => Ok(self.decode_bit(on)),
            Ok(mask @ Encoded::Mask { .. }) => {
                let register = mask.over(0).ok_or(Reason::Undecodable);
                register.and_then(|register| self.decode(&[register]))
            }
            Err(_) => return false,
        };
        let precision = match self.raw {
            RawType::F16 => 1e-3,
            RawType::F32 => 1e-6,
            RawType::F64 => 1e-12,
            _ => 0.0,
        };
        match (&expected, read) {
            (Ok(Value::F64(a)), Value::F64(b)) => (a - b).abs() <= precision * a.abs().max(b.abs()),
            (Ok(expected), read) => expected == read,
            (Err(_), _) => false,
        }
    }

    fn by_name(&self, names: &Names, text: &str) -> Result<Value, EncodeError> {
        let number = names.number_of(text);
        let number = number.ok_or_else(|| EncodeError::Name {
            found: text.to_owned(),
            allowed: match names {
                Names::Values(names) => names
                    .values()
                    .map(|name| format!("{name:?}"))
                    .collect::<Vec<_>>()
                    .join(", "),
                Names::Bits(_) => String::new(),
            },
        })?;
        Ok(match (self.raw, number) {
            (RawType::Bool, 0 | 1) => Value::Bool(number == 1),
            _ => Value::I64(number),
        })
    }

    fn masked(&self, number: u16) -> Encoded {
        let (mask, shift) = match self.bits {
            Some(bits) => (bits.mask(), bits.first()),
            None => (u16::MAX, 0),
        };
        let ordered = |word: u16| {
            if self.order.swap_bytes {
                word.swap_bytes()
            } else {
                word
            }
        };
        Encoded::Mask {
            and: ordered(!mask),
            or: ordered(number << shift),
        }
    }

    fn wrong_type(&self, value: &Value) -> EncodeError {
        let wanted = match (&self.names, self.raw) {
            (Some(names), _) if matches!(**names, Names::Values(_)) => "one of its names",
            (_, RawType::Bool) => "true or false",
            (_, RawType::Text { .. }) => "a text",
            (_, RawType::Epoch32 | RawType::Epoch64 | RawType::Epoch64Ms) => {
                "milliseconds since 1970 UTC"
            }
            _ => "a number",
        };
        EncodeError::Type {
            found: Shown(value).to_string(),
            wanted,
        }
    }

    fn unfit(&self, value: &Value, why: &'static str) -> EncodeError {
        EncodeError::Fit {
            value: Shown(value).to_string(),
            raw: self.raw,
            why,
        }
    }

    fn integer(&self, value: &Value) -> Result<i128, EncodeError> {
        match value {
            Value::I64(n) => Ok((*n).into()),
            Value::U64(n) => Ok((*n).into()),
            Value::F64(n) if n.fract() == 0.0 => {
                whole(*n).ok_or_else(|| self.unfit(value, "it is too large"))
            }
            Value::F64(_) => Err(self.unfit(value, "it is not a whole number")),
            _ => Err(self.wrong_type(value)),
        }
    }

    /// The raw number, before it is rounded, of a value in engineering units.
    fn unscaled(&self, value: &Value) -> Result<f64, EncodeError> {
        if value.value_type() == ValueType::Bool {
            return Err(self.wrong_type(value));
        }
        let number = value.as_f64().ok_or_else(|| self.wrong_type(value))?;
        if !number.is_finite() {
            return Err(self.unfit(value, "it is not finite"));
        }
        Ok(match &self.scale {
            Some(scale) => scale.raw_of(number),
            None => number,
        })
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to the nearest float of the register is the purpose"
    )]
    fn encode_number(&self, value: &Value) -> Result<u64, EncodeError> {
        let large = || self.unfit(value, "it is too large or too small");
        let number = match self.raw {
            RawType::F16 => {
                let half = half::to_half(self.unscaled(value)?);
                return half.map(u64::from).ok_or_else(large);
            }
            RawType::F32 => {
                let raw = self.unscaled(value)? as f32;
                let raw = Some(raw).filter(|raw| raw.is_finite());
                return raw.map(|raw| raw.to_bits().into()).ok_or_else(large);
            }
            RawType::F64 => return Ok(self.unscaled(value)?.to_bits()),
            RawType::Fixed(fixed) => whole(self.unscaled(value)? / step(fixed.fraction())),
            RawType::Epoch32 | RawType::Epoch64 => Some(self.integer(value)?.div_euclid(1000)),
            RawType::Epoch64Ms => Some(self.integer(value)?),
            _ if self.scale.is_some() => whole(self.unscaled(value)?),
            _ => Some(self.integer(value)?),
        };
        self.raw_bits(number.ok_or_else(large)?).ok_or_else(large)
    }

    /// The bits of a whole number, if the type can hold it.
    fn raw_bits(&self, number: i128) -> Option<u64> {
        let (bits, signed) = match self.raw {
            RawType::I16 => (16, true),
            RawType::I32 => (32, true),
            RawType::I64 | RawType::Epoch64 | RawType::Epoch64Ms => (64, true),
            RawType::U16 => (16, false),
            RawType::U32 | RawType::Epoch32 => (32, false),
            RawType::U64 => (64, false),
            RawType::Fixed(fixed) => (u32::from(fixed.bits()), fixed.is_signed()),
            RawType::Bcd16 => return to_bcd(u64::try_from(number).ok()?, 4),
            RawType::Bcd32 => return to_bcd(u64::try_from(number).ok()?, 8),
            _ => return None,
        };
        let span = 1i128 << bits;
        let (low, high) = if signed {
            (-(span / 2), span / 2)
        } else {
            (0, span)
        };
        if !(low..high).contains(&number) {
            return None;
        }
        u64::try_from(number.rem_euclid(span)).ok()
    }

    fn encode_text(&self, value: &Value) -> Result<Encoded, EncodeError> {
        let Value::Text(text) = value else {
            return Err(self.wrong_type(value));
        };
        let registers = usize::from(self.raw.registers());
        let mut bytes = text.as_bytes().to_vec();
        if bytes.len() > 2 * registers {
            return Err(self.unfit(value, "it is too long"));
        }
        if bytes.contains(&0) {
            return Err(self.unfit(value, "a NUL would end it"));
        }
        bytes.resize(2 * registers, 0);
        let (pairs, _) = bytes.as_chunks();
        let word = |pair: &[u8; 2]| {
            let word = u16::from_be_bytes(*pair);
            if self.order.swap_bytes {
                word.swap_bytes()
            } else {
                word
            }
        };
        Ok(Encoded::Words(pairs.iter().map(word).collect()))
    }
}

/// The low `registers` words of `bits`, the highest first.
fn split(bits: u64, registers: usize) -> Vec<u16> {
    let bytes = bits.to_be_bytes();
    let (words, _) = bytes.as_chunks();
    let words = words.iter().map(|pair| u16::from_be_bytes(*pair));
    words.skip(4 - registers.min(4)).collect()
}
