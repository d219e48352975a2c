//! Registers to values and back: pure, total, no panics on any input.
//!
//! One codec serves both directions, so that what is read and what a test or a later write sends
//! cannot disagree. Bytes are put in order first (see [`Order`]), then typed, scaled, range-checked.

use crate::config::{BitRange, Order, Point, RawType, Scale};
use protocols_model::{Reason, Value};
use std::ops::RangeInclusive;

/// How one point is read from its registers.
#[derive(Debug, Clone, PartialEq)]
pub struct Codec {
    raw: RawType,
    bits: Option<BitRange>,
    order: Order,
    /// `None` for values that stay as they are.
    scale: Option<Scale>,
    range: Option<RangeInclusive<f64>>,
}

/// The raw number of integer registers.
#[derive(Clone, Copy)]
enum Number {
    Signed(i64),
    Unsigned(u64),
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

impl Codec {
    /// The codec of a checked point.
    #[must_use]
    pub fn new(point: &Point) -> Self {
        Self {
            raw: point.raw,
            bits: point.address.bits,
            order: point.order,
            scale: Some(point.scale).filter(|scale| !scale.is_identity()),
            range: point.range.clone(),
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
        let value = self.decode_bits(bits)?;
        if let (Some(range), Some(number)) = (&self.range, value.as_f64())
            && !range.contains(&number)
        {
            return Err(Reason::OutOfRange);
        }
        Ok(value)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "each cast keeps exactly the bits of its type"
    )]
    fn decode_bits(&self, bits: u64) -> Result<Value, Reason> {
        let number = match self.raw {
            RawType::Bool | RawType::Bits => {
                let register = bits as u16;
                let picked = self.bits.map_or(register, |range| range.of(register));
                return Ok(if self.raw == RawType::Bool {
                    Value::Bool(picked != 0)
                } else {
                    Value::U64(picked.into())
                });
            }
            RawType::F32 => return self.float(f32::from_bits(bits as u32).into()),
            RawType::F64 => return self.float(f64::from_bits(bits)),
            RawType::I16 => Number::Signed((bits as i16).into()),
            RawType::I32 => Number::Signed((bits as i32).into()),
            RawType::I64 => Number::Signed(bits as i64),
            RawType::U16 | RawType::U32 | RawType::U64 => Number::Unsigned(bits),
            RawType::Text { .. } => return Err(Reason::Undecodable),
        };
        let Some(scale) = &self.scale else {
            return Ok(match number {
                Number::Signed(n) => Value::I64(n),
                Number::Unsigned(n) => Value::U64(n),
            });
        };
        let wide = match number {
            Number::Signed(n) => n.into(),
            Number::Unsigned(n) => n.into(),
        };
        self.finite(scale.apply_integer(wide))
    }

    fn float(&self, raw: f64) -> Result<Value, Reason> {
        self.finite(self.scale.map_or(raw, |scale| scale.apply_float(raw)))
    }

    #[expect(clippy::unused_self, reason = "reads as the last step of decoding")]
    fn finite(&self, value: f64) -> Result<Value, Reason> {
        if value.is_finite() {
            Ok(Value::F64(value))
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

    /// The registers that decode to `value`; `None` when the value is of another type, does not fit
    /// or names single bits only (whose register holds more than the point).
    #[must_use]
    pub fn encode(&self, value: &Value) -> Option<Vec<u16>> {
        let registers = usize::from(self.raw.registers());
        if let (RawType::Text { .. }, Value::Text(text)) = (self.raw, value) {
            let mut bytes = text.as_bytes().to_vec();
            if bytes.len() > 2 * registers {
                return None;
            }
            bytes.resize(2 * registers, 0);
            let (pairs, _) = bytes.as_chunks();
            let word = |pair: &[u8; 2]| u16::from_be_bytes(*pair);
            let swap = |w: u16| {
                if self.order.swap_bytes {
                    w.swap_bytes()
                } else {
                    w
                }
            };
            return Some(pairs.iter().map(word).map(swap).collect());
        }
        let bits = reorder(self.encode_bits(value)?, self.order, registers);
        let words = bits.to_be_bytes();
        let (words, _) = words.as_chunks();
        let words: Vec<u16> = words.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
        words.get(4 - registers..).map(<[u16]>::to_vec)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts to wider or checked types, two's complement on purpose"
    )]
    fn encode_bits(&self, value: &Value) -> Option<u64> {
        let scale = self.scale.unwrap_or_default();
        let number: i128 = match (self.raw, value) {
            (RawType::F32, Value::F64(v)) => {
                let raw = ((v - scale.offset()) / scale.factor()) as f32;
                return Some(raw.to_bits().into());
            }
            (RawType::F64, Value::F64(v)) => {
                return Some(((v - scale.offset()) / scale.factor()).to_bits());
            }
            (_, Value::F64(v)) if self.scale.is_some() => {
                ((v - scale.offset()) / scale.factor()).round() as i128
            }
            (_, Value::I64(v)) => (*v).into(),
            (_, Value::U64(v)) => (*v).into(),
            _ => return None,
        };
        Some(match self.raw {
            RawType::I16 => u64::from(i16::try_from(number).ok()? as u16),
            RawType::U16 => u16::try_from(number).ok()?.into(),
            RawType::I32 => u64::from(i32::try_from(number).ok()? as u32),
            RawType::U32 => u32::try_from(number).ok()?.into(),
            RawType::I64 => i64::try_from(number).ok()? as u64,
            RawType::U64 => u64::try_from(number).ok()?,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
