//! Advertisements decoded: from bytes to named values, one file a format.
//!
//! ```text
//! Advert ─▶ Format::decode ─▶ Decoded { counter, values by field name }   or   DecodeError, counted
//! ```
//!
//! Guarantees: every decoder is total (any bytes give a result or an error, never a panic), takes values
//! only from an advertisement whose length and version fit, and invents nothing: what a sensor marks as
//! "not available" is an `Err(Reason)` under the field's name, what it does not send is not there.

mod atc;
mod bthome;
mod eddystone;
mod ibeacon;
mod pvvx;
mod reader;
mod ruuvi;
mod value;

pub use bthome::Cipher;
pub use eddystone::Uid;
pub use ibeacon::Beacon;

use crate::address::Address;
use crate::advert::Advert;
use protocols_model::{Reason, Value, ValueType};
use std::fmt;
use std::str::FromStr;

/// A format of advertisements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// BTHome version 2 (bthome.io): service data 0xFCD2, plain or encrypted.
    Bthome,
    /// Ruuvi data formats 3, 5, 6 and E1 (docs.ruuvi.com): company 0x0499.
    Ruuvi,
    /// Apple iBeacon: company 0x004C, type 0x02.
    Ibeacon,
    /// Eddystone UID, URL and plain TLM (github.com/google/eddystone): service data 0xFEAA.
    Eddystone,
    /// The format of the ATC firmware for Xiaomi thermometers: service data 0x181A, 13 bytes.
    Atc,
    /// The custom format of the pvvx firmware: service data 0x181A, 15 bytes.
    Pvvx,
}

/// Text that names no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a format; use \"bthome\", \"ruuvi\", \"ibeacon\", \"eddystone\", \"atc\" or \"pvvx\"")]
pub struct FormatError;

impl FromStr for Format {
    type Err = FormatError;
    fn from_str(text: &str) -> Result<Self, FormatError> {
        let known = Self::ALL.into_iter().find(|format| format.as_str() == text);
        known.ok_or(FormatError)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a field of a format is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Type of its values.
    pub value_type: ValueType,
    /// Unit of its values; empty where there is none.
    pub unit: &'static str,
}

pub(crate) const fn field(
    name: &'static str,
    value_type: ValueType,
    unit: &'static str,
) -> FieldInfo {
    FieldInfo {
        name,
        value_type,
        unit,
    }
}

/// Fields that every advertised device has: they come from the radio, not from the payload.
const COMMON: [FieldInfo; 2] = [
    field(RSSI, ValueType::I64, "dBm"),
    field(PRESENT, ValueType::Bool, ""),
];
/// How loud the device was heard.
pub const RSSI: &str = "rssi";
/// Whether the device is there: true with each advertisement, false once it is silent.
pub const PRESENT: &str = "present";

/// A field of a format as a point names it: `temperature_2` is the second `temperature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRef {
    /// The field.
    pub name: &'static str,
    /// Which one of them, from 1.
    pub nth: u8,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] = [
        Self::Bthome,
        Self::Ruuvi,
        Self::Ibeacon,
        Self::Eddystone,
        Self::Atc,
        Self::Pvvx,
    ];

    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bthome => "bthome",
            Self::Ruuvi => "ruuvi",
            Self::Ibeacon => "ibeacon",
            Self::Eddystone => "eddystone",
            Self::Atc => "atc",
            Self::Pvvx => "pvvx",
        }
    }

    /// Every field it can carry. BTHome may carry one several times: `temperature_2`, `temperature_3` …
    pub fn fields(self) -> impl Iterator<Item = FieldInfo> {
        let own = match self {
            Self::Bthome => bthome::FIELDS,
            Self::Ruuvi => ruuvi::FIELDS,
            Self::Ibeacon => ibeacon::FIELDS,
            Self::Eddystone => eddystone::FIELDS,
            Self::Atc => atc::FIELDS,
            Self::Pvvx => pvvx::FIELDS,
        };
        own.iter().copied().chain(COMMON)
    }

    /// The field of this name.
    #[must_use]
    pub fn field(self, name: &str) -> Option<FieldInfo> {
        let found = self.resolve(name)?;
        self.fields().find(|field| field.name == found.name)
    }

    /// Where values of this name come from.
    #[must_use]
    pub fn resolve(self, name: &str) -> Option<FieldRef> {
        let exact = |name: &str| self.fields().find(|field| field.name == name);
        if let Some(field) = exact(name) {
            let name = field.name;
            return Some(FieldRef { name, nth: 1 });
        }
        let (name, nth) = name.rsplit_once('_')?;
        let nth = nth.parse().ok().filter(|nth| *nth > 0)?;
        let field = exact(name).filter(|_| self == Self::Bthome)?;
        let name = field.name;
        Some(FieldRef { name, nth })
    }

    /// Decodes what of `advert` is in this format; values go to `out`, which is cleared first. `None`
    /// when nothing is: a device may say other things in between.
    ///
    /// # Errors
    /// The advertisement claims to be of this format and is not, or cannot be read without a key.
    pub fn decode(
        self,
        advert: &Advert,
        cipher: Option<&Cipher>,
        out: &mut Values,
    ) -> Option<Result<Packet, DecodeError>> {
        out.0.clear();
        match self {
            Self::Bthome => bthome::decode(advert, cipher, out),
            Self::Ruuvi => ruuvi::decode(advert, out),
            Self::Ibeacon => ibeacon::decode(advert, out),
            Self::Eddystone => eddystone::decode(advert, out),
            Self::Atc => atc::decode(advert, out),
            Self::Pvvx => pvvx::decode(advert, out),
        }
    }
}

/// What stands beside the values of a decoded advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packet {
    /// Tells two measurements apart, so that one heard twice is one.
    pub counter: Option<Counter>,
    /// The device only speaks when something happens: silence means nothing (BTHome's trigger flag).
    pub on_event: bool,
}

/// A number that a sensor changes with each measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Equal means the same measurement; it wraps and skips.
    Packet(u32),
    /// As [`Self::Packet`], and it may only grow: what is not newer is a replay (BTHome encryption).
    Growing(u32),
}

/// Values by field, in the order of the payload.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(Vec<Sample>);

/// One value of an advertisement.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which field.
    pub field: FieldRef,
    /// Its value, or why the sensor has none.
    pub value: Result<Value, Reason>,
}

/// A payload can hold no more values than bytes; 255 is what the air interface carries.
const MAX_VALUES: usize = 255;

impl Values {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter()
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: FieldRef) -> Option<&Result<Value, Reason>> {
        let found = self.0.iter().find(|sample| sample.field == field);
        found.map(|sample| &sample.value)
    }

    pub(crate) fn push(&mut self, name: &'static str, value: Result<Value, Reason>) {
        if self.0.len() >= MAX_VALUES {
            return;
        }
        let before = self.0.iter().filter(|s| s.field.name == name).count();
        let nth = u8::try_from(before + 1).unwrap_or(u8::MAX);
        let field = FieldRef { name, nth };
        self.0.push(Sample { field, value });
    }
}

/// Why an advertisement that claims a format gives no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Its length does not fit.
    #[error("{0} bytes are no frame of this format")]
    Length(usize),
    /// A version or frame type that is not known.
    #[error("version or frame type {0:#04x} is not known")]
    Version(u8),
    /// An object that ends behind the end of the payload, or whose id is not known as the first.
    #[error("object {0:#04x} is cut or not known")]
    Object(u8),
    /// Encrypted, and there is no key.
    #[error("it is encrypted; give the device its bind key: key = \"file:…\"")]
    NoKey,
    /// The key does not fit, or it was forged or damaged.
    #[error("it cannot be decrypted: wrong bind key, forged or damaged")]
    Forged,
    /// There is a key, but it is not encrypted: anybody may have sent it.
    #[error("it is not encrypted although the device has a bind key; refused")]
    Plain,
    /// It names another device than the one that sent it.
    #[error("it names {0} as its device; refused")]
    OtherDevice(Address),
    /// Encrypted telemetry of Eddystone: its key changes and is known to its maker's service only.
    #[error("encrypted telemetry (eTLM) cannot be read")]
    EncryptedTelemetry,
}

/// Decodes `data` in every format: for fuzzers and property tests.
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    use crate::address::Uuid;
    let mut advert = Advert::new(Address([0xA4, 0xC1, 0x38, 1, 2, 3]));
    let company = |id| vec![(id, data.to_vec())];
    let cipher = Cipher::new(&crate::config::BindKey::new([7; 16]));
    let mut values = Values::new();
    for id in [0x0499, 0x004c] {
        advert.manufacturer = company(id);
        for uuid in [0xfcd2, 0xfeaa, 0x181a] {
            advert.service_data = vec![(Uuid::short(uuid), data.to_vec())];
            for format in Format::ALL {
                for cipher in [None, Some(&cipher)] {
                    let decoded = format.decode(&advert, cipher, &mut values);
                    assert!(values.0.len() <= MAX_VALUES);
                    if decoded.is_none_or(|decoded| decoded.is_err()) {
                        continue;
                    }
                    for sample in values.iter() {
                        let info = format.field(sample.field.name);
                        let info = info.expect("invariant: every decoded field is listed");
                        if let Ok(value) = &sample.value {
                            assert_eq!(value.value_type(), info.value_type);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
