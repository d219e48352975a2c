//! Where a checksum stands in a frame, how it is written and what it covers: `"crc16/modbus le"`,
//! `"xor8 hex after:*"`.

use super::escape::{Bytes, EscapeError};
use crate::checksum::{Algorithm, AlgorithmError};
use std::fmt;
use std::str::FromStr;

/// The checksum of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// What is computed.
    pub algorithm: Algorithm,
    /// How it is written.
    pub form: Form,
    /// Where it stands.
    pub place: Place,
    /// Bytes at the start of the frame (without its delimiter) that it does not cover.
    pub from: u8,
    /// It covers the start delimiter too.
    pub with_start: bool,
    /// It covers the end delimiter too; only for a checksum behind the end (`tail` of the framing).
    pub with_end: bool,
}

/// How a checksum is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lowest byte first.
    Little,
    /// Highest byte first.
    Big,
    /// Hexadecimal digits, highest first, in either case.
    Hex,
}

/// Where a checksum stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the end of the frame: behind the end delimiter when the framing has a `tail`, else before it.
    End,
    /// So many bytes before the end delimiter; what stands behind it is not covered.
    Back(u8),
    /// Right behind the last such byte.
    After(u8),
}

impl Checksum {
    /// Bytes it has in the frame.
    #[must_use]
    pub const fn len(&self) -> usize {
        let width = self.algorithm.width() as usize;
        match self.form {
            Form::Hex => 2 * width,
            Form::Little | Form::Big => width,
        }
    }

    /// Never: a checksum has at least one byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The checksum of the covered bytes as it stands in a frame.
    #[must_use]
    pub fn render(&self, covered: &[u8]) -> Vec<u8> {
        let sum = self.algorithm.of(covered.iter().copied());
        let bytes = sum.to_be_bytes();
        let width = usize::from(self.algorithm.width());
        let bytes = bytes.get(4 - width..).unwrap_or_default();
        match self.form {
            Form::Big => bytes.to_vec(),
            Form::Little => bytes.iter().rev().copied().collect(),
            Form::Hex => {
                let digits = bytes.iter().map(|byte| format!("{byte:02X}"));
                digits.collect::<String>().into_bytes()
            }
        }
    }
}

/// Why a text is no checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChecksumError {
    /// Nothing.
    #[error("the checksum is empty; leave it out, or write one such as \"crc16/modbus le\"")]
    Empty,
    /// No such algorithm.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// No such part.
    #[error(
        "{0:?} does not go with a checksum; behind its name write le, be or hex, at:-N or after:C, from:N, with:start, with:end"
    )]
    Part(String),
    /// Bytes in an order that is not said.
    #[error("{0} has several bytes; say their order: \"{0} le\", \"{0} be\" or \"{0} hex\"")]
    NoOrder(String),
    /// A place in front of the frame's own end.
    #[error("at:-{back} leaves no room for the {len} bytes of the checksum")]
    Back {
        /// Where it was to stand.
        back: u8,
        /// Its bytes.
        len: usize,
    },
    /// Not one byte.
    #[error(transparent)]
    Bytes(#[from] EscapeError),
}

use ChecksumError as Error;

impl FromStr for Checksum {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let algorithm: Algorithm = words.next().ok_or(Error::Empty)?.parse()?;
        let mut form = (algorithm.width() == 1).then_some(Form::Big);
        let (mut place, mut from) = (Place::End, 0);
        let (mut with_start, mut with_end) = (false, false);
        for word in words {
            let wrong = || Error::Part(word.to_owned());
            match word.split_once(':') {
                None if word == "le" => form = Some(Form::Little),
                None if word == "be" => form = Some(Form::Big),
                None if word == "hex" => form = Some(Form::Hex),
                Some(("at", at)) => {
                    let back = at.strip_prefix('-').and_then(|n| n.parse().ok());
                    place = Place::Back(back.filter(|n| *n > 0).ok_or_else(wrong)?);
                }
                Some(("after", mark)) => {
                    let mark: Bytes = mark.parse()?;
                    let [mark] = *mark.as_slice() else {
                        return Err(wrong());
                    };
                    place = Place::After(mark);
                }
                Some(("from", n)) => from = n.parse().map_err(|_| wrong())?,
                Some(("with", "start")) => with_start = true,
                Some(("with", "end")) => with_end = true,
                _ => return Err(wrong()),
            }
        }
        let form = form.ok_or_else(|| Error::NoOrder(algorithm.to_string()))?;
        let checksum = Self {
            algorithm,
            form,
            place,
            from,
            with_start,
            with_end,
        };
        if let Place::Back(back) = place
            && usize::from(back) < checksum.len()
        {
            let len = checksum.len();
            return Err(Error::Back { back, len });
        }
        Ok(checksum)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.algorithm)?;
        match self.form {
            Form::Hex => f.write_str(" hex")?,
            Form::Little => f.write_str(" le")?,
            Form::Big if self.algorithm.width() > 1 => f.write_str(" be")?,
            Form::Big => {}
        }
        match self.place {
            Place::End => {}
            Place::Back(back) => write!(f, " at:-{back}")?,
            Place::After(mark) => write!(f, " after:{}", Bytes::new([mark]))?,
        }
        if self.from > 0 {
            write!(f, " from:{}", self.from)?;
        }
        if self.with_start {
            f.write_str(" with:start")?;
        }
        if self.with_end {
            f.write_str(" with:end")?;
        }
        Ok(())
    }
}
