//! The bytes of a raw advertisement or a characteristic, field by field.

use std::path::Path;

use protocols_sim::script::{Moment, Script, Signal, Value};
use serde::{Deserialize, Serialize};

use crate::sensor::{Turn, ValueSource};

/// Most fields of one value.
const MOST_FIELDS: usize = 64;

/// One field. Exactly one of `hex`, `text` and `value` says what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Fixed bytes, as hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// A fixed text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A number by script; needs `type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Script>,
    /// How the number is written.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub field_type: Option<FieldType>,
    /// The number written is the value divided by this.
    #[serde(default = "one")]
    pub scale: f64,
}

const fn one() -> f64 {
    1.0
}

/// How a number is written: little-endian, as Bluetooth does, unless the name says `be`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FieldType {
    U8,
    I8,
    U16,
    U16be,
    I16,
    I16be,
    U24,
    U24be,
    U32,
    U32be,
    I32,
    I32be,
    U64,
    I64,
    F32,
    F64,
}

impl FieldType {
    /// Bytes, signed, big-endian; `None` for floating point.
    const fn integer(self) -> Option<(usize, bool, bool)> {
        Some(match self {
            Self::U8 => (1, false, false),
            Self::I8 => (1, true, false),
            Self::U16 => (2, false, false),
            Self::U16be => (2, false, true),
            Self::I16 => (2, true, false),
            Self::I16be => (2, true, true),
            Self::U24 => (3, false, false),
            Self::U24be => (3, false, true),
            Self::U32 => (4, false, false),
            Self::U32be => (4, false, true),
            Self::I32 => (4, true, false),
            Self::I32be => (4, true, true),
            Self::U64 => (8, false, false),
            Self::I64 => (8, true, false),
            Self::F32 | Self::F64 => return None,
        })
    }

    #[expect(clippy::float_cmp, reason = "the scale 1 is written, not computed")]
    fn write(self, value: &Value, scale: f64, to: &mut Vec<u8>) {
        let Some((bytes, signed, big)) = self.integer() else {
            let number = value.as_f64() / scale;
            if self == Self::F64 {
                to.extend(number.to_le_bytes());
            } else {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the nearest that the field holds"
                )]
                to.extend((number as f32).to_le_bytes());
            }
            return;
        };
        // Whole numbers stay exact unless they are scaled.
        let number = if scale == 1.0 {
            value.as_i64()
        } else {
            Value::Float(value.as_f64() / scale).as_i64()
        };
        let bits = u32::try_from(bytes).unwrap_or(8) * 8;
        let most = if signed {
            (1_i128 << (bits - 1)) - 1
        } else {
            (1_i128 << bits) - 1
        };
        let least = if signed { -most - 1 } else { 0 };
        let number = i128::from(number).clamp(least, most).to_le_bytes();
        let written = number.iter().take(bytes);
        if big {
            to.extend(written.rev());
        } else {
            to.extend(written);
        }
    }
}

/// A field with its script made ready.
#[derive(Debug)]
enum Part {
    Fixed(Vec<u8>),
    Number(Signal, FieldType, f64),
}

/// Makes a writer of the fields.
///
/// # Errors
/// All that is wrong with them.
pub(super) fn prepare(
    fields: &[Field],
    folder: &Path,
    salt: u64,
) -> Result<ValueSource, Vec<String>> {
    let mut wrong = Vec::new();
    if fields.len() > MOST_FIELDS {
        wrong.push(format!("fields: at most {MOST_FIELDS}"));
    }
    let mut parts = Vec::new();
    for (number, field) in fields.iter().take(MOST_FIELDS).enumerate() {
        let salt = salt
            .wrapping_mul(97)
            .wrapping_add(u64::try_from(number).unwrap_or(0));
        match part(field, folder, salt) {
            Ok(part) => parts.push(part),
            Err(what) => wrong.push(format!("fields[{number}]: {what}")),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Box::new(move |turn| {
        let mut bytes = Vec::new();
        for part in &parts {
            match part {
                Part::Fixed(fixed) => bytes.extend(fixed),
                Part::Number(signal, field_type, scale) => {
                    field_type.write(&signal.at(moment(turn)), *scale, &mut bytes);
                }
            }
        }
        bytes
    }))
}

fn part(field: &Field, folder: &Path, salt: u64) -> Result<Part, String> {
    match (&field.hex, &field.text, &field.value, field.field_type) {
        (Some(digits), None, None, None) => hex(digits)
            .map(Part::Fixed)
            .ok_or_else(|| format!("hex = {digits:?}: write two hex digits for each byte")),
        (None, Some(text), None, None) => Ok(Part::Fixed(text.clone().into_bytes())),
        (None, None, Some(script), Some(field_type)) => {
            if !(field.scale.is_finite() && field.scale > 0.0) {
                return Err(format!(
                    "scale = {} is not allowed; use a number above 0",
                    field.scale
                ));
            }
            let signal = script
                .prepare(folder, salt)
                .map_err(|e| format!("value: {e}"))?;
            Ok(Part::Number(signal, field_type, field.scale))
        }
        _ => Err("write either hex, or text, or type and value".to_owned()),
    }
}

/// The moment of a script at a sensor's turn.
pub(super) const fn moment(turn: Turn) -> Moment {
    Moment {
        elapsed: turn.elapsed,
        poll: turn.number,
    }
}

/// The bytes of hex digits.
pub(super) fn hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibbles: Option<Vec<u8>> = digits
        .chars()
        .map(|c| c.to_digit(16).and_then(|n| u8::try_from(n).ok()))
        .collect();
    Some(
        nibbles?
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |sum, nibble| sum << 4 | nibble))
            .collect(),
    )
}
