//! Ruuvi, iBeacon, Eddystone, ATC and pvvx. Sources beside the vectors.

use super::*;

/// One of each, for damage.
pub(super) const FRAMES: &[&str] = &[
    "40 02CA09 03BF13",
    "41 e445f3c9962b 33221100 6c7c4519",
    "03291A1ECE1EFC18F94202CA0B53",
    "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F",
    "06170C5668C79E007000C90501D9FFCD004C884F",
    "E1170C5668C79E0065007004BD11CA00C90A0213E0ACFFFFFFDECDEE10FFFFFFFFFFCBB8334C884F",
    "0215E2C56DB5DFFB48D2B060D0F5A71096E000640000C5",
    "00EE000102030405060708090A0B0C0D0E0F0000",
    "10EE0367686F7300",
    "20000C6F1E000002006D41DB9AB6",
    "A4C1380283F400A22F5F0BF819",
    "F4830238C1A4A9066911B60B58F70D",
];

fn ruuvi(data: &str) -> Result<(Packet, Values), DecodeError> {
    decode(Format::Ruuvi, &of_company(0x0499, data))
}

fn check(format: Format, values: &Values, expected: &[(&str, Option<Result<Value, Reason>>)]) {
    for (name, expected) in expected {
        assert_eq!(value(format, values, name), *expected, "{name}");
    }
    let count = expected.iter().filter(|(_, value)| value.is_some()).count();
    assert_eq!(values.iter().count(), count, "{values:?}");
}

/// docs.ruuvi.com, "Data format 3 (`RAWv1`)", test vectors.
#[test]
fn ruuvi_data_format_3() {
    let vectors: [(&str, [f64; 3], u64, [f64; 3]); 3] = [
        (
            "03291A1ECE1EFC18F94202CA0B53",
            [26.3, 20.5, 2.899],
            102_766,
            [-1.0, -1.726, 0.714],
        ),
        (
            "03FF7F63FFFF7FFF7FFF7FFFFFFF",
            [127.99, 127.5, 65.535],
            115_535,
            [32.767; 3],
        ),
        (
            "0300FF6300008001800180010000",
            [-127.99, 0.0, 0.0],
            50_000,
            [-32.767; 3],
        ),
    ];
    for (data, [temperature, humidity, voltage], pressure, [x, y, z]) in vectors {
        let (packet, values) = ruuvi(data).unwrap();
        assert_eq!(packet.counter, None);
        check(
            Format::Ruuvi,
            &values,
            &[
                ("temperature", f(temperature)),
                ("humidity", f(humidity)),
                ("pressure", u(pressure)),
                ("acceleration_x", f(x)),
                ("acceleration_y", f(y)),
                ("acceleration_z", f(z)),
                ("voltage", f(voltage)),
            ],
        );
    }
}

/// docs.ruuvi.com, "Data format 5 (`RAWv2`)", test vectors.
#[test]
fn ruuvi_data_format_5() {
    let (packet, values) = ruuvi("0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F").unwrap();
    assert_eq!(packet.counter, Some(Counter::Packet(205)));
    check(
        Format::Ruuvi,
        &values,
        &[
            ("temperature", f(24.3)),
            ("humidity", f(53.49)),
            ("pressure", u(100_044)),
            ("acceleration_x", f(0.004)),
            ("acceleration_y", f(-0.004)),
            ("acceleration_z", f(1.036)),
            ("voltage", f(2.977)),
            ("tx_power", i(4)),
            ("movements", u(66)),
            ("sequence", u(205)),
        ],
    );
    let (_, values) = ruuvi("057FFFFFFEFFFE7FFF7FFF7FFFFFDEFEFFFECBB8334C884F").unwrap();
    check(
        Format::Ruuvi,
        &values,
        &[
            ("temperature", f(163.835)),
            ("humidity", f(163.835)),
            ("pressure", u(115_534)),
            ("acceleration_x", f(32.767)),
            ("acceleration_y", f(32.767)),
            ("acceleration_z", f(32.767)),
            ("voltage", f(3.646)),
            ("tx_power", i(20)),
            ("movements", u(254)),
            ("sequence", u(65_534)),
        ],
    );
    let (_, values) = ruuvi("058001000000008001800180010000000000CBB8334C884F").unwrap();
    check(
        Format::Ruuvi,
        &values,
        &[
            ("temperature", f(-163.835)),
            ("humidity", f(0.0)),
            ("pressure", u(50_000)),
            ("acceleration_x", f(-32.767)),
            ("acceleration_y", f(-32.767)),
            ("acceleration_z", f(-32.767)),
            ("voltage", f(1.6)),
            ("tx_power", i(-40)),
            ("movements", u(0)),
            ("sequence", u(0)),
        ],
    );
}

/// The same page, "invalid values": no phantom of 163.84 °C.
#[test]
fn what_a_ruuvi_marks_as_not_available_is_no_value() {
    let (packet, values) = ruuvi("058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF").unwrap();
    assert_eq!(packet.counter, None);
    assert_eq!(values.iter().count(), 10);
    assert!(
        values
            .iter()
            .all(|sample| sample.value == Err(Reason::DeviceError))
    );

    let (_, values) = ruuvi("068000FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF").unwrap();
    for name in [
        "temperature",
        "humidity",
        "pressure",
        "pm25",
        "co2",
        "voc",
        "nox",
        "illuminance",
    ] {
        assert_eq!(value(Format::Ruuvi, &values, name), NONE, "{name}");
    }
    let invalid =
        "E18000FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFFFFFFFFFFFFFFFF";
    let (packet, values) = ruuvi(invalid).unwrap();
    assert_eq!(packet.counter, None);
    assert_eq!(value(Format::Ruuvi, &values, "calibrating"), b(false));
    let bad = values.iter().filter(|sample| sample.value.is_err()).count();
    assert_eq!(bad, values.iter().count() - 1);
}

/// docs.ruuvi.com, "Data format 6", test vectors (reserved byte as FF).
#[test]
fn ruuvi_data_format_6() {
    let (packet, values) = ruuvi("06170C5668C79E007000C90501D9FFCD004C884F").unwrap();
    assert_eq!(packet.counter, Some(Counter::Packet(205)));
    check(
        Format::Ruuvi,
        &values,
        &[
            ("temperature", f(29.5)),
            ("humidity", f(55.3)),
            ("pressure", u(101_102)),
            ("pm25", f(11.2)),
            ("co2", u(201)),
            ("voc", u(10)),
            ("nox", u(2)),
            ("illuminance", f(13_026.67)),
            ("sequence", u(205)),
            ("calibrating", b(false)),
        ],
    );
    let (_, values) = ruuvi("067FFF9C40FFFE27109C40FAFAFEFFFF074C8F4F").unwrap();
    check(
        Format::Ruuvi,
        &values,
        &[
            ("temperature", f(163.835)),
            ("humidity", f(100.0)),
            ("pressure", u(115_534)),
            ("pm25", f(1000.0)),
            ("co2", u(40_000)),
            ("voc", u(500)),
            ("nox", u(500)),
            ("illuminance", f(65_535.0)),
            ("sequence", u(255)),
            ("calibrating", b(true)),
        ],
    );
    let (_, values) = ruuvi("0680010000000000000000000000FF00004C884F").unwrap();
    assert_eq!(value(Format::Ruuvi, &values, "illuminance"), f(0.0));
    assert_eq!(value(Format::Ruuvi, &values, "voc"), u(0));
}

/// docs.ruuvi.com, "Data format E1 (Extended v1)", test vectors (reserved bytes as FF).
#[test]
fn ruuvi_data_format_e1() {
    let valid = "E1170C5668C79E0065007004BD11CA00C90A0213E0ACFFFFFFDECDEE10FFFFFFFFFFCBB8334C884F";
    let (packet, values) = ruuvi(valid).unwrap();
    assert_eq!(packet.counter, Some(Counter::Packet(14_601_710 & 0xff)));
    // The page prints "calibration in progress: true" beside flags 0x10; bit 0 says no.
    check(
        Format::Ruuvi,
        &values,
        &[
            ("temperature", f(29.5)),
            ("humidity", f(55.3)),
            ("pressure", u(101_102)),
            ("pm1", f(10.1)),
            ("pm25", f(11.2)),
            ("pm4", f(121.3)),
            ("pm10", f(455.4)),
            ("co2", u(201)),
            ("voc", u(20)),
            ("nox", u(4)),
            ("illuminance", f(13_027.0)),
            ("sequence", u(14_601_710)),
            ("calibrating", b(false)),
        ],
    );
    let maximum =
        "E17FFF9C40FFFE27102710271027109C40FAFADC28F0FFFFFFFFFFFE3FFFFFFFFFFFCBB8334C884F";
    let (_, values) = ruuvi(maximum).unwrap();
    assert_eq!(value(Format::Ruuvi, &values, "illuminance"), f(144_284.0));
    assert_eq!(value(Format::Ruuvi, &values, "sequence"), u(16_777_214));
    assert_eq!(value(Format::Ruuvi, &values, "nox"), u(500));
}

#[test]
fn ruuvi_frames_of_another_length_or_format_are_refused() {
    assert_eq!(
        ruuvi("03291A1ECE1EFC18F94202CA0B").unwrap_err(),
        DecodeError::Length(13)
    );
    assert_eq!(ruuvi("05").unwrap_err(), DecodeError::Length(1));
    assert_eq!(ruuvi("0A00").unwrap_err(), DecodeError::Version(0x0a));
}

/// The UUID of Apple's `AirLocate` sample, as received from a beacon in
/// github.com/custom-components/ble_monitor (`test_ibeacon_parser.py`).
#[test]
fn ibeacon() {
    let frame = of_company(0x004c, "0215E2C56DB5DFFB48D2B060D0F5A71096E000640000C5");
    let (packet, values) = decode(Format::Ibeacon, &frame).unwrap();
    assert_eq!(packet, Packet::default());
    check(
        Format::Ibeacon,
        &values,
        &[
            ("uuid", t("e2c56db5-dffb-48d2-b060-d0f5a71096e0")),
            ("major", u(100)),
            ("minor", u(0)),
            ("measured_power", i(-59)),
        ],
    );
}

#[test]
fn what_phones_of_the_same_maker_say_is_no_ibeacon_and_no_error() {
    let mut values = Values::new();
    for data in ["0F06A033BD08C5001002440C", "1005441CBD08C5", ""] {
        let decoded = Format::Ibeacon.decode(&of_company(0x004c, data), None, &mut values);
        assert_eq!(decoded, None, "{data}");
    }
    for data in ["02", "0214", "0215E2C56DB5DFFB48D2B060D0F5A71096E000640000"] {
        let decoded = Format::Ibeacon.decode(&of_company(0x004c, data), None, &mut values);
        let len = bytes(data).len();
        assert_eq!(decoded, Some(Err(DecodeError::Length(len))), "{data}");
    }
}

fn eddystone(data: &str) -> Result<(Packet, Values), DecodeError> {
    decode(
        Format::Eddystone,
        &of_service("DE:AD:BE:EF:4B:49", 0xfeaa, data),
    )
}

/// Frame from github.com/custom-components/ble_monitor (`test_eddystone_tlm_parser.py`); "not supported"
/// values from github.com/google/eddystone, `eddystone-tlm/tlm-plain.md`.
#[test]
fn eddystone_telemetry() {
    let (_, values) = eddystone("20000C6F1E000002006D41DB9AB6").unwrap();
    check(
        Format::Eddystone,
        &values,
        &[
            ("voltage", f(3.183)),
            ("temperature", f(30.0)),
            ("advertisements", u(131_181)),
            ("uptime", f(110_491_103.0)),
        ],
    );
    let (_, values) = eddystone("2000000080000002006D41DB9AB6").unwrap();
    assert_eq!(value(Format::Eddystone, &values, "voltage"), NONE);
    assert_eq!(value(Format::Eddystone, &values, "temperature"), NONE);
    let (_, values) = eddystone("20000C6FFF800002006D41DB9AB6").unwrap();
    assert_eq!(value(Format::Eddystone, &values, "temperature"), f(-0.5));
    let encrypted = "200100112233445566778899AABBCCDDEEFF";
    assert_eq!(
        eddystone(encrypted).unwrap_err(),
        DecodeError::EncryptedTelemetry
    );
    assert_eq!(eddystone("20020C6F").unwrap_err(), DecodeError::Version(2));
    assert_eq!(eddystone("20000C6F1E").unwrap_err(), DecodeError::Length(5));
}

/// The example namespace of github.com/google/eddystone, `eddystone-uid/README.md` ("Elided Version 4
/// UUID"); the transmit powers are the examples of `eddystone-url/README.md`.
#[test]
fn eddystone_uid_with_and_without_its_reserved_bytes() {
    for reserved in ["0000", ""] {
        let frame = format!("00EE 8b0ca750095477cb3e77 000000000042 {reserved}");
        let (_, values) = eddystone(&frame).unwrap();
        check(
            Format::Eddystone,
            &values,
            &[
                ("namespace", t("8b0ca750095477cb3e77")),
                ("instance", t("000000000042")),
                ("tx_power", i(-18)),
            ],
        );
    }
    assert_eq!(eddystone("00EE8b0ca7").unwrap_err(), DecodeError::Length(5));
}

/// The example URL and the expansion tables of github.com/google/eddystone, `eddystone-url/README.md`.
#[test]
fn eddystone_url() {
    let url = |data: &str| -> Result<String, DecodeError> {
        let (_, values) = eddystone(data)?;
        match value(Format::Eddystone, &values, "url") {
            Some(Ok(Value::Text(text))) => Ok(text.to_string()),
            other => panic!("{other:?}"),
        }
    };
    // "goo.gl/Aq18zF" behind scheme 3.
    let example = "1012 03 676f6f2e676c2f4171313 87a46";
    assert_eq!(url(example).unwrap(), "https://goo.gl/Aq18zF");
    assert_eq!(
        url("1012 00 676f6f676c65 00").unwrap(),
        "http://www.google.com/"
    );
    assert_eq!(url("1012 01 6162 0d").unwrap(), "https://www.ab.gov");
    assert_eq!(
        url("1012 02 61 0e").unwrap_err(),
        DecodeError::Version(0x0e)
    );
    assert_eq!(url("1012 04 61").unwrap_err(), DecodeError::Version(0x04));
    let long = format!("1012 03 {}", "61".repeat(18));
    assert_eq!(url(&long).unwrap_err(), DecodeError::Length(21));
}

/// Frames received from real devices, from github.com/custom-components/ble_monitor
/// (`test_atc_parser.py`).
#[test]
fn atc_and_pvvx() {
    let frame = of_service("A4:C1:38:02:83:F4", 0x181a, "A4C1380283F400A22F5F0BF819");
    let (packet, values) = decode(Format::Atc, &frame).unwrap();
    assert_eq!(packet.counter, Some(Counter::Packet(25)));
    check(
        Format::Atc,
        &values,
        &[
            ("temperature", f(16.2)),
            ("humidity", u(47)),
            ("battery", u(95)),
            ("voltage", f(3.064)),
            ("packet_id", u(25)),
        ],
    );
    let custom = of_service(
        "A4:C1:38:02:83:F4",
        0x181a,
        "F4830238C1A4A9066911B60B58F70D",
    );
    let (packet, values) = decode(Format::Pvvx, &custom).unwrap();
    assert_eq!(packet.counter, Some(Counter::Packet(247)));
    check(
        Format::Pvvx,
        &values,
        &[
            ("temperature", f(17.05)),
            ("humidity", f(44.57)),
            ("voltage", f(2.998)),
            ("battery", u(88)),
            ("packet_id", u(247)),
            ("reed", b(true)),
            ("trigger", b(false)),
            ("temperature_trigger", b(true)),
            ("humidity_trigger", b(false)),
        ],
    );
    // A device may send both in turn: each decoder leaves the other's frames alone.
    let mut values = Values::new();
    assert_eq!(Format::Atc.decode(&custom, None, &mut values), None);
    assert_eq!(Format::Pvvx.decode(&frame, None, &mut values), None);
}

#[test]
fn a_thermometer_that_names_another_address_is_refused() {
    let named = "A4:C1:38:02:83:F4".parse().unwrap();
    let atc = of_service("A4:C1:38:02:83:F5", 0x181a, "A4C1380283F400A22F5F0BF819");
    assert_eq!(
        decode(Format::Atc, &atc).unwrap_err(),
        DecodeError::OtherDevice(named)
    );
    let pvvx = of_service(
        "A4:C1:38:02:83:F5",
        0x181a,
        "F4830238C1A4A9066911B60B58F70D",
    );
    assert_eq!(
        decode(Format::Pvvx, &pvvx).unwrap_err(),
        DecodeError::OtherDevice(named)
    );
    let encrypted = of_service("A4:C1:38:8D:18:B2", 0x181a, "11d603fbfa7b6dfb1e26fd");
    assert_eq!(
        decode(Format::Pvvx, &encrypted).unwrap_err(),
        DecodeError::NoKey
    );
}
