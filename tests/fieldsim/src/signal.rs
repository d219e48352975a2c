//! Signals: value of a point at its n-th poll, with n inside the value.
//!
//! | kind | raw | engineering value | n survives modulo |
//! |---|---|---|---|
//! | bit | bit `address` of n | bool | 2^(bits of the bank), all bits of a bank together |
//! | u16, u32, f32 | n | n | 2^16, 2^32, 2^24 |
//! | i32 | round(10 s) · 1000 + n mod 1000 | raw / 10⁴ | 1000 |
//! | i64 | round(100 s) · 10⁷ + n mod 10⁷ | raw / 10⁹ | 10⁷ |
//!
//! where s is the shape. A judge reads n out of a stored value; a person sees s.

use crate::site::{PointSite, Shape, WordKind};

/// Divisor from raw to engineering value; 1 for unscaled kinds.
#[must_use]
pub const fn divisor(kind: WordKind) -> f64 {
    match kind {
        WordKind::I32 => 1e4,
        WordKind::I64 => 1e9,
        WordKind::Bit | WordKind::U16 | WordKind::U32 | WordKind::F32 => 1.0,
    }
}

/// How many poll numbers a kind can tell apart.
#[must_use]
pub const fn modulus(kind: WordKind) -> u64 {
    match kind {
        WordKind::Bit => 2,
        WordKind::U16 => 1 << 16,
        WordKind::U32 => 1 << 32,
        WordKind::F32 => 1 << 24,
        WordKind::I32 => 1000,
        WordKind::I64 => 10_000_000,
    }
}

fn shape_at(shape: Shape, n: u64) -> f64 {
    match shape {
        Shape::Count => n as f64,
        Shape::Sine {
            base,
            amplitude,
            period,
        } => base + amplitude * (std::f64::consts::TAU * n as f64 / period).sin(),
    }
}

/// The raw integer of a point at its `n`-th poll.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "shapes are small by construction"
)]
pub fn raw_at(point: &PointSite, n: u64) -> i64 {
    let n_kept = i64::try_from(n % modulus(point.kind)).unwrap_or(0);
    match point.kind {
        WordKind::Bit => i64::from((n >> (point.address & 15)) & 1 == 1),
        WordKind::U16 | WordKind::U32 | WordKind::F32 => n_kept,
        WordKind::I32 => (shape_at(point.shape, n) * 10.0).round() as i64 * 1000 + n_kept,
        WordKind::I64 => (shape_at(point.shape, n) * 100.0).round() as i64 * 10_000_000 + n_kept,
    }
}

/// The registers (or, for a bit, one 0/1 word) that carry a raw value.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cutting an integer into 16-bit words is the purpose"
)]
pub fn words(kind: WordKind, raw: i64) -> Vec<u16> {
    match kind {
        WordKind::Bit | WordKind::U16 => vec![raw as u16],
        WordKind::U32 => vec![(raw >> 16) as u16, raw as u16],
        WordKind::I32 => vec![raw as u16, (raw >> 16) as u16],
        WordKind::I64 => {
            vec![
                (raw >> 48) as u16,
                (raw >> 32) as u16,
                (raw >> 16) as u16,
                raw as u16,
            ]
        }
        WordKind::F32 => {
            let bits = (raw as f32).to_bits();
            vec![(bits >> 16) as u16, bits as u16]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Space;

    fn point(kind: WordKind, shape: Shape) -> PointSite {
        PointSite {
            id: "p".into(),
            space: Space::Input,
            address: 0,
            kind,
            shape,
            unit: String::new(),
            deadband: 0.0,
            beat_s: 0,
        }
    }

    #[test]
    fn the_poll_number_can_be_read_out_of_every_value() {
        let sine = Shape::Sine {
            base: 230.0,
            amplitude: 12.0,
            period: 97.0,
        };
        for n in [0u64, 1, 999, 1000, 65_535, 1_234_567] {
            let raw = raw_at(&point(WordKind::I64, sine), n);
            assert_eq!(
                u64::try_from(raw).unwrap() % modulus(WordKind::I64),
                n % 10_000_000
            );
            let raw = raw_at(&point(WordKind::I32, sine), n);
            assert_eq!(
                u64::try_from(raw).unwrap() % modulus(WordKind::I32),
                n % 1000
            );
        }
    }
}
