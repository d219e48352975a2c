//! Where a frame begins and ends: `"line"`, `"start:\x02 end:\x03 tail:1"`, `"length:u8@2+5"`.

use super::escape::{Bytes, EscapeError};
use protocols_layout::ByteOrder;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Longest delimiter, in bytes.
pub const MAX_DELIMITER: usize = 8;
/// Allowed silence gaps. Below 2 ms nothing can be told apart by a timer; many USB adapters hand bytes
/// over every 16 ms, so that only gaps above 20 ms are safe there.
pub const GAPS: RangeInclusive<Duration> = Duration::from_millis(2)..=Duration::from_secs(10);

/// How the stream of bytes is cut into frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// `line`: text ended by a line feed; a carriage return before it is dropped.
    Line,
    /// `nmea`: NMEA 0183, from `$` or `!` to the end of the line.
    Nmea,
    /// `[start:B] end:B [escape:B[^0xHH]] [tail:N]`
    Delimited {
        /// In front of a frame; may be empty.
        start: Bytes,
        /// Behind a frame.
        end: Bytes,
        /// How a delimiter inside a frame is told from a real one.
        escape: Option<Escape>,
        /// Bytes that belong to the frame and stand behind its end: a checksum, 0 to 4.
        tail: u8,
    },
    /// `fixed:N [start:B] [gap:T]`
    Fixed {
        /// Bytes of a frame, start included.
        len: u16,
        /// What it begins with; may be empty.
        start: Bytes,
        /// Silence that separates frames.
        gap: Option<Duration>,
    },
    /// `length:TYPE@OFFSET[+EXTRA] [start:B] [gap:T]`
    Length {
        /// Where the length stands and what it counts.
        prefix: LengthPrefix,
        /// What a frame begins with; may be empty.
        start: Bytes,
        /// Silence that separates frames.
        gap: Option<Duration>,
    },
    /// `gap:T`: frames are what stands between silences of so long.
    Gap(Duration),
    /// `slip`: RFC 1055.
    Slip,
    /// `cobs`: consistent overhead byte stuffing, frames ended by a zero byte.
    Cobs,
}

/// The byte that announces a byte that is no delimiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escape {
    /// The announcing byte.
    pub byte: u8,
    /// The announced byte was combined with this by exclusive or; 0: it stands as it is.
    pub xor: u8,
}

/// A length inside the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthPrefix {
    /// Its width in bytes: 1, 2 or 4.
    pub width: u8,
    /// Its byte order.
    pub order: ByteOrder,
    /// Where it stands, from the first byte of the frame (start included).
    pub at: u8,
    /// What it does not count: the whole frame has so many bytes more than it says.
    pub extra: i16,
}

/// Why a text is no framing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// No framing of that name.
    #[error(
        "{0:?} is not a framing; use \"line\", \"nmea\", \"slip\", \"cobs\", \"end:\\r\\n\", \"start:\\x02 end:\\x03\", \"fixed:8 start:\\xaa\", \"length:u8@1+2\" or \"gap:20ms\""
    )]
    Form(String),
    /// A part that does not go with the framing.
    #[error("{part:?} does not go with {with:?}; it takes {takes}")]
    Part {
        /// The part.
        part: String,
        /// The framing.
        with: &'static str,
        /// What it takes.
        takes: &'static str,
    },
    /// The same part twice.
    #[error("{0:?} stands there twice")]
    Twice(String),
    /// A delimiter of no or too many bytes.
    #[error("{0:?} is not a delimiter; use 1 to {MAX_DELIMITER} bytes, such as \\r\\n or \\x02")]
    Delimiter(String),
    /// An escape that is none.
    #[error(
        "{0:?} is not an escape; use one byte that is no delimiter, such as escape:\\x10, or escape:\\x7d^0x20"
    )]
    Escape(String),
    /// A number out of bounds.
    #[error("{found:?} is not allowed; use {allowed}")]
    Number {
        /// What was written.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A gap out of bounds.
    #[error("{0:?} is not a gap; use 2ms to 10s, such as gap:20ms")]
    Gap(String),
    /// A length prefix that is none.
    #[error(
        "{0:?} is not a length; write its type, place and what it does not count, such as length:u8@1+2 or length:u16be@2+6"
    )]
    Length(String),
    /// Bytes that are none.
    #[error(transparent)]
    Bytes(#[from] EscapeError),
}

use FramingError as Error;

/// The parts of a framing, each at most once.
#[derive(Default)]
struct Parts<'a> {
    start: Option<&'a str>,
    end: Option<&'a str>,
    escape: Option<&'a str>,
    tail: Option<&'a str>,
    fixed: Option<&'a str>,
    length: Option<&'a str>,
    gap: Option<&'a str>,
}

impl FromStr for Framing {
    type Err = FramingError;

    fn from_str(text: &str) -> Result<Self, Error> {
        let form = || Error::Form(text.to_owned());
        match text.trim() {
            "line" => return Ok(Self::Line),
            "nmea" => return Ok(Self::Nmea),
            "slip" => return Ok(Self::Slip),
            "cobs" => return Ok(Self::Cobs),
            _ => {}
        }
        let mut parts = Parts::default();
        // A real line end in a text (written as "\n" in TOML) is part of a delimiter, no separator.
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once(':').ok_or_else(form)?;
            let place = match key {
                "start" => &mut parts.start,
                "end" => &mut parts.end,
                "escape" => &mut parts.escape,
                "tail" => &mut parts.tail,
                "fixed" => &mut parts.fixed,
                "length" => &mut parts.length,
                "gap" => &mut parts.gap,
                _ => return Err(form()),
            };
            if place.replace(value).is_some() {
                return Err(Error::Twice(key.to_owned()));
            }
        }
        let found = [
            ("fixed", parts.fixed.is_some()),
            ("length", parts.length.is_some()),
            ("end", parts.end.is_some()),
        ];
        let mut kinds = found
            .iter()
            .filter(|(_, there)| *there)
            .map(|(name, _)| *name);
        match (kinds.next(), kinds.next()) {
            (Some(_), Some(other)) => Err(Error::Part {
                part: other.to_owned(),
                with: "fixed, length or end",
                takes: "one of them",
            }),
            (Some("end"), None) => parts.delimited(),
            (Some("fixed"), None) => parts.fixed(),
            (Some(_), None) => parts.length(),
            (None, _) => match parts {
                Parts {
                    start: None,
                    escape: None,
                    tail: None,
                    gap: Some(gap),
                    ..
                } => Ok(Self::Gap(parse_gap(gap)?)),
                _ => Err(form()),
            },
        }
    }
}

impl Parts<'_> {
    fn start(&self) -> Result<Bytes, Error> {
        self.start.map_or(Ok(Bytes::default()), delimiter)
    }

    fn refuse(
        parts: &[(&str, Option<&str>)],
        with: &'static str,
        takes: &'static str,
    ) -> Result<(), Error> {
        match parts.iter().find(|(_, there)| there.is_some()) {
            Some((part, _)) => Err(Error::Part {
                part: (*part).to_owned(),
                with,
                takes,
            }),
            None => Ok(()),
        }
    }

    fn delimited(&self) -> Result<Framing, Error> {
        Self::refuse(&[("gap", self.gap)], "end", "start, escape and tail")?;
        let (start, end) = (self.start()?, delimiter(self.end.unwrap_or_default())?);
        let escape = self.escape.map(|text| parse_escape(text, &start, &end));
        let tail = self.tail.map_or(Ok(0), |text| {
            number(text, 0..=4, "0 to 4 bytes behind the end")
        })?;
        Ok(Framing::Delimited {
            start,
            end,
            escape: escape.transpose()?,
            tail: u8::try_from(tail).unwrap_or(0),
        })
    }

    fn no_ends(&self, with: &'static str) -> Result<(), Error> {
        let parts = [("escape", self.escape), ("tail", self.tail)];
        Self::refuse(&parts, with, "start and gap")
    }

    fn gap(&self) -> Result<Option<Duration>, Error> {
        self.gap.map(parse_gap).transpose()
    }

    fn fixed(&self) -> Result<Framing, Error> {
        self.no_ends("fixed")?;
        let start = self.start()?;
        let text = self.fixed.unwrap_or_default();
        let len = number(text, 1..=4096, "1 to 4096 bytes, more than start has")?;
        if usize::from(len) <= start.len() {
            return Err(Error::Number {
                found: text.to_owned(),
                allowed: "1 to 4096 bytes, more than start has",
            });
        }
        Ok(Framing::Fixed {
            len,
            start,
            gap: self.gap()?,
        })
    }

    fn length(&self) -> Result<Framing, Error> {
        self.no_ends("length")?;
        let text = self.length.unwrap_or_default();
        let prefix = parse_prefix(text).ok_or_else(|| Error::Length(text.to_owned()))?;
        Ok(Framing::Length {
            prefix,
            start: self.start()?,
            gap: self.gap()?,
        })
    }
}

fn delimiter(text: &str) -> Result<Bytes, Error> {
    let bytes: Bytes = text.parse()?;
    if (1..=MAX_DELIMITER).contains(&bytes.len()) {
        Ok(bytes)
    } else {
        Err(Error::Delimiter(text.to_owned()))
    }
}

fn parse_escape(text: &str, start: &Bytes, end: &Bytes) -> Result<Escape, Error> {
    let wrong = || Error::Escape(text.to_owned());
    // The announcing byte may itself be `^`, or end in it.
    let (byte, xor) = match text.rsplit_once("^0x") {
        Some((byte, hex)) => (byte, u8::from_str_radix(hex, 16).map_err(|_| wrong())?),
        None => (text, 0),
    };
    let byte: Bytes = byte.parse()?;
    let [byte] = *byte.as_slice() else {
        return Err(wrong());
    };
    let taken = start.as_slice().contains(&byte) || end.as_slice().contains(&byte);
    if taken {
        return Err(wrong());
    }
    Ok(Escape { byte, xor })
}

fn number(text: &str, range: RangeInclusive<u16>, allowed: &'static str) -> Result<u16, Error> {
    let number = text.parse().ok().filter(|n| range.contains(n));
    number.ok_or_else(|| Error::Number {
        found: text.to_owned(),
        allowed,
    })
}

fn parse_gap(text: &str) -> Result<Duration, Error> {
    let span = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(ms), _) => ms.parse().ok().map(Duration::from_millis),
        (None, Some(s)) => s.parse().ok().map(Duration::from_secs),
        (None, None) => None,
    };
    span.filter(|span| GAPS.contains(span))
        .ok_or_else(|| Error::Gap(text.to_owned()))
}

/// `u16be@2+6`, `u8@1`, `u8@0-1`.
fn parse_prefix(text: &str) -> Option<LengthPrefix> {
    let (of, place) = text.split_once('@')?;
    let (width, order) = match of {
        "u8" => (1, ByteOrder::Big),
        "u16le" => (2, ByteOrder::Little),
        "u16be" => (2, ByteOrder::Big),
        "u32le" => (4, ByteOrder::Little),
        "u32be" => (4, ByteOrder::Big),
        _ => return None,
    };
    let sign = place.find(['+', '-']).unwrap_or(place.len());
    let (at, extra) = place.split_at(sign);
    Some(LengthPrefix {
        width,
        order,
        at: at.parse().ok()?,
        extra: if extra.is_empty() {
            0
        } else {
            extra.parse().ok()?
        },
    })
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => f.write_str("line"),
            Self::Nmea => f.write_str("nmea"),
            Self::Slip => f.write_str("slip"),
            Self::Cobs => f.write_str("cobs"),
            Self::Gap(gap) => write!(f, "gap:{}ms", gap.as_millis()),
            Self::Delimited {
                start,
                end,
                escape,
                tail,
            } => {
                if !start.is_empty() {
                    write!(f, "start:{start} ")?;
                }
                write!(f, "end:{end}")?;
                if let Some(Escape { byte, xor }) = escape {
                    write!(f, " escape:{}", Bytes::new([*byte]))?;
                    if *xor != 0 {
                        write!(f, "^0x{xor:02x}")?;
                    }
                }
                if *tail > 0 {
                    write!(f, " tail:{tail}")?;
                }
                Ok(())
            }
            Self::Fixed { len, start, gap } => {
                write!(f, "fixed:{len}")?;
                fmt_rest(f, start, *gap)
            }
            Self::Length { prefix, start, gap } => {
                let order = match (prefix.width, prefix.order) {
                    (1, _) => "",
                    (_, ByteOrder::Little) => "le",
                    (_, ByteOrder::Big) => "be",
                };
                write!(
                    f,
                    "length:u{}{order}@{}",
                    u16::from(prefix.width) * 8,
                    prefix.at
                )?;
                if prefix.extra != 0 {
                    write!(f, "{:+}", prefix.extra)?;
                }
                fmt_rest(f, start, *gap)
            }
        }
    }
}

fn fmt_rest(f: &mut fmt::Formatter<'_>, start: &Bytes, gap: Option<Duration>) -> fmt::Result {
    if !start.is_empty() {
        write!(f, " start:{start}")?;
    }
    gap.map_or(Ok(()), |gap| write!(f, " gap:{}ms", gap.as_millis()))
}
