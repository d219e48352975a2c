//! The texts people write, and what they are told when they are wrong.

use super::*;
use proptest::prelude::*;
use protocols_model::{PointId, PointKey};

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn point(id: &str, at: &str, raw: &str) -> Point {
    Point {
        key: PointKey(0),
        id: PointId::try_new(id).unwrap(),
        address: address(at),
        raw: raw.parse().unwrap(),
        order: Order::BIG_ENDIAN,
        scale: Scale::IDENTITY,
        period: Duration::from_secs(1),
        range: None,
        names: None,
        write: None,
    }
}

#[test]
fn every_address_form_means_the_register_it_names() {
    let cases = [
        ("hr:100", Space::Holding, 100, None),
        ("ir:5", Space::Input, 5, None),
        ("co:3", Space::Coil, 3, None),
        ("di:7", Space::Discrete, 7, None),
        ("hr:65535", Space::Holding, 65535, None),
        ("hr:10.4", Space::Holding, 10, BitRange::new(4, 4)),
        ("hr:10.4..7", Space::Holding, 10, BitRange::new(4, 7)),
        ("40101", Space::Holding, 100, None),
        ("400101", Space::Holding, 100, None),
        ("465536", Space::Holding, 65535, None),
        ("30001", Space::Input, 0, None),
        ("10008", Space::Discrete, 7, None),
        ("00004", Space::Coil, 3, None),
        ("40011.15", Space::Holding, 10, BitRange::new(15, 15)),
    ];
    for (text, space, register, bits) in cases {
        let expected = Address {
            space,
            register,
            bits,
        };
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    assert_eq!(address("hr:100").explain(), "hr:100 (classic 400101)");
    assert_eq!(address("co:0").explain(), "co:0 (classic 000001)");
}

#[test]
fn a_wrong_address_is_told_what_is_allowed() {
    let cases = [
        ("", "write \"hr:100\""),
        ("100a", "write \"hr:100\""),
        ("hx:1", "use hr (holding registers)"),
        ("hr:65536", "use 0 to 65535"),
        ("hr:", "use 0 to 65535"),
        ("hr:+1", "use 0 to 65535"),
        ("40000", "40001 to 49999"),
        ("465537", "400001 to 465536"),
        ("20001", "the first 0 for coils"),
        ("100", "use 5 digits"),
        ("hr:1.16", "one bit 0 to 15"),
        ("hr:1.7..4", "the lower bit first"),
        ("co:3.1", "a single bit itself"),
    ];
    for (text, hint) in cases {
        let error = text.parse::<Address>().unwrap_err().to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
}

#[test]
fn orders_are_their_letters_and_shorter_ones_serve_all_widths() {
    for text in ["ABCD", "CDAB", "BADC", "DCBA", "CDABGHEF", "EFGHABCD"] {
        assert_eq!(text.parse::<Order>().unwrap().to_string(), text);
    }
    let parse = |text: &str| text.parse::<Order>().unwrap();
    assert_eq!(parse("CDAB"), parse("GHEFCDAB"));
    assert_eq!(parse("DCBA"), parse("HGFEDCBA"));
    assert_eq!(parse("BADC"), parse("BA"));
    assert_eq!(parse("ABCD"), parse("AB"));
    for text in ["ABDC", "A", "abcd", "ABCDEFHG", "", "AABB"] {
        let error = text.parse::<Order>().unwrap_err().to_string();
        assert!(
            error.contains("CDAB") && error.contains("GHEFCDAB"),
            "{error}"
        );
    }
}

#[test]
fn types_parse_and_explain_themselves() {
    for text in [
        "bool",
        "u16",
        "f64",
        "string:8",
        "bcd32",
        "epoch64ms",
        "q8.8",
        "uq16.16",
        "q1.63",
    ] {
        assert_eq!(text.parse::<RawType>().unwrap().to_string(), text);
    }
    for text in [
        "int",
        "string:0",
        "string:126",
        "string:x",
        "q8",
        "q8.9",
        "q0.16",
        "q+8.8",
        "uq8.8.8",
    ] {
        let error = text.parse::<RawType>().unwrap_err().to_string();
        assert!(error.contains("string:N"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,20}") {
        drop(text.parse::<Address>());
        drop(text.parse::<Order>());
        drop(text.parse::<RawType>());
        drop(text.parse::<WriteWith>());
    }

    #[test]
    fn an_address_survives_its_text(register: u16, first in 0u8..16, last in 0u8..16) {
        for (space, bits) in [(Space::Coil, None), (Space::Holding, BitRange::new(first, last)), (Space::Input, None)] {
            let address = Address { space, register, bits };
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}

#[test]
fn all_problems_of_a_bus_are_reported_at_once_with_their_place() {
    let mut wide = point("wide", "hr:0", "string:60");
    wide.period = Duration::from_millis(1);
    let mut scaled = point("scaled", "co:1", "bool");
    scaled.scale = Scale::new(0.1, 0.0).unwrap();
    let mut ranged = point("ranged", "hr:3", "u16");
    ranged.range = Some(RangeInclusive::new(5.0, 1.0));
    let bus = Bus {
        name: "line".into(),
        transport: Transport::Rtu {
            path: "/dev/ttyS0".into(),
            line: "9600 8N1".parse().unwrap(),
            rs485: None,
        },
        gap: Duration::ZERO,
        devices: vec![Device {
            id: DeviceId::try_new("m1").unwrap(),
            unit: 248,
            timeout: Duration::from_millis(300),
            retry: Retry::default(),
            limits: Limits {
                max_regs: 50,
                ..Limits::default()
            },
            quirks: Quirks::default(),
            points: vec![
                point("ok", "hr:1", "u16"),
                wide,
                scaled,
                ranged,
                point("type", "hr:10.4", "u16"),
                point("flag", "hr:10", "bool"),
                point("end", "ir:65535", "u32"),
            ],
        }],
    };
    let texts: Vec<String> = bus.check().iter().map(ToString::to_string).collect();
    let expected = [
        "device m1: unit 248 is not allowed on a serial line; use 1 to 247, or 0 to broadcast writes",
        "device m1, point wide: period 1ms is not allowed; use 10ms to 24h",
        "device m1, point wide: the point has 60 registers, but max_regs of the device is 50; a point is never read in two requests",
        "device m1, point scaled: type bool cannot be scaled; leave out scale and offset",
        "device m1, point ranged: range [5, 1] is empty; write the lower bound first",
    ];
    assert_eq!(texts[..5], expected);
    assert!(texts[5].contains("type u16 does not fit address hr:10.4;"));
    assert!(texts[6].contains("type bool does not fit address hr:10;"));
    assert_eq!(
        texts[7],
        "device m1, point end: 2 registers from ir:65535 reach past address 65535"
    );
    assert_eq!(texts.len(), 8);
}

/// One device of unit 1 on a serial line, all points polled each second.
pub(crate) fn bus_of(line: &str, addresses: &[&str]) -> Bus {
    let points = addresses.iter().enumerate();
    let points = points.map(|(index, at)| {
        let raw = RawType::default_at(&address(at)).to_string();
        point(&format!("p{index}"), at, &raw)
    });
    Bus {
        name: "line".into(),
        transport: Transport::Rtu {
            path: "/dev/ttyS0".into(),
            line: line.parse().unwrap(),
            rs485: None,
        },
        gap: Duration::ZERO,
        devices: vec![Device {
            id: DeviceId::try_new("m1").unwrap(),
            unit: 1,
            timeout: Duration::from_millis(300),
            retry: Retry::default(),
            limits: Limits::default(),
            quirks: Quirks::default(),
            points: points.collect(),
        }],
    }
}
