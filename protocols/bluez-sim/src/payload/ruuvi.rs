//! `RuuviTag` data formats 3 and 5 (docs.ruuvi.com), manufacturer specific data, big-endian.

use super::{rounded, to_i16, to_u8, to_u16};
use crate::names::Address;
use crate::sensor::Advert;

/// The company identifier of Ruuvi Innovations.
const COMPANY: u16 = 0x0499;

/// What a tag measures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RuuviTag {
    /// °C.
    pub temperature: f64,
    /// %.
    pub humidity: f64,
    /// Pa.
    pub pressure: f64,
    /// g, along x, y, z.
    pub acceleration: [f64; 3],
    /// V.
    pub voltage: f64,
    /// dBm; format 5.
    pub tx_power: f64,
    /// Movements counted; format 5.
    pub movements: f64,
}

/// Data format 5 (`RAWv2`): numbered, and with the tag's address.
#[must_use]
pub fn ruuvi_5(tag: &RuuviTag, number: u16, address: Address) -> Advert {
    let mut data = vec![5];
    // The values at the ends of the ranges mean "not available" and are not sent for a measurement.
    data.extend(to_i16(tag.temperature / 0.005).max(-32767).to_be_bytes());
    data.extend(to_u16(tag.humidity / 0.0025).min(65534).to_be_bytes());
    data.extend(to_u16(tag.pressure - 50_000.0).min(65534).to_be_bytes());
    for axis in tag.acceleration {
        data.extend(to_i16(axis * 1000.0).max(-32767).to_be_bytes());
    }
    let battery = to_u16(tag.voltage * 1000.0 - 1600.0).min(2046);
    let power = to_u16((tag.tx_power + 40.0) / 2.0).min(30);
    data.extend((battery << 5 | power).to_be_bytes());
    data.push(to_u8(tag.movements).min(254));
    data.extend(number.to_be_bytes());
    data.extend(address.0);
    Advert::manufacturer(COMPANY, data)
}

/// Data format 3 (`RAWv1`).
#[must_use]
pub fn ruuvi_3(tag: &RuuviTag) -> Advert {
    let mut data = vec![3, to_u8(tag.humidity * 2.0)];
    // Sign and magnitude, whole degrees and hundredths apart.
    let hundredths = rounded(tag.temperature.abs() * 100.0).clamp(0, 12_799);
    let sign = if tag.temperature < 0.0 { 0x80 } else { 0 };
    data.push(u8::try_from(hundredths / 100).unwrap_or(127) | sign);
    data.push(u8::try_from(hundredths % 100).unwrap_or(0));
    data.extend(to_u16(tag.pressure - 50_000.0).to_be_bytes());
    for axis in tag.acceleration {
        data.extend(to_i16(axis * 1000.0).to_be_bytes());
    }
    data.extend(to_u16(tag.voltage * 1000.0).to_be_bytes());
    Advert::manufacturer(COMPANY, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(advert: &Advert) -> String {
        advert.manufacturer[&COMPANY]
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect()
    }

    #[test]
    fn format_5_writes_the_valid_vector_of_its_makers() {
        let tag = RuuviTag {
            temperature: 24.30,
            humidity: 53.49,
            pressure: 100_044.0,
            acceleration: [0.004, -0.004, 1.036],
            voltage: 2.977,
            tx_power: 4.0,
            movements: 66.0,
        };
        let address = "CB:B8:33:4C:88:4F".parse().unwrap();
        assert_eq!(
            hex(&ruuvi_5(&tag, 205, address)),
            "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F"
        );
    }

    #[test]
    fn format_3_writes_the_valid_vector_of_its_makers() {
        let tag = RuuviTag {
            temperature: 26.3,
            humidity: 20.5,
            pressure: 102_766.0,
            acceleration: [-1.0, -1.726, 0.714],
            voltage: 2.899,
            ..RuuviTag::default()
        };
        assert_eq!(hex(&ruuvi_3(&tag)), "03291A1ECE1EFC18F94202CA0B53");
    }

    #[test]
    fn ends_of_the_ranges_are_never_not_available() {
        let tag = RuuviTag {
            temperature: -999.0,
            humidity: 999.0,
            pressure: 9e9,
            ..RuuviTag::default()
        };
        let data = hex(&ruuvi_5(&tag, 0, Address([0; 6])));
        assert!(data.starts_with("058001FFFEFFFE"), "{data}");
    }
}
