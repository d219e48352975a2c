//! Beacons: iBeacon (Apple, "Proximity Beacon Specification"), Eddystone UID, URL and TLM (Google,
//! github.com/google/eddystone).

use super::{rounded, to_u16};
use crate::names::Uuid;
use crate::sensor::Advert;

/// Apple's company identifier.
const APPLE: u16 = 0x004C;
/// The service of Eddystone.
const EDDYSTONE: Uuid = Uuid::short(0xFEAA);

/// What stands for common parts at the beginning of a URL, by position.
const SCHEMES: [&str; 4] = ["http://www.", "https://www.", "http://", "https://"];
/// And at the end of a host name; the first seven include the slash.
const ENDINGS: [&str; 14] = [
    ".com/", ".org/", ".edu/", ".net/", ".info/", ".biz/", ".gov/", ".com", ".org", ".edu", ".net",
    ".info", ".biz", ".gov",
];

/// An iBeacon; `power` is the strength at one metre, dBm.
#[must_use]
pub fn ibeacon(uuid: u128, major: u16, minor: u16, power: i8) -> Advert {
    let mut data = vec![0x02, 0x15];
    data.extend(uuid.to_be_bytes());
    data.extend(major.to_be_bytes());
    data.extend(minor.to_be_bytes());
    data.extend(power.to_be_bytes());
    Advert::manufacturer(APPLE, data)
}

fn eddystone(data: Vec<u8>) -> Advert {
    Advert {
        uuids: vec![EDDYSTONE],
        ..Advert::service(EDDYSTONE, data)
    }
}

/// An Eddystone-UID; `power` is the strength at no distance, dBm.
#[must_use]
pub fn eddystone_uid(namespace: [u8; 10], instance: [u8; 6], power: i8) -> Advert {
    let mut data = vec![0x00];
    data.extend(power.to_be_bytes());
    data.extend(namespace);
    data.extend(instance);
    data.extend([0, 0]);
    eddystone(data)
}

/// An Eddystone-URL; `None` when the scheme is not http(s) or the rest does not fit 17 bytes.
#[must_use]
pub fn eddystone_url(url: &str, power: i8) -> Option<Advert> {
    let (scheme, mut rest) = (0_u8..)
        .zip(SCHEMES)
        .find_map(|(code, scheme)| Some((code, url.strip_prefix(scheme)?)))?;
    let mut text = Vec::new();
    while let Some(first) = rest.chars().next() {
        let ending = (0_u8..)
            .zip(ENDINGS)
            .find_map(|(code, ending)| Some((code, rest.strip_prefix(ending)?)));
        if let Some((code, after)) = ending {
            text.push(code);
            rest = after;
        } else {
            text.push(u8::try_from(first).ok().filter(u8::is_ascii_graphic)?);
            rest = rest.strip_prefix(first)?;
        }
    }
    if text.len() > 17 {
        return None;
    }
    let mut data = vec![0x10];
    data.extend(power.to_be_bytes());
    data.push(scheme);
    data.extend(text);
    Some(eddystone(data))
}

/// What an Eddystone tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tlm {
    /// V; 0 for a beacon without battery.
    pub voltage: f64,
    /// °C.
    pub temperature: f64,
    /// Advertisements since it was switched on.
    pub adverts: u32,
    /// Tenths of seconds since then.
    pub tenths: u32,
}

/// An Eddystone-TLM, unencrypted.
#[must_use]
pub fn eddystone_tlm(tlm: &Tlm) -> Advert {
    let mut data = vec![0x20, 0x00];
    data.extend(to_u16(tlm.voltage * 1000.0).to_be_bytes());
    // Signed 8.8 fixed point; the lowest value means "no thermometer".
    let temperature = rounded(tlm.temperature * 256.0).clamp(-32_767, 32_767);
    data.extend(i16::try_from(temperature).unwrap_or(0).to_be_bytes());
    data.extend(tlm.adverts.to_be_bytes());
    data.extend(tlm.tenths.to_be_bytes());
    eddystone(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ibeacon_has_25_bytes_in_the_order_of_the_specification() {
        let advert = ibeacon(
            0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF,
            0x0102,
            0x0304,
            -59,
        );
        let data = &advert.manufacturer[&APPLE];
        assert_eq!(data.len(), 23);
        assert_eq!(data[..4], [0x02, 0x15, 0x00, 0x11]);
        assert_eq!(data[18..], [0x01, 0x02, 0x03, 0x04, 0xC5]);
    }

    #[test]
    fn url_is_shortened_at_both_ends() {
        let advert = eddystone_url("https://www.example.com/a", -20).unwrap();
        let mut expected = vec![0x10, 0xEC, 0x01];
        expected.extend(b"example");
        expected.push(0x00);
        expected.push(b'a');
        assert_eq!(advert.service_data[&EDDYSTONE], expected);
        assert_eq!(advert.uuids, [EDDYSTONE]);
        assert!(eddystone_url("ftp://example.com", 0).is_none());
        assert!(eddystone_url("https://a-name-that-is-far-too-long.example", 0).is_none());
    }

    #[test]
    fn telemetry_is_big_endian_with_a_fixed_point_temperature() {
        let tlm = Tlm {
            voltage: 3.0,
            temperature: -1.5,
            adverts: 7,
            tenths: 70,
        };
        let data = &eddystone_tlm(&tlm).service_data[&EDDYSTONE];
        assert_eq!(
            data[..],
            [0x20, 0, 0x0B, 0xB8, 0xFE, 0x80, 0, 0, 0, 7, 0, 0, 0, 70]
        );
    }

    #[test]
    fn uid_is_padded_to_20_bytes() {
        let data = &eddystone_uid([1; 10], [2; 6], -10).service_data[&EDDYSTONE];
        assert_eq!(data.len(), 20);
        assert_eq!(data[..3], [0x00, 0xF6, 1]);
        assert_eq!(data[18..], [0, 0]);
    }
}
