//! BTHome version 2 against bthome.io: the example of every object, the encryption example.

use super::*;

const DEVICE: &str = "54:48:E6:8F:80:A5";
const KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";

fn plain(objects: &str) -> Result<(Packet, Values), DecodeError> {
    decode(
        Format::Bthome,
        &of_service(DEVICE, 0xfcd2, &format!("40 {objects}")),
    )
}

fn sealed(data: &str) -> Result<(Packet, Values), DecodeError> {
    let cipher = Cipher::new(&KEY.parse::<BindKey>().unwrap());
    let mut values = Values::new();
    let advert = of_service(DEVICE, 0xfcd2, data);
    let packet = Format::Bthome.decode(&advert, Some(&cipher), &mut values);
    packet
        .expect("of this format")
        .map(|packet| (packet, values))
}

/// The bytes of an object, its field, its value.
type Example = (
    &'static str,
    &'static str,
    fn() -> Option<Result<Value, Reason>>,
);

/// bthome.io/format, "Sensor data": columns "Example" and "Result".
const SENSORS: &[Example] = &[
    ("0009", "packet_id", || u(9)),
    ("518756", "acceleration", || f(22.151)),
    ("0161", "battery", || u(97)),
    ("12E204", "co2", || u(1250)),
    ("56E803", "conductivity", || u(1000)),
    ("0960", "count", || u(96)),
    ("3D0960", "count", || u(24_585)),
    ("3E2A2C0960", "count", || u(1_611_213_866)),
    ("59EA", "count_signed", || i(-22)),
    ("5AEAEA", "count_signed", || i(-5398)),
    ("5BEA0234EA", "count_signed", || i(-365_690_134)),
    ("434E34", "current", || f(13.39)),
    ("5D02EA", "current", || f(-5.63)),
    ("08CA06", "dew_point", || f(17.38)),
    ("400C00", "distance_mm", || u(12)),
    ("414E00", "distance", || f(7.8)),
    ("424E3400", "duration", || f(13.39)),
    ("4d12138a14", "energy", || f(344_593.17)),
    ("0A138A14", "energy", || f(1346.067)),
    ("4B138A14", "gas", || f(1346.067)),
    ("4C41018A01", "gas", || f(25_821.505)),
    ("528756", "gyroscope", || f(22.151)),
    ("03BF13", "humidity", || f(50.55)),
    ("2E23", "humidity", || f(35.0)),
    ("05138A14", "illuminance", || f(13_460.67)),
    ("065E1F", "mass", || f(80.3)),
    ("073E1D", "mass_lb", || f(74.86)),
    ("14020C", "moisture", || f(30.74)),
    ("2F23", "moisture", || f(35.0)),
    ("0D120C", "pm25", || u(3090)),
    ("0E021C", "pm10", || u(7170)),
    ("0B021B00", "power", || f(69.14)),
    ("5C02FBFFFF", "power", || f(-12.78)),
    ("04138A01", "pressure", || f(1008.83)),
    ("3F020C", "rotation", || f(307.4)),
    ("444E34", "speed", || f(133.9)),
    ("57EA", "temperature", || f(-22.0)),
    ("58EA", "temperature", || f(-7.7)),
    ("451101", "temperature", || f(27.3)),
    ("02CA09", "temperature", || f(25.06)),
    ("530C48656C6C6F20576F726C6421", "text", || t("Hello World!")),
    ("505d396164", "timestamp", || u(1_684_093_277)),
    ("133301", "tvoc", || u(307)),
    ("0C020C", "voltage", || f(3.074)),
    ("4A020C", "voltage", || f(307.4)),
    ("4E87562A01", "volume", || f(19_551.879)),
    ("478756", "volume", || f(2215.1)),
    ("48DC87", "volume_ml", || u(34_780)),
    ("5587562A01", "volume_storage", || f(19_551.879)),
    ("49DC87", "volume_flow_rate", || f(34.78)),
    ("4632", "uv_index", || f(5.0)),
    ("4F87562A01", "water", || f(19_551.879)),
    ("5E9F8C", "direction", || f(359.99)),
];

/// The same page, "Events" and "Device information".
const EVENTS: &[Example] = &[
    ("3A00", "button", || t("none")),
    ("3A01", "button", || t("press")),
    ("3A02", "button", || t("double_press")),
    ("3A03", "button", || t("triple_press")),
    ("3A04", "button", || t("long_press")),
    ("3A05", "button", || t("long_double_press")),
    ("3A06", "button", || t("long_triple_press")),
    ("3A80", "button", || t("hold_press")),
    ("3A42", "button", || t("event_66")),
    ("3C0000", "dimmer", || i(0)),
    ("3C0103", "dimmer", || i(-3)),
    ("3C020A", "dimmer", || i(10)),
    ("F00100", "device_type", || u(1)),
    ("F100010204", "firmware", || t("4.2.1.0")),
    ("F2000106", "firmware", || t("6.1.0")),
];

/// What the page does not have yet: github.com/Bluetooth-Devices/bthome-ble, `const.py`.
const EXTENSIONS: &[Example] = &[
    ("6003", "channel", || u(3)),
    ("61AC0D", "rotational_speed", || u(3500)),
    ("62E803FFFF", "speed", || f(-0.064_536)),
    ("6340420F00", "acceleration", || f(1.0)),
    ("6402", "light_level", || u(2)),
    ("6507", "settings_revision", || u(7)),
];

#[test]
fn every_published_example_gives_its_published_result() {
    let raw = Some(Ok(Value::Bytes(b"Hello World!".as_slice().into())));
    let examples = SENSORS.iter().chain(EVENTS).chain(EXTENSIONS);
    let examples = examples.map(|(data, name, expected)| (*data, *name, expected()));
    let raws = [("540C48656C6C6F20576F726C6421", "raw", raw)];
    for (data, name, expected) in examples.chain(raws) {
        let (_, values) = plain(data).unwrap();
        assert_eq!(value(Format::Bthome, &values, name), expected, "{data}");
        assert_eq!(values.iter().count(), 1, "{data}");
    }
}

/// The factor of 0x5F is 0.1 in the authors' receiver; an older state of the page had 1.
#[test]
fn precipitation_is_in_tenths_of_a_millimetre() {
    let (_, values) = plain("5FA00F").unwrap();
    assert_eq!(value(Format::Bthome, &values, "precipitation"), f(400.0));
}

#[test]
fn every_binary_sensor_is_off_and_on_and_nothing_else() {
    let names = [
        (0x0fu8, "generic"),
        (0x10, "power_on"),
        (0x11, "opening"),
        (0x15, "battery_low"),
        (0x16, "battery_charging"),
        (0x17, "carbon_monoxide"),
        (0x18, "cold"),
        (0x19, "connectivity"),
        (0x1a, "door"),
        (0x1b, "garage_door"),
        (0x1c, "gas_detected"),
        (0x1d, "heat"),
        (0x1e, "light"),
        (0x1f, "lock"),
        (0x20, "moisture_detected"),
        (0x21, "motion"),
        (0x22, "moving"),
        (0x23, "occupancy"),
        (0x24, "plug"),
        (0x25, "presence"),
        (0x26, "problem"),
        (0x27, "running"),
        (0x28, "safety"),
        (0x29, "smoke"),
        (0x2a, "sound"),
        (0x2b, "tamper"),
        (0x2c, "vibration"),
        (0x2d, "window"),
    ];
    for (id, name) in names {
        for (raw, expected) in [
            (0, b(false)),
            (1, b(true)),
            (2, Some(Err(Reason::Undecodable))),
        ] {
            let (_, values) = plain(&format!("{id:02x}{raw:02x}")).unwrap();
            assert_eq!(value(Format::Bthome, &values, name), expected, "{name}");
        }
    }
}

/// bthome.io/format, "Multiple measurements of the same type" and "Multiple events of the same type".
#[test]
fn several_values_of_one_kind_are_counted() {
    let (packet, values) = plain("0009 02CA09 02CB09 450101 3A00 3A01").unwrap();
    assert_eq!(packet.counter, Some(Counter::Packet(9)));
    let get = |name| value(Format::Bthome, &values, name);
    assert_eq!(get("temperature"), f(25.06));
    assert_eq!(get("temperature_2"), f(25.07));
    assert_eq!(get("temperature_3"), f(25.7));
    assert_eq!(get("temperature_4"), None);
    assert_eq!((get("button"), get("button_2")), (t("none"), t("press")));
}

#[test]
fn the_trigger_flag_and_the_address_in_the_payload_are_read() {
    let (packet, _) = decode(Format::Bthome, &of_service(DEVICE, 0xfcd2, "44 2D01")).unwrap();
    assert!(packet.on_event);
    let named = of_service(DEVICE, 0xfcd2, "42 A5808FE64854 2D01");
    let (packet, values) = decode(Format::Bthome, &named).unwrap();
    assert!(!packet.on_event);
    assert_eq!(value(Format::Bthome, &values, "window"), b(true));
    let other = of_service(DEVICE, 0xfcd2, "42 A6808FE64854 2D01");
    let error = decode(Format::Bthome, &other).unwrap_err();
    assert_eq!(
        error,
        DecodeError::OtherDevice("54:48:E6:8F:80:A6".parse().unwrap())
    );
}

#[test]
fn cut_objects_spoil_all_and_unknown_ones_only_what_follows() {
    for data in [
        "02CA",
        "02CA09 03BF",
        "530C4865",
        "54",
        "3C01",
        "3B03",
        "F10001",
    ] {
        assert!(matches!(plain(data), Err(DecodeError::Object(_))), "{data}");
    }
    let (_, values) = plain("02CA09 E0 01 02").unwrap();
    assert_eq!(values.iter().count(), 1);
    assert_eq!(plain("E0 01").unwrap_err(), DecodeError::Object(0xe0));
    let version = decode(Format::Bthome, &of_service(DEVICE, 0xfcd2, "e1 0102")).unwrap_err();
    assert_eq!(version, DecodeError::Version(0xe1));
    let (_, values) = plain("53 02 FFFE").unwrap();
    assert_eq!(
        value(Format::Bthome, &values, "text"),
        Some(Err(Reason::Undecodable))
    );
}

/// bthome.io/encryption (counter 33221100) and the case of the authors' receiver (counter 00112233,
/// bthome-ble `test_bindkey_correct`).
#[test]
fn the_published_encrypted_examples_are_opened_with_the_published_key() {
    for (data, counter) in [
        ("41 e445f3c9962b 33221100 6c7c4519", 1_122_867),
        ("41 a47266c95f73 00112233 78237214", 0x3322_1100),
    ] {
        let (packet, values) = sealed(data).unwrap();
        assert_eq!(packet.counter, Some(Counter::Growing(counter)));
        assert_eq!(value(Format::Bthome, &values, "temperature"), f(25.06));
        assert_eq!(value(Format::Bthome, &values, "humidity"), f(50.55));
    }
    // bthome-ble, `test_bthome_motion`.
    let (_, values) = sealed("41 87b9 00112233 72b0231f").unwrap();
    assert_eq!(value(Format::Bthome, &values, "motion"), b(true));
}

#[test]
fn what_is_forged_cut_keyless_or_plain_is_refused() {
    let good = "41 e445f3c9962b 33221100 6c7c4519";
    for place in 1..bytes(good).len() {
        let mut data = bytes(good);
        data[place] ^= 1;
        let text: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            sealed(&text).unwrap_err(),
            DecodeError::Forged,
            "byte {place}"
        );
    }
    // The address is part of the nonce: another device cannot repeat it under its own.
    let cipher = Cipher::new(&KEY.parse::<BindKey>().unwrap());
    let other = of_service("54:48:E6:8F:80:A6", 0xfcd2, good);
    let decoded = Format::Bthome.decode(&other, Some(&cipher), &mut Values::new());
    assert_eq!(decoded, Some(Err(DecodeError::Forged)));
    assert!(matches!(
        sealed("41 33221100 6c7c4519"),
        Err(DecodeError::Length(9))
    ));
    assert!(matches!(sealed("41 3322"), Err(DecodeError::Length(3))));
    assert_eq!(sealed("40 02CA09").unwrap_err(), DecodeError::Plain);
    let keyless = decode(Format::Bthome, &of_service(DEVICE, 0xfcd2, good)).unwrap_err();
    assert_eq!(keyless, DecodeError::NoKey);
}
