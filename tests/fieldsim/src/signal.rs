//! Signals: value of a point at its n-th poll, with n inside the value.
//!
//! | kind | raw | engineering value | n survives modulo |
//! |---|---|---|---|
//! | bit | bit `address` of n | bool | 2^(bits of the bank), all bits of a bank together |
//! | u16, u32, f32 | n | n | 2^16, 2^32, 2^24 |
//! | centi | round(s) · 100 + n mod 100 | raw / 100 | 100 |
//! | i32 | round(10 s) · 1000 + n mod 1000 | raw / 10⁴ | 1000 |
//! | i64 | round(100 s) · 10⁷ + n mod 10⁷ | raw / 10⁹ | 10⁷ |
//!
//! where s is the shape. A judge reads n out of a stored value; a person sees s.
//!
//! Measurements need signals as a plant has them. For [`Shape::Walk`], [`Shape::Total`],
//! [`Shape::Constant`] and [`Shape::Noise`] the shape itself is the raw integer, of any kind, without
//! n: still a closed form of n, so that the same set of signals is measured everywhere and for ever.

use crate::site::{PointSite, Shape, WordKind};

/// Divisor from raw to engineering value; 1 for unscaled kinds.
#[must_use]
pub const fn divisor(kind: WordKind) -> f64 {
    match kind {
        WordKind::Centi => 1e2,
        WordKind::I32 => 1e4,
        WordKind::I64 => 1e9,
        WordKind::Bit | WordKind::U16 | WordKind::U32 | WordKind::F32 => 1.0,
    }
}

/// The engineering value of a raw one.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "raw values stay below 2^53")]
pub fn value(kind: WordKind, raw: i64) -> f64 {
    raw as f64 / divisor(kind)
}

/// How many poll numbers a kind can tell apart.
#[must_use]
pub const fn modulus(kind: WordKind) -> u64 {
    match kind {
        WordKind::Bit => 2,
        WordKind::U16 => 1 << 16,
        WordKind::U32 => 1 << 32,
        WordKind::F32 => 1 << 24,
        WordKind::Centi => 100,
        WordKind::I32 => 1000,
        WordKind::I64 => 10_000_000,
    }
}

/// Of ten polls so many move a [`Shape::Walk`].
const MOVES_OF_TEN: u64 = 3;
/// A move ends anywhere in so many steps above the sine: two of them differ by at most 3.
const WALK_STEPS: u64 = 4;
/// A walk that should have stayed for longer moves all the same: bounds the way back to its last move.
const LONGEST_STAY: u64 = 64;

fn shape_at(shape: Shape, n: u64) -> f64 {
    let sine = |base: f64, amplitude: f64, period: f64, n: u64| {
        base + amplitude * (std::f64::consts::TAU * n as f64 / period).sin()
    };
    match shape {
        Shape::Count => n as f64,
        Shape::Sine {
            base,
            amplitude,
            period,
        } => sine(base, amplitude, period, n),
        Shape::Walk {
            base,
            amplitude,
            period,
            seed,
        } => {
            let moved = last_move(seed, n);
            let step = scattered(!seed, moved) % WALK_STEPS;
            // Each seed somewhere else on its sine.
            let at = moved + scattered(seed, u64::MAX) % 10_000;
            sine(base, amplitude, period, at).round() + step as f64
        }
        Shape::Total { step, seed } => {
            // Inside its own step of the ladder, so that the next poll is always above.
            let begin = scattered(seed, u64::MAX) % (1 << 16);
            let ladder = begin + n.wrapping_mul(step.max(1));
            ladder.wrapping_add(scattered(seed, n) % step.max(1)) as f64
        }
        Shape::Constant { value } => value as f64,
        Shape::Noise { base, spread, seed } => (base + scattered(seed, n) % spread.max(1)) as f64,
    }
}

/// The last poll up to `n` at which a walk moved.
fn last_move(seed: u64, n: u64) -> u64 {
    let first = n - n % LONGEST_STAY;
    let moves = |poll: &u64| scattered(seed, *poll) % 10 < MOVES_OF_TEN;
    (first..=n).rev().find(moves).unwrap_or(first)
}

/// A number that looks random and is always the same (the finalizer of `SplitMix64`).
#[must_use]
pub const fn scattered(seed: u64, n: u64) -> u64 {
    let mut x = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The raw integer of a point at its `n`-th poll.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "shapes are small by construction"
)]
pub fn raw_at(point: &PointSite, n: u64) -> i64 {
    if !point.shape.carries_poll_number() {
        return shape_at(point.shape, n).round() as i64;
    }
    let n_kept = i64::try_from(n % modulus(point.kind)).unwrap_or(0);
    match point.kind {
        WordKind::Bit => i64::from((n >> (point.address & 15)) & 1 == 1),
        WordKind::U16 | WordKind::U32 | WordKind::F32 => n_kept,
        WordKind::Centi => shape_at(point.shape, n).round() as i64 * 100 + n_kept,
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
        WordKind::Bit | WordKind::U16 | WordKind::Centi => vec![raw as u16],
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
    #[test]
    fn a_walk_moves_at_a_third_of_the_polls_by_a_few_steps() {
        let walk = |seed| Shape::Walk {
            base: 2000.0,
            amplitude: 20.0,
            period: 3600.0,
            seed,
        };
        let (mut moves, mut polls) = (0, 0);
        for seed in 0..20 {
            let point = point(WordKind::U16, walk(seed));
            let values: Vec<i64> = (0..1000).map(|n| raw_at(&point, n)).collect();
            for pair in values.windows(2) {
                let by = (pair[1] - pair[0]).abs();
                // The steps, and what the sine went on by meanwhile.
                assert!(by <= 3 + 3, "moved by {by}");
                moves += i32::from(by > 0);
                polls += 1;
            }
        }
        let share = f64::from(moves) / f64::from(polls);
        assert!((0.2..0.35).contains(&share), "{share}");
    }

    #[test]
    fn a_total_never_falls_and_noise_stays_in_its_bounds() {
        let total = point(WordKind::U32, Shape::Total { step: 7, seed: 3 });
        let noise = Shape::Noise {
            base: 500,
            spread: 20,
            seed: 4,
        };
        let noise = point(WordKind::U16, noise);
        for n in 0..1000 {
            assert!(raw_at(&total, n + 1) > raw_at(&total, n));
            assert!((500..520).contains(&raw_at(&noise, n)));
        }
        assert_eq!(
            words(WordKind::U16, 65_537),
            [1],
            "a full counter begins again"
        );
    }
}
