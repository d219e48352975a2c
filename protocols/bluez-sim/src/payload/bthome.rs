//! `BTHome` v2 (bthome.io/format): objects of an identifier and a little-endian number each, in rising order
//! of their identifiers; plain, or encrypted with a counter.

use super::{ccm, rounded};
use crate::names::{Address, Uuid};
use crate::sensor::Advert;

/// The service UUID under which `BTHome` is advertised.
pub const SERVICE: u16 = 0xFCD2;

/// Device information: version 2 in the top three bits.
const PLAIN: u8 = 0x40;
/// The same with the bit that says "encrypted".
const ENCRYPTED: u8 = 0x41;

/// How an object is written: its number is the value divided by the factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Its name in configurations.
    pub name: &'static str,
    /// Its identifier.
    pub id: u8,
    bytes: u8,
    signed: bool,
    factor: f64,
}

const fn object(name: &'static str, id: u8, bytes: u8, signed: bool, factor: f64) -> Object {
    Object {
        name,
        id,
        bytes,
        signed,
        factor,
    }
}

/// The objects that can be sent, by rising identifier.
pub const OBJECTS: [Object; 38] = [
    object("packet", 0x00, 1, false, 1.0),
    object("battery", 0x01, 1, false, 1.0),
    object("temperature", 0x02, 2, true, 0.01),
    object("humidity", 0x03, 2, false, 0.01),
    object("pressure", 0x04, 3, false, 0.01),
    object("illuminance", 0x05, 3, false, 0.01),
    object("mass", 0x06, 2, false, 0.01),
    object("dew_point", 0x08, 2, true, 0.01),
    object("count", 0x09, 1, false, 1.0),
    object("energy", 0x0A, 3, false, 0.001),
    object("power", 0x0B, 3, false, 0.01),
    object("voltage", 0x0C, 2, false, 0.001),
    object("pm25", 0x0D, 2, false, 1.0),
    object("pm10", 0x0E, 2, false, 1.0),
    object("opening", 0x11, 1, false, 1.0),
    object("co2", 0x12, 2, false, 1.0),
    object("tvoc", 0x13, 2, false, 1.0),
    object("moisture", 0x14, 2, false, 0.01),
    object("battery_low", 0x15, 1, false, 1.0),
    object("motion", 0x21, 1, false, 1.0),
    object("humidity_8", 0x2E, 1, false, 1.0),
    object("count_16", 0x3D, 2, false, 1.0),
    object("count_32", 0x3E, 4, false, 1.0),
    object("rotation", 0x3F, 2, true, 0.1),
    object("distance_mm", 0x40, 2, false, 1.0),
    object("duration", 0x42, 3, false, 0.001),
    object("current", 0x43, 2, false, 0.001),
    object("speed", 0x44, 2, false, 0.01),
    object("temperature_01", 0x45, 2, true, 0.1),
    object("uv_index", 0x46, 1, false, 0.1),
    object("volume", 0x47, 2, false, 0.1),
    object("gas", 0x4C, 4, false, 0.001),
    object("energy_32", 0x4D, 4, false, 0.001),
    object("water", 0x4F, 4, false, 0.001),
    object("acceleration", 0x51, 2, false, 0.001),
    object("gyroscope", 0x52, 2, false, 0.001),
    object("power_signed", 0x5C, 4, true, 0.01),
    object("current_signed", 0x5D, 2, true, 0.001),
];

impl Object {
    /// The object of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        OBJECTS.into_iter().find(|object| object.name == name)
    }

    fn write(self, value: f64, to: &mut Vec<u8>) {
        let bits = u32::from(self.bytes) * 8;
        let (least, most) = if self.signed {
            (-(1_i64 << (bits - 1)), (1_i64 << (bits - 1)) - 1)
        } else {
            (0, (1_i64 << bits) - 1)
        };
        let number = rounded(value / self.factor).clamp(least, most);
        to.push(self.id);
        to.extend(
            number
                .to_le_bytes()
                .into_iter()
                .take(usize::from(self.bytes)),
        );
    }
}

/// The objects one after the other, sorted by identifier as the format wants it.
fn objects(values: &[(Object, f64)]) -> Vec<u8> {
    let mut sorted = values.to_vec();
    sorted.sort_by_key(|(object, _)| object.id);
    let mut data = Vec::new();
    for (object, value) in sorted {
        object.write(value, &mut data);
    }
    data
}

/// A plain advertisement.
#[must_use]
pub fn plain(values: &[(Object, f64)]) -> Advert {
    let mut data = vec![PLAIN];
    data.extend(objects(values));
    Advert::service(Uuid::short(SERVICE), data)
}

/// An encrypted one. `counter` must rise from one to the next: a receiver refuses repeats as replayed.
#[must_use]
pub fn encrypted(
    values: &[(Object, f64)],
    key: &[u8; 16],
    address: Address,
    counter: u32,
) -> Advert {
    let mut nonce = [0; 13];
    let parts = address
        .0
        .into_iter()
        .chain(SERVICE.to_le_bytes())
        .chain([ENCRYPTED])
        .chain(counter.to_le_bytes());
    for (byte, part) in nonce.iter_mut().zip(parts) {
        *byte = part;
    }
    let (sealed, tag) = ccm::seal(key, &nonce, &objects(values));
    let mut data = vec![ENCRYPTED];
    data.extend(sealed);
    data.extend(counter.to_le_bytes());
    data.extend(tag);
    Advert::service(Uuid::short(SERVICE), data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(advert: &Advert) -> String {
        advert.service_data[&Uuid::short(SERVICE)]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect()
    }

    fn values(names: &[(&str, f64)]) -> Vec<(Object, f64)> {
        names
            .iter()
            .map(|(name, value)| (Object::named(name).unwrap(), *value))
            .collect()
    }

    #[test]
    fn plain_example_of_the_format_description() {
        let advert = plain(&values(&[("humidity", 50.55), ("temperature", 25.06)]));
        assert_eq!(data(&advert), "4002ca0903bf13");
    }

    #[test]
    fn encrypted_example_of_the_format_description() {
        let key = 0x231d_39c1_d7cc_1ab1_aee2_24cd_096d_b932_u128.to_be_bytes();
        let address = "54:48:E6:8F:80:A5".parse().unwrap();
        let values = values(&[("temperature", 25.06), ("humidity", 50.55)]);
        let advert = encrypted(
            &values,
            &key,
            address,
            u32::from_le_bytes([0x00, 0x11, 0x22, 0x33]),
        );
        assert_eq!(data(&advert), "41a47266c95f730011223378237214");
    }

    #[test]
    fn values_out_of_reach_are_clamped_to_the_ends() {
        let advert = plain(&values(&[
            ("temperature", -1e9),
            ("humidity", 1e9),
            ("pressure", -1.0),
        ]));
        assert_eq!(data(&advert), "4002008003ffff04000000");
    }

    #[test]
    fn table_is_sorted_and_names_are_distinct() {
        assert!(OBJECTS.windows(2).all(|pair| pair[0].id < pair[1].id));
        let mut names: Vec<_> = OBJECTS.iter().map(|object| object.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OBJECTS.len());
    }
}
