//! Each parser on frames that fit, and on frames that nearly do.

use super::*;
use crate::config::Bytes;
use std::time::Duration;

fn message(parser: &str) -> Message {
    Message {
        ask: None,
        period: Duration::from_secs(1),
        parser: parser.parse().unwrap(),
        starts: Bytes::default(),
        length: None,
    }
}

fn one(message: &Message, field: Option<&str>, payload: &[u8]) -> Option<Said> {
    let field = message.parser.field(field).unwrap();
    let rules = ValueRules::default();
    let said = read(message, [(&field, &rules)], payload)?;
    said.into_iter().next()
}

const SCALE: &str = r"regex:(?:ST|US),GS,(?<w>[+-] *[0-9]+\.[0-9]{2}) kg";

#[test]
fn every_parser_finds_its_fields() {
    for (parser, field, payload) in [
        ("text", None, b" +1.25E+01 ".as_slice()),
        (SCALE, Some("w"), b"ST,GS,+  12.50 kg"),
        ("csv", Some("2"), b"a, 12.5 ,c"),
        ("csv:; t w", Some("w"), b"x;\"12.5\""),
        ("keys", Some("w"), b"t=3, w = 12.5"),
        ("keys:;:", Some("w"), b"w:12.5;"),
        ("json", Some("/a/0/w"), br#"{"a":[{"w":12.5}]}"#),
        ("json", Some("/w"), br#"{"w":"12.5"}"#),
        ("binary", Some("u16be@1*0.1"), b"\x00\x00\x7d"),
        ("nmea", Some("GGA.9"), b"GPGGA,1,2,3,4,5,6,7,8,12.5,M"),
    ] {
        let value = Some(Said::Value(Value::F64(12.5), Quality::Good));
        assert_eq!(one(&message(parser), field, payload), value, "{parser}");
    }
}

#[test]
fn a_frame_that_does_not_fit_fully_is_no_message() {
    for (parser, field, payload) in [
        (SCALE, "w", b"ST,GS,+  12.50 kgx".as_slice()),
        (SCALE, "w", b"xST,GS,+  12.50 kg"),
        (SCALE, "w", b"ST,GS,+  12.50"),
        (SCALE, "w", b"ST,GS,+  12.50 kg\n"),
        ("csv:, *3", "2", b"1,2"),
        ("csv:, *3", "2", b"1,2,3,4"),
        ("csv:, *2", "2", b"1,2\0"),
        ("keys", "w", b"w=1,junk"),
        ("keys", "w", b"w=1,w=2"),
        ("keys", "w", b"v=1"),
        ("json", "/w", br#"{"w":12.5"#),
        ("json", "/w", br#"{"w":1}{"w":2}"#),
        ("json", "/w", br#"{"v":1}"#),
        ("nmea", "GGA.9", b"GPRMC,1,2"),
    ] {
        assert_eq!(
            one(&message(parser), Some(field), payload),
            None,
            "{parser}"
        );
    }
    let mut addressed = message("binary");
    (addressed.starts, addressed.length) = (Bytes::new(*b"\x01\x03"), Some(3));
    let field = Some("u8@2");
    let value = |n| Some(Said::Value(Value::U64(n), Quality::Good));
    assert_eq!(one(&addressed, field, b"\x01\x03\x07"), value(7));
    assert_eq!(one(&addressed, field, b"\x02\x03\x07"), None);
    assert_eq!(one(&addressed, field, b"\x01\x03\x07\x08"), None);
}

#[test]
fn what_is_there_and_no_value_says_why() {
    let bad = |reason| Some(Said::Bad(reason));
    assert_eq!(
        one(&message("json"), Some("/w"), br#"{"w":null}"#),
        bad(Reason::DeviceError)
    );
    assert_eq!(
        one(&message("json"), Some("/w"), br#"{"w":[1]}"#),
        bad(Reason::Undecodable)
    );
    assert_eq!(
        one(&message("text"), None, b"ERR 5"),
        bad(Reason::Undecodable)
    );
    assert_eq!(
        one(&message("binary"), Some("u16le@4"), b"\0"),
        bad(Reason::Undecodable)
    );
    // Two digits lost from a pattern that lets it pass still are no number of two points.
    assert_eq!(
        one(&message("text"), None, b"12.512.5"),
        bad(Reason::Undecodable)
    );
}

#[test]
fn points_that_a_frame_does_not_carry_get_nothing_from_it() {
    let message = message("keys");
    let fields = ["a", "b"].map(|key| message.parser.field(Some(key)).unwrap());
    let rules = ValueRules::default();
    let said = read(&message, fields.iter().map(|field| (field, &rules)), b"b=2").unwrap();
    assert_eq!(
        said,
        [Said::Nothing, Said::Value(Value::F64(2.0), Quality::Good)]
    );
}

#[test]
fn latin_1_is_read_as_such() {
    assert_eq!(text_of(b"21 \xb0C").unwrap(), "21 °C");
    assert_eq!(text_of("21 °C".as_bytes()).unwrap(), "21 °C");
    assert_eq!(text_of(b"2\x001"), None);
}
