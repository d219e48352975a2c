//! Xiaomi thermometers with the firmware of atc1441 or pvvx: service data under 181A, as described in the
//! chapter "Bluetooth Advertising Formats" of <https://github.com/pvvx/ATC_MiThermometer>.

use super::{to_i16, to_u8, to_u16};
use crate::names::{Address, Uuid};
use crate::sensor::Advert;

const ENVIRONMENT: Uuid = Uuid::short(0x181A);

/// What such a thermometer measures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Thermometer {
    /// °C.
    pub temperature: f64,
    /// %.
    pub humidity: f64,
    /// V.
    pub voltage: f64,
    /// %.
    pub battery: f64,
}

/// The format of atc1441: big-endian, tenths of degrees, whole percents.
#[must_use]
pub fn atc(measured: &Thermometer, number: u8, address: Address) -> Advert {
    let mut data = address.0.to_vec();
    data.extend(to_i16(measured.temperature * 10.0).to_be_bytes());
    data.push(to_u8(measured.humidity));
    data.push(to_u8(measured.battery));
    data.extend(to_u16(measured.voltage * 1000.0).to_be_bytes());
    data.push(number);
    Advert::service(ENVIRONMENT, data)
}

/// The format of pvvx: little-endian, the address too, hundredths throughout.
#[must_use]
pub fn pvvx(measured: &Thermometer, number: u8, address: Address) -> Advert {
    let mut data: Vec<u8> = address.0.into_iter().rev().collect();
    data.extend(to_i16(measured.temperature * 100.0).to_le_bytes());
    data.extend(to_u16(measured.humidity * 100.0).to_le_bytes());
    data.extend(to_u16(measured.voltage * 1000.0).to_le_bytes());
    data.push(to_u8(measured.battery));
    data.push(number);
    // Flags: none of the pin states and triggers that they tell of is simulated.
    data.push(0);
    Advert::service(ENVIRONMENT, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: Thermometer = Thermometer {
        temperature: -2.35,
        humidity: 48.6,
        voltage: 2.955,
        battery: 87.0,
    };

    #[test]
    fn atc_has_13_bytes_and_the_address_as_people_write_it() {
        let address = "A4:C1:38:01:02:03".parse().unwrap();
        let data = atc(&MEASURED, 9, address).service_data[&ENVIRONMENT].clone();
        assert_eq!(
            data,
            [0xA4, 0xC1, 0x38, 1, 2, 3, 0xFF, 0xE8, 49, 87, 0x0B, 0x8B, 9]
        );
    }

    #[test]
    fn pvvx_has_15_bytes_and_the_address_turned_round() {
        let address = "A4:C1:38:01:02:03".parse().unwrap();
        let data = pvvx(&MEASURED, 9, address).service_data[&ENVIRONMENT].clone();
        assert_eq!(
            data,
            [
                3, 2, 1, 0x38, 0xC1, 0xA4, 0x15, 0xFF, 0xFC, 0x12, 0x8B, 0x0B, 87, 9, 0
            ]
        );
    }
}
