//! From what a parser found to the value of a point: type, scale, words, "no reading", range.

use protocols_layout::Scale;
use protocols_model::value::MAX_VALUE_BYTES;
use protocols_model::{Reason, Value, ValueType};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// `f64`: a decimal number, also with an exponent. Blanks between sign and digits are allowed, as
    /// scales send them.
    #[default]
    F64,
    /// `i64`: an integer.
    I64,
    /// `u64`: an integer without sign.
    U64,
    /// `hex`: hexadecimal digits, a `u64`.
    Hex,
    /// `bool`: 1, 0, true, false, on, off, yes, no, in any case.
    Bool,
    /// `text`.
    Text,
}

/// Why a text is no kind of value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a type; use f64, i64, u64, hex, bool or text")]
pub struct KindError(String);

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        Ok(match text {
            "f64" => Self::F64,
            "i64" => Self::I64,
            "u64" => Self::U64,
            "hex" => Self::Hex,
            "bool" => Self::Bool,
            "text" => Self::Text,
            _ => return Err(KindError(text.to_owned())),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::Hex => "hex",
            Self::Bool => "bool",
            Self::Text => "text",
        })
    }
}

/// What is made of what a parser found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValueRules {
    /// Key `as`, default `f64`. Binary places and named fields of NMEA have a type of their own, and
    /// this one is not looked at.
    pub kind: Kind,
    /// Keys `scale` (default 1) and `offset` (default 0): value = raw * scale + offset.
    pub scale: Scale,
    /// Key `comma`, default false: numbers have a decimal comma.
    pub comma: bool,
    /// Key `invalid`, default none: texts that mean "no reading", compared without blanks around them;
    /// for a binary place the number before scaling.
    pub invalid: Vec<String>,
    /// Key `map`, default none: texts and the values they stand for, all of one type. What is not in
    /// it is undecodable. A written value goes the other way.
    pub map: Vec<(String, Value)>,
    /// Key `range`, default none: values outside are `Bad(OutOfRange)`; in engineering units.
    pub range: Option<RangeInclusive<f64>>,
}

impl ValueRules {
    /// Type of the values, where the parser gives texts.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        if let Some((_, value)) = self.map.first() {
            return value.value_type();
        }
        match self.kind {
            Kind::Bool => ValueType::Bool,
            Kind::Text => ValueType::Text,
            Kind::F64 => ValueType::F64,
            _ if !self.scale.is_identity() => ValueType::F64,
            Kind::I64 => ValueType::I64,
            Kind::U64 | Kind::Hex => ValueType::U64,
        }
    }

    /// The value of a text.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn of_text(&self, text: &str) -> Result<Value, Reason> {
        let text = text.trim();
        self.refuse_invalid(text)?;
        if !self.map.is_empty() {
            return self.mapped(text);
        }
        let value = match self.kind {
            Kind::Text if text.len() <= MAX_VALUE_BYTES => Some(Value::Text(text.into())),
            Kind::Text => None,
            Kind::Bool => truth(text).map(Value::Bool),
            Kind::F64 => self.decimal(text),
            Kind::I64 => compact(text)
                .parse::<i64>()
                .ok()
                .map(|n| self.scaled(n.into(), Value::I64(n))),
            Kind::U64 => {
                let number = compact(text).parse::<u64>().ok();
                number.map(|n| self.scaled(n.into(), Value::U64(n)))
            }
            Kind::Hex => {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
                let number = u64::from_str_radix(digits, 16).ok().filter(|_| plain);
                number.map(|n| self.scaled(n.into(), Value::U64(n)))
            }
        };
        self.in_range(value.ok_or(Reason::Undecodable)?)
    }

    /// The value of a value that the parser has typed already: words and range.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn of_value(&self, value: Value) -> Result<Value, Reason> {
        if !self.invalid.is_empty() || !self.map.is_empty() {
            let text = match &value {
                Value::Bool(v) => v.to_string(),
                Value::I64(v) => v.to_string(),
                Value::U64(v) => v.to_string(),
                Value::F64(v) => v.to_string(),
                Value::Text(v) => v.as_ref().to_owned(),
                Value::Bytes(_) => String::new(),
            };
            self.refuse_invalid(&text)?;
            if !self.map.is_empty() {
                return self.mapped(&text);
            }
        }
        self.in_range(value)
    }

    /// The text that stands for a value in the map; `None` when there is no map.
    pub(crate) fn unmapped(&self, value: &Value) -> Option<Result<Value, String>> {
        if self.map.is_empty() {
            return None;
        }
        let found = self.map.iter().find(|(_, known)| known == value);
        Some(match found {
            Some((text, _)) => Ok(Value::Text(text.as_str().into())),
            None => Err(format!("{value:?} is none of the values of its map")),
        })
    }

    /// Whether a number lies in the range; everything else does.
    pub(crate) fn in_range(&self, value: Value) -> Result<Value, Reason> {
        match (&self.range, value.as_f64()) {
            (Some(range), Some(number)) if !range.contains(&number) => Err(Reason::OutOfRange),
            _ => Ok(value),
        }
    }

    fn refuse_invalid(&self, text: &str) -> Result<(), Reason> {
        if self.invalid.iter().any(|invalid| invalid.trim() == text) {
            Err(Reason::DeviceError)
        } else {
            Ok(())
        }
    }

    fn mapped(&self, text: &str) -> Result<Value, Reason> {
        let found = self.map.iter().find(|(known, _)| known.trim() == text);
        found
            .map(|(_, value)| value.clone())
            .ok_or(Reason::Undecodable)
    }

    fn scaled(&self, number: i128, value: Value) -> Value {
        if self.scale.is_identity() {
            value
        } else {
            Value::F64(self.scale.apply_integer(number))
        }
    }

    fn decimal(&self, text: &str) -> Option<Value> {
        let text = compact(text);
        let text = if self.comma {
            // A point then groups thousands, which nobody can be sure of.
            if text.contains('.') {
                return None;
            }
            text.replace(',', ".")
        } else {
            text
        };
        let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-' | b'e' | b'E');
        if !text.bytes().all(plain) {
            return None;
        }
        let number: f64 = text.parse().ok()?;
        let value = on_grid(&text, &self.scale).unwrap_or_else(|| self.scale.apply_float(number));
        value.is_finite().then_some(Value::F64(value))
    }
}

/// `12.34` at a scale is 1234 at a hundredth of it: exact on the decimal grid, where the product of
/// floats is not.
fn on_grid(text: &str, scale: &Scale) -> Option<f64> {
    if scale.is_identity() {
        return None;
    }
    let (whole, fraction) = text.split_once('.')?;
    let mantissa: i64 = format!("{whole}{fraction}").parse().ok()?;
    let factor: f64 = format!("{:e}", scale.factor()).parse().ok()?;
    let (digits, exponent) = format!("{factor:e}")
        .split_once('e')
        .map(|(d, e)| (d.to_owned(), e.to_owned()))?;
    let exponent = exponent.parse::<i64>().ok()? - i64::try_from(fraction.len()).ok()?;
    let fine: f64 = format!("{digits}e{exponent}").parse().ok()?;
    let scale = Scale::new(fine, scale.offset()).ok()?;
    Some(scale.apply_integer(mantissa.into()))
}

/// Without the blanks that stand between a sign and its number.
fn compact(text: &str) -> String {
    let number = text.strip_prefix(['+', '-']).map(str::trim_start);
    match number.filter(|number| !number.starts_with(['+', '-'])) {
        Some(number) if text.starts_with('-') => format!("-{number}"),
        Some(number) => number.to_owned(),
        None => text.to_owned(),
    }
}

fn truth(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&["1", "true", "on", "yes"]) {
        Some(true)
    } else if is(&["0", "false", "off", "no"]) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(kind: Kind) -> ValueRules {
        ValueRules {
            kind,
            ..ValueRules::default()
        }
    }

    #[test]
    fn texts_become_values_of_their_kind() {
        for (kind, text, value) in [
            (Kind::F64, " +  12.340 ", Value::F64(12.34)),
            (Kind::F64, "-0.5E+01", Value::F64(-5.0)),
            (Kind::I64, "- 7", Value::I64(-7)),
            (Kind::U64, "+18446744073709551615", Value::U64(u64::MAX)),
            (Kind::Hex, "0x1F", Value::U64(31)),
            (Kind::Bool, "On", Value::Bool(true)),
            (Kind::Bool, "no", Value::Bool(false)),
            (Kind::Text, " ST ", Value::Text("ST".into())),
        ] {
            assert_eq!(rules(kind).of_text(text), Ok(value), "{text}");
        }
        for (kind, text) in [
            (Kind::F64, "1.02.0"),
            (Kind::F64, "nan"),
            (Kind::F64, "inf"),
            (Kind::F64, "1e999"),
            (Kind::F64, "+-1"),
            (Kind::F64, "1 2"),
            (Kind::F64, "1,5"),
            (Kind::F64, ""),
            (Kind::I64, "1.0"),
            (Kind::U64, "-1"),
            (Kind::Hex, "+1"),
            (Kind::Bool, "2"),
        ] {
            assert_eq!(
                rules(kind).of_text(text),
                Err(Reason::Undecodable),
                "{text}"
            );
        }
    }

    #[test]
    fn scale_comma_words_and_range_are_applied() {
        let mut scaled = rules(Kind::F64);
        scaled.scale = Scale::new(0.001, 0.0).unwrap();
        assert_eq!(scaled.of_text("12.34"), Ok(Value::F64(0.01234)));
        assert_eq!(scaled.of_text("-2301"), Ok(Value::F64(-2.301)));
        scaled.kind = Kind::I64;
        assert_eq!(scaled.of_text("7"), Ok(Value::F64(0.007)));
        assert_eq!(scaled.value_type(), ValueType::F64);

        let mut comma = rules(Kind::F64);
        comma.comma = true;
        assert_eq!(comma.of_text("12,5"), Ok(Value::F64(12.5)));
        assert_eq!(comma.of_text("1.234,5"), Err(Reason::Undecodable));

        let mut limited = rules(Kind::F64);
        limited.range = Some(0.0..=60.0);
        limited.invalid = vec!["9.91E37".into(), "------".into()];
        assert_eq!(limited.of_text("60.1"), Err(Reason::OutOfRange));
        assert_eq!(limited.of_text("------"), Err(Reason::DeviceError));
        assert_eq!(limited.of_text(" 9.91E37"), Err(Reason::DeviceError));

        let mut mapped = rules(Kind::Text);
        mapped.map = vec![
            ("ST".into(), Value::Bool(true)),
            ("US".into(), Value::Bool(false)),
        ];
        assert_eq!(mapped.of_text("ST "), Ok(Value::Bool(true)));
        assert_eq!(mapped.of_text("XX"), Err(Reason::Undecodable));
        assert_eq!(mapped.value_type(), ValueType::Bool);
        mapped.map = vec![("3".into(), Value::Text("stop".into()))];
        assert_eq!(
            mapped.of_value(Value::U64(3)),
            Ok(Value::Text("stop".into()))
        );
    }
}
