//! Text to tokens.
//!
//! A name may contain `-`, because ids do; so a minus between two names needs spaces around it, and the
//! error for an unknown name says so.

use crate::error::ExprError;
use std::ops::Range;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A point (`device.point`), a function, `true` or `false`.
    Name(String),
    Int(i128),
    Float(f64),
    Text(String),
    /// Operators and punctuation, by their text.
    Sign(&'static str),
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spanned {
    pub(crate) token: Token,
    pub(crate) span: Range<usize>,
}

/// Longer ones first: `<=` is not `<` and `=`.
const SIGNS: [&str; 19] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "(", ")", ",", "?",
    ":",
];

pub(crate) fn tokens(source: &str) -> Result<Vec<Spanned>, ExprError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..)
        && let Some(first) = rest.chars().next()
    {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, len) = if first.is_ascii_digit() {
            number(rest, at)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let len = name_len(rest);
            (Token::Name(rest.get(..len).unwrap_or(rest).to_owned()), len)
        } else if first == '"' || first == '\'' {
            text(rest, first, at)?
        } else {
            sign(rest, first, at)?
        };
        let span = at..at + len;
        found.push(Spanned { token, span });
        at += len;
    }
    let end = source.len();
    found.push(Spanned {
        token: Token::End,
        span: end..end,
    });
    Ok(found)
}

fn name_len(rest: &str) -> usize {
    let mut len = 0;
    let bytes = rest.as_bytes();
    while let Some(&byte) = bytes.get(len) {
        let next_is_name = || {
            let next = bytes.get(len + 1);
            next.is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_')
        };
        let part = byte.is_ascii_alphanumeric()
            || byte == b'_'
            || (matches!(byte, b'-' | b'.') && next_is_name());
        if !part {
            break;
        }
        len += 1;
    }
    len
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), ExprError> {
    let bytes = rest.as_bytes();
    let digits = |from: usize, also: fn(u8) -> bool| {
        let tail = bytes.get(from..).unwrap_or_default();
        tail.iter()
            .take_while(|b| b.is_ascii_digit() || **b == b'_' || also(**b))
            .count()
    };
    let hex = rest.starts_with("0x") || rest.starts_with("0X");
    let mut len = if hex {
        2 + digits(2, |b| b.is_ascii_hexdigit())
    } else {
        digits(0, |_| false)
    };
    let mut float = false;
    if !hex {
        if bytes.get(len) == Some(&b'.') && bytes.get(len + 1).is_some_and(u8::is_ascii_digit) {
            float = true;
            len += 1 + digits(len + 1, |_| false);
        }
        if matches!(bytes.get(len), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
            if bytes.get(len + 1 + sign).is_some_and(u8::is_ascii_digit) {
                float = true;
                len += 1 + sign + digits(len + 1 + sign, |_| false);
            }
        }
    }
    let text = rest.get(..len).unwrap_or(rest).replace('_', "");
    let trailing = rest.get(len..).unwrap_or_default().chars().next();
    let wrong = |why: &str| {
        let extra = trailing.map_or(0, char::len_utf8);
        ExprError::new(
            at..at + len + extra,
            why,
            "a number such as 30, 0.5, 1e-3 or 0x1F; units are not written",
        )
    };
    if trailing.is_some_and(|c| c.is_alphabetic() || c == '_') {
        return Err(wrong("a number with letters behind it"));
    }
    let token = if float {
        let value: f64 = text.parse().map_err(|_| wrong("not a number"))?;
        if !value.is_finite() {
            return Err(wrong("the number is too large"));
        }
        Token::Float(value)
    } else if hex {
        let digits = text.get(2..).unwrap_or_default();
        let value = u64::from_str_radix(digits, 16).map_err(|_| wrong("not a 64-bit number"))?;
        Token::Int(value.into())
    } else {
        let value: u64 = text.parse().map_err(|_| wrong("not a 64-bit number"))?;
        Token::Int(value.into())
    };
    Ok((token, len))
}

fn text(rest: &str, quote: char, at: usize) -> Result<(Token, usize), ExprError> {
    let mut content = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((offset, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, c @ ('\\' | '"' | '\''))) => content.push(c),
                Some((_, 'n')) => content.push('\n'),
                Some((_, 't')) => content.push('\t'),
                Some((next, c)) => {
                    return Err(ExprError::new(
                        at + offset..at + next + c.len_utf8(),
                        "unknown escape in a text",
                        r#"\\ \" \' \n \t"#,
                    ));
                }
                None => break,
            },
            c if c == quote => return Ok((Token::Text(content), offset + c.len_utf8())),
            c => content.push(c),
        }
    }
    Err(ExprError::new(
        at..at + rest.len(),
        "the text does not end",
        format!("a closing {quote}"),
    ))
}

fn sign(rest: &str, first: char, at: usize) -> Result<(Token, usize), ExprError> {
    if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    let span = at..at + first.len_utf8();
    let (message, allowed) = match first {
        '=' => ("a single =", "== to compare"),
        '&' => ("a single &", "&& between conditions"),
        '|' => ("a single |", "|| between conditions"),
        _ => (
            "a character that means nothing here",
            "numbers, texts in quotes, points as device.point, + - * / % < <= > >= == != && || ! ? : ( ) ,",
        ),
    };
    Err(ExprError::new(span, message, allowed))
}
