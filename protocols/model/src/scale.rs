//! From a raw number to the value and back, exactly on the decimal grid.
//!
//! `2301 * 0.1` is 230.10000000000002 in binary floating point; a meter that says 2301 at scale 0.1
//! means 230.1. Factor and offset are taken as the decimal numbers that were written, the sum is made
//! in integers, and one division at the end gives the nearest `f64`: the value prints with no more
//! digits than it has and sits on the grid that the wire's encoder looks for.

/// Powers of ten that `f64` holds exactly.
const EXACT_POWERS: i32 = 22;
/// Integers up to here are exact in `f64`.
const EXACT_INTEGER: u128 = 1 << 53;

/// `value = raw * factor + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    factor: f64,
    offset: f64,
    decimal: Option<Decimal>,
}

/// `value = (raw * factor + offset) / divisor` in integers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Decimal {
    factor: i64,
    offset: i64,
    divisor: f64,
}

/// Why numbers are not a scale.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScaleError {
    /// Zero, infinite or no number.
    #[error("scale {0} is not allowed; use a finite number other than 0")]
    Factor(f64),
    /// Infinite or no number.
    #[error("offset {0} is not allowed; use a finite number")]
    Offset(f64),
    /// No straight line.
    #[error(
        "raw {0:?} to {1:?} is no line; use two different raw numbers and two different values"
    )]
    Map([f64; 2], [f64; 2]),
}

/// `number` as `mantissa * 10^exponent`, by its shortest decimal form.
fn decimal_parts(number: f64) -> Option<(i64, i32)> {
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mantissa = format!("{whole}{fraction}").parse().ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    Some((mantissa, exponent - i32::try_from(fraction.len()).ok()?))
}

impl Decimal {
    fn new(factor: f64, offset: f64) -> Option<Self> {
        let (factor, factor_exponent) = decimal_parts(factor)?;
        let (offset, offset_exponent) = decimal_parts(offset)?;
        let exponent = factor_exponent.min(offset_exponent).min(0);
        if exponent < -EXACT_POWERS {
            return None;
        }
        let raised = |mantissa: i64, by: i32| {
            let power = 10i64.checked_pow(u32::try_from(by - exponent).ok()?)?;
            mantissa.checked_mul(power)
        };
        Some(Self {
            factor: raised(factor, factor_exponent)?,
            offset: raised(offset, offset_exponent)?,
            divisor: 10f64.powi(-exponent),
        })
    }

    /// `value = (raw * (v1 - v0) + v0 * (r1 - r0) - r0 * (v1 - v0)) / (r1 - r0)`, all made whole by one
    /// power of ten for raw numbers and one for values.
    #[expect(clippy::cast_precision_loss, reason = "checked to be exact")]
    fn through(raw: [f64; 2], value: [f64; 2]) -> Option<Self> {
        let whole = |numbers: [f64; 2]| {
            let [a, b] = numbers.map(decimal_parts);
            let (a, b) = (a?, b?);
            let exponent = a.1.min(b.1).min(0);
            let raised = |(mantissa, by): (i64, i32)| {
                let power = 10i128.checked_pow(u32::try_from(by - exponent).ok()?)?;
                i128::from(mantissa).checked_mul(power)
            };
            let one = 10i128.checked_pow(exponent.unsigned_abs())?;
            Some((raised(a)?, raised(b)?, one))
        };
        let (r0, r1, raw_one) = whole(raw)?;
        let (v0, v1, value_one) = whole(value)?;
        let (run, rise) = (r1.checked_sub(r0)?, v1.checked_sub(v0)?);
        let offset = v0.checked_mul(run)?.checked_sub(r0.checked_mul(rise)?)?;
        let divisor = run.checked_mul(value_one)?;
        let (sign, exact) = (divisor.signum(), divisor.unsigned_abs() <= EXACT_INTEGER);
        exact.then_some(())?;
        Some(Self {
            factor: i64::try_from(rise.checked_mul(raw_one)?.checked_mul(sign)?).ok()?,
            offset: i64::try_from(offset.checked_mul(sign)?).ok()?,
            divisor: divisor.unsigned_abs() as f64,
        })
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "checked to be exact on the line before"
    )]
    fn apply(&self, raw: i128) -> Option<f64> {
        let sum = raw
            .checked_mul(i128::from(self.factor))?
            .checked_add(i128::from(self.offset))?;
        (sum.unsigned_abs() <= EXACT_INTEGER).then(|| sum as f64 / self.divisor)
    }
}

impl Scale {
    /// Raw numbers as they are.
    pub const IDENTITY: Self = Self {
        factor: 1.0,
        offset: 0.0,
        // As `new` makes it: a scale of 1 that somebody wrote down is this one.
        decimal: Some(Decimal {
            factor: 1,
            offset: 0,
            divisor: 1.0,
        }),
    };

    /// `raw * factor + offset`.
    ///
    /// # Errors
    /// [`ScaleError`] for a factor of zero and for what is not finite.
    pub fn new(factor: f64, offset: f64) -> Result<Self, ScaleError> {
        if !factor.is_normal() {
            return Err(ScaleError::Factor(factor));
        }
        if !offset.is_finite() {
            return Err(ScaleError::Offset(offset));
        }
        Ok(Self {
            factor,
            offset,
            decimal: Decimal::new(factor, offset),
        })
    }

    /// The straight line through two pairs of raw number and value: 0 to 27648 stands for 4 to 20 bar.
    ///
    /// # Errors
    /// [`ScaleError`] when both raw numbers or both values are the same, or not finite.
    pub fn through(raw: [f64; 2], value: [f64; 2]) -> Result<Self, ScaleError> {
        let [(low, high), (from, to)] = [raw, value].map(|[a, b]| (a, b));
        let factor = (to - from) / (high - low);
        if !factor.is_normal() {
            return Err(ScaleError::Map(raw, value));
        }
        let mut scale = Self::new(factor, from - low * factor)?;
        scale.decimal = Decimal::through(raw, value);
        Ok(scale)
    }

    /// The factor: the grid that scaled integers sit on.
    #[must_use]
    pub const fn factor(&self) -> f64 {
        self.factor
    }

    /// The offset.
    #[must_use]
    pub const fn offset(&self) -> f64 {
        self.offset
    }

    /// Whether the raw number is the value.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "exactly 1 and 0, as configured")]
    pub fn is_identity(&self) -> bool {
        self.factor == 1.0 && self.offset == 0.0
    }

    /// The value of a raw integer: the `f64` nearest to the exact decimal result while that has at
    /// most 53 bits before the division, else the product in floating point.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "beyond 53 bits f64 is the nearest there is"
    )]
    pub fn apply_integer(&self, raw: i128) -> f64 {
        let exact = self.decimal.and_then(|decimal| decimal.apply(raw));
        exact.unwrap_or_else(|| self.apply_float(raw as f64))
    }

    /// The value of a raw float.
    #[must_use]
    pub fn apply_float(&self, raw: f64) -> f64 {
        if self.is_identity() {
            raw
        } else {
            raw.mul_add(self.factor, self.offset)
        }
    }

    /// The raw number, not rounded, whose value is `value`.
    #[must_use]
    pub fn raw_of(&self, value: f64) -> f64 {
        if self.is_identity() {
            value
        } else {
            (value - self.offset) / self.factor
        }
    }
}

impl Default for Scale {
    fn default() -> Self {
        Self::IDENTITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scaled_values_are_the_decimal_numbers_people_expect() {
        let cases: [(i128, f64, f64, f64); 9] = [
            (2301, 0.1, 0.0, 230.1),
            (-2301, 0.1, 0.0, -230.1),
            (49_987, 0.001, 0.0, 49.987),
            (7, 0.05, 0.0, 0.35),
            (3, 2.5, 0.0, 7.5),
            (255, 0.1, -40.0, -14.5),
            (33, 1e-7, 0.0, 3.3e-6),
            (12, 100.0, 0.0, 1200.0),
            (1, 1.0, 0.5, 1.5),
        ];
        for (raw, factor, offset, expected) in cases {
            let value = Scale::new(factor, offset).unwrap().apply_integer(raw);
            assert_eq!(
                value.to_bits(),
                expected.to_bits(),
                "{raw} * {factor} + {offset}: {value}"
            );
        }
        let huge = Scale::new(0.1, 0.0)
            .unwrap()
            .apply_integer(i128::from(u64::MAX));
        assert!((huge / 1.844_674_407_370_955_2e18 - 1.0).abs() < 1e-15);
        assert!(Scale::new(0.0, 0.0).is_err() && Scale::new(f64::NAN, 0.0).is_err());
        assert!(Scale::new(1.0, f64::INFINITY).is_err());
    }

    #[test]
    fn a_scale_of_one_is_the_identity_whoever_made_it() {
        assert_eq!(Scale::new(1.0, 0.0), Ok(Scale::IDENTITY));
        for raw in [0, -5, i128::from(u64::MAX)] {
            let (plain, apart) = (Scale::IDENTITY.apply_integer(raw), raw.to_string());
            assert_eq!(Ok(plain), apart.parse());
        }
    }

    proptest! {
        /// The model is text: write the decimal number down and let the standard library read it.
        #[test]
        fn scaled_integers_equal_the_decimal_text(raw: i32, places in 0usize..9) {
            let factor: f64 = format!("1e-{places}").parse().unwrap();
            let expected: f64 = format!("{raw}e-{places}").parse().unwrap();
            let scale = Scale::new(factor, 0.0).unwrap();
            prop_assert_eq!((scale.apply_integer(raw.into())).to_bits(), expected.to_bits());
        }
    }
}
