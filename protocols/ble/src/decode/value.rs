//! Raw numbers as values, exactly on the decimal grid.
//!
//! `2506 * 0.01` is 25.060000000000002 in binary floating point. The product is made in integers and
//! divided once, which gives the `f64` nearest to the decimal number: it prints with the digits it has
//! and sits on the grid that the wire's encoder looks for.

use protocols_model::{Reason, Value};

/// `raw * factor / divisor`; formats keep the product below 2^53.
pub(super) fn decimal(raw: i64, factor: i64, divisor: u32) -> Value {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the widest raw value has 32 bits and the largest factor 6"
    )]
    let product = raw.saturating_mul(factor) as f64;
    Value::F64(product / f64::from(divisor))
}

/// The same, or "not available" for the raw value that means it.
pub(super) fn decimal_unless(
    none: i64,
    raw: i64,
    factor: i64,
    divisor: u32,
) -> Result<Value, Reason> {
    if raw == none {
        return Err(Reason::DeviceError);
    }
    Ok(decimal(raw, factor, divisor))
}

/// An integer, or "not available" for the raw value that means it.
pub(super) fn integer_unless(none: u32, raw: u32) -> Result<Value, Reason> {
    if raw == none {
        return Err(Reason::DeviceError);
    }
    Ok(Value::U64(raw.into()))
}
