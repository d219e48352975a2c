//! Addresses as people write them: `"hr:100"`, `"hr:10.4"`, `"hr:10.4..7"`, `"co:3"`, classic `"40101"`.
//!
//! Numbers after a space name count from 0, as on the wire; classic numbers count from 1 and carry
//! the space in their first digit. [`Address::explain`] shows both, so that nobody has to guess.

use std::fmt;
use std::str::FromStr;

/// One of the four tables of a Modbus device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Coils, function code 1.
    Coil,
    /// Discrete inputs, function code 2.
    Discrete,
    /// Holding registers, function code 3.
    Holding,
    /// Input registers, function code 4.
    Input,
}

impl Space {
    const ALL: [Self; 4] = [Self::Coil, Self::Discrete, Self::Holding, Self::Input];

    /// Whether the table holds single bits.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    /// Whether no function code writes it.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        matches!(self, Self::Discrete | Self::Input)
    }

    /// The function code that reads it.
    #[must_use]
    pub const fn function(self) -> u8 {
        match self {
            Self::Coil => 1,
            Self::Discrete => 2,
            Self::Holding => 3,
            Self::Input => 4,
        }
    }

    /// The two letters of the address form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coil => "co",
            Self::Discrete => "di",
            Self::Holding => "hr",
            Self::Input => "ir",
        }
    }

    /// The table with these two letters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|space| space.as_str() == name)
    }

    const fn classic_digit(self) -> char {
        match self {
            Self::Coil => '0',
            Self::Discrete => '1',
            Self::Input => '3',
            Self::Holding => '4',
        }
    }
}

/// Bits of one register, 0 the least significant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BitRange {
    first: u8,
    last: u8,
}

impl BitRange {
    /// Bits `first` to `last`, both included; `None` unless `first <= last <= 15`.
    #[must_use]
    pub const fn new(first: u8, last: u8) -> Option<Self> {
        if first <= last && last <= 15 {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// The lowest bit.
    #[must_use]
    pub const fn first(self) -> u8 {
        self.first
    }

    /// How many bits, 1 to 16.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u8 {
        self.last - self.first + 1
    }

    /// A register with ones where these bits are.
    #[must_use]
    pub const fn mask(self) -> u16 {
        (u16::MAX >> (16 - self.len())) << self.first
    }

    /// The bits of `register`, shifted down.
    #[must_use]
    pub const fn of(self, register: u16) -> u16 {
        (register >> self.first) & (u16::MAX >> (16 - self.len()))
    }
}

/// Where a point stands in a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The table.
    pub space: Space,
    /// Register, coil or input number as on the wire: counted from 0.
    pub register: u16,
    /// Bits of that register.
    pub bits: Option<BitRange>,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Neither of the two forms.
    #[error(
        "{0:?} is not an address; write \"hr:100\", \"ir:5\", \"co:3\" or \"di:7\" (counted from 0), a bit \"hr:10.4\", bits \"hr:10.4..7\", or a classic number such as \"40101\" (counted from 1)"
    )]
    Form(String),
    /// An unknown table.
    #[error(
        "{0:?} is not a table; use hr (holding registers), ir (input registers), co (coils) or di (discrete inputs)"
    )]
    Space(String),
    /// A number that is none or too large.
    #[error("{0:?} is not a register number; use 0 to 65535")]
    Number(String),
    /// A classic number outside its table.
    #[error(
        "{0:?} is not a classic address; use 5 digits (40001 to 49999) or 6 (400001 to 465536), the first 0 for coils, 1 for discrete inputs, 3 for input registers, 4 for holding registers"
    )]
    Classic(String),
    /// Bits that are none.
    #[error(
        "{0:?} names no bits of a register; write one bit 0 to 15 (\"hr:10.4\") or a range with the lower bit first (\"hr:10.4..7\")"
    )]
    Bits(String),
    /// Bits of a table that holds bits.
    #[error(
        "{0:?} asks for bits of a coil or discrete input, which is a single bit itself; leave out the part after the dot"
    )]
    BitsOfBit(String),
}

fn parse_bits(text: &str, whole: &str) -> Result<BitRange, AddressError> {
    let bit = |text: &str| text.parse::<u8>().ok();
    let range = match text.split_once("..") {
        Some((first, last)) => bit(first).zip(bit(last)),
        None => bit(text).map(|b| (b, b)),
    };
    range
        .and_then(|(first, last)| BitRange::new(first, last))
        .ok_or_else(|| AddressError::Bits(whole.to_owned()))
}

fn parse_classic(text: &str) -> Result<(Space, u16), AddressError> {
    let wrong = || AddressError::Classic(text.to_owned());
    let mut digits = text.chars();
    let first = digits.next().ok_or_else(wrong)?;
    let space = Space::ALL.into_iter().find(|s| s.classic_digit() == first);
    let number: u32 = digits.as_str().parse().map_err(|_| wrong())?;
    if !matches!(text.len(), 5 | 6) || number == 0 {
        return Err(wrong());
    }
    let register = u16::try_from(number - 1).map_err(|_| wrong())?;
    Ok((space.ok_or_else(wrong)?, register))
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (base, bits) = match text.split_once('.') {
            Some((base, bits)) => (base, Some(parse_bits(bits, text)?)),
            None => (text, None),
        };
        let (space, register) = match base.split_once(':') {
            Some((space, number)) => {
                let found = Space::named(space);
                let space = found.ok_or_else(|| AddressError::Space(space.to_owned()))?;
                let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                let number = number.parse().ok().filter(|_| plain);
                (
                    space,
                    number.ok_or_else(|| AddressError::Number(text.to_owned()))?,
                )
            }
            None if !base.is_empty() && base.bytes().all(|b| b.is_ascii_digit()) => {
                parse_classic(base)?
            }
            None => return Err(AddressError::Form(text.to_owned())),
        };
        if bits.is_some() && space.is_bits() {
            return Err(AddressError::BitsOfBit(text.to_owned()));
        }
        Ok(Self {
            space,
            register,
            bits,
        })
    }
}

impl Address {
    /// The address with both ways of counting, for people: `hr:100 (classic 400101)`.
    #[must_use]
    pub fn explain(&self) -> String {
        let number = u32::from(self.register) + 1;
        format!("{self} (classic {}{number:05})", self.space.classic_digit())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.space.as_str(), self.register)?;
        match self.bits {
            Some(bits) if bits.first == bits.last => write!(f, ".{}", bits.first),
            Some(bits) => write!(f, ".{}..{}", bits.first, bits.last),
            None => Ok(()),
        }
    }
}
