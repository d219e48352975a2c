//! Ruuvi data formats 3 (`RAWv1`), 5 (`RAWv2`), 6 and E1.
//!
//! Company data 0x0499, first byte the format, big-endian. Source: docs.ruuvi.com, "Bluetooth
//! advertisements", one page a format. What a sensor marks as not available is `Bad(DeviceError)`; format 3
//! has no such marks. A device that sends 6 and E1 says the same in both: E1 carries more, and the low byte
//! of its counter is the counter of 6, so that one measurement heard in both is one.

use super::reader::Reader;
use super::value::{decimal, decimal_unless, integer_unless};
use super::{Counter, DecodeError, FieldInfo, Packet, Values, field};
use crate::advert::Advert;
use protocols_model::{Reason, Value, ValueType};

const COMPANY: u16 = 0x0499;
const RAW_V1: u8 = 0x03;
const RAW_V2: u8 = 0x05;
const AIR: u8 = 0x06;
const AIR_EXTENDED: u8 = 0xe1;

pub(super) const FIELDS: &[FieldInfo] = &[
    field("temperature", ValueType::F64, "°C"),
    field("humidity", ValueType::F64, "%"),
    field("pressure", ValueType::U64, "Pa"),
    field("acceleration_x", ValueType::F64, "g"),
    field("acceleration_y", ValueType::F64, "g"),
    field("acceleration_z", ValueType::F64, "g"),
    field("voltage", ValueType::F64, "V"),
    field("tx_power", ValueType::I64, "dBm"),
    field("movements", ValueType::U64, ""),
    field("sequence", ValueType::U64, ""),
    field("pm1", ValueType::F64, "µg/m³"),
    field("pm25", ValueType::F64, "µg/m³"),
    field("pm4", ValueType::F64, "µg/m³"),
    field("pm10", ValueType::F64, "µg/m³"),
    field("co2", ValueType::U64, "ppm"),
    field("voc", ValueType::U64, ""),
    field("nox", ValueType::U64, ""),
    field("illuminance", ValueType::F64, "lx"),
    field("calibrating", ValueType::Bool, ""),
];

pub(super) fn decode(advert: &Advert, out: &mut Values) -> Option<Result<Packet, DecodeError>> {
    let data = advert.of_company(COMPANY)?;
    let mut reader = Reader::new(data);
    let (format, len) = (reader.u8()?, data.len());
    let packet = match (format, len) {
        (RAW_V1, 14) => raw_v1(reader, out),
        (RAW_V2, 24) => raw_v2(reader, out),
        (AIR, 20) => air(reader, out),
        (AIR_EXTENDED, 40) => air_extended(reader, out),
        (RAW_V1 | RAW_V2 | AIR | AIR_EXTENDED, _) => None,
        (other, _) => return Some(Err(DecodeError::Version(other))),
    };
    Some(packet.ok_or(DecodeError::Length(len)))
}

const AXES: [&str; 3] = ["acceleration_x", "acceleration_y", "acceleration_z"];

fn raw_v1(mut data: Reader<'_>, out: &mut Values) -> Option<Packet> {
    let humidity = data.u8()?;
    // Sign and magnitude: bit 7 is the sign of the whole, the second byte hundredths.
    let (degrees, hundredths) = (data.u8()?, data.u8()?);
    let magnitude = i64::from(degrees & 0x7f) * 100 + i64::from(hundredths);
    let raw = if degrees & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    };
    out.push("temperature", Ok(decimal(raw, 1, 100)));
    out.push("humidity", Ok(decimal(humidity.into(), 5, 10)));
    let pressure = Value::U64(u64::from(data.u16_be()?) + 50_000);
    out.push("pressure", Ok(pressure));
    for axis in AXES {
        out.push(axis, Ok(decimal(data.i16_be()?.into(), 1, 1000)));
    }
    out.push("voltage", Ok(decimal(data.u16_be()?.into(), 1, 1000)));
    Some(Packet::default())
}

fn raw_v2(mut data: Reader<'_>, out: &mut Values) -> Option<Packet> {
    climate(&mut data, out)?;
    for axis in AXES {
        let raw = data.i16_be()?.into();
        out.push(axis, decimal_unless(i16::MIN.into(), raw, 1, 1000));
    }
    let power = data.u16_be()?;
    let voltage = match power >> 5 {
        0x7ff => Err(Reason::DeviceError),
        above => Ok(decimal(i64::from(above) + 1600, 1, 1000)),
    };
    out.push("voltage", voltage);
    let tx_power = match power & 0x1f {
        0x1f => Err(Reason::DeviceError),
        steps => Ok(Value::I64(i64::from(steps) * 2 - 40)),
    };
    out.push("tx_power", tx_power);
    let movements = data.u8()?;
    out.push("movements", integer_unless(0xff, movements.into()));
    let sequence = u32::from(data.u16_be()?);
    out.push("sequence", integer_unless(0xffff, sequence));
    Some(counted((sequence != 0xffff).then_some(sequence)))
}

/// Temperature, humidity and pressure, alike in formats 5, 6 and E1.
fn climate(data: &mut Reader<'_>, out: &mut Values) -> Option<()> {
    let raw = data.i16_be()?.into();
    out.push("temperature", decimal_unless(i16::MIN.into(), raw, 5, 1000));
    let raw = data.u16_be()?.into();
    out.push("humidity", decimal_unless(0xffff, raw, 25, 10_000));
    let pressure = match data.u16_be()? {
        0xffff => Err(Reason::DeviceError),
        raw => Ok(Value::U64(u64::from(raw) + 50_000)),
    };
    out.push("pressure", pressure);
    Some(())
}

const fn counted(counter: Option<u32>) -> Packet {
    let counter = match counter {
        Some(number) => Some(Counter::Packet(number)),
        None => None,
    };
    Packet {
        counter,
        on_event: false,
    }
}

/// VOC and NOX have nine bits, the lowest of them in the flags.
fn indices(voc: u8, nox: u8, flags: u8, out: &mut Values) {
    let nine = |high: u8, bit: u8| u32::from(high) << 1 | u32::from(flags >> bit & 1);
    out.push("voc", integer_unless(0x1ff, nine(voc, 6)));
    out.push("nox", integer_unless(0x1ff, nine(nox, 7)));
    out.push("calibrating", Ok(Value::Bool(flags & 1 == 1)));
}

fn air(mut data: Reader<'_>, out: &mut Values) -> Option<Packet> {
    climate(&mut data, out)?;
    let pm25 = data.u16_be()?.into();
    out.push("pm25", decimal_unless(0xffff, pm25, 1, 10));
    let co2 = data.u16_be()?.into();
    out.push("co2", integer_unless(0xffff, co2));
    let (voc, nox, light) = (data.u8()?, data.u8()?, data.u8()?);
    let (_reserved, sequence, flags) = (data.u8()?, data.u8()?, data.u8()?);
    out.push("illuminance", logarithmic(light));
    out.push("sequence", Ok(Value::U64(sequence.into())));
    indices(voc, nox, flags, out);
    Some(counted(Some(sequence.into())))
}

/// Code 0 to 254 stands for 0 to 65535 lx, each step the same factor; two decimals mean something.
fn logarithmic(code: u8) -> Result<Value, Reason> {
    if code == 0xff {
        return Err(Reason::DeviceError);
    }
    let step = 65_536f64.ln() / 254.0;
    let lux = (f64::from(code) * step).exp_m1();
    Ok(Value::F64((lux * 100.0).round() / 100.0))
}

fn air_extended(mut data: Reader<'_>, out: &mut Values) -> Option<Packet> {
    climate(&mut data, out)?;
    for size in ["pm1", "pm25", "pm4", "pm10"] {
        let raw = data.u16_be()?.into();
        out.push(size, decimal_unless(0xffff, raw, 1, 10));
    }
    let co2 = data.u16_be()?.into();
    out.push("co2", integer_unless(0xffff, co2));
    let (voc, nox) = (data.u8()?, data.u8()?);
    let light = data.u24_be()?.into();
    out.push("illuminance", decimal_unless(0xff_ffff, light, 1, 100));
    let _reserved: [u8; 3] = data.array()?;
    let sequence = data.u24_be()?;
    let flags = data.u8()?;
    out.push("sequence", integer_unless(0xff_ffff, sequence));
    indices(voc, nox, flags, out);
    Some(counted((sequence != 0xff_ffff).then_some(sequence & 0xff)))
}
