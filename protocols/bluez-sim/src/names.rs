//! Bluetooth addresses and attribute UUIDs, as the D-Bus interface of `BlueZ` writes them.

use std::fmt;
use std::str::FromStr;

/// A Bluetooth device address, most significant byte first as people write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 6]);

/// An address or UUID that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {wanted}")]
pub struct NameError {
    found: String,
    wanted: &'static str,
}

impl Address {
    /// The name of the device's object below its adapter: `dev_C0_FF_EE_00_00_01`.
    pub(crate) fn object(self) -> String {
        format!("dev_{}", self.to_string().replace(':', "_"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Address {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError {
            found: text.to_owned(),
            wanted: "a Bluetooth address such as C0:FF:EE:00:00:01",
        };
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| part.len() == 2)
                .ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }
}

/// A UUID of a service, characteristic or descriptor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

/// The base into which assigned 16-bit numbers are put (Core Specification, Vol 3 Part B 2.5.1).
const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5F9B_34FB;

impl Uuid {
    /// An assigned 16-bit number.
    #[must_use]
    pub const fn short(number: u16) -> Self {
        Self(BASE | (number as u128) << 96)
    }

    /// All its bits.
    #[must_use]
    pub const fn number(self) -> u128 {
        self.0
    }

    /// A full 128-bit UUID.
    #[must_use]
    pub const fn full(number: u128) -> Self {
        Self(number)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            n >> 96,
            (n >> 80) & 0xFFFF,
            (n >> 64) & 0xFFFF,
            (n >> 48) & 0xFFFF,
            n & 0xFFFF_FFFF_FFFF
        )
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Uuid {
    type Err = NameError;

    /// Reads `181a`, `0x181a` or all 36 characters.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError {
            found: text.to_owned(),
            wanted: "a UUID: four hex digits such as 181a, or all 36 characters",
        };
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.len() == 4 {
            return u16::from_str_radix(digits, 16)
                .map(Self::short)
                .map_err(|_| wrong());
        }
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        if lengths != [8, 4, 4, 4, 12] {
            return Err(wrong());
        }
        u128::from_str_radix(&text.replace('-', ""), 16)
            .map(Self)
            .map_err(|_| wrong())
    }
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
serde_as_text!(Address);
serde_as_text!(Uuid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_uuids_read_what_they_write() {
        let address: Address = "C0:FF:EE:00:00:01".parse().unwrap();
        assert_eq!(address.to_string(), "C0:FF:EE:00:00:01");
        assert_eq!(address.object(), "dev_C0_FF_EE_00_00_01");
        let temperature = Uuid::short(0x2A6E);
        assert_eq!(
            temperature.to_string(),
            "00002a6e-0000-1000-8000-00805f9b34fb"
        );
        assert_eq!("2a6e".parse(), Ok(temperature));
        assert_eq!(temperature.to_string().parse(), Ok(temperature));
    }

    #[test]
    fn what_is_neither_is_refused_with_an_example() {
        for wrong in [
            "",
            "C0:FF:EE:00:00",
            "C0:FF:EE:00:00:01:02",
            "C0:FF:EE:00:00:0g",
            "+0:FF:EE:00:00:011",
        ] {
            let error = wrong.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("C0:FF:EE:00:00:01"), "{error}");
        }
        for wrong in ["", "18", "181g", "0000181a-0000-1000-8000"] {
            assert!(wrong.parse::<Uuid>().is_err(), "{wrong}");
        }
    }
}
