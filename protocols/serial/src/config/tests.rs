//! The texts of a configuration, and what only shows when its parts come together.

use super::*;
use protocols_layout::Scale;
use protocols_model::Value;

fn bus(frame: &str) -> Bus {
    let port = PortConfig::new("/dev/null", "9600 8N1".parse().unwrap());
    Bus::new("b", port, frame.parse().unwrap())
}

fn message(parse: &str, ask: Option<&str>) -> Message {
    Message {
        ask: ask.map(|text| text.parse().unwrap()),
        period: Duration::from_secs(1),
        parser: parse.parse().unwrap(),
        starts: Bytes::default(),
        length: None,
    }
}

/// A bus with one device and one point.
fn with_point(frame: &str, check: Option<&str>, message: Message, field: Option<&str>) -> Bus {
    let mut bus = bus(frame);
    bus.checksum = check.map(|text| text.parse().unwrap());
    let mut device = Device::new(DeviceId::try_new("d").unwrap());
    let field = message.parser.field(field).unwrap();
    let index = device.message(message);
    device.points.push(Point {
        key: PointKey(0),
        id: PointId::try_new("p").unwrap(),
        read: Some((index, field)),
        value: ValueRules::default(),
        write: None,
    });
    bus.devices.push(device);
    bus
}

fn problems(bus: &Bus) -> String {
    let texts: Vec<String> = bus.check().iter().map(ToString::to_string).collect();
    texts.join("; ")
}

#[test]
fn framings_are_their_texts() {
    for text in [
        "line",
        "nmea",
        "slip",
        "cobs",
        "end:\\r\\n",
        "start:\\x02 end:\\x03 tail:1",
        "start:~ end:~ escape:}^0x20",
        "start:> end:; escape:\\\\",
        "fixed:8 start:\\xaaU",
        "fixed:8 gap:20ms",
        "length:u8@2+5 start:\\xaaU",
        "length:u16le@0-2 gap:50ms",
        "gap:20ms",
    ] {
        let framing: Framing = text.parse().unwrap();
        assert_eq!(framing.to_string(), text);
    }
    for (text, says) in [
        ("lines", "use \"line\""),
        ("start:\\x02", "use \"line\""),
        ("end:", "1 to 8 bytes"),
        ("end:\\q", "use \\r"),
        ("end:a end:b", "twice"),
        ("end:a fixed:3", "one of them"),
        ("end:a gap:20ms", "start, escape and tail"),
        ("end:a tail:9", "0 to 4"),
        ("end:a escape:a", "no delimiter"),
        ("end:a escape:bc", "one byte"),
        ("fixed:0", "1 to 4096"),
        ("fixed:2 start:ab", "more than start has"),
        ("fixed:8 tail:1", "start and gap"),
        ("length:u24le@1", "length:u8@1+2"),
        ("gap:1ms", "2ms to 10s"),
        ("gap:20", "2ms to 10s"),
    ] {
        let error = text.parse::<Framing>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn checksums_are_their_texts() {
    for text in [
        "xor8",
        "sum8-neg hex at:-2",
        "crc16/modbus le",
        "crc16/xmodem be from:1",
        "crc32 hex with:start with:end",
        "xor8 hex after:*",
        "crc16:poly=0x1021,init=0x1,refin,xorout=0x0 be",
    ] {
        let checksum: Checksum = text.parse().unwrap();
        assert_eq!(checksum.to_string(), text);
    }
    for (text, says) in [
        ("", "leave it out"),
        ("crc16/modbus", "\"crc16/modbus le\""),
        ("md5 le", "use xor8"),
        ("xor8 upper", "le, be or hex"),
        ("xor8 at:2", "at:-N"),
        ("crc16/modbus le at:-1", "no room"),
        ("xor8 after:ab", "after:C"),
    ] {
        let error = text.parse::<Checksum>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let lrc: Checksum = "sum8-neg hex".parse().unwrap();
    assert_eq!(lrc.render(b"123456789"), b"23");
}

#[test]
fn commands_hold_values_and_checksums() {
    let render = |text: &str, value: Option<Value>, check: Option<&str>| {
        let command: Command = text.parse().unwrap();
        assert_eq!(
            command.to_string().parse::<Command>().as_ref(),
            Ok(&command),
            "{text}"
        );
        let scale = Scale::IDENTITY;
        let check = check.map(|check| check.parse::<Checksum>().unwrap());
        command.render(value.as_ref().map(|v| (v, &scale)), check.as_ref(), b"\x02")
    };
    for (text, value, check, bytes) in [
        ("MEAS:VOLT?\\n", None, None, b"MEAS:VOLT?\n".as_slice()),
        ("V {value}\\r", Some(Value::F64(1.5)), None, b"V 1.5\r"),
        ("V {value:.3}\\r", Some(Value::U64(2)), None, b"V 2.000\r"),
        (
            "OUT {value:ON|OFF}",
            Some(Value::Bool(true)),
            None,
            b"OUT ON",
        ),
        ("OUT {value}", Some(Value::Bool(false)), None, b"OUT 0"),
        (
            "{{\"v\":{value}}}",
            Some(Value::I64(-3)),
            None,
            b"{\"v\":-3}",
        ),
        (
            "\\x02{value:u16be}",
            Some(Value::U64(258)),
            None,
            b"\x02\x01\x02",
        ),
        (
            "\\x02ab{check}\\x03",
            None,
            Some("xor8 hex"),
            b"\x02ab03\x03",
        ),
        (
            "\\x02ab{check}",
            None,
            Some("xor8 with:start"),
            b"\x02ab\x01",
        ),
        ("PING*{check}", None, Some("xor8 hex after:*"), b"PING*10"),
    ] {
        assert_eq!(render(text, value, check).as_deref(), Ok(bytes), "{text}");
    }
    for (text, value) in [
        ("{value}", Value::Text("a\nOUT ON".into())),
        ("{value}", Value::Bytes([1].as_slice().into())),
        ("{value}", Value::F64(f64::NAN)),
        ("{value:ON|OFF}", Value::U64(1)),
        ("{value:u8}", Value::U64(256)),
    ] {
        assert!(render(text, Some(value), None).is_err(), "{text}");
    }
    for (text, says) in [
        ("", "what to send"),
        ("{volt}", "{value}"),
        ("{\"a\":1}", "brace itself twice"),
        ("a}", "brace itself twice"),
        ("{value", "{value}"),
        ("{value}{value}", "more than one"),
        ("{value:u12}", "binary form"),
        ("{value:.99}", "{value:.2}"),
        ("\\q", "not an escape"),
    ] {
        let error = text.parse::<Command>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    // 230.1 / 0.1 is 2300.9999999999995 in binary floating point.
    let scale = Scale::new(0.1, 0.0).unwrap();
    let command: Command = "{value}".parse().unwrap();
    assert_eq!(
        command.render(Some((&Value::F64(230.1), &scale)), None, b""),
        Ok(b"2301".to_vec())
    );
}

#[test]
fn parsers_know_what_can_be_named() {
    for text in [
        "text",
        "regex:(?<w>[0-9.]+) kg",
        "csv:, *3",
        "csv:\\t a b",
        "keys:;=",
        "json",
        "binary",
        "nmea",
    ] {
        assert_eq!(text.parse::<Parser>().unwrap().to_string(), text);
    }
    for (text, says) in [
        ("yaml", "use \"text\""),
        ("csvx", "use \"text\""),
        ("regex:(", "does not compile"),
        ("regex:a)|(?<b>b", "does not compile"),
        ("regex:[0-9]+", "no named group"),
        ("csv:;; a", "one byte"),
        ("csv:; a a", "twice"),
        ("csv:; *0", "1 to 256"),
        ("keys:;", "keys:;="),
        ("keys:==", "keys:;="),
    ] {
        let error = text.parse::<Parser>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    for (parse, field, says) in [
        ("text", Some("x"), "leave field out"),
        ("regex:(?<w>a)", None, "name of a group"),
        ("regex:(?<w>a)(?<v>b)", Some("x"), "it has w, v"),
        ("csv:, *3", Some("4"), "1 to 3"),
        ("csv:, a b", Some("1"), "one of a, b"),
        ("keys", None, "a key"),
        ("json", Some("weight"), "/weight"),
        ("binary", Some("u16@0"), "byte order"),
        ("nmea", Some("RMC.x"), "lat, lon"),
    ] {
        let parser: Parser = parse.parse().unwrap();
        let error = parser.field(field).unwrap_err().to_string();
        assert!(error.contains(says), "{parse}: {error}");
    }
}

#[test]
fn a_sound_bus_has_no_problems() {
    for (frame, check, parse, field) in [
        ("line", None, "regex:(?<w>[0-9.]+) kg", Some("w")),
        (
            "start:\\x02 end:\\x03 tail:1",
            Some("xor8 with:end"),
            "csv",
            Some("2"),
        ),
        ("fixed:8 start:\\xaa", None, "binary", Some("u16be@2")),
        (
            "length:u8@1+4 start:\\xaa",
            Some("crc16/modbus le"),
            "binary",
            Some("u16be@2*0.1"),
        ),
        ("nmea", Some("xor8 hex after:*"), "nmea", Some("RMC.lat")),
        ("cobs", Some("crc32 le"), "json", Some("/t")),
    ] {
        let bus = with_point(frame, check, message(parse, None), field);
        assert_eq!(problems(&bus), "", "{frame}");
    }
    assert_eq!(bus("nmea").checksum, Framing::Nmea.default_checksum());
    let nmea = Framing::Nmea.default_checksum().unwrap();
    assert_eq!(nmea.to_string(), "xor8 hex after:*");
}

#[test]
fn all_problems_are_found_at_once_and_say_what_is_allowed() {
    let mut bad = with_point("line", None, message("csv", None), Some("1"));
    bad.max_frame = 1;
    bad.pause = Duration::ZERO;
    bad.gap = Duration::from_secs(11);
    bad.init = vec!["{value}".parse().unwrap(), "{check}".parse().unwrap()];
    let device = &mut bad.devices[0];
    device.timeout = Duration::from_millis(1);
    device.retry.fails = 0;
    device.retry.backoff_min = Duration::ZERO;
    device.messages[0].period = Duration::ZERO;
    device.message(message("text", Some("A {value}")));
    let point = &mut device.points[0];
    point.value.range = Some(2.0..=1.0);
    point.write = Some(Write {
        command: "x{check}".parse().unwrap(),
        confirm: Confirm::ReadBack,
    });
    let mut idle = point.clone();
    (idle.read, idle.write) = (None, None);
    idle.value.map = vec![("a".into(), Value::U64(1)), ("a".into(), Value::Bool(true))];
    idle.value.kind = Kind::Text;
    device.points.push(idle.clone());
    idle.value.map.clear();
    idle.value.scale = Scale::new(2.0, 0.0).unwrap();
    device.points.push(idle);
    let all = problems(&bad);
    for says in [
        "max_frame 1",
        "pause 0ns",
        "gap 11s",
        "init holds a place",
        "init holds {check}",
        "ask holds a place",
        "either asked or listened to",
        "device d: timeout 1ms",
        "retry.fails",
        "back-off 0ns",
        "period 0ns",
        "how many columns",
        "point p: range [2, 1] is empty",
        "verify reads the point back",
        "write holds {check}",
        "neither read nor written",
        "a text value has no range",
        "a text value cannot be scaled",
        "one value",
    ] {
        assert!(all.contains(says), "{says} is missing in {all}");
    }
}

#[test]
fn frames_that_could_be_anything_are_refused() {
    let of = |frame: &str, check: Option<&str>, parse: &str, field: &str| {
        problems(&with_point(frame, check, message(parse, None), Some(field)))
    };
    assert!(of("fixed:8", None, "binary", "u8@0").contains("start:B or gap:T"));
    assert!(of("length:u8@0+1", None, "binary", "u8@0").contains("start:B or gap:T"));
    assert!(of("slip", None, "binary", "u8@0").contains("length = 9"));
    assert!(of("start:a end:b tail:2", Some("xor8"), "json", "/a").contains("must be equal"));
    assert!(of("end:b tail:1", None, "json", "/a").contains("leave out tail"));
    assert!(of("end:b", Some("xor8 with:start"), "json", "/a").contains("start delimiter"));
    assert!(of("line", None, "nmea", "RMC.lat").contains("frame = \"nmea\""));
    let mut slow = with_point("gap:2s", None, message("text", Some("x")), None);
    assert!(problems(&slow).contains("longer than the gap"));
    slow.devices[0].timeout = Duration::from_secs(3);
    assert_eq!(problems(&slow), "");
}
