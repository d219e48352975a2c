//! From a frame to what points take from it: whether it is a message of this kind, and each point's
//! value. Pure and total.
//!
//! A frame is a message only when all of it fits: prefix, length, the whole pattern, the number of
//! columns, every pair, a complete document. A frame of text with a zero byte never is: the line
//! discipline puts one where parity was wrong.

use crate::config::{Columns, FieldRef, Message, Parser, ValueRules};
use crate::nmea::Sentence;
use protocols_layout::FieldError;
use protocols_model::{Quality, Reason, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a frame says of a point.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Nothing: this frame does not carry it.
    Nothing,
    /// A value.
    Value(Value, Quality),
    /// That there is none, or nothing that can be read.
    Bad(Reason),
}

/// What a parser found for a field.
enum Raw<'a> {
    Missing,
    Text(Cow<'a, str>),
    Typed(Value, Quality),
    Bad(Reason),
}

/// What a frame with this payload says of `points`, in their order; `None` when it is no such message.
pub fn read<'p>(
    message: &Message,
    points: impl IntoIterator<Item = (&'p FieldRef, &'p ValueRules)>,
    payload: &[u8],
) -> Option<Vec<Said>> {
    let fits = message
        .length
        .is_none_or(|len| usize::from(len) == payload.len());
    if !fits || !payload.starts_with(message.starts.as_slice()) {
        return None;
    }
    let parsed = Parsed::new(&message.parser, payload)?;
    let said = |(field, rules): (&FieldRef, &ValueRules)| match parsed.field(field) {
        Raw::Missing => Said::Nothing,
        Raw::Bad(reason) => Said::Bad(reason),
        Raw::Text(text) => settle(rules.of_text(&text), Quality::Good),
        Raw::Typed(value, quality) => settle(rules.of_value(value), quality),
    };
    let said: Vec<Said> = points.into_iter().map(said).collect();
    // A frame that says nothing of any point is for somebody else.
    said.iter()
        .any(|said| *said != Said::Nothing)
        .then_some(said)
}

/// The text of a frame, if it is one.
#[must_use]
pub fn text_of(payload: &[u8]) -> Option<Cow<'_, str>> {
    if payload.contains(&0) {
        return None;
    }
    Some(match std::str::from_utf8(payload) {
        Ok(text) => Cow::Borrowed(text),
        // Old devices write Latin-1: every byte is a character there.
        Err(_) => Cow::Owned(payload.iter().map(|byte| char::from(*byte)).collect()),
    })
}

fn settle(value: Result<Value, Reason>, quality: Quality) -> Said {
    match value {
        Ok(value) => Said::Value(value, quality),
        Err(reason) => Said::Bad(reason),
    }
}

/// A frame taken apart.
enum Parsed<'a> {
    Text(Cow<'a, str>),
    Groups(BTreeMap<String, String>),
    Columns(Vec<String>),
    Json(serde_json::Value),
    Bytes(&'a [u8]),
    Sentence(Sentence<'a>),
}

impl<'a> Parsed<'a> {
    fn new(parser: &Parser, payload: &'a [u8]) -> Option<Self> {
        let text = || text_of(payload);
        Some(match parser {
            Parser::Text => Self::Text(text()?),
            Parser::Regex(pattern) => {
                let text = text()?;
                let captures = pattern.regex().captures(&text)?;
                let names = pattern.regex().capture_names().flatten();
                let groups = names.filter_map(|name| {
                    Some((name.to_owned(), captures.name(name)?.as_str().to_owned()))
                });
                Self::Groups(groups.collect())
            }
            Parser::Csv { separator, columns } => {
                let text = text()?;
                let found: Vec<String> = text.split(char::from(*separator)).map(unquoted).collect();
                let fits = match columns {
                    Columns::Any => true,
                    Columns::Count(count) => found.len() == *count,
                    Columns::Names(names) => found.len() == names.len(),
                };
                fits.then_some(Self::Columns(found))?
            }
            Parser::Keys { pair, equals } => {
                let text = text()?;
                let pairs = text
                    .split(char::from(*pair))
                    .map(str::trim)
                    .filter(|p| !p.is_empty());
                let mut found = BTreeMap::new();
                for pair in pairs {
                    let (key, value) = pair.split_once(char::from(*equals))?;
                    // A key that is there twice says nothing certain.
                    if found
                        .insert(key.trim().to_owned(), unquoted(value))
                        .is_some()
                    {
                        return None;
                    }
                }
                Self::Groups(found)
            }
            Parser::Json => Self::Json(serde_json::from_slice(payload).ok()?),
            Parser::Binary => Self::Bytes(payload),
            Parser::Nmea => Self::Sentence(Sentence::parse(payload)?),
        })
    }

    fn field(&self, field: &FieldRef) -> Raw<'_> {
        fn found(text: Option<&String>) -> Raw<'_> {
            text.map_or(Raw::Missing, |text| Raw::Text(Cow::Borrowed(text)))
        }
        match (self, field) {
            (Self::Text(text), FieldRef::Whole) => Raw::Text(Cow::Borrowed(text)),
            (Self::Groups(groups), FieldRef::Group(name) | FieldRef::Key(name)) => {
                found(groups.get(name))
            }
            (Self::Columns(columns), FieldRef::Column(index)) => found(columns.get(*index)),
            (Self::Json(document), FieldRef::Pointer(pointer)) => match document.pointer(pointer) {
                None => Raw::Missing,
                Some(value) => json(value),
            },
            (Self::Bytes(payload), FieldRef::Bytes(field)) => match field.decode(payload) {
                Ok(value) => Raw::Typed(value, Quality::Good),
                Err(FieldError::Absent(_)) => Raw::Missing,
                Err(error) => Raw::Bad(error.reason()),
            },
            (Self::Sentence(sentence), FieldRef::Nmea(field)) => match sentence.read(field) {
                None | Some(Ok(None)) => Raw::Missing,
                Some(Ok(Some((Value::Text(text), Quality::Good)))) => {
                    Raw::Text(Cow::Owned(text.as_ref().to_owned()))
                }
                Some(Ok(Some((value, quality)))) => Raw::Typed(value, quality),
                Some(Err(reason)) => Raw::Bad(reason),
            },
            // A field of another parser: a checked configuration has none.
            _ => Raw::Missing,
        }
    }
}

fn json(value: &serde_json::Value) -> Raw<'_> {
    match value {
        serde_json::Value::Null => Raw::Bad(Reason::DeviceError),
        serde_json::Value::String(text) => Raw::Text(Cow::Borrowed(text)),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            Raw::Text(Cow::Owned(value.to_string()))
        }
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => Raw::Bad(Reason::Undecodable),
    }
}

/// Without blanks and one pair of quotes around it.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests;
