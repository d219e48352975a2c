//! How a value lies in registers: type, byte order by letters, scale. Written from the device's side:
//! value in, registers out.

use crate::script::Value;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What stands in the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RawKind {
    /// A coil, a discrete input.
    Bool,
    /// One register, signed.
    I16,
    /// One register, unsigned.
    U16,
    /// Two registers, signed.
    I32,
    /// Two registers, unsigned.
    U32,
    /// Four registers, signed.
    I64,
    /// Four registers, unsigned.
    U64,
    /// Two registers, IEEE 754.
    F32,
    /// Four registers, IEEE 754.
    F64,
    /// One register, four decimal digits.
    Bcd16,
    /// Two registers, eight decimal digits.
    Bcd32,
    /// Text, two bytes a register, filled with NUL; see [`Raw::length`].
    String,
}

impl fmt::Display for RawKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bcd16 => "bcd16",
            Self::Bcd32 => "bcd32",
            Self::String => "string",
        })
    }
}

/// Order of bytes by letters, A the most significant: four letters serve every width, `CDAB` sends the
/// 8 bytes of a wide value as `GHEFCDAB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order {
    /// The low byte of a register first.
    swap_bytes: bool,
    /// The lowest register first.
    swap_words: bool,
}

/// Letters that are no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no order of bytes; use ABCD, CDAB, BADC or DCBA (A is the most significant byte)"
)]
pub struct OrderError(String);

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let (swap_words, swap_bytes) = match text {
            "AB" | "ABCD" | "ABCDEFGH" => (false, false),
            "CDAB" | "GHEFCDAB" => (true, false),
            "BA" | "BADC" | "BADCFEHG" => (false, true),
            "DCBA" | "HGFEDCBA" => (true, true),
            _ => return Err(OrderError(text.to_owned())),
        };
        Ok(Self {
            swap_bytes,
            swap_words,
        })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.swap_words, self.swap_bytes) {
            (false, false) => "ABCD",
            (true, false) => "CDAB",
            (false, true) => "BADC",
            (true, true) => "DCBA",
        })
    }
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Order {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How a value lies in registers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Raw {
    /// The type.
    pub kind: RawKind,
    /// The order.
    pub order: Order,
    /// Registers of a text.
    pub length: u16,
    /// value = raw * scale + offset.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
}

impl Raw {
    /// Unscaled; a text of eight registers.
    #[must_use]
    pub const fn new(kind: RawKind, order: Order) -> Self {
        Self {
            kind,
            order,
            length: 8,
            scale: 1.0,
            offset: 0.0,
        }
    }

    /// Registers, or bits, that the value takes.
    #[must_use]
    pub const fn width(&self) -> u16 {
        match self.kind {
            RawKind::Bool | RawKind::I16 | RawKind::U16 | RawKind::Bcd16 => 1,
            RawKind::I32 | RawKind::U32 | RawKind::F32 | RawKind::Bcd32 => 2,
            RawKind::I64 | RawKind::U64 | RawKind::F64 => 4,
            RawKind::String => self.length,
        }
    }

    /// The registers of a value. A whole number that does not fit loses its high bits, as a counter does
    /// that runs over.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "dropping high bits is what a device with narrow registers does"
    )]
    pub fn words(&self, value: &Value) -> Vec<u16> {
        let raw = self.unscaled(value);
        let int = raw.as_i64();
        let mut words = match self.kind {
            RawKind::Bool => vec![u16::from(raw.is_on())],
            RawKind::I16 | RawKind::U16 => vec![int as u16],
            RawKind::I32 | RawKind::U32 => big(&(int as u32).to_be_bytes()),
            RawKind::I64 | RawKind::U64 => big(&int.to_be_bytes()),
            RawKind::F32 => big(&(raw.as_f64() as f32).to_be_bytes()),
            RawKind::F64 => big(&raw.as_f64().to_be_bytes()),
            RawKind::Bcd16 => vec![digits(int.unsigned_abs(), 4) as u16],
            RawKind::Bcd32 => big(&digits(int.unsigned_abs(), 8).to_be_bytes()),
            RawKind::String => {
                let mut bytes = value.to_string().into_bytes();
                bytes.resize(2 * usize::from(self.length), 0);
                big(&bytes)
            }
        };
        if self.order.swap_words && self.kind != RawKind::String {
            words.reverse();
        }
        if self.order.swap_bytes && self.kind != RawKind::Bool {
            words.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        words
    }

    fn unscaled(&self, value: &Value) -> Value {
        let is_plain = self.scale.to_bits() == 1f64.to_bits() && self.offset == 0.0;
        if is_plain || matches!(value, Value::Text(_)) {
            return value.clone();
        }
        Value::Float((value.as_f64() - self.offset) / self.scale)
    }
}

fn big(bytes: &[u8]) -> Vec<u16> {
    let word = |pair: &[u8]| {
        pair.iter()
            .fold(0, |word, byte| word << 8 | u16::from(*byte))
    };
    bytes.chunks(2).map(word).collect()
}

/// The lowest `count` decimal digits, four bits each.
fn digits(number: u64, count: u32) -> u32 {
    let digit = |place: u32| {
        let digit = number / 10u64.pow(place) % 10;
        u32::try_from(digit).unwrap_or(0) << (4 * place)
    };
    (0..count).map(digit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(kind: RawKind, order: &str, value: Value) -> Vec<u16> {
        Raw::new(kind, order.parse().unwrap()).words(&value)
    }

    #[test]
    fn every_type_lies_in_registers_as_its_letters_say() {
        use RawKind::{Bcd16, Bcd32, Bool, F32, I16, I64, U16, U32};
        let int = Value::Int;
        assert_eq!(words(I16, "AB", int(-2)), [0xfffe]);
        assert_eq!(words(U16, "BA", int(0x1234)), [0x3412]);
        let wide = int(0x0102_0304);
        assert_eq!(words(U32, "ABCD", wide.clone()), [0x0102, 0x0304]);
        assert_eq!(words(U32, "CDAB", wide.clone()), [0x0304, 0x0102]);
        assert_eq!(words(U32, "BADC", wide.clone()), [0x0201, 0x0403]);
        assert_eq!(words(U32, "DCBA", wide), [0x0403, 0x0201]);
        let widest = int(0x0102_0304_0506_0708);
        assert_eq!(words(I64, "CDAB", widest), [0x0708, 0x0506, 0x0304, 0x0102]);
        assert_eq!(words(F32, "ABCD", Value::Float(-1.5)), [0xbfc0, 0]);
        assert_eq!(words(Bcd16, "AB", int(91_234)), [0x1234]);
        assert_eq!(words(Bcd32, "ABCD", int(12_345_678)), [0x1234, 0x5678]);
        assert_eq!(words(Bool, "AB", int(1)), [1]);
        assert_eq!(
            words(U16, "AB", int(65_537)),
            [1],
            "a full counter begins again"
        );
    }

    #[test]
    fn scale_and_offset_are_taken_out_and_texts_are_filled() {
        let mut raw = Raw::new(RawKind::I16, Order::default());
        (raw.scale, raw.offset) = (0.1, -40.0);
        assert_eq!(raw.words(&Value::Float(21.5)), [615]);
        let mut text = Raw::new(RawKind::String, "BADC".parse().unwrap());
        text.length = 3;
        assert_eq!(text.words(&Value::Text("ABC".into())), [0x4241, 0x0043, 0]);
    }
}
