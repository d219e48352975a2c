//! Names of things in the air: device addresses, UUIDs, and patterns that pick devices.
//!
//! All three parse from the texts people copy from labels, apps and BlueZ, and print in one canonical
//! form. UUIDs are kept as 128 bits; the short forms of the Bluetooth SIG expand to its base UUID.

use std::fmt;
use std::str::FromStr;

/// A 48-bit device address, most significant byte first, as printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 6]);

/// Why a text is no address, UUID or pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not six bytes in hexadecimal.
    #[error("not a device address; write six bytes in hexadecimal: \"A4:C1:38:01:02:03\"")]
    Address,
    /// Not 16, 32 or 128 bits in hexadecimal.
    #[error("not a UUID; write \"181a\", \"0000181a\" or \"0000181a-0000-1000-8000-00805f9b34fb\"")]
    Uuid,
    /// Not a pattern of an allow-list.
    #[error(
        "not a pattern; write \"A4:C1:38:01:02:03\", \"A4:C1:38:*\", \"uuid:fcd2\", \"company:0499\" or \"name:ATC_*\""
    )]
    Pattern,
    /// Not a key of 16 bytes.
    #[error("not a bind key; write its 16 bytes as 32 hexadecimal digits")]
    Key,
}

/// Hexadecimal digits of `text` as bytes, separators of `skip` left out. `None` for anything else.
pub(crate) fn hex(text: &str, skip: &[char]) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !skip.contains(c))
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

impl Address {
    /// Whether the address begins with these bytes.
    #[must_use]
    pub fn starts_with(&self, prefix: &[u8]) -> bool {
        self.0.starts_with(prefix)
    }
}

impl FromStr for Address {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = hex(text.trim(), &[':', '-', '_']).ok_or(NameError::Address)?;
        bytes.try_into().map(Self).map_err(|_| NameError::Address)
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

/// A UUID of a service, a characteristic or a beacon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

/// The Bluetooth base UUID (Core specification, volume 3, part B, 2.5.1).
const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5f9b_34fb;

impl Uuid {
    /// The UUID behind a 16-bit short form.
    #[must_use]
    pub const fn short(short: u16) -> Self {
        Self(BASE | (short as u128) << 96)
    }

    /// The 16-bit short form, if it has one.
    #[must_use]
    pub fn to_short(self) -> Option<u16> {
        let top = u16::try_from(self.0 >> 96).ok()?;
        (Self::short(top) == self).then_some(top)
    }
}

impl FromStr for Uuid {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        let text = text.strip_prefix("0x").unwrap_or(text);
        let bytes = hex(text, &['-']).ok_or(NameError::Uuid)?;
        match *bytes {
            [a, b] => Ok(Self::short(u16::from_be_bytes([a, b]))),
            [a, b, c, d] => Ok(Self(
                BASE | u128::from(u32::from_be_bytes([a, b, c, d])) << 96,
            )),
            _ => bytes
                .try_into()
                .map(|bytes| Self(u128::from_be_bytes(bytes)))
                .map_err(|_| NameError::Uuid),
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, bits: u32| self.0 >> shift & ((1 << bits) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 32),
            part(80, 16),
            part(64, 16),
            part(48, 16),
            part(0, 48)
        )
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_short() {
            Some(short) => write!(f, "{short:04x}"),
            None => write!(f, "{self}"),
        }
    }
}

/// One entry of an allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// One device: `"A4:C1:38:01:02:03"`.
    Address(Address),
    /// All devices of a block of addresses, usually a maker: `"A4:C1:38:*"`. 1 to 5 bytes.
    Prefix(Vec<u8>),
    /// Devices that advertise the service or its data: `"uuid:fcd2"`.
    Uuid(Uuid),
    /// Devices with data of this company identifier: `"company:0499"`.
    Company(u16),
    /// Devices of this name: `"name:Kitchen"`, or with this beginning: `"name:ATC_*"`.
    Name {
        /// The name or its beginning.
        text: String,
        /// Whether more may follow.
        open: bool,
    },
}

impl FromStr for Pattern {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        if let Some(uuid) = text.strip_prefix("uuid:") {
            return uuid.parse().map(Self::Uuid);
        }
        if let Some(id) = text.strip_prefix("company:") {
            let id = id.strip_prefix("0x").unwrap_or(id);
            let id = u16::from_str_radix(id, 16).map_err(|_| NameError::Pattern)?;
            return Ok(Self::Company(id));
        }
        if let Some(name) = text.strip_prefix("name:") {
            let (text, open) = match name.strip_suffix('*') {
                Some(start) => (start, true),
                None => (name, false),
            };
            if text.is_empty() {
                return Err(NameError::Pattern);
            }
            let text = text.to_owned();
            return Ok(Self::Name { text, open });
        }
        if let Some(prefix) = text.strip_suffix('*') {
            let bytes = hex(prefix, &[':', '-']).ok_or(NameError::Pattern)?;
            return match bytes.len() {
                1..=5 => Ok(Self::Prefix(bytes)),
                _ => Err(NameError::Pattern),
            };
        }
        let address = text.parse().map_err(|_| NameError::Pattern)?;
        Ok(Self::Address(address))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Prefix(bytes) => {
                for byte in bytes {
                    write!(f, "{byte:02X}:")?;
                }
                f.write_str("*")
            }
            Self::Uuid(uuid) => write!(f, "uuid:{uuid:?}"),
            Self::Company(id) => write!(f, "company:{id:04x}"),
            Self::Name { text, open } => {
                write!(f, "name:{text}{}", if *open { "*" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_uuids_are_read_in_every_usual_writing_and_printed_in_one() {
        for text in ["A4:C1:38:01:02:03", "a4-c1-38-01-02-03", "A4C138010203"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), "A4:C1:38:01:02:03");
        }
        for text in ["", "A4:C1:38:01:02", "A4:C1:38:01:02:0G", "A4C13801020304"] {
            assert_eq!(text.parse::<Address>(), Err(NameError::Address), "{text}");
        }
        let full = "0000181a-0000-1000-8000-00805f9b34fb";
        for text in ["181a", "0x181A", "0000181A", full] {
            let uuid: Uuid = text.parse().unwrap();
            assert_eq!(uuid, Uuid::short(0x181a));
            assert_eq!(uuid.to_string(), full);
            assert_eq!(format!("{uuid:?}"), "181a");
        }
        assert_eq!("18".parse::<Uuid>(), Err(NameError::Uuid));
        let own: Uuid = "e2c56db5-dffb-48d2-b060-d0f5a71096e0".parse().unwrap();
        assert_eq!(own.to_short(), None);
    }

    #[test]
    fn patterns_are_read_and_printed() {
        for text in [
            "A4:C1:38:01:02:03",
            "A4:C1:38:*",
            "uuid:fcd2",
            "company:0499",
            "name:Kitchen",
            "name:ATC_*",
        ] {
            let pattern: Pattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
        }
        for text in [
            "*",
            "name:",
            "name:*",
            "uuid:",
            "company:x",
            "A4:C1:38:01:02:03:*",
        ] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
