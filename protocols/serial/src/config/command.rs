//! What is sent to a device: bytes with places for a value and a checksum, `"SOUR:VOLT {value:.3}\n"`.
//!
//! A text value that could smuggle a command in (control characters) is refused; so is one that the
//! template cannot hold. A template without a value is a question.

use super::Checksum;
use super::escape::{Bytes, EscapeError};
use protocols_layout::{Field, ParseFieldError, Scale, WriteFieldError};
use protocols_model::Value;
use std::fmt;
use std::str::FromStr;

/// Most decimals of a written value: all that `f64` has.
const MAX_DECIMALS: u8 = 15;

/// A question or a template for writing a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Command(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Bytes(Bytes),
    Value(Format),
    /// The checksum of everything before it.
    Check,
}

#[derive(Debug, Clone, PartialEq)]
enum Format {
    Plain,
    Decimals(u8),
    /// True and false in words.
    Words(Bytes, Bytes),
    Binary(Box<Field>),
}

/// Why a text is no command.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Nothing to send.
    #[error("the command is empty; write what to send, such as \"W\\r\\n\"")]
    Empty,
    /// A brace that opens no place.
    #[error(
        "{0:?} is not a place in a command; use {{value}}, {{value:.2}}, {{value:ON|OFF}}, {{value:u16be}} or {{check}}, and write a brace itself twice"
    )]
    Place(String),
    /// Two values.
    #[error("the command holds more than one value")]
    Values,
    /// A binary form that is none.
    #[error("{0:?} is not a binary form of a value")]
    Binary(String, #[source] ParseFieldError),
    /// Bytes that are none.
    #[error(transparent)]
    Bytes(#[from] EscapeError),
}

/// Why a value cannot be put into a command.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// A text that would end the command or begin another.
    #[error("the text holds control characters")]
    Control,
    /// Bytes, where text is sent; or a value that has no words.
    #[error("a {0} value cannot be sent in this command")]
    Type(&'static str),
    /// A number that is none.
    #[error("{0} is no number that can be sent")]
    NotFinite(f64),
    /// A value that its binary form cannot hold.
    #[error(transparent)]
    Binary(#[from] WriteFieldError),
}

impl Command {
    /// Whether it has a place for a value.
    #[must_use]
    pub fn has_value(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Value(_)))
    }

    /// Whether it has a place for a checksum.
    #[must_use]
    pub fn has_check(&self) -> bool {
        self.0.contains(&Part::Check)
    }

    /// The step between two values that it can send, in raw numbers; `None` when it sends all digits.
    pub(crate) fn step(&self) -> Option<f64> {
        self.0.iter().find_map(|part| match part {
            Part::Value(Format::Decimals(places)) => Some(0.1f64.powi((*places).into())),
            Part::Value(Format::Binary(field)) => Some(field.scale().factor().abs()),
            _ => None,
        })
    }

    /// The bytes to send. `value` is in engineering units; the device gets the raw one. The checksum
    /// covers what stands before it, as it covers a frame with this start delimiter.
    ///
    /// # Errors
    /// [`RenderError`] for a value that cannot be sent.
    pub fn render(
        &self,
        value: Option<(&Value, &Scale)>,
        checksum: Option<&Checksum>,
        start: &[u8],
    ) -> Result<Vec<u8>, RenderError> {
        let mut bytes = Vec::new();
        for part in &self.0 {
            match part {
                Part::Bytes(part) => bytes.extend_from_slice(part.as_slice()),
                Part::Value(format) => {
                    if let Some((value, scale)) = value {
                        format.render(value, scale, &mut bytes)?;
                    }
                }
                Part::Check => {
                    if let Some(checksum) = checksum {
                        let own = if !checksum.with_start && bytes.starts_with(start) {
                            start.len()
                        } else {
                            0
                        };
                        // The mark before a checksum is not covered, as in a frame.
                        let mark = match checksum.place {
                            super::Place::After(mark) => usize::from(bytes.last() == Some(&mark)),
                            _ => 0,
                        };
                        let from = own + usize::from(checksum.from);
                        let to = bytes.len() - mark;
                        let sum = checksum.render(bytes.get(from..to).unwrap_or_default());
                        bytes.extend_from_slice(&sum);
                    }
                }
            }
        }
        Ok(bytes)
    }
}

impl Format {
    fn render(&self, value: &Value, scale: &Scale, bytes: &mut Vec<u8>) -> Result<(), RenderError> {
        let kind = value.value_type().as_str();
        if let Self::Binary(field) = self {
            bytes.extend_from_slice(&binary(field, value, scale)?);
            return Ok(());
        }
        match (self, value) {
            (Self::Words(yes, no), Value::Bool(on)) => {
                bytes.extend_from_slice(if *on { yes } else { no }.as_slice());
            }
            (Self::Words(..), _) | (_, Value::Bytes(_)) => return Err(RenderError::Type(kind)),
            (_, Value::Bool(on)) => bytes.push(if *on { b'1' } else { b'0' }),
            (_, Value::Text(text)) => {
                if text.chars().any(char::is_control) {
                    return Err(RenderError::Control);
                }
                bytes.extend_from_slice(text.as_bytes());
            }
            (Self::Decimals(places), _) => {
                let number = raw(value.as_f64().unwrap_or_default(), scale)?;
                let places = usize::from(*places);
                bytes.extend_from_slice(format!("{number:.places$}").as_bytes());
            }
            (_, Value::F64(number)) => {
                bytes.extend_from_slice(raw(*number, scale)?.to_string().as_bytes());
            }
            (_, Value::I64(number)) => bytes.extend_from_slice(number.to_string().as_bytes()),
            (_, Value::U64(number)) => bytes.extend_from_slice(number.to_string().as_bytes()),
        }
        Ok(())
    }
}

/// The raw number of a value; one that is an integer but for the last bits is that integer.
fn raw(number: f64, scale: &Scale) -> Result<f64, RenderError> {
    let raw = scale.raw_of(number);
    if !raw.is_finite() {
        return Err(RenderError::NotFinite(number));
    }
    let whole = raw.round();
    Ok(if (raw - whole).abs() <= raw.abs() * 1e-12 {
        whole
    } else {
        raw
    })
}

fn binary(field: &Field, value: &Value, scale: &Scale) -> Result<Vec<u8>, RenderError> {
    if scale.is_identity() {
        return Ok(field.encode(value)?);
    }
    let scaled = field.clone().with_scale(*scale);
    let scaled = scaled.map_err(|_| RenderError::Type(value.value_type().as_str()))?;
    Ok(scaled.encode(value)?)
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '{' | '}' if rest.as_str().starts_with(c) => {
                    rest.next();
                    literal.push(c);
                }
                '{' => {
                    let (place, behind) = rest
                        .as_str()
                        .split_once('}')
                        .ok_or_else(|| CommandError::Place(format!("{{{}", rest.as_str())))?;
                    flush(&mut literal, &mut parts)?;
                    parts.push(parse_place(place)?);
                    rest = behind.chars();
                }
                '}' => return Err(CommandError::Place("}".to_owned())),
                _ => literal.push(c),
            }
        }
        flush(&mut literal, &mut parts)?;
        let values = parts.iter().filter(|part| matches!(part, Part::Value(_)));
        if values.count() > 1 {
            return Err(CommandError::Values);
        }
        if parts.is_empty() {
            return Err(CommandError::Empty);
        }
        Ok(Self(parts))
    }
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) -> Result<(), CommandError> {
    if !literal.is_empty() {
        parts.push(Part::Bytes(literal.parse()?));
        literal.clear();
    }
    Ok(())
}

fn parse_place(text: &str) -> Result<Part, CommandError> {
    let wrong = || CommandError::Place(format!("{{{text}}}"));
    let format = match text.split_once(':') {
        None if text == "check" => return Ok(Part::Check),
        None if text == "value" => return Ok(Part::Value(Format::Plain)),
        Some(("value", format)) => format,
        _ => return Err(wrong()),
    };
    let format = if let Some(places) = format.strip_prefix('.') {
        let places = places.parse().ok().filter(|n| *n <= MAX_DECIMALS);
        Format::Decimals(places.ok_or_else(wrong)?)
    } else if let Some((yes, no)) = format.split_once('|') {
        Format::Words(yes.parse()?, no.parse()?)
    } else {
        let field = format!("{format}@0").parse();
        Format::Binary(Box::new(
            field.map_err(|error| CommandError::Binary(format.to_owned(), error))?,
        ))
    };
    Ok(Part::Value(format))
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Bytes(bytes) => {
                let text = bytes.to_string();
                f.write_str(&text.replace('{', "{{").replace('}', "}}"))
            }
            Part::Check => f.write_str("{check}"),
            Part::Value(Format::Plain) => f.write_str("{value}"),
            Part::Value(Format::Decimals(places)) => write!(f, "{{value:.{places}}}"),
            Part::Value(Format::Words(yes, no)) => write!(f, "{{value:{yes}|{no}}}"),
            Part::Value(Format::Binary(field)) => {
                let text = field.to_string();
                write!(f, "{{value:{}}}", text.trim_end_matches("@0"))
            }
        })
    }
}
