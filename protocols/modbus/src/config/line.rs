//! Speed and character format of a serial line: `"19200 8E1"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Allowed speeds, in baud.
const BAUDS: std::ops::RangeInclusive<u32> = 300..=4_000_000;

/// The parity bit of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// None.
    None,
    /// Even, the default of Modbus.
    Even,
    /// Odd.
    Odd,
}

/// Speed and character format; always eight data bits, as RTU demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSettings {
    /// Bits a second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
    /// Two stop bits instead of one.
    pub two_stop_bits: bool,
}

/// Why a text is not a line setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// Not speed and format.
    #[error(
        "{0:?} is not a line setting; write speed and format, such as \"19200 8E1\" or \"9600 8N2\""
    )]
    Form(String),
    /// Speed out of bounds.
    #[error("{0:?} is not a speed; use 300 to 4000000 baud")]
    Baud(String),
    /// A format that Modbus RTU cannot use.
    #[error(
        "{0:?} is not a format for Modbus RTU; use 8 data bits, parity N, E or O, and 1 or 2 stop bits, such as \"8E1\""
    )]
    Format(String),
}

impl FromStr for LineSettings {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        let mut words = text.split_ascii_whitespace();
        let (Some(baud), Some(format), None) = (words.next(), words.next(), words.next()) else {
            return Err(LineError::Form(text.to_owned()));
        };
        let speed = baud.parse().ok().filter(|b| BAUDS.contains(b));
        let wrong = || LineError::Format(format.to_owned());
        let [b'8', parity, stop] = *format.as_bytes() else {
            return Err(wrong());
        };
        Ok(Self {
            baud: speed.ok_or_else(|| LineError::Baud(baud.to_owned()))?,
            parity: match parity {
                b'N' | b'n' => Parity::None,
                b'E' | b'e' => Parity::Even,
                b'O' | b'o' => Parity::Odd,
                _ => return Err(wrong()),
            },
            two_stop_bits: match stop {
                b'1' => false,
                b'2' => true,
                _ => return Err(wrong()),
            },
        })
    }
}

impl fmt::Display for LineSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(
            f,
            "{} 8{parity}{}",
            self.baud,
            if self.two_stop_bits { 2 } else { 1 }
        )
    }
}

impl LineSettings {
    /// How long `count` characters take.
    #[must_use]
    pub fn characters(&self, count: u32) -> Duration {
        let bits = 9 + u64::from(self.parity != Parity::None) + 1 + u64::from(self.two_stop_bits);
        let nanos = u64::from(count) * bits * 1_000_000_000;
        Duration::from_nanos(nanos / u64::from(self.baud.max(1)))
    }

    /// The silence that ends a frame: 3.5 characters, 1.75 ms above 19200 baud.
    #[must_use]
    pub fn frame_gap(&self) -> Duration {
        if self.baud > 19_200 {
            Duration::from_micros(1750)
        } else {
            self.characters(7) / 2
        }
    }
}
