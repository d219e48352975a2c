//! Speed and character format of a serial line: `"19200 8E1"`. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Allowed speeds, in baud.
const BAUDS: std::ops::RangeInclusive<u32> = 300..=4_000_000;
/// Above this speed the silences of Modbus RTU are fixed (Modbus over serial line 1.02, 2.5.1.1).
const FIXED_GAP_ABOVE: u32 = 19_200;

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

/// Bits of data in a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataBits {
    /// Seven: old text devices such as scales. Modbus RTU cannot use it.
    Seven,
    /// Eight.
    Eight,
}

/// Speed and character format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSettings {
    /// Bits a second, 300 to 4 000 000.
    pub baud: u32,
    /// Bits of data.
    pub data_bits: DataBits,
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
    /// An unknown format.
    #[error(
        "{0:?} is not a format; use 7 or 8 data bits, parity N, E or O, and 1 or 2 stop bits, such as \"8E1\""
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
        let [bits, parity, stop] = *format.as_bytes() else {
            return Err(wrong());
        };
        Ok(Self {
            baud: speed.ok_or_else(|| LineError::Baud(baud.to_owned()))?,
            data_bits: match bits {
                b'7' => DataBits::Seven,
                b'8' => DataBits::Eight,
                _ => return Err(wrong()),
            },
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
        let bits = match self.data_bits {
            DataBits::Seven => 7,
            DataBits::Eight => 8,
        };
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        let stop = if self.two_stop_bits { 2 } else { 1 };
        write!(f, "{} {bits}{parity}{stop}", self.baud)
    }
}

impl LineSettings {
    /// Bits of one character on the wire, start and stop bits included.
    #[must_use]
    pub fn character_bits(&self) -> u32 {
        let data = match self.data_bits {
            DataBits::Seven => 7,
            DataBits::Eight => 8,
        };
        2 + data + u32::from(self.parity != Parity::None) + u32::from(self.two_stop_bits)
    }

    /// How long `count` characters take.
    #[must_use]
    pub fn characters(&self, count: u32) -> Duration {
        let bits = u64::from(count) * u64::from(self.character_bits());
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.baud.max(1)))
    }

    /// The silence that ends a frame of Modbus RTU, t3.5: 3.5 characters, 1.75 ms above 19200 baud.
    #[must_use]
    pub fn frame_gap(&self) -> Duration {
        if self.baud > FIXED_GAP_ABOVE {
            Duration::from_micros(1750)
        } else {
            self.characters(7) / 2
        }
    }

    /// The longest silence inside a frame of Modbus RTU, t1.5: 1.5 characters, 0.75 ms above 19200 baud.
    #[must_use]
    pub fn character_gap(&self) -> Duration {
        if self.baud > FIXED_GAP_ABOVE {
            Duration::from_micros(750)
        } else {
            self.characters(3) / 2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn settings_are_their_text_and_know_their_times() {
        let line: LineSettings = "19200 8E1".parse().unwrap();
        assert_eq!(line.to_string(), "19200 8E1");
        assert_eq!(line.characters(1), Duration::from_nanos(572_916));
        assert_eq!(line.frame_gap(), line.characters(7) / 2);
        assert_eq!(line.character_gap(), line.characters(3) / 2);
        let fast: LineSettings = "115200 8n1".parse().unwrap();
        assert_eq!(fast.frame_gap(), Duration::from_micros(1750));
        assert_eq!(fast.character_gap(), Duration::from_micros(750));
        let scale: LineSettings = "9600 7E1".parse().unwrap();
        assert_eq!(scale.character_bits(), 10);
    }

    #[test]
    fn what_is_no_setting_is_told_what_is() {
        for (text, hint) in [
            ("19200", "write speed and format"),
            ("19200 6E1", "use 7 or 8 data bits"),
            ("1 8N1", "use 300 to 4000000 baud"),
            ("9600 8X1", "use 7 or 8 data bits"),
            ("9600 8N3", "use 7 or 8 data bits"),
            ("9600 8N1 x", "write speed and format"),
        ] {
            let error = text.parse::<LineSettings>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,20}") {
            drop(text.parse::<LineSettings>());
        }
    }
}
