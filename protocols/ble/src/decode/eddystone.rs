//! Eddystone: UID, URL and plain telemetry (TLM). Encrypted telemetry and EID are refused.
//!
//! Service data 0xFEAA, first byte the frame type, big-endian. Source: github.com/google/eddystone,
//! `protocol-specification.md` and the README of each frame. A beacon sends its frames in turn, so an
//! advertisement carries the fields of one of them; TLM names no beacon and belongs to the address.

use super::reader::Reader;
use super::value::{decimal, decimal_unless};
use super::{DecodeError, FieldInfo, Packet, Values, field};
use crate::address::Uuid;
use crate::advert::Advert;
use protocols_model::{Reason, Value, ValueType};

const SERVICE: Uuid = Uuid::short(0xfeaa);
const UID: u8 = 0x00;
const URL: u8 = 0x10;
const TLM: u8 = 0x20;
const EID: u8 = 0x30;
/// Bytes of the encoded part of a URL (eddystone-url, "Frame Specification").
const MAX_URL: usize = 17;

pub(super) const FIELDS: &[FieldInfo] = &[
    field("namespace", ValueType::Text, ""),
    field("instance", ValueType::Text, ""),
    field("tx_power", ValueType::I64, "dBm"),
    field("url", ValueType::Text, ""),
    field("voltage", ValueType::F64, "V"),
    field("temperature", ValueType::F64, "°C"),
    field("advertisements", ValueType::U64, ""),
    field("uptime", ValueType::F64, "s"),
];

/// What an Eddystone-UID frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uid {
    /// Usually one an owner.
    pub namespace: [u8; 10],
    /// The beacon.
    pub instance: [u8; 6],
    /// How loud it is at 0 m, in dBm.
    pub tx_power: i8,
}

impl Uid {
    /// The UID frame in an advertisement, if there is one.
    #[must_use]
    pub fn read(advert: &Advert) -> Option<Self> {
        Self::parse(advert.of_service(SERVICE)?)
    }

    fn parse(data: &[u8]) -> Option<Self> {
        let mut data = Reader::new(data);
        (data.u8()? == UID).then_some(())?;
        let uid = Self {
            tx_power: data.i8()?,
            namespace: data.array()?,
            instance: data.array()?,
        };
        // Older beacons leave out the two reserved bytes.
        matches!(data.rest().len(), 0 | 2).then_some(uid)
    }
}

pub(super) fn decode(advert: &Advert, out: &mut Values) -> Option<Result<Packet, DecodeError>> {
    let data = advert.of_service(SERVICE)?;
    let cut = DecodeError::Length(data.len());
    let kind = *data.first()?;
    let read = match kind {
        UID => uid(data, out).ok_or(cut),
        URL => url(data, out).unwrap_or(Err(cut)),
        TLM => tlm(data, out).unwrap_or(Err(cut)),
        EID => return None,
        other => Err(DecodeError::Version(other)),
    };
    Some(read.map(|()| Packet::default()))
}

fn uid(data: &[u8], out: &mut Values) -> Option<()> {
    let uid = Uid::parse(data)?;
    out.push("namespace", Ok(hex_text(&uid.namespace)));
    out.push("instance", Ok(hex_text(&uid.instance)));
    out.push("tx_power", Ok(Value::I64(uid.tx_power.into())));
    Some(())
}

fn hex_text(bytes: &[u8]) -> Value {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Value::Text(text.into())
}

const SCHEMES: [&str; 4] = ["http://www.", "https://www.", "http://", "https://"];
const ENDINGS: [&str; 14] = [
    ".com/", ".org/", ".edu/", ".net/", ".info/", ".biz/", ".gov/", ".com", ".org", ".edu", ".net",
    ".info", ".biz", ".gov",
];

fn url(data: &[u8], out: &mut Values) -> Option<Result<(), DecodeError>> {
    let mut data = Reader::new(data);
    let (_frame, tx_power, scheme) = (data.u8()?, data.i8()?, data.u8()?);
    let Some(scheme) = SCHEMES.get(usize::from(scheme)) else {
        return Some(Err(DecodeError::Version(scheme)));
    };
    let encoded = data.rest();
    if encoded.len() > MAX_URL {
        return None;
    }
    let mut url = (*scheme).to_owned();
    for byte in encoded {
        match (ENDINGS.get(usize::from(*byte)), byte) {
            (Some(ending), _) => url.push_str(ending),
            (None, 0x21..=0x7e) => url.push(char::from(*byte)),
            (None, reserved) => return Some(Err(DecodeError::Version(*reserved))),
        }
    }
    out.push("url", Ok(Value::Text(url.into())));
    out.push("tx_power", Ok(Value::I64(tx_power.into())));
    Some(Ok(()))
}

fn tlm(data: &[u8], out: &mut Values) -> Option<Result<(), DecodeError>> {
    let mut data = Reader::new(data);
    let (_frame, version) = (data.u8()?, data.u8()?);
    match version {
        0x00 => {}
        0x01 => return Some(Err(DecodeError::EncryptedTelemetry)),
        other => return Some(Err(DecodeError::Version(other))),
    }
    let millivolts = data.u16_be()?;
    let temperature = data.i16_be()?;
    let advertisements = data.u32_be()?;
    let tenths = data.u32_be()?;
    data.is_empty().then_some(())?;
    let voltage = match millivolts {
        0 => Err(Reason::DeviceError),
        millivolts => Ok(decimal(millivolts.into(), 1, 1000)),
    };
    out.push("voltage", voltage);
    // 8.8 fixed point: 1/256 °C.
    let none = i64::from(i16::MIN);
    out.push(
        "temperature",
        decimal_unless(none, temperature.into(), 1, 256),
    );
    out.push("advertisements", Ok(Value::U64(advertisements.into())));
    out.push("uptime", Ok(decimal(tenths.into(), 1, 10)));
    Some(Ok(()))
}
