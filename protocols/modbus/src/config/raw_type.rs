//! What stands in the registers: `"u16"`, `"f32"`, `"bool"`, `"bits"`, `"bcd32"`, `"q8.8"`, `"string:8"`.

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
    /// IEEE 754 half precision, one register.
    F16,
    /// IEEE 754, two registers.
    F32,
    /// IEEE 754, four registers.
    F64,
    /// Four decimal digits, four bits each, one register; 0 to 9999. Other nibbles are undecodable.
    Bcd16,
    /// Eight decimal digits, two registers; 0 to 99999999.
    Bcd32,
    /// A binary fraction, `"q8.8"` or, unsigned, `"uq8.8"`.
    Fixed(Fixed),
    /// Unsigned seconds since 1970 UTC, two registers; the value is `i64` milliseconds since 1970 UTC.
    Epoch32,
    /// Signed seconds since 1970 UTC, four registers; the value is `i64` milliseconds since 1970 UTC.
    Epoch64,
    /// Signed milliseconds since 1970 UTC, four registers; the value is the same.
    Epoch64Ms,
    /// Text, two bytes a register, up to the first NUL; spaces at its end are dropped. With byte order
    /// `BA` the second character of each register comes first.
    Text {
        /// How many registers it occupies, 1 to 125.
        registers: u8,
    },
}

/// A binary fraction: `integer` bits, the sign among them, and `fraction` bits behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fixed {
    signed: bool,
    integer: u8,
    fraction: u8,
}

impl Fixed {
    /// `None` unless both together are 16, 32 or 64 bits and a signed number has a bit for its sign.
    #[must_use]
    pub fn new(signed: bool, integer: u8, fraction: u8) -> Option<Self> {
        let bits = u16::from(integer) + u16::from(fraction);
        let sign = !signed || integer > 0;
        (matches!(bits, 16 | 32 | 64) && sign).then_some(Self {
            signed,
            integer,
            fraction,
        })
    }

    /// Whether it can be below zero.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        self.signed
    }

    /// Bits behind the point: the raw number counts steps of `2^-fraction`.
    #[must_use]
    pub const fn fraction(self) -> u8 {
        self.fraction
    }

    /// 16, 32 or 64.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.integer + self.fraction
    }

    fn parse(text: &str) -> Option<Self> {
        let (signed, rest) = match text.strip_prefix('u') {
            Some(rest) => (false, rest),
            None => (true, text),
        };
        let (integer, fraction) = rest.strip_prefix('q')?.split_once('.')?;
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| plain)
        };
        Self::new(signed, number(integer)?, number(fraction)?)
    }
}

/// Why a text is not a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a type; use {list}, a binary fraction such as \"q8.8\" or \"uq16.16\" (16, 32 or 64 bits together, the sign among the first), or string:N with N registers, 1 to 125",
    list = NAMES.map(|(name, _)| name).join(", ")
)]
pub struct RawTypeError(String);

const NAMES: [(&str, RawType); 16] = [
    ("bool", RawType::Bool),
    ("bits", RawType::Bits),
    ("i16", RawType::I16),
    ("u16", RawType::U16),
    ("i32", RawType::I32),
    ("u32", RawType::U32),
    ("i64", RawType::I64),
    ("u64", RawType::U64),
    ("f16", RawType::F16),
    ("f32", RawType::F32),
    ("f64", RawType::F64),
    ("bcd16", RawType::Bcd16),
    ("bcd32", RawType::Bcd32),
    ("epoch32", RawType::Epoch32),
    ("epoch64", RawType::Epoch64),
    ("epoch64ms", RawType::Epoch64Ms),
];

impl RawType {
    /// The names of the types that have one word, for messages and completion.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().map(|(name, _)| name)
    }

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
            Self::Bool | Self::Bits | Self::I16 | Self::U16 | Self::F16 | Self::Bcd16 => 1,
            Self::I32 | Self::U32 | Self::F32 | Self::Bcd32 | Self::Epoch32 => 2,
            Self::I64 | Self::U64 | Self::F64 | Self::Epoch64 | Self::Epoch64Ms => 4,
            Self::Fixed(fixed) => u16::from(fixed.bits()) / 16,
            Self::Text { registers } => u16::from(registers),
        }
    }

    /// Whether it is a plain integer: can be named, and keeps its type unless scaled.
    #[must_use]
    pub const fn is_integer(self) -> bool {
        matches!(
            self,
            Self::I16
                | Self::U16
                | Self::I32
                | Self::U32
                | Self::I64
                | Self::U64
                | Self::Bcd16
                | Self::Bcd32
        )
    }

    /// Whether it is a number, which can be scaled.
    #[must_use]
    pub const fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Self::F16 | Self::F32 | Self::F64 | Self::Fixed(_))
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
            .or_else(|| Fixed::parse(text).map(Self::Fixed))
            .ok_or_else(|| RawTypeError(text.to_owned()))
    }
}

impl fmt::Display for RawType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, NAMES.into_iter().find(|(_, raw)| raw == self)) {
            (_, Some((name, _))) => f.write_str(name),
            (Self::Fixed(fixed), None) => {
                let sign = if fixed.signed { "" } else { "u" };
                write!(f, "{sign}q{}.{}", fixed.integer, fixed.fraction)
            }
            (_, None) => write!(f, "string:{}", self.registers()),
        }
    }
}
