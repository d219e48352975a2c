//! Checksums of frames: what is computed. Where it stands is [`crate::config::Checksum`].
//!
//! CRCs go by the parameters of the catalogue of parametrised CRC algorithms (Greg Cook), whose check
//! values over `"123456789"` the tests hold all presets to. Computed bit by bit from a table of 256
//! entries made once; frames are short.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What is computed over the bytes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Algorithm {
    /// `xor8`: all bytes combined by exclusive or.
    Xor8,
    /// `sum8`: the low byte of their sum.
    Sum8,
    /// `sum8-neg`: its two's complement, so that everything adds up to 0.
    Sum8Neg,
    /// `sum8-not`: its complement.
    Sum8Not,
    /// `sum16`: the low two bytes of their sum.
    Sum16,
    /// `crc16/modbus`, `crc16:poly=0x1021,init=0xffff`, …
    Crc(Crc),
}

/// A CRC by parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct Crc {
    params: Params,
    table: Arc<[u32; 256]>,
}

/// The parameters of a CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Bits: 8, 16 or 32.
    pub width: u8,
    /// Polynomial without its highest bit, not reflected.
    pub poly: u32,
    /// Register before the first byte, not reflected.
    pub init: u32,
    /// Bytes go in lowest bit first.
    pub refin: bool,
    /// The register is reflected at the end.
    pub refout: bool,
    /// Combined with the result by exclusive or.
    pub xorout: u32,
}

/// Presets by name, with the catalogue's check value.
pub const PRESETS: [(&str, Params, u32); 22] = [
    ("crc8/smbus", crc(8, 0x07, 0, false, 0), 0xf4),
    ("crc8/maxim", crc(8, 0x31, 0, true, 0), 0xa1),
    ("crc8/nrsc-5", crc(8, 0x31, 0xff, false, 0), 0xf7),
    ("crc8/j1850", crc(8, 0x1d, 0xff, false, 0xff), 0x4b),
    ("crc16/arc", crc(16, 0x8005, 0, true, 0), 0xbb3d),
    ("crc16/modbus", crc(16, 0x8005, 0xffff, true, 0), 0x4b37),
    ("crc16/usb", crc(16, 0x8005, 0xffff, true, 0xffff), 0xb4c8),
    ("crc16/umts", crc(16, 0x8005, 0, false, 0), 0xfee8),
    (
        "crc16/ccitt-false",
        crc(16, 0x1021, 0xffff, false, 0),
        0x29b1,
    ),
    ("crc16/xmodem", crc(16, 0x1021, 0, false, 0), 0x31c3),
    ("crc16/kermit", crc(16, 0x1021, 0, true, 0), 0x2189),
    ("crc16/x25", crc(16, 0x1021, 0xffff, true, 0xffff), 0x906e),
    ("crc16/mcrf4xx", crc(16, 0x1021, 0xffff, true, 0), 0x6f91),
    ("crc16/aug-ccitt", crc(16, 0x1021, 0x1d0f, false, 0), 0xe5cc),
    (
        "crc16/genibus",
        crc(16, 0x1021, 0xffff, false, 0xffff),
        0xd64e,
    ),
    ("crc16/dnp", crc(16, 0x3d65, 0, true, 0xffff), 0xea82),
    ("crc16/en13757", crc(16, 0x3d65, 0, false, 0xffff), 0xc2b7),
    (
        "crc32",
        crc(32, 0x04c1_1db7, u32::MAX, true, u32::MAX),
        0xcbf4_3926,
    ),
    (
        "crc32/bzip2",
        crc(32, 0x04c1_1db7, u32::MAX, false, u32::MAX),
        0xfc89_1918,
    ),
    (
        "crc32/mpeg-2",
        crc(32, 0x04c1_1db7, u32::MAX, false, 0),
        0x0376_e6e7,
    ),
    (
        "crc32/iscsi",
        crc(32, 0x1edc_6f41, u32::MAX, true, u32::MAX),
        0xe306_9283,
    ),
    (
        "crc32/cksum",
        crc(32, 0x04c1_1db7, 0, false, u32::MAX),
        0x765e_7680,
    ),
];

/// In every preset input and output are reflected alike.
const fn crc(width: u8, poly: u32, init: u32, reflected: bool, xorout: u32) -> Params {
    Params {
        width,
        poly,
        init,
        refin: reflected,
        refout: reflected,
        xorout,
    }
}

/// Why a text is no algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlgorithmError {
    /// No such name.
    #[error(
        "{0:?} is not a checksum; use xor8, sum8, sum8-neg, sum8-not, sum16, a preset such as crc16/modbus, crc16/ccitt-false, crc16/xmodem, crc8/maxim, crc32, or crc16:poly=0x1021,init=0xffff,refin,refout,xorout=0"
    )]
    Name(String),
    /// A parameter that is none.
    #[error(
        "{0:?} is not a parameter of a CRC; use poly=0x… (required), init=0x…, xorout=0x…, refin, refout, within its 8, 16 or 32 bits"
    )]
    Parameter(String),
}

impl Params {
    const fn mask(self) -> u32 {
        u32::MAX >> (32 - self.width)
    }

    fn fits(self) -> bool {
        (self.poly | self.init | self.xorout) & !self.mask() == 0 && self.poly != 0
    }
}

impl Crc {
    /// A CRC with these parameters; `None` when they do not fit its width of 8, 16 or 32 bits.
    #[must_use]
    pub fn new(params: Params) -> Option<Self> {
        if !matches!(params.width, 8 | 16 | 32) || !params.fits() {
            return None;
        }
        // The register stands at the left end of 32 bits, so that one table serves all widths.
        let poly = params.poly << (32 - params.width);
        let mut table = Box::new([0; 256]);
        for (byte, entry) in (0u32..).zip(table.iter_mut()) {
            *entry = (0..8).fold(byte << 24, |register, _| {
                let carry = register & 1 << 31 != 0;
                register << 1 ^ if carry { poly } else { 0 }
            });
        }
        Some(Self {
            params,
            table: Arc::from(table),
        })
    }

    /// Its parameters.
    #[must_use]
    pub const fn params(&self) -> Params {
        self.params
    }

    fn of(&self, bytes: impl Iterator<Item = u8>) -> u32 {
        let Params {
            width,
            init,
            refin,
            refout,
            xorout,
            ..
        } = self.params;
        let shift = 32 - width;
        let register = bytes.fold(init << shift, |register, byte| {
            let byte = if refin { byte.reverse_bits() } else { byte };
            let [top, ..] = register.to_be_bytes();
            let entry = self.table.get(usize::from(top ^ byte)).copied();
            register << 8 ^ entry.unwrap_or_default()
        });
        let result = if refout {
            register.reverse_bits()
        } else {
            register >> shift
        };
        result ^ xorout
    }
}

impl fmt::Debug for Crc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.params.fmt(f)
    }
}

impl Algorithm {
    /// Bytes of the checksum: 1, 2 or 4.
    #[must_use]
    pub const fn width(&self) -> u8 {
        match self {
            Self::Xor8 | Self::Sum8 | Self::Sum8Neg | Self::Sum8Not => 1,
            Self::Sum16 => 2,
            Self::Crc(crc) => crc.params.width / 8,
        }
    }

    /// The checksum of `bytes`, in the low bits.
    #[must_use]
    pub fn of(&self, bytes: impl Iterator<Item = u8>) -> u32 {
        fn sum(bytes: impl Iterator<Item = u8>) -> u32 {
            bytes.fold(0, |sum: u32, byte| sum.wrapping_add(byte.into()))
        }
        match self {
            Self::Xor8 => bytes.fold(0, |sum, byte| sum ^ byte).into(),
            Self::Sum8 => sum(bytes) & 0xff,
            Self::Sum8Neg => sum(bytes).wrapping_neg() & 0xff,
            Self::Sum8Not => !sum(bytes) & 0xff,
            Self::Sum16 => sum(bytes) & 0xffff,
            Self::Crc(crc) => crc.of(bytes),
        }
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, AlgorithmError> {
        let name = || AlgorithmError::Name(text.to_owned());
        if let Some((width, params)) = text.split_once(':') {
            let width = match width {
                "crc8" => 8,
                "crc16" => 16,
                "crc32" => 32,
                _ => return Err(name()),
            };
            return parse_params(width, params).map(Self::Crc);
        }
        Ok(match text {
            "xor8" => Self::Xor8,
            "sum8" => Self::Sum8,
            "sum8-neg" => Self::Sum8Neg,
            "sum8-not" => Self::Sum8Not,
            "sum16" => Self::Sum16,
            _ => {
                let preset = PRESETS.iter().find(|(known, ..)| *known == text);
                let (_, params, _) = preset.ok_or_else(name)?;
                Self::Crc(Crc::new(*params).ok_or_else(name)?)
            }
        })
    }
}

fn parse_params(width: u8, text: &str) -> Result<Crc, AlgorithmError> {
    let mut params = crc(width, 0, 0, false, 0);
    for part in text.split(',') {
        let wrong = || AlgorithmError::Parameter(part.to_owned());
        let number = |text: &str| {
            let number = match text.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => text.parse(),
            };
            number.map_err(|_| wrong())
        };
        match part.split_once('=') {
            Some(("poly", value)) => params.poly = number(value)?,
            Some(("init", value)) => params.init = number(value)?,
            Some(("xorout", value)) => params.xorout = number(value)?,
            None if part == "refin" => params.refin = true,
            None if part == "refout" => params.refout = true,
            _ => return Err(wrong()),
        }
    }
    Crc::new(params).ok_or_else(|| AlgorithmError::Parameter(text.to_owned()))
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Crc(crc) = self else {
            return f.write_str(match self {
                Self::Xor8 => "xor8",
                Self::Sum8 => "sum8",
                Self::Sum8Neg => "sum8-neg",
                Self::Sum8Not => "sum8-not",
                _ => "sum16",
            });
        };
        let params = crc.params;
        if let Some((name, ..)) = PRESETS.iter().find(|(_, known, _)| *known == params) {
            return f.write_str(name);
        }
        write!(
            f,
            "crc{}:poly=0x{:x},init=0x{:x}",
            params.width, params.poly, params.init
        )?;
        if params.refin {
            f.write_str(",refin")?;
        }
        if params.refout {
            f.write_str(",refout")?;
        }
        write!(f, ",xorout=0x{:x}", params.xorout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_give_the_check_values_of_the_catalogue() {
        for (name, _, check) in PRESETS {
            let algorithm: Algorithm = name.parse().unwrap();
            assert_eq!(algorithm.of(b"123456789".iter().copied()), check, "{name}");
            assert_eq!(algorithm.to_string(), name);
        }
        for (name, check) in [
            ("xor8", 0x31),
            ("sum8", 0xdd),
            ("sum8-neg", 0x23),
            ("sum8-not", 0x22),
            ("sum16", 0x1dd),
        ] {
            let algorithm: Algorithm = name.parse().unwrap();
            assert_eq!(algorithm.of(b"123456789".iter().copied()), check, "{name}");
            assert_eq!(algorithm.to_string(), name);
        }
    }

    #[test]
    fn a_crc_by_parameters_is_the_preset_with_the_same_parameters() {
        let own: Algorithm = "crc16:poly=0x8005,init=0xffff,refin,refout"
            .parse()
            .unwrap();
        assert_eq!(own.to_string(), "crc16/modbus");
        // Reflected input alone, which no preset has.
        let odd: Algorithm = "crc16:poly=0x1021,refin,xorout=0xff".parse().unwrap();
        assert_eq!(odd.to_string().parse(), Ok(odd));
        for (text, says) in [
            ("crc12:poly=1", "xor8"),
            ("crc16/none", "xor8"),
            ("crc16:init=1", "poly=0x… (required)"),
            ("crc16:poly=0x11021", "within its 8, 16 or 32 bits"),
            ("crc8:poly=7,ref", "refin"),
        ] {
            let error = text.parse::<Algorithm>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
