//! Makes readings well formed, before anything looks at them.

use protocols_model::value::MAX_VALUE_BYTES;
use protocols_model::{Quality, Reason, Value, ValueType};

/// A value exactly when the quality is not bad, of the point's type, short enough, and a number where it
/// should be one.
#[must_use]
pub fn normalise(
    value_type: ValueType,
    value: Option<Value>,
    quality: Quality,
) -> (Option<Value>, Quality) {
    if quality.is_bad() {
        return (None, quality);
    }
    let Some(value) = value else {
        return (None, Quality::Bad(Reason::Undecodable));
    };
    let broken = value.value_type() != value_type
        || match &value {
            Value::F64(number) => number.is_nan(),
            Value::Text(text) => text.len() > MAX_VALUE_BYTES,
            Value::Bytes(bytes) => bytes.len() > MAX_VALUE_BYTES,
            Value::Bool(_) | Value::I64(_) | Value::U64(_) => false,
        };
    if broken {
        return (None, Quality::Bad(Reason::Undecodable));
    }
    (Some(value), quality)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Value::{Bytes, F64, I64, Text, U64};

    #[test]
    fn what_is_malformed_becomes_undecodable_and_what_is_bad_loses_its_value() {
        let good = Quality::Good;
        let broken = (None, Quality::Bad(Reason::Undecodable));
        let long = "x".repeat(MAX_VALUE_BYTES + 1);
        assert_eq!(normalise(ValueType::F64, Some(F64(f64::NAN)), good), broken);
        assert_eq!(normalise(ValueType::F64, Some(I64(1)), good), broken);
        assert_eq!(
            normalise(ValueType::Text, Some(Text(long.as_str().into())), good),
            broken
        );
        assert_eq!(
            normalise(
                ValueType::Bytes,
                Some(Bytes(long.into_bytes().into())),
                good
            ),
            broken
        );
        assert_eq!(normalise(ValueType::U64, None, good), broken);
        let timeout = Quality::Bad(Reason::Timeout);
        assert_eq!(
            normalise(ValueType::U64, Some(U64(1)), timeout),
            (None, timeout)
        );
        let infinite = Some(F64(f64::INFINITY));
        assert_eq!(
            normalise(ValueType::F64, infinite.clone(), good),
            (infinite, good)
        );
    }
}
