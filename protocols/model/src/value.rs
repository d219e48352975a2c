//! Values of points. Integers stay integers from the register to the database (design.md C6).

use std::sync::Arc;

/// Longest text or byte value; a longer one is refused where it is read.
pub const MAX_VALUE_BYTES: usize = 4096;

/// What kind of value a point has; part of the identity of its series.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum ValueType {
    /// True or false.
    Bool = 0,
    /// Signed integer.
    I64 = 1,
    /// Unsigned integer.
    U64 = 2,
    /// Floating point; also every scaled register.
    F64 = 3,
    /// UTF-8 text, at most [`MAX_VALUE_BYTES`].
    Text = 4,
    /// Bytes, at most [`MAX_VALUE_BYTES`].
    Bytes = 5,
}

impl ValueType {
    /// Number on the wire and in the database; never reassigned.
    #[must_use]
    pub const fn to_index(self) -> u8 {
        self as u8
    }

    /// The type with this number.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Bool),
            1 => Some(Self::I64),
            2 => Some(Self::U64),
            3 => Some(Self::F64),
            4 => Some(Self::Text),
            5 => Some(Self::Bytes),
            _ => None,
        }
    }

    /// The type's name in the API and in exports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::F64 => "f64",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }
}

/// A value of a point.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// Signed integer.
    I64(i64),
    /// Unsigned integer.
    U64(u64),
    /// Floating point.
    F64(f64),
    /// Text.
    Text(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
}

impl Value {
    /// The value's type.
    #[must_use]
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::I64(_) => ValueType::I64,
            Self::U64(_) => ValueType::U64,
            Self::F64(_) => ValueType::F64,
            Self::Text(_) => ValueType::Text,
            Self::Bytes(_) => ValueType::Bytes,
        }
    }

    /// The value as a number for comparisons and charts; `None` for text and bytes.
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Bool(v) => Some(if *v { 1.0 } else { 0.0 }),
            Self::I64(v) => Some(*v as f64),
            Self::U64(v) => Some(*v as f64),
            Self::F64(v) => Some(*v),
            Self::Text(_) | Self::Bytes(_) => None,
        }
    }
}
