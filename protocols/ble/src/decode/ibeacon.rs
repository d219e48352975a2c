//! Apple iBeacon: who and where, nothing measured.
//!
//! Company data 0x004C: type 0x02, length 0x15, UUID (16 bytes), major, minor (big-endian), measured
//! power (dBm at 1 m, signed). Source: Apple, "Proximity Beacon Specification" R1. Other types of Apple's
//! company data (phones send them all the time) are not iBeacons and no errors.

use super::reader::Reader;
use super::{DecodeError, FieldInfo, Packet, Values, field};
use crate::address::Uuid;
use crate::advert::Advert;
use protocols_model::{Value, ValueType};

const APPLE: u16 = 0x004c;
const TYPE: u8 = 0x02;
const LEN: u8 = 0x15;

pub(super) const FIELDS: &[FieldInfo] = &[
    field("uuid", ValueType::Text, ""),
    field("major", ValueType::U64, ""),
    field("minor", ValueType::U64, ""),
    field("measured_power", ValueType::I64, "dBm"),
];

/// What an iBeacon says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    /// The proximity UUID: usually one an owner.
    pub uuid: Uuid,
    /// Its group.
    pub major: u16,
    /// Its number.
    pub minor: u16,
    /// How loud it is at 1 m, in dBm.
    pub measured_power: i8,
}

impl Beacon {
    /// The iBeacon in an advertisement. `None` when there is none.
    ///
    /// # Errors
    /// [`DecodeError::Length`] for a cut one.
    pub fn read(advert: &Advert) -> Option<Result<Self, DecodeError>> {
        let data = advert.of_company(APPLE)?;
        let mut reader = Reader::new(data);
        if reader.u8()? != TYPE {
            return None;
        }
        let beacon = || {
            (reader.u8()? == LEN).then_some(())?;
            let beacon = Self {
                uuid: Uuid(u128::from_be_bytes(reader.array()?)),
                major: reader.u16_be()?,
                minor: reader.u16_be()?,
                measured_power: reader.i8()?,
            };
            reader.is_empty().then_some(beacon)
        };
        Some({ beacon }().ok_or(DecodeError::Length(data.len())))
    }
}

pub(super) fn decode(advert: &Advert, out: &mut Values) -> Option<Result<Packet, DecodeError>> {
    let beacon = match Beacon::read(advert)? {
        Ok(beacon) => beacon,
        Err(error) => return Some(Err(error)),
    };
    out.push("uuid", Ok(Value::Text(beacon.uuid.to_string().into())));
    out.push("major", Ok(Value::U64(beacon.major.into())));
    out.push("minor", Ok(Value::U64(beacon.minor.into())));
    let power = Value::I64(beacon.measured_power.into());
    out.push("measured_power", Ok(power));
    Some(Ok(Packet::default()))
}
