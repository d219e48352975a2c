//! The custom format of the pvvx firmware for Xiaomi thermometers.
//!
//! Service data 0x181A of 15 bytes, little-endian: address (reversed), temperature (0.01 °C, signed),
//! humidity (0.01 %), battery (mV), battery (%), counter, flags. Flags: bit 0 reed switch, bit 1 level of
//! the trigger pin, bit 2 trigger pin driven, bit 3 temperature trigger, bit 4 humidity trigger. Source:
//! `github.com/pvvx/ATC_MiThermometer`, "Custom format". Its encrypted variants (8 and 11 bytes) are not
//! read: use its BTHome mode, which is encrypted with a counter against replays.

use super::reader::Reader;
use super::value::decimal;
use super::{Counter, DecodeError, FieldInfo, Packet, Values, field};
use crate::address::Address;
use crate::advert::Advert;
use protocols_model::{Value, ValueType};

/// Bytes of a frame.
pub(super) const LEN: usize = 15;
/// Bytes of the encrypted variants.
const ENCRYPTED: [usize; 2] = [8, 11];

pub(super) const FIELDS: &[FieldInfo] = &[
    field("temperature", ValueType::F64, "°C"),
    field("humidity", ValueType::F64, "%"),
    field("voltage", ValueType::F64, "V"),
    field("battery", ValueType::U64, "%"),
    field("packet_id", ValueType::U64, ""),
    field("reed", ValueType::Bool, ""),
    field("trigger", ValueType::Bool, ""),
    field("temperature_trigger", ValueType::Bool, ""),
    field("humidity_trigger", ValueType::Bool, ""),
];

pub(super) fn decode(advert: &Advert, out: &mut Values) -> Option<Result<Packet, DecodeError>> {
    let data = advert.of_service(super::atc::SERVICE)?;
    match data.len() {
        LEN => {
            Some(frame(data, advert.address, out).unwrap_or(Err(DecodeError::Length(data.len()))))
        }
        super::atc::LEN => None,
        len if ENCRYPTED.contains(&len) => Some(Err(DecodeError::NoKey)),
        len => Some(Err(DecodeError::Length(len))),
    }
}

fn frame(data: &[u8], from: Address, out: &mut Values) -> Option<Result<Packet, DecodeError>> {
    let mut data = Reader::new(data);
    let [a, b, c, d, e, f] = data.array()?;
    let named = Address([f, e, d, c, b, a]);
    if named != from {
        return Some(Err(DecodeError::OtherDevice(named)));
    }
    let temperature = data.i16_le()?;
    let humidity = data.u16_le()?;
    let millivolts = data.u16_le()?;
    let battery = data.u8()?;
    let counter = data.u8()?;
    let flags = data.u8()?;
    out.push("temperature", Ok(decimal(temperature.into(), 1, 100)));
    out.push("humidity", Ok(decimal(humidity.into(), 1, 100)));
    out.push("voltage", Ok(decimal(millivolts.into(), 1, 1000)));
    out.push("battery", Ok(Value::U64(battery.into())));
    out.push("packet_id", Ok(Value::U64(counter.into())));
    let bits = [
        ("reed", 0),
        ("trigger", 1),
        ("temperature_trigger", 3),
        ("humidity_trigger", 4),
    ];
    for (name, bit) in bits {
        out.push(name, Ok(Value::Bool(flags >> bit & 1 == 1)));
    }
    Some(Ok(Packet {
        counter: Some(Counter::Packet(counter.into())),
        on_event: false,
    }))
}
