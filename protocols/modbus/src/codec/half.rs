//! IEEE 754 half precision, which the language does not have.

/// Bits of the fraction.
const FRACTION: i32 = 10;
/// The exponent of the smallest normal number.
const LEAST: i32 = -14;

fn power(exponent: i32) -> f64 {
    f64::from(exponent).exp2()
}

/// The number that these bits are; infinity and NaN as such.
pub(super) fn from_half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match i32::from(bits >> FRACTION & 0x1f) {
        0 => fraction * power(LEAST - FRACTION),
        0x1f if bits & 0x3ff == 0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1024.0 + fraction) * power(exponent - 15 - FRACTION),
    };
    sign * magnitude
}

/// The nearest half-precision number, ties to even; `None` for what is too large or no number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole numbers from 0 to 2048"
)]
pub(super) fn to_half(number: f64) -> Option<u16> {
    let sign = if number.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = number.abs();
    // Halfway from the largest number, 65504, to the next power of two.
    if magnitude.is_nan() || magnitude >= 65_520.0 {
        return None;
    }
    if magnitude < power(LEAST) {
        let steps = (magnitude * power(FRACTION - LEAST)).round_ties_even() as u16;
        return Some(sign | steps);
    }
    let exponent = i32::try_from(magnitude.to_bits() >> 52).ok()? - 1023;
    let steps = (magnitude * power(FRACTION - exponent)).round_ties_even() as u16;
    // Rounding up to 2048 carries into the exponent, as it should.
    let high = u16::try_from(exponent + 15).ok()? << FRACTION;
    Some(sign | (high + (steps - 1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_are_their_published_bits() {
        // IEEE 754 binary16, examples of the standard's tables.
        let cases: [(u16, f64); 8] = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 0.000_061_035_156_25),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x3555, 0.333_251_953_125),
            (0x4248, 3.140_625),
        ];
        for (bits, number) in cases {
            assert_eq!(from_half(bits).to_bits(), number.to_bits(), "{bits:04x}");
            assert_eq!(to_half(number), Some(bits), "{number}");
        }
        assert!(from_half(0x7c00).is_infinite() && from_half(0x7e00).is_nan());
        assert_eq!(to_half(65_520.0), None);
        assert_eq!(to_half(f64::NAN), None);
    }

    #[test]
    fn every_number_survives_and_what_lies_between_goes_to_the_nearest() {
        for bits in 0..=0x7bffu16 {
            assert_eq!(to_half(from_half(bits)), Some(bits));
            let (here, next) = (from_half(bits), from_half(bits + 1));
            if next.is_finite() {
                let low = here + (next - here) * 0.25;
                let high = here + (next - here) * 0.75;
                assert_eq!((to_half(low), to_half(high)), (Some(bits), Some(bits + 1)));
            }
        }
    }
}
