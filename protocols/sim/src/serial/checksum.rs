//! Checksums that serial devices put behind their frames.

use crate::modbus::crc16;
use serde::{Deserialize, Serialize};

/// Which checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// All bytes xor'ed: NMEA, many scales.
    Xor,
    /// The low byte of the sum.
    Sum,
    /// The sum's complement of two, so that everything together is 0.
    Lrc,
    /// CRC-16/MODBUS.
    Crc16,
    /// CRC-32 as in Ethernet and zip.
    Crc32,
}

impl Checksum {
    /// The checksum of `bytes`, most significant byte first; [`Checksum::Crc16`] low byte first, as its
    /// devices send it.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        let sum = || bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        match self {
            Self::Xor => vec![bytes.iter().fold(0, |sum, byte| sum ^ byte)],
            Self::Sum => vec![sum()],
            Self::Lrc => vec![sum().wrapping_neg()],
            Self::Crc16 => crc16(bytes).to_vec(),
            Self::Crc32 => crc32(bytes).to_be_bytes().to_vec(),
        }
    }

    /// The name in a template, `{xor}`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "xor" => Self::Xor,
            "sum" => Self::Sum,
            "lrc" => Self::Lrc,
            "crc16" => Self::Crc16,
            "crc32" => Self::Crc32,
            _ => return None,
        })
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let carry = crc & 1 == 1;
            crc >>= 1;
            if carry {
                crc ^= 0xedb8_8320;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_published_check_values() {
        let bytes = b"123456789";
        assert_eq!(Checksum::Crc16.of(bytes), [0x37, 0x4b]);
        assert_eq!(Checksum::Crc32.of(bytes), [0xcb, 0xf4, 0x39, 0x26]);
        assert_eq!(Checksum::Xor.of(bytes), [0x31]);
        assert_eq!(Checksum::Sum.of(bytes), [0xdd]);
        assert_eq!(Checksum::Lrc.of(bytes), [0x23]);
    }
}
