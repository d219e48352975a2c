//! What a device does otherwise than the specification says it should: kept in its template.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Allowed pauses before requests and after connecting.
pub const PAUSES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(1);

/// Peculiarities of one device. The defaults are those of a device that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    /// Key `pause`. Silence before each request to this device, counted from the last character on the
    /// bus, in [`PAUSES`]; the bus's own gap is kept in any case. Default zero.
    pub pause: Duration,
    /// Key `after_connect`. How long the device is left alone after the port was opened or the
    /// connection made, in [`PAUSES`]. Default zero.
    pub after_connect: Duration,
    /// Key `bit_align`. Reads of coils and discrete inputs begin at a multiple of this, one of 1, 8 and
    /// 16. Default 1.
    pub bit_align: u16,
    /// Key `write_with`. The function that writes registers and coils. Default [`WriteWith::Auto`].
    pub write_with: WriteWith,
    /// Key `bit_writes`. How bits of a register are written. Default [`BitWrites::Mask`].
    pub bit_writes: BitWrites,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            pause: Duration::ZERO,
            after_connect: Duration::ZERO,
            bit_align: 1,
            write_with: WriteWith::Auto,
            bit_writes: BitWrites::Mask,
        }
    }
}

/// The function that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteWith {
    /// `"auto"`: one register or coil by function 6 or 5, several by 16.
    #[default]
    Auto,
    /// `"single"`: by functions 6 and 5 only. A value of several registers is written register by
    /// register, lowest address first; the device may see it half written for a moment.
    Single,
    /// `"multiple"`: by functions 16 and 15 only, also a single one.
    Multiple,
    /// `"read-write"`: registers by function 23, which writes and reads back in one request. Coils as
    /// with `auto`.
    ReadWrite,
}

/// How bits of a register are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BitWrites {
    /// `"mask"`: by function 22, in which the device changes the bits and nothing else.
    #[default]
    Mask,
    /// `"read-modify-write"`: read the register, change the bits, write it. What somebody else (the
    /// device's own logic, a panel) writes between the two requests is lost: use it only when nobody
    /// else writes that register.
    ReadModifyWrite,
}

/// Why a text is none of the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not known here; use {allowed}")]
pub struct WordError {
    found: String,
    allowed: String,
}

fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, WordError> {
    let found = words.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| WordError {
        found: text.to_owned(),
        allowed: words
            .iter()
            .map(|(name, _)| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

fn name<T: Copy + PartialEq>(value: T, words: &[(&'static str, T)]) -> &'static str {
    let found = words.iter().find(|(_, word)| *word == value);
    found.map_or("", |(name, _)| name)
}

impl WriteWith {
    const WORDS: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("single", Self::Single),
        ("multiple", Self::Multiple),
        ("read-write", Self::ReadWrite),
    ];
}

impl FromStr for WriteWith {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        word(text, &Self::WORDS)
    }
}

impl fmt::Display for WriteWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(*self, &Self::WORDS))
    }
}

impl BitWrites {
    const WORDS: [(&'static str, Self); 2] = [
        ("mask", Self::Mask),
        ("read-modify-write", Self::ReadModifyWrite),
    ];
}

impl FromStr for BitWrites {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        word(text, &Self::WORDS)
    }
}

impl fmt::Display for BitWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(*self, &Self::WORDS))
    }
}
