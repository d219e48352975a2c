//! Values as people write and read them.

use anyhow::bail;
use protocols_model::{Quality, Reading, Value, ValueType};
use serde_json::json;

/// A value of a type, as written on a command line.
pub(crate) fn parse(text: &str, value_type: ValueType) -> anyhow::Result<Value> {
    let text = text.trim();
    let parsed = match value_type {
        ValueType::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "1" | "yes" => Some(Value::Bool(true)),
            "false" | "off" | "0" | "no" => Some(Value::Bool(false)),
            _ => None,
        },
        ValueType::I64 => text.parse().ok().map(Value::I64),
        ValueType::U64 => text.parse().ok().map(Value::U64),
        ValueType::F64 => text
            .parse()
            .ok()
            .filter(|v: &f64| v.is_finite())
            .map(Value::F64),
        ValueType::Text => Some(Value::Text(text.into())),
        ValueType::Bytes => None,
    };
    match parsed {
        Some(value) => Ok(value),
        None => bail!("{text:?} is not a value of type {}", value_type.as_str()),
    }
}

/// A value for people.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Bool(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::F64(v) => number(*v),
        Value::Text(v) => format!("{v:?}"),
        Value::Bytes(v) => hex(v),
    }
}

/// A number in as many digits as it has: what a device holds in 32 bits has no more than seven.
pub(crate) fn number(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "compared with what it came from"
    )]
    let narrow = value as f32;
    let text = if f64::from(narrow).to_bits() == value.to_bits() {
        narrow.to_string()
    } else {
        value.to_string()
    };
    if text.len() <= 14 {
        text
    } else {
        format!("{value:e}")
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

/// A value for machines.
pub(crate) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::Text(v) => json!(v.as_ref()),
        Value::Bytes(v) => json!(hex(v).replace(' ', "")),
    }
}

/// Quality in words: `good`, `uncertain: stale`, `bad: timeout`.
pub(crate) fn quality(reading: &Reading) -> String {
    match reading.quality {
        Quality::Good => "good".to_owned(),
        Quality::Uncertain(reason) => format!("uncertain: {}", reason.as_str()),
        Quality::Bad(reason) => format!("bad: {}", reason.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_more_digits_than_the_device_gave_them() {
        assert_eq!(number(f64::from(231.63_f32)), "231.63");
        assert_eq!(number(231.4), "231.4");
        assert_eq!(number(1_130_900_761.0), "1130900761");
        assert_eq!(number(2.6260333221447072e-39), "2.6260333221447072e-39");
    }

    #[test]
    fn values_are_written_in_the_type_of_their_point() {
        assert_eq!(parse("on", ValueType::Bool).unwrap(), Value::Bool(true));
        assert_eq!(parse("-5", ValueType::I64).unwrap(), Value::I64(-5));
        assert_eq!(parse("230.5", ValueType::F64).unwrap(), Value::F64(230.5));
        for (text, value_type) in [
            ("2", ValueType::Bool),
            ("1.5", ValueType::U64),
            ("nan", ValueType::F64),
        ] {
            assert!(parse(text, value_type).is_err(), "{text}");
        }
    }
}
