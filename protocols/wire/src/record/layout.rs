//! How the values of a column are coded: one small number a column, shared by runs of columns.

use crate::error::DecodeError;
use crate::pack::{unzigzag, zigzag};

/// Set when all values of the column are equal and stand there once.
const CONSTANT: u8 = 0x40;
const QUOTIENT: u8 = 0x10;
const PRODUCT: u8 = 0x20;
const EXPONENT: u8 = 0x0f;
/// Largest exponent of a decimal grid.
pub(super) const MAX_EXPONENT: u8 = EXPONENT;

const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];
const FRACTIONS: [f64; 16] = [
    1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14,
    1e-15,
];
/// Integers beyond this are not all exact in f64.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

const LONG_FLOAT: DecodeError = DecodeError::Malformed("a short float is longer than 4 bytes");

/// How values become numbers, and back. A number is the integer itself, the place on a grid, or the
/// bits of a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// No values: every reading is bad.
    Nothing,
    /// Bits.
    Bool,
    /// Signed integers.
    I64,
    /// Unsigned integers.
    U64,
    /// Length-prefixed UTF-8.
    Text,
    /// Length-prefixed bytes.
    Bytes,
    /// f64, each XOR the one before.
    Xor64,
    /// f64 that are exactly an f32, each XOR the one before.
    Xor32,
    /// f64 on a decimal grid.
    Grid(Grid),
}

/// A decimal grid: the value is an integer divided by 10^exponent, or multiplied by 10^-exponent.
/// Both occur, and they differ in the last bit: 2301 / 10 is 230.1, 2301 * 0.1 is 230.10000000000002.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) exponent: u8,
    pub(super) product: bool,
}

impl Grid {
    /// The integer that stands for `value`, if it gives exactly this value back, bit by bit.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded before, and verified by the way back"
    )]
    pub(super) fn place(self, value: f64) -> Option<i64> {
        let power = POWERS.get(usize::from(self.exponent))?;
        let scaled = value * power;
        // NaN compares as none of these; infinities are larger.
        if scaled.abs().partial_cmp(&MAX_EXACT) != Some(std::cmp::Ordering::Less) {
            return None;
        }
        let place = (scaled + 0.5_f64.copysign(scaled)) as i64;
        (self.value(place).to_bits() == value.to_bits()).then_some(place)
    }

    /// The value that `place` stands for.
    pub(super) fn value(self, place: i64) -> f64 {
        let exponent = usize::from(self.exponent);
        if self.product {
            place as f64 * FRACTIONS.get(exponent).copied().unwrap_or(1.0)
        } else {
            place as f64 / POWERS.get(exponent).copied().unwrap_or(1.0)
        }
    }
}

impl Coding {
    /// A first value as an unsigned integer that is small, or has few bytes, where it can. Floats
    /// are turned round: the zeros of short ones then stand where leading zeros cost nothing.
    pub(super) fn fold(self, number: i64) -> u64 {
        match self {
            Self::U64 => number.cast_unsigned(),
            Self::Xor64 => number.cast_unsigned().swap_bytes(),
            Self::Xor32 => number.cast_unsigned().swap_bytes() >> 32,
            _ => zigzag(number),
        }
    }

    /// The inverse of [`Self::fold`].
    pub(super) fn unfold(self, folded: u64) -> Result<i64, DecodeError> {
        Ok(match self {
            Self::U64 => folded.cast_signed(),
            Self::Xor64 => folded.swap_bytes().cast_signed(),
            Self::Xor32 if folded >> 32 != 0 => return Err(LONG_FLOAT),
            Self::Xor32 => (folded << 32).swap_bytes().cast_signed(),
            _ => unzigzag(folded),
        })
    }

    /// How `number` follows `before`, folded.
    pub(super) fn step(self, before: i64, number: i64) -> u64 {
        match self {
            Self::Xor64 | Self::Xor32 => self.fold(number ^ before),
            _ => zigzag(number.wrapping_sub(before)),
        }
    }

    /// The inverse of [`Self::step`].
    pub(super) fn follow(self, before: i64, step: u64) -> Result<i64, DecodeError> {
        match self {
            Self::Xor64 | Self::Xor32 => Ok(before ^ self.unfold(step)?),
            _ => Ok(before.wrapping_add(unzigzag(step))),
        }
    }
}

/// The coding of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) coding: Coding,
    pub(super) constant: bool,
}

impl Layout {
    /// Number on the wire; never reassigned.
    pub(super) const fn to_index(self) -> u8 {
        let code = match self.coding {
            Coding::Nothing => 0,
            Coding::Bool => 1,
            Coding::I64 => 2,
            Coding::U64 => 3,
            Coding::Text => 4,
            Coding::Bytes => 5,
            Coding::Xor64 => 6,
            Coding::Xor32 => 7,
            Coding::Grid(grid) if grid.product => PRODUCT | grid.exponent,
            Coding::Grid(grid) => QUOTIENT | grid.exponent,
        };
        if self.constant { code | CONSTANT } else { code }
    }

    /// The layout with this number.
    pub(super) fn from_index(index: u64) -> Result<Self, DecodeError> {
        const UNKNOWN: DecodeError = DecodeError::Malformed("unknown layout of a column");
        let index = u8::try_from(index).map_err(|_| UNKNOWN)?;
        let code = index & !CONSTANT;
        let exponent = code & EXPONENT;
        let coding = match code {
            0 => Coding::Nothing,
            1 => Coding::Bool,
            2 => Coding::I64,
            3 => Coding::U64,
            4 => Coding::Text,
            5 => Coding::Bytes,
            6 => Coding::Xor64,
            7 => Coding::Xor32,
            _ => match code & !EXPONENT {
                QUOTIENT => Coding::Grid(Grid {
                    exponent,
                    product: false,
                }),
                PRODUCT => Coding::Grid(Grid {
                    exponent,
                    product: true,
                }),
                _ => return Err(UNKNOWN),
            },
        };
        Ok(Self {
            coding,
            constant: index & CONSTANT != 0,
        })
    }
}
