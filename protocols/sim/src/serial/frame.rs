//! What a device sends: a text with values in it, binary fields, or an NMEA sentence.

use super::checksum::Checksum;
use super::nmea::{Position, Sentence, sentence};
use super::template::Template;
use crate::modbus::{Raw, RawKind};
use crate::script::Value;
use std::sync::Arc;
use std::time::Duration;

/// Fields of a binary frame, at most.
const MOST_FIELDS: usize = 256;

/// One frame.
#[derive(Debug, Clone)]
pub enum Frame {
    /// A text.
    Text(Template),
    /// Bytes.
    Binary(Binary),
    /// A GPS receiver's, from the values `lat`, `lon`, `altitude`, `speed`, `course` and `satellites`.
    Nmea(Sentence),
}

/// A binary frame: head, fields, checksum over both.
#[derive(Debug, Clone)]
pub struct Binary {
    /// First bytes.
    pub head: Vec<u8>,
    /// Values.
    pub fields: Vec<Field>,
    /// Behind everything.
    pub checksum: Option<Checksum>,
}

/// A value in a binary frame.
#[derive(Debug, Clone)]
pub struct Field {
    /// Name of the value, or `n` for the number of the frame.
    pub id: Arc<str>,
    /// How it lies there; [`RawKind::Bool`] takes one byte.
    pub raw: Raw,
}

/// A frame that no device can send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A value that nothing gives.
    #[error("the frame has the value {0:?}, but `values` has none of this name")]
    Value(String),
    /// It is too long.
    #[error("a binary frame has at most {MOST_FIELDS} fields")]
    TooLong,
}

impl Frame {
    /// Names of the values that it needs.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Text(template) => template.names().collect(),
            Self::Binary(binary) => {
                let names = binary.fields.iter().map(|field| &*field.id);
                names.filter(|name| *name != "n").collect()
            }
            Self::Nmea(Sentence::Zda) => Vec::new(),
            Self::Nmea(_) => super::preset::NMEA_VALUES.map(|(name, _)| name).to_vec(),
        }
    }

    /// Checks the frame against the values that there are.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self, has: impl Fn(&str) -> bool) -> Result<(), FrameError> {
        if let Self::Binary(binary) = self
            && binary.fields.len() > MOST_FIELDS
        {
            return Err(FrameError::TooLong);
        }
        let missing = self.names().into_iter().find(|name| !has(name));
        missing.map_or(Ok(()), |name| Err(FrameError::Value(name.to_owned())))
    }

    /// Bytes of frame `number`, sent at `utc`; checksums are made wrong on request.
    pub fn render(
        &self,
        number: u64,
        utc: Duration,
        mut value: impl FnMut(&str) -> Value,
        wrong: bool,
    ) -> Vec<u8> {
        match self {
            Self::Text(template) => template.render(number, value, wrong),
            Self::Binary(binary) => binary.render(number, value, wrong),
            Self::Nmea(kind) => {
                let mut number = |name: &str| value(name).as_f64();
                let position = Position {
                    utc,
                    latitude: number("lat"),
                    longitude: number("lon"),
                    altitude: number("altitude"),
                    speed: number("speed"),
                    course: number("course"),
                    satellites: u8::try_from(value("satellites").as_i64()).unwrap_or(0),
                };
                sentence(*kind, &position, wrong).into_bytes()
            }
        }
    }
}

impl Binary {
    fn render(&self, number: u64, mut value: impl FnMut(&str) -> Value, wrong: bool) -> Vec<u8> {
        let mut bytes = self.head.clone();
        for field in &self.fields {
            let value = if &*field.id == "n" {
                Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
            } else {
                value(&field.id)
            };
            let words = field.raw.words(&value);
            let words = words.into_iter().flat_map(u16::to_be_bytes);
            // One byte is all that a flag needs.
            bytes.extend(words.skip(usize::from(field.raw.kind == RawKind::Bool)));
        }
        if let Some(checksum) = self.checksum {
            let mut sum = checksum.of(&bytes);
            if let Some(last) = sum.last_mut().filter(|_| wrong) {
                *last ^= 0x11;
            }
            bytes.extend(sum);
        }
        bytes
    }
}
