//! Our Modbus driver as a master: every table, several types, every write, refusals.

use crate::field::Field;
use protocols_modbus::ModbusDriver;
use protocols_modbus::config::{
    Bus, Device, Limits, Order, Point, Quirks, RawType, Retry, Scale, Transport, Write, WriteWith,
};
use protocols_model::{DeviceId, PointId, PointKey, Quality, Reason, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the servers' registers hold at the start.
fn holding(address: u16) -> u16 {
    address * 7 + 1000
}

/// Words put together, the highest first.
fn wide(words: impl IntoIterator<Item = u16>) -> u64 {
    words
        .into_iter()
        .fold(0, |sum, word| sum << 16 | u64::from(word))
}

fn point(at: &str, raw: Option<RawType>, order: &str, write: Option<Write>) -> Point {
    let address = at.parse().unwrap();
    Point {
        key: PointKey(0),
        id: PointId::try_new(&at.replace([':', '.'], "-")).unwrap(),
        address,
        raw: raw.unwrap_or_else(|| RawType::default_at(&address)),
        order: order.parse::<Order>().unwrap(),
        scale: Scale::IDENTITY,
        period: Duration::from_millis(200),
        range: None,
        names: None,
        write,
    }
}

/// What is read, and what it must be.
fn reads() -> Vec<(Point, Value)> {
    let read = |at, raw, order| point(at, raw, order, None);
    let h = holding;
    let bits = |from: u16, to: u16| wide((from..to).map(h));
    let float = f32::from_bits(u32::try_from(bits(30, 32)).unwrap());
    vec![
        (read("co:0", None, "ABCD"), Value::Bool(true)),
        (read("co:1", None, "ABCD"), Value::Bool(false)),
        (read("co:99", None, "ABCD"), Value::Bool(true)),
        (read("di:5", None, "ABCD"), Value::Bool(true)),
        (read("di:6", None, "ABCD"), Value::Bool(false)),
        (read("ir:0", None, "ABCD"), Value::U64(5)),
        (read("ir:150", None, "ABCD"), Value::U64(1655)),
        (read("hr:0", None, "ABCD"), Value::U64(1000)),
        (read("hr:3", Some(RawType::I16), "ABCD"), Value::I64(1021)),
        (
            read("hr:10", Some(RawType::U32), "ABCD"),
            Value::U64(bits(10, 12)),
        ),
        (
            read("hr:12", Some(RawType::U32), "CDAB"),
            Value::U64(wide([h(13), h(12)])),
        ),
        (
            read("hr:14", Some(RawType::U16), "BA"),
            Value::U64(h(14).swap_bytes().into()),
        ),
        (
            read("hr:30", Some(RawType::F32), "ABCD"),
            Value::F64(float.into()),
        ),
        (
            read("hr:40", Some(RawType::U64), "ABCD"),
            Value::U64(bits(40, 44)),
        ),
        (
            read("hr:50", Some(RawType::F64), "ABCD"),
            Value::F64(f64::from_bits(bits(50, 54))),
        ),
        (
            read("hr:70.4..7", None, "ABCD"),
            Value::U64((h(70) >> 4 & 15).into()),
        ),
        (
            read("hr:71.3", None, "ABCD"),
            Value::Bool(h(71) >> 3 & 1 == 1),
        ),
    ]
}

/// What is written, to what, and the function that does it.
fn writes() -> Vec<(Point, Value, u8)> {
    let write = |at, raw, order, with| {
        let write = Write {
            verify: true,
            with,
            only: false,
        };
        point(at, raw, order, Some(write))
    };
    let (multiple, both) = (Some(WriteWith::Multiple), Some(WriteWith::ReadWrite));
    vec![
        (write("co:110", None, "ABCD", None), Value::Bool(true), 5),
        (
            write("co:112", None, "ABCD", multiple),
            Value::Bool(true),
            15,
        ),
        (write("hr:100", None, "ABCD", None), Value::U64(4711), 6),
        (write("hr:101", None, "ABCD", multiple), Value::U64(815), 16),
        (
            write("hr:102", Some(RawType::U32), "ABCD", None),
            Value::U64(0x1234_5678),
            16,
        ),
        (
            write("hr:104", Some(RawType::F32), "CDAB", None),
            Value::F64(-12.5),
            16,
        ),
        (
            write("hr:106", Some(RawType::I16), "ABCD", None),
            Value::I64(-2),
            6,
        ),
        (write("hr:110.4..7", None, "ABCD", None), Value::U64(10), 22),
        (
            write("hr:112", Some(RawType::U32), "ABCD", both),
            Value::U64(0xcafe_0001),
            23,
        ),
    ]
}

fn start(transport: Transport, points: Vec<Point>, beyond: Point) -> Field {
    let device = |name: &str, points| Device {
        id: DeviceId::try_new(name).unwrap(),
        unit: 1,
        // Longer than any machine stands still.
        timeout: Duration::from_secs(20),
        retry: Retry::default(),
        limits: Limits::default(),
        quirks: Quirks::default(),
        points,
    };
    let bus = Bus {
        name: "bus".into(),
        transport,
        gap: Duration::ZERO,
        devices: vec![device("peer", points), device("beyond", vec![beyond])],
    };
    Field::start(Box::new(ModbusDriver::new(bus).unwrap()))
}

/// Everything a master can do with a server that has the peers' tables. Whoever calls checks what the
/// server saw: these functions.
pub(crate) async fn exercise(transport: Transport) -> Vec<u8> {
    let mut points = Vec::new();
    let mut wanted = BTreeMap::new();
    let number = |points: &Vec<Point>| PointKey(u32::try_from(points.len()).unwrap());
    for (mut point, value) in reads() {
        point.key = number(&points);
        wanted.insert(point.key, value);
        points.push(point);
    }
    let mut ordered = Vec::new();
    let mut functions = vec![1, 2, 3, 4];
    for (mut point, value, function) in writes() {
        point.key = number(&points);
        ordered.push((point.key, value));
        functions.push(function);
        points.push(point);
    }
    let mut beyond = point("hr:1000", None, "ABCD", Some(Write::default()));
    beyond.key = PointKey(1000);
    let mut master = start(transport, points, beyond);
    master.until(&wanted).await;

    for (key, value) in &ordered {
        let outcome = master.write(*key, value.clone()).await;
        let written = outcome.unwrap_or_else(|error| panic!("{value:?}: {error}"));
        assert_eq!(written.read_back.as_ref(), Some(value));
        wanted.insert(*key, value.clone());
    }
    // The polls say the same, and nothing else was changed.
    master.until(&wanted).await;

    let refused = loop {
        let sweep = master.next().await;
        if sweep.device.as_str() == "beyond" {
            break sweep.readings[0].quality;
        }
    };
    assert_eq!(refused, Quality::Bad(Reason::DeviceError));
    let outcome = master.write(PointKey(1000), Value::U64(1)).await;
    let Err(protocols_driver::WriteError::Refused(why)) = outcome else {
        panic!("an address that is not there was written: {outcome:?}");
    };
    assert!(why.contains("02"), "{why}");

    master.stop().await;
    functions
}
