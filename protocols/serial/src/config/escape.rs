//! Bytes as people write them: text with escapes, `"W\r\n"`, `"\x02ID?\x03"`.

use std::fmt;
use std::str::FromStr;

/// Longest such text, in bytes after unescaping.
pub const MAX_BYTES: usize = 1024;

/// Bytes from a text with the escapes `\r`, `\n`, `\t`, `\0`, `\s` (a blank), `\\` and `\xHH`; other
/// characters stand for their UTF-8 bytes. Prints in one canonical form.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Bytes(Vec<u8>);

/// Why a text is no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EscapeError {
    /// An escape that does not exist.
    #[error("{0:?} is not an escape; use \\r, \\n, \\t, \\0, \\s (a blank), \\\\ or \\xHH")]
    Unknown(String),
    /// Too long.
    #[error("{0} bytes are too many; at most {MAX_BYTES} are allowed")]
    TooLong(usize),
}

impl Bytes {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromStr for Bytes {
    type Err = EscapeError;

    fn from_str(text: &str) -> Result<Self, EscapeError> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '\\' {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            let escape = rest.next();
            bytes.push(match escape {
                Some('r') => b'\r',
                Some('n') => b'\n',
                Some('t') => b'\t',
                Some('0') => 0,
                Some('s') => b' ',
                Some('\\') => b'\\',
                Some('x') => {
                    let digits: String = rest.by_ref().take(2).collect();
                    let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| plain);
                    byte.ok_or_else(|| EscapeError::Unknown(format!("\\x{digits}")))?
                }
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(EscapeError::Unknown(format!("\\{other}")));
                }
            });
        }
        if bytes.len() > MAX_BYTES {
            return Err(EscapeError::TooLong(bytes.len()));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| match byte {
            b'\r' => f.write_str("\\r"),
            b'\n' => f.write_str("\\n"),
            b'\t' => f.write_str("\\t"),
            b' ' => f.write_str("\\s"),
            b'\\' => f.write_str("\\\\"),
            0x21..=0x7e => write!(f, "{}", char::from(*byte)),
            _ => write!(f, "\\x{byte:02x}"),
        })
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
