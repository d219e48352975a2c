//! One field of a payload: where it stands and what its bytes mean.
//!
//! A [`Field`] that exists is valid: [`Field::check`] runs wherever one is made from parts. Its `Display` is
//! the canonical text that [`std::str::FromStr`] takes.

use crate::Scale;
use protocols_model::ValueType;
use protocols_model::value::MAX_VALUE_BYTES;
use std::fmt;

/// Largest offset of a field, from either end, in bytes.
pub const MAX_OFFSET: u16 = 4095;
/// Longest text or byte field, in bytes.
pub const MAX_LEN: u16 = 4096;
const _: () = assert!(MAX_LEN as usize <= MAX_VALUE_BYTES);
/// Most raw values of a field that mean "no reading".
pub const MAX_INVALID: usize = 4;

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest: `le`.
    Little,
    /// The highest: `be`.
    Big,
}

/// Width of an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum IntWidth {
    W8 = 1,
    W16 = 2,
    W24 = 3,
    W32 = 4,
    W40 = 5,
    W48 = 6,
    W64 = 8,
}

impl IntWidth {
    /// In bytes, 1 to 8.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        self as u8
    }

    /// In bits, 8 to 64.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.bytes() * 8
    }
}

/// What the bytes of a field mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// An unsigned integer, or bits of one.
    Unsigned {
        /// Its width.
        width: IntWidth,
        /// First and last bit of the part that is meant, 0 the lowest; `None` for all of it. One bit
        /// gives a bool, several a number.
        bits: Option<(u8, u8)>,
    },
    /// A two's complement integer.
    Signed(IntWidth),
    /// IEEE 754 with 16, 32 or 64 bits: [`IntWidth::W16`], [`IntWidth::W32`], [`IntWidth::W64`].
    Float(IntWidth),
    /// Two decimal digits in a byte; so many bytes, 1 to 8.
    Bcd(u8),
    /// One byte: false when zero.
    Bool,
    /// UTF-8 up to the first zero byte, blanks trimmed; so many bytes, `None`: to the end.
    Text(Option<u16>),
    /// The same in Latin-1.
    Latin1(Option<u16>),
    /// Bytes as they are; so many, `None`: to the end.
    Bytes(Option<u16>),
}

impl Encoding {
    /// Bytes of the field; `None` when it reaches to the end of the payload.
    #[must_use]
    pub const fn len(self) -> Option<u16> {
        match self {
            Self::Unsigned { width, .. } | Self::Signed(width) | Self::Float(width) => {
                Some(width.bytes() as u16)
            }
            Self::Bcd(bytes) => Some(bytes as u16),
            Self::Bool => Some(1),
            Self::Text(len) | Self::Latin1(len) | Self::Bytes(len) => len,
        }
    }

    /// Never empty: a field has at least one byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Whether the field is a number that can be scaled.
    pub(crate) const fn is_number(self) -> bool {
        matches!(
            self,
            Self::Unsigned { bits: None, .. } | Self::Signed(_) | Self::Float(_) | Self::Bcd(_)
        ) || matches!(self, Self::Unsigned { bits: Some((a, b)), .. } if a != b)
    }
}

/// Where a field begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offset {
    /// So many bytes after the start of the payload, at most [`MAX_OFFSET`].
    Start(u16),
    /// So many bytes before its end, 1 to [`MAX_OFFSET`].
    End(u16),
}

/// Payload lengths a field exists in, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Shortest.
    pub min: u16,
    /// Longest; `None`: any.
    pub max: Option<u16>,
}

impl Lengths {
    /// Whether a payload of `len` bytes is meant.
    #[must_use]
    pub fn contains(self, len: usize) -> bool {
        len >= usize::from(self.min) && self.max.is_none_or(|max| len <= usize::from(max))
    }
}

/// One field of a payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub(crate) encoding: Encoding,
    pub(crate) order: ByteOrder,
    pub(crate) offset: Offset,
    pub(crate) scale: Scale,
    /// Raw bit patterns that mean "no reading".
    pub(crate) invalid: Vec<u64>,
    pub(crate) lengths: Option<Lengths>,
}

impl Field {
    /// What its bytes mean.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Where it begins.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// From the raw number to the value.
    #[must_use]
    pub const fn scale(&self) -> &Scale {
        &self.scale
    }

    /// The field with another scale.
    ///
    /// # Errors
    /// The field itself, when it is no number.
    pub fn with_scale(mut self, scale: Scale) -> Result<Self, Self> {
        if !self.encoding.is_number() && !scale.is_identity() {
            return Err(self);
        }
        self.scale = scale;
        Ok(self)
    }

    /// The payload lengths it exists in; `None`: all.
    #[must_use]
    pub const fn lengths(&self) -> Option<Lengths> {
        self.lengths
    }

    /// Type of the field's values. Unscaled integers stay integers; scaled ones and floats are `f64`;
    /// single bits are `bool`.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self.encoding {
            Encoding::Bool => ValueType::Bool,
            Encoding::Unsigned {
                bits: Some((first, last)),
                ..
            } if first == last => ValueType::Bool,
            Encoding::Text(_) | Encoding::Latin1(_) => ValueType::Text,
            Encoding::Bytes(_) => ValueType::Bytes,
            Encoding::Float(_) => ValueType::F64,
            _ if !self.scale.is_identity() => ValueType::F64,
            Encoding::Signed(_) => ValueType::I64,
            Encoding::Unsigned { .. } | Encoding::Bcd(_) => ValueType::U64,
        }
    }

    /// The shortest payload that holds the field, in bytes.
    #[must_use]
    pub fn min_payload(&self) -> usize {
        let len = usize::from(self.encoding.len().unwrap_or(0));
        let own = match self.offset {
            Offset::Start(at) => usize::from(at) + len,
            Offset::End(back) => usize::from(back),
        };
        own.max(self.lengths.map_or(0, |l| usize::from(l.min)))
    }
}

impl fmt::Display for ByteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Little => "le",
            Self::Big => "be",
        })
    }
}

impl fmt::Display for Encoding {
    /// The type as it is written, without byte order and bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, len) = match *self {
            Self::Unsigned { bits, width } => match (bits, width) {
                (Some((first, last)), IntWidth::W8) if first == last => ("bool", None),
                _ => ("u", Some(width.bits().into())),
            },
            Self::Signed(width) => ("i", Some(width.bits().into())),
            Self::Float(width) => ("f", Some(width.bits().into())),
            Self::Bcd(bytes) => ("bcd", Some(u16::from(bytes) * 2)),
            Self::Bool => ("bool", None),
            Self::Text(len) => ("text", len),
            Self::Latin1(len) => ("latin", len),
            Self::Bytes(len) => ("bytes", len),
        };
        f.write_str(name)?;
        len.map_or(Ok(()), |len| write!(f, "{len}"))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.encoding)?;
        if self.has_order() {
            write!(f, "{}", self.order)?;
        }
        match self.offset {
            Offset::Start(at) => write!(f, "@{at}")?,
            Offset::End(back) => write!(f, "@-{back}")?,
        }
        if let Encoding::Unsigned {
            bits: Some((first, last)),
            ..
        } = self.encoding
        {
            write!(f, ".{first}")?;
            if first != last {
                write!(f, "..{last}")?;
            }
        }
        if (self.scale.factor() - 1.0).abs() > 0.0 {
            write!(f, "*{}", self.scale.factor())?;
        }
        if self.scale.offset() != 0.0 {
            write!(f, "{:+}", self.scale.offset())?;
        }
        for raw in &self.invalid {
            write!(f, "!0x{raw:x}")?;
        }
        match self.lengths {
            None => Ok(()),
            Some(Lengths { min, max: None }) => write!(f, "?{min}.."),
            Some(Lengths {
                min,
                max: Some(max),
            }) if min == max => write!(f, "?{min}"),
            Some(Lengths {
                min,
                max: Some(max),
            }) => write!(f, "?{min}..{max}"),
        }
    }
}

impl Field {
    /// Whether the bytes of the field have an order.
    pub(crate) fn has_order(&self) -> bool {
        match self.encoding {
            Encoding::Unsigned { .. }
            | Encoding::Signed(_)
            | Encoding::Float(_)
            | Encoding::Bcd(_) => self.encoding.len() > Some(1),
            Encoding::Bool | Encoding::Text(_) | Encoding::Latin1(_) | Encoding::Bytes(_) => false,
        }
    }
}
