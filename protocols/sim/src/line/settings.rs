//! Speed and character format of a line: `"19200 8E1"`; how long characters and gaps take.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The parity bit of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// No such bit.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// Speed and character format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSettings {
    /// Bits a second.
    pub baud: u32,
    /// Data bits, 5 to 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

/// A text that is no line setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no line setting; write speed (300 to 4000000), data bits (5 to 8), parity (N, E, O) and stop bits (1, 2), such as \"19200 8E1\""
)]
pub struct LineError(String);

impl LineSettings {
    /// What Modbus uses unless told otherwise: 19200 8E1.
    pub const MODBUS: Self = Self::new(19_200, Parity::Even, 1);
    /// What most other devices use: 9600 8N1.
    pub const PLAIN: Self = Self::new(9600, Parity::None, 1);

    /// With eight data bits.
    #[must_use]
    pub const fn new(baud: u32, parity: Parity, stop_bits: u8) -> Self {
        Self {
            baud,
            data_bits: 8,
            parity,
            stop_bits,
        }
    }

    /// Bits of one character: start, data, parity, stop.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        let parity = match self.parity {
            Parity::None => 0,
            Parity::Even | Parity::Odd => 1,
        };
        1 + self.data_bits + parity + self.stop_bits
    }

    /// How long `count` characters take; exact to the nanosecond however many there are.
    #[must_use]
    pub fn characters(&self, count: u64) -> Duration {
        let bits = u128::from(count) * u128::from(self.bits());
        let nanos = bits * 1_000_000_000 / u128::from(self.baud.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Silence inside a Modbus frame that spoils it: 1.5 characters, 750 µs above 19200 baud.
    /// Source: Modbus over Serial Line V1.02, 2.5.1.1.
    #[must_use]
    pub fn t1_5(&self) -> Duration {
        if self.baud > 19_200 {
            Duration::from_micros(750)
        } else {
            self.characters(3) / 2
        }
    }

    /// Silence that ends a Modbus frame: 3.5 characters, 1750 µs above 19200 baud. Same source.
    #[must_use]
    pub fn t3_5(&self) -> Duration {
        if self.baud > 19_200 {
            Duration::from_micros(1750)
        } else {
            self.characters(7) / 2
        }
    }
}

impl FromStr for LineSettings {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        let refused = || LineError(text.to_owned());
        let mut words = text.split_ascii_whitespace();
        let (Some(baud), Some(format), None) = (words.next(), words.next(), words.next()) else {
            return Err(refused());
        };
        let baud = baud.parse().map_err(|_| refused())?;
        let [data @ b'5'..=b'8', parity, stop @ (b'1' | b'2')] = *format.as_bytes() else {
            return Err(refused());
        };
        let parity = match parity {
            b'N' | b'n' => Parity::None,
            b'E' | b'e' => Parity::Even,
            b'O' | b'o' => Parity::Odd,
            _ => return Err(refused()),
        };
        if !(300..=4_000_000).contains(&baud) {
            return Err(refused());
        }
        Ok(Self {
            baud,
            data_bits: data - b'0',
            parity,
            stop_bits: stop - b'0',
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
            "{} {}{parity}{}",
            self.baud, self.data_bits, self.stop_bits
        )
    }
}

impl<'de> Deserialize<'de> for LineSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for LineSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_count_start_parity_and_stop_bits() {
        let line: LineSettings = "9600 8E1".parse().unwrap();
        assert_eq!(line.bits(), 11);
        assert_eq!(line.characters(96), Duration::from_millis(110));
        assert_eq!(line.t3_5(), Duration::from_nanos(8_020_833 / 2));
        let fast: LineSettings = "115200 8N1".parse().unwrap();
        assert_eq!(fast.bits(), 10);
        assert_eq!(fast.t1_5(), Duration::from_micros(750));
        for text in ["19200 8E1", "9600 7E2", "300 5N1"] {
            assert_eq!(text.parse::<LineSettings>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "9600",
            "9600 9N1",
            "9600 8X1",
            "9600 8N3",
            "1 8N1",
            "9600 8N1 x",
        ] {
            let error = text.parse::<LineSettings>().unwrap_err().to_string();
            assert!(error.contains("19200 8E1"), "{error}");
        }
    }
}
