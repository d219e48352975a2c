//! How the values of a column are coded: one small number a column, shared by runs of columns.

use crate::error::DecodeError;

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

/// How values become integers, and back.
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
        // Also false for NaN; infinities are larger.
        if !(scaled.abs() < MAX_EXACT) {
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
