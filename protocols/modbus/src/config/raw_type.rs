//! What stands in the registers: `"u16"`, `"f32"`, `"bool"`, `"bits"`, `"string:8"`.

use super::MAX_REGISTERS;
use crate::config::Address;
use std::fmt;
use std::str::FromStr;

/// How raw registers or bits are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RawType {
    /// One coil, discrete input or bit of a register.
    Bool,
    /// Several bits of a register, as an unsigned number.
    Bits,
    /// Signed, one register.
    I16,
    /// Unsigned, one register.
    U16,
    /// Signed, two registers.
    I32,
    /// Unsigned, two registers.
    U32,
    /// Signed, four registers.
    I64,
    /// Unsigned, four registers.
    U64,
    /// IEEE 754, two registers.
    F32,
    /// IEEE 754, four registers.
    F64,
    /// Text, two bytes a register, up to the first NUL; spaces at its end are dropped.
    Text {
        /// How many registers it occupies, 1 to 125.
        registers: u8,
    },
}

/// Why a text is not a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a type; use bool, bits, i16, u16, i32, u32, i64, u64, f32, f64, or string:N for a text of N registers (1 to 125)"
)]
pub struct RawTypeError(String);

const NAMES: [(&str, RawType); 10] = [
    ("bool", RawType::Bool),
    ("bits", RawType::Bits),
    ("i16", RawType::I16),
    ("u16", RawType::U16),
    ("i32", RawType::I32),
    ("u32", RawType::U32),
    ("i64", RawType::I64),
    ("u64", RawType::U64),
    ("f32", RawType::F32),
    ("f64", RawType::F64),
];

impl RawType {
    /// The type of a point that names none: `bool` for single bits, `bits` for ranges, else `u16`.
    #[must_use]
    pub fn default_at(address: &Address) -> Self {
        match address.bits.map(super::BitRange::len) {
            _ if address.space.is_bits() => Self::Bool,
            Some(1) => Self::Bool,
            Some(_) => Self::Bits,
            None => Self::U16,
        }
    }

    /// Registers that a value occupies.
    #[must_use]
    pub fn registers(self) -> u16 {
        match self {
            Self::Bool | Self::Bits | Self::I16 | Self::U16 => 1,
            Self::I32 | Self::U32 | Self::F32 => 2,
            Self::I64 | Self::U64 | Self::F64 => 4,
            Self::Text { registers } => u16::from(registers),
        }
    }
}

impl FromStr for RawType {
    type Err = RawTypeError;

    fn from_str(text: &str) -> Result<Self, RawTypeError> {
        if let Some(count) = text.strip_prefix("string:") {
            let count = count.parse::<u8>().ok();
            let registers = count.filter(|n| (1..=MAX_REGISTERS).contains(&u16::from(*n)));
            return registers
                .map(|registers| Self::Text { registers })
                .ok_or_else(|| RawTypeError(text.to_owned()));
        }
        let found = NAMES.into_iter().find(|(name, _)| *name == text);
        found
            .map(|(_, raw)| raw)
            .ok_or_else(|| RawTypeError(text.to_owned()))
    }
}

impl fmt::Display for RawType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.into_iter().find(|(_, raw)| raw == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "string:{}", self.registers()),
        }
    }
}
