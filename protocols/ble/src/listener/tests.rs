//! Who is meant, what is new, when silence is a reading.

use super::*;
use crate::address::{Uuid, hex};
use crate::config::{Adapter, Adverts, BindKey, Device};
use protocols_model::{DeviceId, PointId, Quality};

const DEVICE: &str = "54:48:E6:8F:80:A5";

fn at(seconds: u64) -> Instant {
    Instant(Duration::from_secs(seconds))
}

fn device(identity: Identity, format: Format, fields: &[&str]) -> Device {
    let point = |(key, field): (u32, &&str)| AdvertPoint {
        key: PointKey(key),
        id: PointId::try_new(field).unwrap(),
        field: (*field).to_owned(),
        range: None,
    };
    Device {
        id: DeviceId::try_new("d").unwrap(),
        identity,
        kind: Kind::Adverts(Adverts {
            format,
            key: None,
            interval: Duration::from_secs(10),
            points: (0..).zip(fields).map(point).collect(),
        }),
    }
}

fn by_address(format: Format, fields: &[&str]) -> Device {
    device(Identity::Address(DEVICE.parse().unwrap()), format, fields)
}

fn listener(devices: Vec<Device>) -> Listener {
    Listener::new(&Bus::new("radio", Adapter::default(), devices), at(0))
}

fn service(uuid: u16, data: &str) -> Advert {
    let mut advert = Advert::new(DEVICE.parse().unwrap());
    advert.rssi = Some(-61);
    advert.service_data = vec![(Uuid::short(uuid), hex(data, &[' ']).unwrap())];
    advert
}

fn hear(listener: &mut Listener, advert: &Advert, seconds: u64) -> Vec<(usize, Heard)> {
    let mut all = Vec::new();
    let wall = Timestamp::from_millis(1000);
    listener.hear(advert, at(seconds), wall, |device, heard| {
        all.push((device, heard));
    });
    all
}

/// The one thing that was heard.
fn one(listener: &mut Listener, advert: &Advert, seconds: u64) -> Heard {
    let mut all = hear(listener, advert, seconds);
    assert_eq!(all.len(), 1);
    all.remove(0).1
}

fn values(heard: Heard) -> Vec<(u32, Value)> {
    let Heard::Readings(readings) = heard else {
        panic!("{heard:?}");
    };
    let good = |reading: Reading| (reading.point.0, reading.value.expect("a good reading"));
    readings.into_iter().map(good).collect()
}

#[test]
fn a_measurement_heard_again_is_no_reading_until_the_sensor_insists() {
    let mut listener = listener(vec![by_address(Format::Bthome, &["temperature", "rssi"])]);
    let advert = service(0xfcd2, "40 0009 02CA09");
    let expected = [(0, Value::F64(25.06)), (1, Value::I64(-61))];
    assert_eq!(values(one(&mut listener, &advert, 1)), expected);
    assert_eq!(one(&mut listener, &advert, 2), Heard::Duplicate);
    assert_eq!(one(&mut listener, &advert, 10), Heard::Duplicate);
    assert_eq!(values(one(&mut listener, &advert, 11)), expected);
    let next = service(0xfcd2, "40 000A 02CA09");
    assert_eq!(values(one(&mut listener, &next, 12)), expected);
    // Without a counter every advertisement counts.
    let plain = service(0xfcd2, "40 02CA09");
    assert_eq!(values(one(&mut listener, &plain, 13)), expected);
    assert_eq!(values(one(&mut listener, &plain, 13)), expected);
}

#[test]
fn points_that_an_advertisement_does_not_carry_get_no_reading() {
    let mut listener = listener(vec![by_address(Format::Bthome, &["temperature", "window"])]);
    let heard = one(&mut listener, &service(0xfcd2, "40 2D01"), 1);
    assert_eq!(values(heard), [(1, Value::Bool(true))]);
}

/// bthome.io/encryption: the example (counter 1122867) and the one of its authors' receiver.
#[test]
fn an_encrypted_advertisement_that_is_not_newer_is_a_replay() {
    let mut device = by_address(Format::Bthome, &["temperature"]);
    if let Kind::Adverts(adverts) = &mut device.kind {
        let key = "231d39c1d7cc1ab1aee224cd096db932";
        adverts.key = Some(key.parse::<BindKey>().unwrap());
    }
    let mut listener = listener(vec![device]);
    let older = service(0xfcd2, "41 e445f3c9962b 33221100 6c7c4519");
    let newer = service(0xfcd2, "41 a47266c95f73 00112233 78237214");
    assert_eq!(
        values(one(&mut listener, &older, 1)),
        [(0, Value::F64(25.06))]
    );
    assert_eq!(one(&mut listener, &older, 2), Heard::Duplicate);
    assert_eq!(
        values(one(&mut listener, &newer, 3)),
        [(0, Value::F64(25.06))]
    );
    assert_eq!(one(&mut listener, &older, 4), Heard::Replay);
    // Also when its time as a duplicate is over, and it does not keep the device alive.
    assert_eq!(one(&mut listener, &newer, 14), Heard::Replay);
    assert_eq!(listener.next_silence(), Some(at(13)));
    let plain = service(0xfcd2, "40 02CA09");
    assert_eq!(
        one(&mut listener, &plain, 15),
        Heard::Refused(DecodeError::Plain)
    );
}

#[test]
fn a_growing_counter_may_wrap() {
    let mut device = by_address(Format::Bthome, &[]);
    device.identity = Identity::Address(DEVICE.parse().unwrap());
    let mut listener = listener(vec![device]);
    let listened = &mut listener.devices[0];
    let packet = |number| Packet {
        counter: Some(Counter::Growing(number)),
        on_event: false,
    };
    assert_eq!(listened.known(&packet(u32::MAX - 1), at(0)), None);
    assert_eq!(listened.known(&packet(3), at(1)), None);
    assert_eq!(
        listened.known(&packet(u32::MAX), at(2)),
        Some(Heard::Replay)
    );
    assert_eq!(listened.known(&packet(2), at(3)), Some(Heard::Replay));
    assert_eq!(listened.known(&packet(4), at(4)), None);
}

#[test]
fn each_interval_of_silence_gives_one_bad_reading_a_point() {
    let mut listener = listener(vec![by_address(
        Format::Bthome,
        &["temperature", "present"],
    )]);
    let wall = Timestamp::from_millis(5);
    assert_eq!(listener.take_silent(at(9), wall, Reason::Timeout), None);
    let (device, readings) = listener.take_silent(at(10), wall, Reason::Timeout).unwrap();
    assert_eq!(device, 0);
    let absent = Reading::good(PointKey(1), wall, Value::Bool(false));
    assert_eq!(
        readings,
        [Reading::bad(PointKey(0), wall, Reason::Timeout), absent]
    );
    assert_eq!(listener.take_silent(at(19), wall, Reason::Timeout), None);
    // Whether anybody is there cannot be said without a radio.
    let (_, readings) = listener
        .take_silent(at(20), wall, Reason::LinkDown)
        .unwrap();
    assert!(
        readings
            .iter()
            .all(|r| r.quality == Quality::Bad(Reason::LinkDown))
    );
    // A duplicate or a reading begins the interval anew, rubbish does not.
    one(&mut listener, &service(0xfcd2, "40 0001 02CA09"), 25);
    assert_eq!(listener.next_silence(), Some(at(35)));
    one(&mut listener, &service(0xfcd2, "40 0001 02CA09"), 27);
    assert_eq!(listener.next_silence(), Some(at(37)));
    let heard = one(&mut listener, &service(0xfcd2, "40 02CA"), 30);
    assert_eq!(heard, Heard::Refused(DecodeError::Object(2)));
    assert_eq!(listener.next_silence(), Some(at(37)));
}

#[test]
fn a_sensors_own_not_available_and_the_range_make_bad_readings() {
    let mut device = by_address(Format::Ruuvi, &["temperature", "humidity"]);
    if let Kind::Adverts(adverts) = &mut device.kind {
        adverts.points[1].range = Some(0.0..=100.0);
    }
    let mut listener = listener(vec![device]);
    let mut advert = Advert::new(DEVICE.parse().unwrap());
    let frame = "058000FFFEFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF";
    advert.manufacturer = vec![(0x0499, hex(frame, &[]).unwrap())];
    let Heard::Readings(readings) = one(&mut listener, &advert, 1) else {
        panic!("not decoded");
    };
    let qualities: Vec<_> = readings.iter().map(|r| r.quality).collect();
    let expected = [
        Quality::Bad(Reason::DeviceError),
        Quality::Bad(Reason::OutOfRange),
    ];
    assert_eq!(qualities, expected);
}

#[test]
fn beacons_are_recognised_by_what_they_say_wherever_they_say_it() {
    let uuid: Uuid = "e2c56db5-dffb-48d2-b060-d0f5a71096e0".parse().unwrap();
    let beacon = |major, minor| {
        let identity = Identity::Ibeacon { uuid, major, minor };
        device(identity, Format::Ibeacon, &["present"])
    };
    let devices = vec![
        beacon(Some(100), Some(0)),
        beacon(None, None),
        beacon(Some(7), None),
    ];
    let mut listener = listener(devices);
    for address in ["6A:6B:C9:A2:3E:43", "4F:00:11:22:33:44"] {
        let mut advert = Advert::new(address.parse().unwrap());
        let data = "0215E2C56DB5DFFB48D2B060D0F5A71096E000640000C5";
        advert.manufacturer = vec![(0x004c, hex(data, &[]).unwrap())];
        let heard = hear(&mut listener, &advert, 1);
        let devices: Vec<_> = heard.iter().map(|(device, _)| *device).collect();
        assert_eq!(devices, [0, 1]);
    }
    assert_eq!(hear(&mut listener, &service(0xfeaa, "00"), 1), []);
}

#[test]
fn telemetry_of_an_eddystone_belongs_to_the_beacon_last_named_at_its_address() {
    let namespace = [0x8b, 0x0c, 0xa7, 0x50, 0x09, 0x54, 0x77, 0xcb, 0x3e, 0x77];
    let identity = Identity::Eddystone {
        namespace,
        instance: Some([0, 0, 0, 0, 0, 0x42]),
    };
    let fields = ["temperature", "instance"];
    let mut listener = listener(vec![device(identity, Format::Eddystone, &fields)]);
    let telemetry = service(0xfeaa, "20000C6F1E000002006D41DB9AB6");
    assert_eq!(hear(&mut listener, &telemetry, 1), []);
    let uid = service(0xfeaa, "00EE 8b0ca750095477cb3e77 000000000042 0000");
    let named = Value::Text("000000000042".into());
    assert_eq!(values(one(&mut listener, &uid, 2)), [(1, named)]);
    assert_eq!(
        values(one(&mut listener, &telemetry, 3)),
        [(0, Value::F64(30.0))]
    );
    // The address now belongs to another beacon.
    let other = service(0xfeaa, "00EE 8b0ca750095477cb3e77 000000000043 0000");
    assert_eq!(hear(&mut listener, &other, 4), []);
    assert_eq!(hear(&mut listener, &telemetry, 5), []);
}
