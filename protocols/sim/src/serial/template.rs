//! Texts with values and checksums in them: `"ST,GS,{weight:+9.3},kg*{xor}\r\n"`.
//!
//! | in braces | becomes |
//! |---|---|
//! | `{weight}` | the value as it is |
//! | `{weight:9.3}` | right-aligned in 9 places, 3 decimals |
//! | `{weight:+9.3}` | the same with a sign always |
//! | `{weight:09.3}` | filled with zeros |
//! | `{n}` | number of the frame, from 0 |
//! | `{xor}` `{sum}` `{lrc}` `{crc16}` `{crc32}` | checksum as hex digits over what is before it, from behind a leading `$`, `!` or STX to a `*` right before it |
//! | `{{` `}}` | a brace |

use super::checksum::Checksum;
use crate::script::Value;
use std::fmt::Write as _;
use std::str::FromStr;

/// Longest template.
const LONGEST: usize = 4096;
/// Most places and decimals of a value.
const MOST_PLACES: usize = 64;

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Braces that do not match.
    #[error("a brace without its other half in {0:?}; write {{{{ or }}}} for a brace itself")]
    Brace(String),
    /// Places that cannot be read.
    #[error(
        "{{{0}}} is not understood; write {{name}}, {{name:9.3}}, {{name:+9.3}} or {{name:09.3}}"
    )]
    Places(String),
    /// It is too long.
    #[error("longer than {LONGEST} characters")]
    TooLong,
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Number,
    Value(String, Places),
    Checksum(Checksum),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Places {
    sign: bool,
    zeros: bool,
    width: usize,
    decimals: Option<usize>,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > LONGEST {
            return Err(TemplateError::TooLong);
        }
        let brace = || TemplateError::Brace(text.to_owned());
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars().peekable();
        while let Some(letter) = rest.next() {
            match letter {
                '{' | '}' if rest.peek() == Some(&letter) => {
                    rest.next();
                    plain.push(letter);
                }
                '}' => return Err(brace()),
                '{' => {
                    let mut inside = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some('{') | None => return Err(brace()),
                            Some(letter) => inside.push(letter),
                        }
                    }
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece(&inside)?);
                }
                _ => plain.push(letter),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }
}

fn piece(inside: &str) -> Result<Piece, TemplateError> {
    let refused = || TemplateError::Places(inside.to_owned());
    let (name, places) = inside.split_once(':').unwrap_or((inside, ""));
    if name.is_empty() {
        return Err(refused());
    }
    if let Some(checksum) = Checksum::named(name) {
        return Ok(Piece::Checksum(checksum));
    }
    if name == "n" && places.is_empty() {
        return Ok(Piece::Number);
    }
    let (sign, places) = match places.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, places),
    };
    let (width, decimals) = match places.split_once('.') {
        Some((width, decimals)) => (width, Some(decimals.parse().map_err(|_| refused())?)),
        None => (places, None),
    };
    let zeros = width.len() > 1 && width.starts_with('0');
    let width = if width.is_empty() {
        0
    } else {
        width.parse().map_err(|_| refused())?
    };
    if width > MOST_PLACES || decimals.is_some_and(|decimals| decimals > MOST_PLACES) {
        return Err(refused());
    }
    let places = Places {
        sign,
        zeros,
        width,
        decimals,
    };
    Ok(Piece::Value(name.to_owned(), places))
}

impl Template {
    /// Names of the values in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(name, _) => Some(name.as_str()),
            Piece::Text(_) | Piece::Number | Piece::Checksum(_) => None,
        })
    }

    /// Whether it carries a checksum.
    #[must_use]
    pub fn has_checksum(&self) -> bool {
        let is = |piece: &Piece| matches!(piece, Piece::Checksum(_));
        self.pieces.iter().any(is)
    }

    /// The bytes of frame `number`; values come from `value`, and with `wrong` checksums are none.
    pub fn render(
        &self,
        number: u64,
        mut value: impl FnMut(&str) -> Value,
        wrong: bool,
    ) -> Vec<u8> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Number => put(&mut text, format_args!("{number}")),
                Piece::Value(name, places) => places.put(&mut text, &value(name)),
                Piece::Checksum(checksum) => {
                    let covered = text.strip_suffix('*').unwrap_or(&text);
                    let begin = ['$', '!', '\u{2}'];
                    let covered = covered.strip_prefix(begin).unwrap_or(covered);
                    for byte in checksum.of(covered.as_bytes()) {
                        let byte = if wrong { byte ^ 0x11 } else { byte };
                        put(&mut text, format_args!("{byte:02X}"));
                    }
                }
            }
        }
        text.into_bytes()
    }
}

impl Places {
    fn put(self, text: &mut String, value: &Value) {
        let digits = match self.decimals {
            Some(decimals) => format!("{value:.decimals$}"),
            None => value.to_string(),
        };
        let (minus, digits) = match digits.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None if self.sign => ("+", digits.as_str()),
            None => ("", digits.as_str()),
        };
        let width = self.width.saturating_sub(minus.len());
        if self.zeros {
            put(text, format_args!("{minus}{digits:0>width$}"));
        } else {
            let whole = format!("{minus}{digits}");
            put(text, format_args!("{whole:>width$}", width = self.width));
        }
    }
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = text.write_fmt(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, value: f64) -> String {
        let template: Template = text.parse().unwrap();
        let bytes = template.render(7, |_| Value::Float(value), false);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn values_stand_in_their_places() {
        assert_eq!(render("{w}", 1.5), "1.5");
        assert_eq!(render("[{w:9.3}]", 12.3456), "[   12.346]");
        assert_eq!(render("[{w:+9.3}]", 12.3456), "[  +12.346]");
        assert_eq!(render("[{w:+09.3}]", -12.3456), "[-0012.346]");
        assert_eq!(render("[{w:06.0}]", 42.4), "[000042]");
        assert_eq!(render("{{{n}}}", 0.0), "{7}");
    }

    #[test]
    fn a_checksum_covers_what_stands_between_the_marks() {
        // The example of NMEA 0183 that every manual prints.
        let sentence = "$GPGLL,5057.970,N,00146.110,E,142451,A*{xor}";
        assert!(render(sentence, 0.0).ends_with("*27"));
        assert_eq!(render("AB{xor}", 0.0), "AB03");
        let template: Template = "AB{xor}".parse().unwrap();
        assert_eq!(template.render(0, |_| Value::Int(0), true), b"AB12");
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_can() {
        for text in ["{", "}", "{a{b}}", "{w:x}", "{:3}", "{w:9.x}", "{w:999}"] {
            let error = text.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains("write"), "{text}: {error}");
        }
    }
}
