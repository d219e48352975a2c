//! What the targets of the field do with their bytes: everything that devices send, and the texts that
//! describe it in a configuration.
//!
//! Serial lines and Bluetooth bring their checks along, built for fuzzing and tests alone; layouts and Modbus
//! are checked here through what they offer to everybody.

use protocols_layout::Field;
use protocols_modbus::codec::{Codec, Encoded};
use protocols_modbus::config::{Address, Order, Point, RawType, Scale};
use protocols_modbus::frame::{Body, Expected, Found, MAX_FRAME, any_answer, crc};
use protocols_model::{PointId, PointKey, Value};
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

/// Target `serial_wire`: the line (one byte), then pieces with a byte for length and silence in front.
pub fn serial_wire(data: &[u8]) {
    protocols_serial::fuzz::wire(data);
}

/// Target `serial_text`: framings, checksums, commands, parsers, bytes, NMEA fields.
pub fn serial_text(data: &[u8]) {
    protocols_serial::fuzz::text(data);
}

/// Target `ble`: the data of an advertisement, in every format.
pub fn ble(data: &[u8]) {
    protocols_ble::decode::fuzz(data);
}

/// Target `layout`: a field as text, a line feed, a payload.
pub fn layout(data: &[u8]) {
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (text, payload) = (&data[..at], &data[at + 1..]);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    round_trip::<Field>(text);
    let Ok(field) = text.parse::<Field>() else {
        return;
    };
    let Ok(value) = field.decode(payload) else {
        return;
    };
    assert!(payload.len() >= field.min_payload());
    check(&value);
    assert_eq!(value.value_type(), field.value_type());
    let mut copy = payload.to_vec();
    let written = field.write(&value, &mut copy);
    assert_eq!(copy.len(), payload.len());
    // What a scale makes of a number may have more digits than `f64`: it need not come back.
    if field.scale().is_identity() {
        written.expect("what was read can be written");
        assert_eq!(field.decode(&copy).as_ref(), Ok(&value));
    }
    let _refused_or_not = field.encode(&value);
}

/// Types of registers: all widths, and every way to read them.
const TYPES: [&str; 19] = [
    "bool",
    "i16",
    "u16",
    "i32",
    "u32",
    "i64",
    "u64",
    "f16",
    "f32",
    "f64",
    "bcd16",
    "bcd32",
    "q8.8",
    "uq16.16",
    "q2.62",
    "epoch32",
    "epoch64",
    "epoch64ms",
    "string:3",
];
const ORDERS: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];

/// Target `modbus`: what was asked (unit, function, byte count), then what came on the line. The bytes are
/// also taken as registers, in every type, and as texts of a configuration.
pub fn modbus(data: &[u8]) {
    if let [unit, function, count, line @ ..] = data {
        let echo = |len| Some(Body::Echo([0, 7, 0x12, 0x34, 0, 0], len));
        let body = match function & 0x7f {
            1..=4 | 23 => Some(Body::Data(*count)),
            5 | 6 | 15 | 16 => echo(4),
            22 => echo(6),
            _ => None,
        };
        if let Some(body) = body {
            let (unit, function) = (*unit, *function & 0x7f);
            let asked = Expected {
                unit,
                function,
                body,
            };
            answer(asked, line);
        }
        if let Some((start, len)) = any_answer(line) {
            intact(&line[start..start + len]);
        }
    }
    let words: Vec<u16> = data
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect();
    let codecs = CODECS.get_or_init(codecs);
    for (registers, codec) in codecs {
        let Some(words) = words.get(..*registers) else {
            continue;
        };
        let Ok(value) = codec.decode(words) else {
            continue;
        };
        check(&value);
        match codec.encode(&value) {
            Ok(written) => {
                assert!(codec.is_same(&value, &value));
                let Encoded::Words(written) = written else {
                    continue;
                };
                let back = codec.decode(&written).expect("own registers are read");
                assert!(
                    codec.is_same(&value, &back),
                    "{value:?} reads back as {back:?}"
                );
            }
            // The largest fractions of 64 bits are nearest to a float that is one step too large.
            Err(error) => assert!(matches!(value, Value::F64(_)), "{value:?}: {error}"),
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        round_trip::<Address>(text);
        round_trip::<RawType>(text);
        round_trip::<Order>(text);
    }
}

fn answer(asked: Expected, line: &[u8]) {
    let Found::Answer { start, len } = asked.find(line) else {
        return;
    };
    let frame = &line[start..start + len];
    intact(frame);
    assert_eq!((frame[0], frame[1] & 0x7f), (asked.unit, asked.function));
    match asked.body {
        _ if frame[1] & 0x80 != 0 => assert_eq!(len, 5),
        Body::Data(count) => assert_eq!((frame[2], len), (count, usize::from(count) + 5)),
        Body::Echo(echo, of) => assert_eq!(frame[2..2 + of], echo[..of]),
    }
}

fn intact(frame: &[u8]) {
    assert!(frame.len() <= MAX_FRAME + 4, "a frame too long");
    let (body, sum) = frame.split_at(frame.len() - 2);
    assert_eq!(crc(body).to_le_bytes(), sum);
}

/// Made once: how many registers each takes.
static CODECS: OnceLock<Vec<(usize, Codec)>> = OnceLock::new();

fn codecs() -> Vec<(usize, Codec)> {
    let point = |raw: &str, order: &str| {
        let raw: RawType = raw.parse().expect("a type");
        let point = Point {
            key: PointKey(0),
            id: PointId::try_new("p").expect("an id"),
            address: "hr:0".parse().expect("an address"),
            raw,
            order: order.parse().expect("an order"),
            scale: Scale::IDENTITY,
            period: Duration::from_secs(1),
            range: None,
            names: None,
            write: None,
        };
        (usize::from(raw.registers()), Codec::new(&point))
    };
    let all = TYPES
        .iter()
        .flat_map(|raw| ORDERS.map(|order| point(raw, order)));
    all.collect()
}

/// No reading carries what is no number.
fn check(value: &Value) {
    if let Value::F64(number) = value {
        assert!(number.is_finite(), "a value that is no number");
    }
}

/// A text that parses prints as one that parses to the same.
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
