//! How a frame is taken apart, and what a point takes from it: `"regex:…"` and `"weight"`.

use super::escape::{Bytes, EscapeError};
use crate::nmea::{NmeaField, NmeaFieldError};
use protocols_layout::{Field, ParseFieldError};
use regex_lite::{Regex, RegexBuilder};
use std::fmt;
use std::str::FromStr;

/// Most columns of a CSV frame.
pub const MAX_COLUMNS: usize = 256;
/// Memory that one pattern may take when compiled, in bytes.
const PATTERN_SIZE: usize = 1 << 18;

/// A regular expression that a whole frame must match. Compiled once; equal when written alike.
#[derive(Clone)]
pub struct Pattern(Regex);

/// How a frame is taken apart.
#[derive(Debug, Clone, PartialEq)]
pub enum Parser {
    /// `text`: the whole frame, blanks around it trimmed.
    Text,
    /// `regex:PATTERN`: named groups; the pattern must match the whole frame.
    Regex(Pattern),
    /// `csv[:SEP] [names…]`: columns.
    Csv {
        /// What separates them.
        separator: u8,
        /// Their names or their number; a frame must have exactly so many.
        columns: Columns,
    },
    /// `keys[:PE]`: pairs of key and value.
    Keys {
        /// Between pairs.
        pair: u8,
        /// Between key and value.
        equals: u8,
    },
    /// `json`: one document a frame.
    Json,
    /// `binary`: fields at places.
    Binary,
    /// `nmea`: sentences of NMEA 0183.
    Nmea,
}

/// The columns of a CSV frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// Any number.
    Any,
    /// So many.
    Count(usize),
    /// These.
    Names(Vec<String>),
}

/// What a point takes from a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldRef {
    /// All of it.
    Whole,
    /// A named group.
    Group(String),
    /// A column, counted from 0.
    Column(usize),
    /// The value of a key.
    Key(String),
    /// What stands at a JSON pointer (RFC 6901).
    Pointer(String),
    /// Bytes at a place.
    Bytes(Field),
    /// A field of a sentence.
    Nmea(NmeaField),
}

/// Why a text is no parser.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParserError {
    /// No such parser.
    #[error(
        "{0:?} is not a parser; use \"text\", \"regex:PATTERN\", \"csv\", \"csv:; time weight unit\", \"csv:, *5\", \"keys\", \"keys:;=\", \"json\", \"binary\" or \"nmea\""
    )]
    Form(String),
    /// A pattern that does not compile.
    #[error("the pattern {pattern:?} does not compile: {why}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        why: String,
    },
    /// A pattern without groups.
    #[error("the pattern {0:?} has no named group; name what the points take: (?<weight>[0-9.]+)")]
    NoGroups(String),
    /// Not one byte.
    #[error("{0:?} is not a separator; use one byte, such as ; or \\t")]
    Separator(String),
    /// Not two different bytes.
    #[error(
        "{0:?} are not two separators; write the one between pairs and the one between key and value, such as keys:;="
    )]
    Separators(String),
    /// Too many or no columns.
    #[error("{0} columns are not allowed; use 1 to {MAX_COLUMNS}")]
    Columns(usize),
    /// Two columns of one name.
    #[error("column {0:?} is there twice; give each its own name")]
    Twice(String),
    /// Bytes that are none.
    #[error(transparent)]
    Bytes(#[from] EscapeError),
}

/// Why a text names nothing in a frame.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldRefError {
    /// A name where there are none.
    #[error("{0:?} names nothing: the parser \"text\" takes the whole frame; leave field out")]
    Whole(String),
    /// Nothing where a name must be.
    #[error("field is missing; with this parser it is {0}")]
    Missing(&'static str),
    /// No such group.
    #[error("the pattern has no group {found:?}; it has {}", .groups.join(", "))]
    Group {
        /// What was written.
        found: String,
        /// What there is.
        groups: Vec<String>,
    },
    /// No such column.
    #[error("{found:?} is not a column; use {allowed}")]
    Column {
        /// What was written.
        found: String,
        /// What there is.
        allowed: String,
    },
    /// Not a pointer.
    #[error("{0:?} is not a JSON pointer; write \"/weight\" or \"/channels/0/value\"")]
    Pointer(String),
    /// Not a field of a layout.
    #[error(transparent)]
    Bytes(#[from] ParseFieldError),
    /// Not a field of a sentence.
    #[error(transparent)]
    Nmea(#[from] NmeaFieldError),
}

impl Pattern {
    /// Compiles a pattern; it must match whole frames.
    ///
    /// # Errors
    /// [`ParserError::Pattern`] with what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, ParserError> {
        let error = |why: regex_lite::Error| ParserError::Pattern {
            pattern: pattern.to_owned(),
            why: why.to_string(),
        };
        // First alone: else `a)|(b` would compile.
        RegexBuilder::new(pattern)
            .size_limit(PATTERN_SIZE)
            .build()
            .map_err(error)?;
        let whole = RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(PATTERN_SIZE)
            .build();
        whole.map(Self).map_err(error)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let whole = self.0.as_str();
        let inner = whole
            .strip_prefix("^(?:")
            .and_then(|w| w.strip_suffix(")$"));
        inner.unwrap_or(whole)
    }

    pub(crate) const fn regex(&self) -> &Regex {
        &self.0
    }

    fn groups(&self) -> Vec<String> {
        self.0
            .capture_names()
            .flatten()
            .map(str::to_owned)
            .collect()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl Parser {
    /// What `text` names in frames of this parser.
    ///
    /// # Errors
    /// [`FieldRefError`] says what can be named.
    pub fn field(&self, text: Option<&str>) -> Result<FieldRef, FieldRefError> {
        use FieldRefError as Error;
        let missing = |what| Error::Missing(what);
        Ok(match self {
            Self::Text => match text {
                None => FieldRef::Whole,
                Some(text) => return Err(Error::Whole(text.to_owned())),
            },
            Self::Regex(pattern) => {
                let text = text.ok_or_else(|| missing("the name of a group"))?;
                let groups = pattern.groups();
                if !groups.iter().any(|group| group == text) {
                    let found = text.to_owned();
                    return Err(Error::Group { found, groups });
                }
                FieldRef::Group(text.to_owned())
            }
            Self::Csv { columns, .. } => {
                let text = text.ok_or_else(|| missing("the name or number of a column"))?;
                FieldRef::Column(columns.find(text)?)
            }
            Self::Keys { .. } => FieldRef::Key(text.ok_or_else(|| missing("a key"))?.to_owned()),
            Self::Json => {
                let text = text.ok_or_else(|| missing("a JSON pointer such as \"/weight\""))?;
                if !text.starts_with('/') {
                    return Err(Error::Pointer(text.to_owned()));
                }
                FieldRef::Pointer(text.to_owned())
            }
            Self::Binary => {
                let text = text.ok_or_else(|| missing("a place such as \"u16be@2\""))?;
                FieldRef::Bytes(text.parse()?)
            }
            Self::Nmea => {
                let text =
                    text.ok_or_else(|| missing("a sentence and field such as \"RMC.lat\""))?;
                FieldRef::Nmea(text.parse()?)
            }
        })
    }
}

impl Columns {
    fn find(&self, text: &str) -> Result<usize, FieldRefError> {
        let by_number = |count: usize| {
            let number = text
                .parse::<usize>()
                .ok()
                .filter(|n| (1..=count).contains(n));
            number.map(|n| n - 1)
        };
        let (found, allowed) = match self {
            Self::Any => (by_number(MAX_COLUMNS), format!("1 to {MAX_COLUMNS}")),
            Self::Count(count) => (by_number(*count), format!("1 to {count}")),
            Self::Names(names) => (
                names.iter().position(|name| name == text),
                format!("one of {}", names.join(", ")),
            ),
        };
        found.ok_or_else(|| FieldRefError::Column {
            found: text.to_owned(),
            allowed,
        })
    }
}

impl FromStr for Parser {
    type Err = ParserError;

    fn from_str(text: &str) -> Result<Self, ParserError> {
        let text = text.trim_start();
        if let Some(pattern) = text.strip_prefix("regex:") {
            let pattern = Pattern::new(pattern)?;
            if pattern.groups().is_empty() {
                return Err(ParserError::NoGroups(pattern.as_str().to_owned()));
            }
            return Ok(Self::Regex(pattern));
        }
        let text = text.trim_end();
        Ok(match text {
            "text" => Self::Text,
            "json" => Self::Json,
            "binary" => Self::Binary,
            "nmea" => Self::Nmea,
            "keys" => Self::Keys {
                pair: b',',
                equals: b'=',
            },
            _ => {
                if let Some(separators) = text.strip_prefix("keys:") {
                    return parse_keys(separators);
                }
                let rest = text.strip_prefix("csv");
                parse_csv(
                    rest.ok_or_else(|| ParserError::Form(text.to_owned()))?,
                    text,
                )?
            }
        })
    }
}

fn parse_keys(text: &str) -> Result<Parser, ParserError> {
    let bytes: Bytes = text.parse()?;
    match *bytes.as_slice() {
        [pair, equals] if pair != equals => Ok(Parser::Keys { pair, equals }),
        _ => Err(ParserError::Separators(text.to_owned())),
    }
}

fn parse_csv(rest: &str, whole: &str) -> Result<Parser, ParserError> {
    let (separator, names) = match rest.strip_prefix(':') {
        Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
        None if rest.is_empty() || rest.starts_with(' ') => (",", rest),
        None => return Err(ParserError::Form(whole.to_owned())),
    };
    let bytes: Bytes = separator.parse()?;
    let [separator] = *bytes.as_slice() else {
        return Err(ParserError::Separator(separator.to_owned()));
    };
    let names = names.trim();
    let columns = if names.is_empty() {
        Columns::Any
    } else if let Some(count) = names.strip_prefix('*') {
        let count = count
            .parse()
            .map_err(|_| ParserError::Form(whole.to_owned()))?;
        Columns::Count(count)
    } else {
        let names: Vec<String> = names.split_ascii_whitespace().map(str::to_owned).collect();
        let twice = names
            .iter()
            .enumerate()
            .find(|(i, name)| names.iter().take(*i).any(|n| n == *name));
        if let Some((_, name)) = twice {
            return Err(ParserError::Twice(name.clone()));
        }
        Columns::Names(names)
    };
    let count = match &columns {
        Columns::Any => 1,
        Columns::Count(count) => *count,
        Columns::Names(names) => names.len(),
    };
    if !(1..=MAX_COLUMNS).contains(&count) {
        return Err(ParserError::Columns(count));
    }
    Ok(Parser::Csv { separator, columns })
}

impl fmt::Display for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Json => f.write_str("json"),
            Self::Binary => f.write_str("binary"),
            Self::Nmea => f.write_str("nmea"),
            Self::Regex(pattern) => write!(f, "regex:{}", pattern.as_str()),
            Self::Keys { pair, equals } => write!(f, "keys:{}", Bytes::new([*pair, *equals])),
            Self::Csv { separator, columns } => {
                write!(f, "csv:{}", Bytes::new([*separator]))?;
                match columns {
                    Columns::Any => Ok(()),
                    Columns::Count(count) => write!(f, " *{count}"),
                    Columns::Names(names) => write!(f, " {}", names.join(" ")),
                }
            }
        }
    }
}
