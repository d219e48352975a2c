//! From the text that people write to a checked field; every error says what is allowed.

use crate::field::{
    ByteOrder, Encoding, Field, IntWidth, Lengths, MAX_INVALID, MAX_LEN, MAX_OFFSET, Offset,
};
use crate::{Scale, ScaleError};
use std::str::FromStr;

/// Why a text is not a field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseFieldError {
    /// Nothing before or no `@`.
    #[error("{0:?} is not a field; write TYPE@OFFSET, such as \"u16le@4\" or \"i16be@2*0.01\"")]
    Form(String),
    /// No such type.
    #[error(
        "{0:?} is not a type; use u8 to u64, i8 to i64, f16, f32, f64, bcd2 to bcd16, bool, textN, latinN or bytesN, such as \"u16le@4\""
    )]
    Type(String),
    /// A number of several bytes without its byte order.
    #[error(
        "{0:?} needs a byte order; write \"{0}le\" (lowest byte first) or \"{0}be\" (highest byte first)"
    )]
    NoOrder(String),
    /// A byte order where there is none.
    #[error("{0:?} has no byte order; leave out \"le\" or \"be\"")]
    Order(String),
    /// A length out of bounds.
    #[error(
        "{0:?} is not a length; use 1 to {MAX_LEN} bytes (bcd: an even number of digits, 2 to 16)"
    )]
    Length(String),
    /// An offset out of bounds.
    #[error(
        "{0:?} is not an offset; use 0 to {MAX_OFFSET} from the start or -1 to -{MAX_OFFSET} from the end"
    )]
    Offset(String),
    /// A field that reaches past the end it is counted from.
    #[error("the field has {len} bytes, but begins {back} bytes before the end of the payload")]
    PastEnd {
        /// Its length.
        len: u16,
        /// Where it begins.
        back: u16,
    },
    /// Bits that the type does not have.
    #[error(
        "{found:?} is not a bit of {of}; use .0 to .{last} for a bit (0 is the lowest), or a range such as .0..{last}"
    )]
    Bits {
        /// What was written.
        found: String,
        /// The type.
        of: String,
        /// The highest bit there is.
        last: u8,
    },
    /// Bits of something that is no unsigned integer.
    #[error(
        "{0} has no bits to choose; use an unsigned integer, such as \"u16le@4.0..3\", or \"bool@4.3\""
    )]
    NoBits(String),
    /// Not a number.
    #[error("{0:?} is not a number; write a scale as *0.01 and an offset as +20 or -40")]
    Number(String),
    /// A scale that is none.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// Scale on something that is no number.
    #[error("{0} cannot be scaled; leave out scale and offset")]
    NoScale(String),
    /// An invalid value that the type cannot have.
    #[error(
        "{found:?} is no raw value of {of}; write !0x8000 or !-32768, a value that fits the type"
    )]
    Invalid {
        /// What was written.
        found: String,
        /// The type.
        of: String,
    },
    /// Too many of them.
    #[error("{0} invalid values; at most {MAX_INVALID} are allowed")]
    TooManyInvalid(usize),
    /// A length condition that is none.
    #[error(
        "{0:?} is not a length condition; write ?6 (exactly), ?6.. (at least) or ?2..6, up to {MAX_LEN}"
    )]
    Lengths(String),
}

use ParseFieldError as Error;

impl FromStr for Field {
    type Err = ParseFieldError;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let (of, rest) = split(text, '@').ok_or_else(|| Error::Form(text.to_owned()))?;
        let (rest, lengths) = cut(rest, |c| c == '?');
        let (rest, invalid) = cut(rest, |c| c == '!');
        let (place, scale) = match rest.find('*') {
            Some(star) => rest.split_at(star),
            // A sign in front belongs to the offset.
            None => match rest.get(1..).and_then(|r| r.find(['+', '-'])) {
                Some(sign) => rest.split_at(sign + 1),
                None => (rest, ""),
            },
        };
        let (offset, bits) = cut(place, |c| c == '.');
        let (encoding, order) = parse_type(of)?;
        let encoding = with_bits(encoding, of, bits.map(str::to_owned))?;
        let offset = parse_offset(offset)?;
        if let (Some(len), Offset::End(back)) = (encoding.len(), offset)
            && len > back
        {
            return Err(Error::PastEnd { len, back });
        }
        let scale = parse_scale(scale)?;
        if !scale.is_identity() && !encoding.is_number() {
            return Err(Error::NoScale(of.to_owned()));
        }
        let mut invalids = Vec::new();
        for raw in invalid.into_iter().flat_map(|i| i.split('!')) {
            let pattern = parse_pattern(raw, encoding).ok_or_else(|| Error::Invalid {
                found: raw.to_owned(),
                of: of.to_owned(),
            })?;
            if !invalids.contains(&pattern) {
                invalids.push(pattern);
            }
        }
        if invalids.len() > MAX_INVALID {
            return Err(Error::TooManyInvalid(invalids.len()));
        }
        let lengths = lengths.map(|l| parse_lengths(l).ok_or_else(|| Error::Lengths(l.to_owned())));
        Ok(Self {
            encoding,
            order,
            offset,
            scale,
            invalid: invalids,
            lengths: lengths.transpose()?,
        })
    }
}

fn split(text: &str, at: char) -> Option<(&str, &str)> {
    text.split_once(at).filter(|(before, _)| !before.is_empty())
}

/// What stands before the first such character, and what behind it.
fn cut(text: &str, at: impl Fn(char) -> bool) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}

fn parse_type(of: &str) -> Result<(Encoding, ByteOrder), Error> {
    let unknown = || Error::Type(of.to_owned());
    let name = of.trim_end_matches(|c: char| c.is_ascii_digit());
    // Texts first: `bytes` ends in no byte order, but `u16le` does.
    let (of, order) = match (of.strip_suffix("le"), of.strip_suffix("be")) {
        _ if matches!(name, "text" | "latin" | "bytes" | "bool") => (of, None),
        (Some(of), _) => (of, Some(ByteOrder::Little)),
        (_, Some(of)) => (of, Some(ByteOrder::Big)),
        _ => (of, None),
    };
    let digits = of.find(|c: char| c.is_ascii_digit()).unwrap_or(of.len());
    let (name, digits) = of.split_at(digits);
    let number = || digits.parse::<u16>().ok();
    let width = |allowed: &[u16]| {
        let bits = number().filter(|bits| allowed.contains(bits));
        Some(match bits? {
            8 => IntWidth::W8,
            16 => IntWidth::W16,
            24 => IntWidth::W24,
            32 => IntWidth::W32,
            40 => IntWidth::W40,
            48 => IntWidth::W48,
            _ => IntWidth::W64,
        })
    };
    let len = || {
        if digits.is_empty() {
            return Ok(None);
        }
        let len = number().filter(|len| (1..=MAX_LEN).contains(len));
        len.map(Some).ok_or_else(|| Error::Length(of.to_owned()))
    };
    const INTEGERS: [u16; 7] = [8, 16, 24, 32, 40, 48, 64];
    let encoding = match name {
        "u" => Encoding::Unsigned {
            width: width(&INTEGERS).ok_or_else(unknown)?,
            bits: None,
        },
        "i" => Encoding::Signed(width(&INTEGERS).ok_or_else(unknown)?),
        "f" => Encoding::Float(width(&[16, 32, 64]).ok_or_else(unknown)?),
        "bcd" => {
            let digits = number().filter(|d| (2..=16).contains(d) && d % 2 == 0);
            let bytes = digits.and_then(|d| u8::try_from(d / 2).ok());
            Encoding::Bcd(bytes.ok_or_else(|| Error::Length(of.to_owned()))?)
        }
        "bool" if digits.is_empty() => Encoding::Bool,
        "text" => Encoding::Text(len()?),
        "latin" => Encoding::Latin1(len()?),
        "bytes" => Encoding::Bytes(len()?),
        _ => return Err(unknown()),
    };
    let ordered = match encoding {
        Encoding::Bool | Encoding::Text(_) | Encoding::Latin1(_) | Encoding::Bytes(_) => false,
        _ => encoding.len() > Some(1),
    };
    match (ordered, order) {
        (true, None) => Err(Error::NoOrder(of.to_owned())),
        (false, Some(_)) => Err(Error::Order(of.to_owned())),
        (_, order) => Ok((encoding, order.unwrap_or(ByteOrder::Big))),
    }
}

fn with_bits(encoding: Encoding, of: &str, bits: Option<String>) -> Result<Encoding, Error> {
    let Some(found) = bits else {
        return Ok(encoding);
    };
    let width = match encoding {
        Encoding::Unsigned { width, .. } => width,
        Encoding::Bool => IntWidth::W8,
        _ => return Err(Error::NoBits(of.to_owned())),
    };
    let last = width.bits() - 1;
    let bit = |text: &str| text.parse::<u8>().ok().filter(|bit| *bit <= last);
    let range = match found.split_once("..") {
        // A range of a bool would be no bool.
        Some(_) if encoding == Encoding::Bool => None,
        Some((first, end)) => bit(first).zip(bit(end)).filter(|(a, b)| a < b),
        None => bit(&found).map(|bit| (bit, bit)),
    };
    match range {
        Some(range) => Ok(Encoding::Unsigned {
            width,
            bits: Some(range),
        }),
        None => Err(Error::Bits {
            found,
            of: of.to_owned(),
            last,
        }),
    }
}

fn parse_offset(text: &str) -> Result<Offset, Error> {
    let wrong = || Error::Offset(text.to_owned());
    let (digits, end) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    let number = digits.parse().ok().filter(|n| plain && *n <= MAX_OFFSET);
    match (number.ok_or_else(wrong)?, end) {
        (0, true) => Err(wrong()),
        (n, true) => Ok(Offset::End(n)),
        (n, false) => Ok(Offset::Start(n)),
    }
}

/// `*0.01+20`, `*2`, `-40` or nothing.
fn parse_scale(text: &str) -> Result<Scale, Error> {
    if text.is_empty() {
        return Ok(Scale::IDENTITY);
    }
    let (factor, offset) = match text.strip_prefix('*') {
        None => ("1", text),
        Some(text) => {
            // A sign in front or after an exponent belongs to the factor.
            let mut before = 'e';
            let sign = text.char_indices().find(|&(_, c)| {
                let found = matches!(c, '+' | '-') && !matches!(before, 'e' | 'E');
                before = c;
                found
            });
            text.split_at(sign.map_or(text.len(), |(at, _)| at))
        }
    };
    let number = |text: &str| -> Result<f64, Error> {
        text.parse().map_err(|_| Error::Number(text.to_owned()))
    };
    let offset = if offset.is_empty() {
        0.0
    } else {
        number(offset)?
    };
    Ok(Scale::new(number(factor)?, offset)?)
}

/// The bit pattern of an invalid value: hexadecimal as it stands on the wire, or a decimal number.
fn parse_pattern(text: &str, encoding: Encoding) -> Option<u64> {
    let bytes = match encoding {
        Encoding::Unsigned { .. } | Encoding::Signed(_) | Encoding::Float(_) | Encoding::Bcd(_) => {
            encoding.len()?
        }
        _ => return None,
    };
    let mask = u64::MAX >> (64 - 8 * u32::from(bytes));
    if let Some(hex) = text.strip_prefix("0x") {
        let plain = hex.bytes().all(|b| b.is_ascii_hexdigit());
        return u64::from_str_radix(hex, 16)
            .ok()
            .filter(|p| plain && *p <= mask);
    }
    let number: i128 = text.parse().ok()?;
    match encoding {
        Encoding::Unsigned { .. } => u64::try_from(number).ok().filter(|p| *p <= mask),
        Encoding::Signed(_) => {
            let half = i128::from(mask / 2);
            let fits = (-half - 1..=half).contains(&number);
            let pattern = number & i128::from(mask);
            u64::try_from(pattern).ok().filter(|_| fits)
        }
        // Their raw values are patterns, not numbers.
        _ => None,
    }
}

fn parse_lengths(text: &str) -> Option<Lengths> {
    let number = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n| plain && *n <= MAX_LEN)
    };
    let (min, max) = match text.split_once("..") {
        Some((min, "")) => (number(min)?, None),
        Some(("", max)) => (0, Some(number(max)?)),
        Some((min, max)) => (number(min)?, Some(number(max)?)),
        None => (number(text)?, Some(number(text)?)),
    };
    max.is_none_or(|max| min <= max)
        .then_some(Lengths { min, max })
}
