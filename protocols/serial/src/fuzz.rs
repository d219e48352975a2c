//! Entries for fuzzers: any bytes on the wire, any text in a configuration.
//!
//! They panic when a bound or a promise of the crate is broken. Built for fuzzing and for tests alone.

use crate::config::{
    Bus, Bytes, Checksum, Command, FieldRef, Framing, Message, Parser, ValueRules,
};
use crate::framer::{Event, Framer};
use crate::message;
use crate::nmea::NmeaField;
use protocols_line::PortConfig;
use protocols_model::{Instant, Value};
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

/// Framings and checksums that go together.
const LINES: [(&str, &str); 16] = [
    ("line", ""),
    ("nmea", "xor8 hex after:*"),
    ("end:\\r\\n", "crc16/modbus hex"),
    ("end:ab", "sum8 at:-3"),
    ("start:\\x02 end:\\x03", ""),
    (
        "start:\\x02 end:\\x03 escape:\\x10^0x20 tail:2",
        "crc16/xmodem be with:start with:end",
    ),
    ("start:~ end:~ escape:}^0x20", "crc16/x25 le"),
    ("fixed:6 start:\\xaa", ""),
    ("fixed:6 gap:20ms", "sum8-neg"),
    ("fixed:6", "crc8/maxim"),
    ("length:u8@1+4 start:\\xaa", "crc16/modbus le"),
    ("length:u16le@0-2 gap:20ms", ""),
    ("length:u32be@0+9", "crc32 le from:4"),
    ("gap:20ms", "sum16 le"),
    ("slip", "xor8"),
    ("cobs", ""),
];
/// Parsers and what a point takes.
const PARSERS: [(&str, Option<&str>); 9] = [
    ("text", None),
    ("regex:(?<v>[+-] *[0-9.]+) ?(?:kg)?", Some("v")),
    ("csv:;", Some("2")),
    ("keys", Some("a")),
    ("json", Some("/a/0")),
    ("binary", Some("f32le@1*0.1!0x7fc00000")),
    ("binary", Some("text@-4")),
    ("nmea", Some("RMC.lat")),
    ("nmea", Some("GSV.in_view")),
];
const MAX_FRAME: usize = 128;

/// What comes on a line: the first byte chooses the line, then each piece has a byte that says how long it
/// is and how long the silence before it was.
///
/// # Panics
/// When the framer holds more than it may, lets a longer frame out, or a value is not what it should be.
pub fn wire(data: &[u8]) {
    let Some((kind, mut rest)) = data.split_first() else {
        return;
    };
    let line = LINES.get(usize::from(*kind) % LINES.len());
    let (frame, check) = line.copied().unwrap_or_default();
    let port = PortConfig::new("/dev/null", parsed("9600 8N1"));
    let mut bus = Bus::new("b", port, parsed(frame));
    bus.checksum = (!check.is_empty()).then(|| parsed(check));
    bus.max_frame = MAX_FRAME;
    let messages = MESSAGES.get_or_init(messages);
    let mut framer = Framer::new(&bus, Instant::default());
    let (mut now, mut events) = (0, Vec::new());
    while let Some((head, behind)) = rest.split_first() {
        let (piece, next) = behind.split_at(behind.len().min(usize::from(head & 0x3f)));
        rest = next;
        now += match head >> 6 {
            0 => 0,
            1 => 1,
            2 => 25,
            _ => 600,
        };
        let now = Instant(Duration::from_millis(now));
        if head & 1 == 0 {
            framer.tick(now, &mut events);
        }
        framer.push(piece, now, &mut events);
        let held = framer.memory();
        assert!(held <= 2 * MAX_FRAME + 64, "{held} bytes held");
        for event in events.drain(..) {
            if let Event::Frame(frame) = event {
                assert!(frame.bytes().len() <= MAX_FRAME, "a frame too long");
                read(messages, frame.payload());
            }
        }
    }
}

/// Compiled once.
static MESSAGES: OnceLock<Vec<(Message, FieldRef)>> = OnceLock::new();

fn messages() -> Vec<(Message, FieldRef)> {
    let message = |(text, field): &(&str, Option<&str>)| {
        let parser: Parser = parsed(text);
        let field = parser.field(*field).expect("a field of its parser");
        let message = Message {
            ask: None,
            period: Duration::from_secs(1),
            parser,
            starts: Bytes::default(),
            length: None,
        };
        (message, field)
    };
    PARSERS.iter().map(message).collect()
}

fn read(messages: &[(Message, FieldRef)], payload: &[u8]) {
    let rules = ValueRules::default();
    for (message, field) in messages {
        for said in message::read(message, [(field, &rules)], payload)
            .into_iter()
            .flatten()
        {
            if let message::Said::Value(Value::F64(number), _) = said {
                assert!(number.is_finite(), "a value that is no number");
            }
        }
    }
}

/// What stands in a configuration: every text that parses prints as one that parses to the same.
///
/// # Panics
/// When it does not.
pub fn text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    round_trip::<Framing>(text);
    round_trip::<Checksum>(text);
    round_trip::<Command>(text);
    round_trip::<Parser>(text);
    round_trip::<Bytes>(text);
    round_trip::<NmeaField>(text);
    round_trip::<protocols_layout::Field>(text);
}

fn round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let printed = value.to_string();
        let again = printed.parse::<T>().ok();
        assert_eq!(
            again.as_ref(),
            Some(&value),
            "{text:?} prints as {printed:?}"
        );
    }
}

fn parsed<T: FromStr>(text: &str) -> T
where
    T::Err: Debug,
{
    text.parse().expect("a valid text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_bytes_on_the_wire_break_a_promise(
            data in prop::collection::vec(prop_oneof![
                3 => prop::sample::select(b"\x02\x03\x10\xaa~}\xc0\xdb\0\r\n$*,;=.0123ab".to_vec()),
                1 => any::<u8>(),
            ], 0..600),
        ) {
            wire(&data);
        }

        #[test]
        fn no_text_in_a_configuration_breaks_a_promise(
            words in prop::collection::vec(prop::sample::select(vec![
                "line", "start:", "end:", "\\x02", "\\", "x", "escape:", "^0x", "tail:", "fixed:", "length:",
                "u8@1", "u16le@0", "+2", "-2", "gap:", "20ms", "crc16/modbus", "crc16:", "poly=0x1021", ",",
                "xor8", "hex", "le", "at:-2", "after:*", "from:1", "with:end", "{value", ":.2}", "}", "{{",
                "{check}", "ON|OFF", "regex:", "(?<a>", ".)", "csv", ":;", " *3", "keys:", ";=", "json",
                "RMC.", "lat", "1", " ", "é", "*0.1", "!0x8000", "?6..",
            ]), 0..8),
        ) {
            text(words.concat().as_bytes());
        }
    }
}
