//! Registers to values and back: pure, total, no panics on any input.
//!
//! One codec serves both directions, so that what is read and what is written cannot disagree. Reading,
//! bytes are put in order first (see [`Order`]), then typed, scaled, range-checked, named; writing goes
//! the same way back.

mod encode;
mod half;

pub use encode::{EncodeError, Encoded};

use crate::config::{BitRange, Names, Order, Point, RawType, Scale};
use protocols_model::{Reason, Value};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// How one point is read from its registers, and written to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Codec {
    raw: RawType,
    /// A coil or discrete input.
    is_bit: bool,
    bits: Option<BitRange>,
    order: Order,
    /// `None` for values that stay as they are.
    scale: Option<Scale>,
    range: Option<RangeInclusive<f64>>,
    names: Option<Arc<Names>>,
}

/// The raw number in the registers.
#[derive(Clone, Copy)]
enum Number {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    /// Milliseconds since 1970 UTC.
    Time(i64),
}

/// Puts the bytes of up to four registers in order. Each swap undoes itself, so this also takes a
/// value apart.
fn reorder(mut bits: u64, order: Order, registers: usize) -> u64 {
    const LOW_BYTES: u64 = 0x00ff_00ff_00ff_00ff;
    const LOW_WORDS: u64 = 0x0000_ffff_0000_ffff;
    if order.swap_bytes {
        bits = (bits & LOW_BYTES) << 8 | (bits >> 8) & LOW_BYTES;
    }
    if order.swap_words && registers >= 2 {
        bits = (bits & LOW_WORDS) << 16 | (bits >> 16) & LOW_WORDS;
    }
    if order.swap_pairs && registers >= 4 {
        bits = bits.rotate_left(32);
    }
    bits
}

/// The number that `digits` nibbles write in decimal; `None` when one is none.
fn from_bcd(bits: u64, digits: u32) -> Option<u64> {
    (0..digits).rev().try_fold(0, |sum: u64, digit| {
        let nibble = bits >> (4 * digit) & 0xf;
        (nibble <= 9).then_some(sum * 10 + nibble)
    })
}

/// A signed number of `width` bits at the low end of `bits`.
#[expect(
    clippy::cast_possible_wrap,
    reason = "two's complement is what the bits are"
)]
const fn sign_extend(bits: u64, width: u8) -> i64 {
    let unused = 64 - width as u32;
    ((bits << unused) as i64) >> unused
}

/// One step of a fraction of so many bits: `2^-fraction`, exact.
fn step(fraction: u8) -> f64 {
    (-f64::from(fraction)).exp2()
}

impl Codec {
    /// The codec of a checked point.
    #[must_use]
    pub fn new(point: &Point) -> Self {
        Self {
            raw: point.raw,
            is_bit: point.address.space.is_bits(),
            bits: point.address.bits,
            order: point.order,
            scale: Some(point.scale).filter(|scale| !scale.is_identity()),
            range: point.range.clone(),
            names: point.names.clone(),
        }
    }

    /// The value of `words`, which must be as many as the type has.
    ///
    /// # Errors
    /// `Undecodable` when the bits form no value of the type (also NaN and infinity, which devices
    /// use for "no value"), `OutOfRange` when the value lies outside the configured range.
    pub fn decode(&self, words: &[u16]) -> Result<Value, Reason> {
        if words.len() != usize::from(self.raw.registers()) {
            return Err(Reason::Undecodable);
        }
        if let RawType::Text { .. } = self.raw {
            return self.decode_text(words);
        }
        let joined = words.iter().fold(0, |sum, &w| sum << 16 | u64::from(w));
        let bits = reorder(joined, self.order, words.len());
        let value = match self.raw {
            RawType::Bool | RawType::Bits => self.decode_picked(bits),
            _ => self.finish(self.number(bits).ok_or(Reason::Undecodable)?)?,
        };
        if let (Some(range), Some(number)) = (&self.range, value.as_f64())
            && !range.contains(&number)
        {
            return Err(Reason::OutOfRange);
        }
        Ok(value)
    }

    /// The value of a coil or discrete input.
    #[must_use]
    pub fn decode_bit(&self, bit: bool) -> Value {
        self.named(i64::from(bit)).unwrap_or(Value::Bool(bit))
    }

    /// Bits of one register.
    fn decode_picked(&self, bits: u64) -> Value {
        let register = u16::try_from(bits).unwrap_or(u16::MAX);
        let picked = self.bits.map_or(register, |range| range.of(register));
        let plain = || match self.raw {
            RawType::Bool => Value::Bool(picked != 0),
            _ => Value::U64(picked.into()),
        };
        self.named(picked.into()).unwrap_or_else(plain)
    }

    fn named(&self, number: i64) -> Option<Value> {
        let name = self.names.as_deref()?.name_of(number)?;
        Some(Value::Text(name))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_precision_loss,
        reason = "each cast keeps exactly the bits of its type; a 64-bit fraction becomes the nearest f64"
    )]
    fn number(&self, bits: u64) -> Option<Number> {
        Some(match self.raw {
            RawType::F16 => Number::Float(half::from_half(bits as u16)),
            RawType::F32 => Number::Float(f32::from_bits(bits as u32).into()),
            RawType::F64 => Number::Float(f64::from_bits(bits)),
            RawType::I16 => Number::Signed((bits as i16).into()),
            RawType::I32 => Number::Signed((bits as i32).into()),
            RawType::I64 => Number::Signed(bits as i64),
            RawType::U16 | RawType::U32 | RawType::U64 => Number::Unsigned(bits),
            RawType::Bcd16 => Number::Unsigned(from_bcd(bits, 4)?),
            RawType::Bcd32 => Number::Unsigned(from_bcd(bits, 8)?),
            RawType::Fixed(fixed) => {
                let steps = if fixed.is_signed() {
                    sign_extend(bits, fixed.bits()) as f64
                } else {
                    bits as f64
                };
                Number::Float(steps * step(fixed.fraction()))
            }
            RawType::Epoch32 => Number::Time(i64::try_from(bits).ok()?.checked_mul(1000)?),
            RawType::Epoch64 => Number::Time((bits as i64).checked_mul(1000)?),
            RawType::Epoch64Ms => Number::Time(bits as i64),
            RawType::Bool | RawType::Bits | RawType::Text { .. } => return None,
        })
    }

    fn finish(&self, number: Number) -> Result<Value, Reason> {
        let scaled = match (number, &self.scale) {
            (Number::Time(millis), _) => return Ok(Value::I64(millis)),
            (Number::Signed(n), None) => {
                return Ok(self.named(n).unwrap_or(Value::I64(n)));
            }
            (Number::Unsigned(n), None) => {
                let named = match self.names.as_deref() {
                    Some(Names::Values(_)) => match i64::try_from(n) {
                        Ok(n) => self.named(n),
                        Err(_) => Some(Value::Text(n.to_string().into())),
                    },
                    _ => None,
                };
                return Ok(named.unwrap_or(Value::U64(n)));
            }
            (Number::Float(raw), None) => raw,
            (Number::Float(raw), Some(scale)) => scale.apply_float(raw),
            (Number::Signed(n), Some(scale)) => scale.apply_integer(n.into()),
            (Number::Unsigned(n), Some(scale)) => scale.apply_integer(n.into()),
        };
        if scaled.is_finite() {
            Ok(Value::F64(scaled))
        } else {
            Err(Reason::Undecodable)
        }
    }

    fn decode_text(&self, words: &[u16]) -> Result<Value, Reason> {
        let bytes: Vec<u8> = words
            .iter()
            .map(|&word| {
                if self.order.swap_bytes {
                    word.swap_bytes()
                } else {
                    word
                }
            })
            .flat_map(u16::to_be_bytes)
            .take_while(|&byte| byte != 0)
            .collect();
        let text = std::str::from_utf8(&bytes).map_err(|_| Reason::Undecodable)?;
        Ok(Value::Text(text.trim_end_matches(' ').into()))
    }
}

#[cfg(test)]
mod tests;
