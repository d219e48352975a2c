//! The advertisements of the ATC firmware (atc1441) for Xiaomi thermometers.
//!
//! Service data 0x181A of 13 bytes, big-endian: address, temperature (0.1 °C, signed), humidity (%),
//! battery (%), battery (mV), counter. Source: `github.com/atc1441/ATC_MiThermometer`, "Advertising format
//! of the custom firmware"; the pvvx firmware sends the same as its "atc1441" format. Frames of 15 bytes
//! are pvvx' own format and not an error here: a device may send both in turn.

use super::reader::Reader;
use super::value::decimal;
use super::{Counter, DecodeError, FieldInfo, Packet, Values, field};
use crate::address::{Address, Uuid};
use crate::advert::Advert;
use protocols_model::{Value, ValueType};

/// Environmental Sensing (Bluetooth assigned numbers).
pub(super) const SERVICE: Uuid = Uuid::short(0x181a);
/// Bytes of a frame.
pub(super) const LEN: usize = 13;

pub(super) const FIELDS: &[FieldInfo] = &[
    field("temperature", ValueType::F64, "°C"),
    field("humidity", ValueType::U64, "%"),
    field("battery", ValueType::U64, "%"),
    field("voltage", ValueType::F64, "V"),
    field("packet_id", ValueType::U64, ""),
];

pub(super) fn decode(advert: &Advert, out: &mut Values) -> Option<Result<Packet, DecodeError>> {
    let data = advert.of_service(SERVICE)?;
    match data.len() {
        LEN => {
            Some(frame(data, advert.address, out).unwrap_or(Err(DecodeError::Length(data.len()))))
        }
        super::pvvx::LEN => None,
        len => Some(Err(DecodeError::Length(len))),
    }
}

fn frame(data: &[u8], from: Address, out: &mut Values) -> Option<Result<Packet, DecodeError>> {
    let mut data = Reader::new(data);
    let named = Address(data.array()?);
    if named != from {
        return Some(Err(DecodeError::OtherDevice(named)));
    }
    let temperature = data.i16_be()?;
    let humidity = data.u8()?;
    let battery = data.u8()?;
    let millivolts = data.u16_be()?;
    let counter = data.u8()?;
    out.push("temperature", Ok(decimal(temperature.into(), 1, 10)));
    out.push("humidity", Ok(Value::U64(humidity.into())));
    out.push("battery", Ok(Value::U64(battery.into())));
    out.push("voltage", Ok(decimal(millivolts.into(), 1, 1000)));
    out.push("packet_id", Ok(Value::U64(counter.into())));
    Some(Ok(Packet {
        counter: Some(Counter::Packet(counter.into())),
        on_event: false,
    }))
}
