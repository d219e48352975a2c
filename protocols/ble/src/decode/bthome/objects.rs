//! The objects of BTHome: which id is which value.
//!
//! The table follows bthome.io/format and, for ids not yet on that page, the table of the authors' own
//! receiver (github.com/Bluetooth-Devices/bthome-ble, `const.py`, 3.25). Two things of one property in two
//! kinds have two names here, so that a point has one type: the number `moisture` and the yes or no
//! `moisture_detected`, `battery` in percent and `battery_low`.

use super::DecodeError;
use crate::decode::reader::Reader;
use crate::decode::value::decimal;
use crate::decode::{FieldInfo, Values, field};
use protocols_model::{Reason, Value, ValueType};

/// How the bytes of an object are read.
#[derive(Clone, Copy)]
enum Kind {
    /// So many bytes, unsigned, unscaled.
    Count(u8),
    /// So many bytes, signed, unscaled.
    SignedCount(u8),
    /// So many bytes, unsigned, times the first over the second.
    Unsigned(u8, i64, u32),
    /// The same, signed.
    Signed(u8, i64, u32),
    /// One byte, 0 or 1.
    Bool,
    /// A length byte, then UTF-8.
    Text,
    /// A length byte, then bytes.
    Raw,
    /// An event id.
    Button,
    /// An event id and a number of steps.
    Dimmer,
    /// A length, an operation, its arguments.
    Command,
    /// So many bytes, each a part of a version, the last first.
    Version(u8),
}

use Kind::{
    Bool, Button, Command, Count, Dimmer, Raw, Signed, SignedCount, Text, Unsigned, Version,
};

/// The id of the packet counter.
const PACKET_ID: u8 = 0x00;

const fn object(id: u8) -> Option<(&'static str, Kind)> {
    Some(match id {
        PACKET_ID => ("packet_id", Count(1)),
        0x01 => ("battery", Count(1)),
        0x02 => ("temperature", Signed(2, 1, 100)),
        0x03 => ("humidity", Unsigned(2, 1, 100)),
        0x04 => ("pressure", Unsigned(3, 1, 100)),
        0x05 => ("illuminance", Unsigned(3, 1, 100)),
        0x06 => ("mass", Unsigned(2, 1, 100)),
        0x07 => ("mass_lb", Unsigned(2, 1, 100)),
        0x08 => ("dew_point", Signed(2, 1, 100)),
        0x09 => ("count", Count(1)),
        0x0a => ("energy", Unsigned(3, 1, 1000)),
        0x0b => ("power", Unsigned(3, 1, 100)),
        0x0c => ("voltage", Unsigned(2, 1, 1000)),
        0x0d => ("pm25", Count(2)),
        0x0e => ("pm10", Count(2)),
        0x0f => ("generic", Bool),
        0x10 => ("power_on", Bool),
        0x11 => ("opening", Bool),
        0x12 => ("co2", Count(2)),
        0x13 => ("tvoc", Count(2)),
        0x14 => ("moisture", Unsigned(2, 1, 100)),
        0x15 => ("battery_low", Bool),
        0x16 => ("battery_charging", Bool),
        0x17 => ("carbon_monoxide", Bool),
        0x18 => ("cold", Bool),
        0x19 => ("connectivity", Bool),
        0x1a => ("door", Bool),
        0x1b => ("garage_door", Bool),
        0x1c => ("gas_detected", Bool),
        0x1d => ("heat", Bool),
        0x1e => ("light", Bool),
        0x1f => ("lock", Bool),
        0x20 => ("moisture_detected", Bool),
        0x21 => ("motion", Bool),
        0x22 => ("moving", Bool),
        0x23 => ("occupancy", Bool),
        0x24 => ("plug", Bool),
        0x25 => ("presence", Bool),
        0x26 => ("problem", Bool),
        0x27 => ("running", Bool),
        0x28 => ("safety", Bool),
        0x29 => ("smoke", Bool),
        0x2a => ("sound", Bool),
        0x2b => ("tamper", Bool),
        0x2c => ("vibration", Bool),
        0x2d => ("window", Bool),
        0x2e => ("humidity", Unsigned(1, 1, 1)),
        0x2f => ("moisture", Unsigned(1, 1, 1)),
        0x3a => ("button", Button),
        0x3b => ("command", Command),
        0x3c => ("dimmer", Dimmer),
        0x3d => ("count", Count(2)),
        0x3e => ("count", Count(4)),
        _ => return object_above(id),
    })
}

const fn object_above(id: u8) -> Option<(&'static str, Kind)> {
    Some(match id {
        0x3f => ("rotation", Signed(2, 1, 10)),
        0x40 => ("distance_mm", Count(2)),
        0x41 => ("distance", Unsigned(2, 1, 10)),
        0x42 => ("duration", Unsigned(3, 1, 1000)),
        0x43 => ("current", Unsigned(2, 1, 1000)),
        0x44 => ("speed", Unsigned(2, 1, 100)),
        0x45 => ("temperature", Signed(2, 1, 10)),
        0x46 => ("uv_index", Unsigned(1, 1, 10)),
        0x47 => ("volume", Unsigned(2, 1, 10)),
        0x48 => ("volume_ml", Count(2)),
        0x49 => ("volume_flow_rate", Unsigned(2, 1, 1000)),
        0x4a => ("voltage", Unsigned(2, 1, 10)),
        0x4b => ("gas", Unsigned(3, 1, 1000)),
        0x4c => ("gas", Unsigned(4, 1, 1000)),
        0x4d => ("energy", Unsigned(4, 1, 1000)),
        0x4e => ("volume", Unsigned(4, 1, 1000)),
        0x4f => ("water", Unsigned(4, 1, 1000)),
        0x50 => ("timestamp", Count(4)),
        0x51 => ("acceleration", Unsigned(2, 1, 1000)),
        0x52 => ("gyroscope", Unsigned(2, 1, 1000)),
        0x53 => ("text", Text),
        0x54 => ("raw", Raw),
        0x55 => ("volume_storage", Unsigned(4, 1, 1000)),
        0x56 => ("conductivity", Count(2)),
        0x57 => ("temperature", Signed(1, 1, 1)),
        0x58 => ("temperature", Signed(1, 35, 100)),
        0x59 => ("count_signed", SignedCount(1)),
        0x5a => ("count_signed", SignedCount(2)),
        0x5b => ("count_signed", SignedCount(4)),
        0x5c => ("power", Signed(4, 1, 100)),
        0x5d => ("current", Signed(2, 1, 1000)),
        0x5e => ("direction", Unsigned(2, 1, 100)),
        0x5f => ("precipitation", Unsigned(2, 1, 10)),
        0x60 => ("channel", Count(1)),
        0x61 => ("rotational_speed", Count(2)),
        0x62 => ("speed", Signed(4, 1, 1_000_000)),
        0x63 => ("acceleration", Signed(4, 1, 1_000_000)),
        0x64 => ("light_level", Count(1)),
        0x65 => ("settings_revision", Count(1)),
        0xf0 => ("device_type", Count(2)),
        0xf1 => ("firmware", Version(4)),
        0xf2 => ("firmware", Version(3)),
        _ => return None,
    })
}

pub(in crate::decode) const FIELDS: &[FieldInfo] = &[
    field("acceleration", ValueType::F64, "m/s²"),
    field("battery", ValueType::U64, "%"),
    field("battery_charging", ValueType::Bool, ""),
    field("battery_low", ValueType::Bool, ""),
    field("button", ValueType::Text, ""),
    field("carbon_monoxide", ValueType::Bool, ""),
    field("channel", ValueType::U64, ""),
    field("co2", ValueType::U64, "ppm"),
    field("cold", ValueType::Bool, ""),
    field("command", ValueType::Bytes, ""),
    field("conductivity", ValueType::U64, "µS/cm"),
    field("connectivity", ValueType::Bool, ""),
    field("count", ValueType::U64, ""),
    field("count_signed", ValueType::I64, ""),
    field("current", ValueType::F64, "A"),
    field("device_type", ValueType::U64, ""),
    field("dew_point", ValueType::F64, "°C"),
    field("dimmer", ValueType::I64, "steps"),
    field("direction", ValueType::F64, "°"),
    field("distance", ValueType::F64, "m"),
    field("distance_mm", ValueType::U64, "mm"),
    field("door", ValueType::Bool, ""),
    field("duration", ValueType::F64, "s"),
    field("energy", ValueType::F64, "kWh"),
    field("firmware", ValueType::Text, ""),
    field("garage_door", ValueType::Bool, ""),
    field("gas", ValueType::F64, "m³"),
    field("gas_detected", ValueType::Bool, ""),
    field("generic", ValueType::Bool, ""),
    field("gyroscope", ValueType::F64, "°/s"),
    field("heat", ValueType::Bool, ""),
    field("humidity", ValueType::F64, "%"),
    field("illuminance", ValueType::F64, "lx"),
    field("light", ValueType::Bool, ""),
    field("light_level", ValueType::U64, ""),
    field("lock", ValueType::Bool, ""),
    field("mass", ValueType::F64, "kg"),
    field("mass_lb", ValueType::F64, "lb"),
    field("moisture", ValueType::F64, "%"),
    field("moisture_detected", ValueType::Bool, ""),
    field("motion", ValueType::Bool, ""),
    field("moving", ValueType::Bool, ""),
    field("occupancy", ValueType::Bool, ""),
    field("opening", ValueType::Bool, ""),
    field("packet_id", ValueType::U64, ""),
    field("plug", ValueType::Bool, ""),
    field("pm10", ValueType::U64, "µg/m³"),
    field("pm25", ValueType::U64, "µg/m³"),
    field("power", ValueType::F64, "W"),
    field("power_on", ValueType::Bool, ""),
    field("precipitation", ValueType::F64, "mm"),
    field("presence", ValueType::Bool, ""),
    field("pressure", ValueType::F64, "hPa"),
    field("problem", ValueType::Bool, ""),
    field("raw", ValueType::Bytes, ""),
    field("rotation", ValueType::F64, "°"),
    field("rotational_speed", ValueType::U64, "rpm"),
    field("running", ValueType::Bool, ""),
    field("safety", ValueType::Bool, ""),
    field("settings_revision", ValueType::U64, ""),
    field("smoke", ValueType::Bool, ""),
    field("sound", ValueType::Bool, ""),
    field("speed", ValueType::F64, "m/s"),
    field("tamper", ValueType::Bool, ""),
    field("temperature", ValueType::F64, "°C"),
    field("text", ValueType::Text, ""),
    field("timestamp", ValueType::U64, "s"),
    field("tvoc", ValueType::U64, "µg/m³"),
    field("uv_index", ValueType::F64, ""),
    field("vibration", ValueType::Bool, ""),
    field("voltage", ValueType::F64, "V"),
    field("volume", ValueType::F64, "L"),
    field("volume_flow_rate", ValueType::F64, "m³/h"),
    field("volume_ml", ValueType::U64, "mL"),
    field("volume_storage", ValueType::F64, "L"),
    field("water", ValueType::F64, "L"),
    field("window", ValueType::Bool, ""),
];

/// Reads all objects; the packet counter, if there is one.
pub(super) fn read(mut data: Reader<'_>, out: &mut Values) -> Result<Option<u32>, DecodeError> {
    let mut counter = None;
    let mut first = true;
    while let Some(id) = data.u8() {
        let Some((name, kind)) = object(id) else {
            // Without any object that is known there is nothing to take.
            if first {
                return Err(DecodeError::Object(id));
            }
            break;
        };
        first = false;
        let value = value(kind, &mut data).ok_or(DecodeError::Object(id))?;
        if id == PACKET_ID
            && let Ok(Value::U64(number)) = value
        {
            counter = u32::try_from(number).ok();
        }
        out.push(name, value);
    }
    Ok(counter)
}

/// The value of an object; `None` when it is cut.
fn value(kind: Kind, data: &mut Reader<'_>) -> Option<Result<Value, Reason>> {
    Some(Ok(match kind {
        Count(len) => Value::U64(unsigned(data, len)?),
        SignedCount(len) => Value::I64(signed(data, len)?),
        Unsigned(len, factor, divisor) => {
            let raw = i64::try_from(unsigned(data, len)?).ok()?;
            decimal(raw, factor, divisor)
        }
        Signed(len, factor, divisor) => decimal(signed(data, len)?, factor, divisor),
        Bool => match data.u8()? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Some(Err(Reason::Undecodable)),
        },
        Text => {
            let len = data.u8()?;
            match std::str::from_utf8(data.bytes(len.into())?) {
                Ok(text) => Value::Text(text.into()),
                Err(_) => return Some(Err(Reason::Undecodable)),
            }
        }
        Raw => {
            let len = data.u8()?;
            Value::Bytes(data.bytes(len.into())?.into())
        }
        Button => Value::Text(button(data.u8()?).into()),
        Dimmer => {
            let (event, steps) = (data.u8()?, i64::from(data.u8()?));
            match event {
                0 => Value::I64(0),
                1 => Value::I64(-steps),
                2 => Value::I64(steps),
                _ => return Some(Err(Reason::Undecodable)),
            }
        }
        Command => {
            // The high bits of the length are reserved; the operation is not counted in it.
            let len = data.u8()? & 0x1f;
            Value::Bytes(data.bytes(usize::from(len) + 1)?.into())
        }
        Version(parts) => {
            let parts = data.bytes(parts.into())?.iter().rev();
            let parts: Vec<_> = parts.map(ToString::to_string).collect();
            Value::Text(parts.join(".").into())
        }
    }))
}

fn unsigned(data: &mut Reader<'_>, len: u8) -> Option<u64> {
    let bytes = data.bytes(len.into())?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, b| sum << 8 | u64::from(*b)),
    )
}

fn signed(data: &mut Reader<'_>, len: u8) -> Option<i64> {
    let raw = unsigned(data, len)?;
    let unused = 64 - 8 * u32::from(len);
    Some((raw << unused).cast_signed() >> unused)
}

/// The name of a button's event; an id of a later version is told by its number.
fn button(event: u8) -> String {
    let name = match event {
        0x00 => "none",
        0x01 => "press",
        0x02 => "double_press",
        0x03 => "triple_press",
        0x04 => "long_press",
        0x05 => "long_double_press",
        0x06 => "long_triple_press",
        0x80 => "hold_press",
        0x81 => "hold_release",
        other => return format!("event_{other}"),
    };
    name.to_owned()
}
