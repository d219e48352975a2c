//! The vectors that the authors of each format publish, and what no vector shows: damage and strangers.

use super::*;
use crate::address::{Uuid, hex};
use crate::config::BindKey;
use proptest::prelude::*;

mod bthome;
mod formats;

pub(super) fn advert(address: &str) -> Advert {
    Advert::new(address.parse().unwrap())
}

pub(super) fn bytes(text: &str) -> Vec<u8> {
    hex(text, &[' ']).expect("hexadecimal")
}

pub(super) fn of_service(address: &str, uuid: u16, data: &str) -> Advert {
    let mut advert = advert(address);
    advert.service_data = vec![(Uuid::short(uuid), bytes(data))];
    advert
}

pub(super) fn of_company(id: u16, data: &str) -> Advert {
    let mut advert = advert("CB:B8:33:4C:88:4F");
    advert.manufacturer = vec![(id, bytes(data))];
    advert
}

pub(super) fn decode(format: Format, advert: &Advert) -> Result<(Packet, Values), DecodeError> {
    let mut values = Values::new();
    let packet = format.decode(advert, None, &mut values);
    packet
        .expect("of this format")
        .map(|packet| (packet, values))
}

/// The value of a field by its name in the configuration.
pub(super) fn value(format: Format, values: &Values, name: &str) -> Option<Result<Value, Reason>> {
    values.get(format.resolve(name).unwrap()).cloned()
}

pub(super) fn f(value: f64) -> Option<Result<Value, Reason>> {
    Some(Ok(Value::F64(value)))
}

pub(super) fn u(value: u64) -> Option<Result<Value, Reason>> {
    Some(Ok(Value::U64(value)))
}

pub(super) fn i(value: i64) -> Option<Result<Value, Reason>> {
    Some(Ok(Value::I64(value)))
}

pub(super) fn b(value: bool) -> Option<Result<Value, Reason>> {
    Some(Ok(Value::Bool(value)))
}

pub(super) fn t(value: &str) -> Option<Result<Value, Reason>> {
    Some(Ok(Value::Text(value.into())))
}

pub(super) const NONE: Option<Result<Value, Reason>> = Some(Err(Reason::DeviceError));

#[test]
fn field_names_are_unique_and_resolve_to_themselves() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
        let names: Vec<_> = format.fields().map(|field| field.name).collect();
        for name in &names {
            let count = names.iter().filter(|other| other == &name).count();
            assert_eq!(count, 1, "{format}: {name}");
            assert_eq!(format.resolve(name), Some(FieldRef { name, nth: 1 }));
        }
    }
    let second = Format::Bthome.resolve("temperature_2").unwrap();
    assert_eq!((second.name, second.nth), ("temperature", 2));
    // A name with a number at its end is still a name.
    assert_eq!(Format::Bthome.resolve("co2").unwrap().name, "co2");
    assert_eq!(Format::Bthome.resolve("temperature_0"), None);
    assert_eq!(Format::Ruuvi.resolve("temperature_2"), None);
    assert_eq!("bt-home".parse::<Format>(), Err(FormatError));
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(data in proptest::collection::vec(any::<u8>(), 0..64)) {
        fuzz(&data);
    }

    #[test]
    fn any_end_of_a_real_frame_is_decoded_or_refused(
        frame in 0usize..formats::FRAMES.len(), cut in 0usize..48, flip in 0usize..384,
    ) {
        let mut data = bytes(formats::FRAMES[frame]);
        data.truncate(cut);
        if let Some(byte) = data.get_mut(flip / 8) {
            *byte ^= 1 << (flip % 8);
        }
        fuzz(&data);
    }
}
