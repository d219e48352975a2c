use super::*;
use crate::sensor::Turn;

fn site(text: &str) -> Result<Prepared, SiteError> {
    toml::from_str::<Site>(text)
        .unwrap()
        .prepare(Path::new("."))
}

fn problems(text: &str) -> String {
    site(text).unwrap_err().to_string()
}

fn first(n: u64) -> Turn {
    Turn {
        number: n,
        elapsed: Duration::from_secs(n),
    }
}

#[test]
fn example_of_the_documentation_can_be_played() {
    let text: String = include_str!("../config.rs")
        .lines()
        .skip_while(|line| !line.starts_with("//! ```toml"))
        .skip(1)
        .take_while(|line| !line.starts_with("//! ```"))
        .map(|line| format!("{}\n", line.trim_start_matches("//!").trim_start()))
        .collect();
    let mut prepared = site(&text).unwrap();
    assert_eq!(prepared.setup.adapters.len(), 1);
    assert_eq!(prepared.sensors.len(), 2);
    assert_eq!(prepared.faults.len(), 3);
    let kitchen = prepared.sensors[0].advertising.as_mut().unwrap();
    let advert = (kitchen.source)(first(0));
    assert_eq!(advert.name.as_deref(), Some("Kitchen"));
    assert_eq!(advert.service_data.values().next().unwrap()[0], 0x41);
    let thermometer = &mut prepared.sensors[1].services[0].characteristics[0];
    assert_eq!(
        thermometer.source.as_mut().unwrap()(first(0)),
        1500_i16.to_le_bytes()
    );
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place() {
    let text = problems(
        r#"
        faults = ["wedged 1s every 1m"]
        [[adapters]]
        name = "usb0"
        [[sensors]]
        address = "C0:FF:EE:00:00:01"
        format = "atc"
        interval = "1ms"
        heard_by = ["hci7"]
        key = "00"
        values = { pressure = 1000 }
        [[sensors]]
        address = "C0:FF:EE:00:00:01"
        [[sensors.characteristics]]
        service = "181a"
        uuid = "2a6e"
        flags = []
        every = "1s"
        fields = [{ hex = "0" }, { value = 1 }]
        "#,
    );
    for part in [
        "faults: \"wedged\" is no fault of this; use one of stopped, hangs, crowd",
        "adapters[0] (usb0): an adapter is called hci0",
        "sensors[0] (C0:FF:EE:00:00:01): interval = \"1ms\"",
        "there is no adapter \"hci7\"",
        "key belongs to format = \"bthome\"",
        "this format has no \"pressure\"; it has temperature, humidity, voltage, battery",
        "sensors[1] (C0:FF:EE:00:00:01): this address is taken",
        "characteristics[0] (00002a6e-0000-1000-8000-00805f9b34fb): flags",
        "fields[0]: hex = \"0\"",
        "fields[1]: write either hex, or text, or type and value",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn key_is_never_repeated_in_an_error() {
    let text = problems(
        "[[sensors]]\naddress = \"C0:FF:EE:00:00:01\"\nformat = \"bthome\"\nkey = \"deadbeef\"",
    );
    assert!(
        text.contains("32 hex digits") && !text.contains("deadbeef"),
        "{text}"
    );
}

#[test]
fn each_format_makes_its_advertisement() {
    for (format, more, kind) in [
        ("bthome", "values = { temperature = 1 }", "service"),
        ("ruuvi", "values = { temperature = 1 }", "manufacturer"),
        ("ruuvi-3", "", "manufacturer"),
        (
            "ibeacon",
            "uuid = \"00112233-4455-6677-8899-aabbccddeeff\"",
            "manufacturer",
        ),
        (
            "eddystone-uid",
            "namespace = \"00112233445566778899\"\ninstance = \"001122334455\"",
            "service",
        ),
        ("eddystone-url", "url = \"https://example.com\"", "service"),
        ("eddystone-tlm", "values = { voltage = 3 }", "service"),
        ("atc", "", "service"),
        ("pvvx", "", "service"),
        (
            "raw",
            "company = 65535\nfields = [{ hex = \"0102\" }]",
            "manufacturer",
        ),
        (
            "raw",
            "service = \"fff0\"\nfields = [{ text = \"x\" }]",
            "service",
        ),
    ] {
        let text =
            format!("[[sensors]]\naddress = \"C0:FF:EE:00:00:01\"\nformat = \"{format}\"\n{more}");
        let mut prepared = site(&text).unwrap_or_else(|e| panic!("{format}: {e}"));
        let advert = (prepared.sensors[0].advertising.as_mut().unwrap().source)(first(300));
        let found = if advert.manufacturer.is_empty() {
            "service"
        } else {
            "manufacturer"
        };
        assert_eq!(found, kind, "{format}");
    }
}

#[test]
fn fields_are_written_by_their_types_and_clamped() {
    let fields: Vec<Field> = toml::from_str::<BTreeMap<String, Vec<Field>>>(
        r#"fields = [
            { hex = "ff" },
            { type = "u16be", value = 258 },
            { type = "u24", value = 66051 },
            { type = "i8", value = -1000 },
            { type = "i16", scale = 0.01, value = -1.5 },
            { type = "i64", value = 9007199254740993 },
            { type = "f32", value = 1.5 },
        ]"#,
    )
    .unwrap()
    .remove("fields")
    .unwrap();
    let bytes = fields::prepare(&fields, Path::new("."), 0).unwrap()(first(0));
    let mut expected = vec![0xFF, 1, 2, 3, 2, 1, 0x80];
    expected.extend((-150_i16).to_le_bytes());
    expected.extend(9_007_199_254_740_993_i64.to_le_bytes());
    expected.extend(1.5_f32.to_le_bytes());
    assert_eq!(bytes, expected);
}

#[test]
fn plans_read_what_they_write_and_refuse_the_rest() {
    for text in [
        "out-of-range",
        "out-of-range 5s",
        "out-of-range 5s every 60s",
        "disconnect every 300s",
        "crowd 10000 60s",
        "crowd 10 1s every 10s",
    ] {
        assert_eq!(text.parse::<Plan>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "earthquake",
        "disconnect",
        "disconnect 5s every 1m",
        "spoiled every 1m",
        "spoiled 2m every 1m",
        "spoiled 5s 6s",
        "spoiled 0s",
        "crowd",
        "crowd 0",
        "crowd every 1m",
        "spoiled 5s every",
    ] {
        assert!(text.parse::<Plan>().is_err(), "{text}");
    }
}

#[test]
fn unknown_keys_are_refused() {
    assert!(
        toml::from_str::<Site>("[[sensors]]\naddress = \"C0:FF:EE:00:00:01\"\nintervall = \"1s\"")
            .is_err()
    );
}
