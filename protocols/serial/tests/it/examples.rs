//! The examples of the guide at work: each against a device that speaks as the guide says.
//!
//! That their keys are right is the configuration's test; here only the texts are taken from them.

use crate::rig::*;
use protocols_model::{PointId, PointKey, Value};
use protocols_serial::config::{
    Bus, Confirm, Kind, Message, Parser, Pattern, Point, ValueRules, Write,
};
use std::time::Duration;
use toml::{Table, Value as Toml};

/// The example of the guide with this bus, as the driver takes it.
fn example(name: &str) -> Bus {
    let guide = include_str!("../../README.md");
    let blocks = guide
        .split("```toml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap());
    let whole = blocks.map(|block| block.parse::<Table>().unwrap());
    let whole = whole
        .into_iter()
        .find(|t| t["bus"].as_table().unwrap().contains_key(name))
        .unwrap();
    let written = whole["bus"][name].as_table().unwrap();
    let frame = text(written, "frame").unwrap_or("line");
    let mut bus = bus(frame, "");
    bus.checksum = match text(written, "check") {
        Some(check) => Some(check.parse().unwrap()),
        None => bus.framing.default_checksum(),
    };
    let init = written
        .get("init")
        .and_then(Toml::as_array)
        .into_iter()
        .flatten();
    bus.init = init
        .map(|text| text.as_str().unwrap().parse().unwrap())
        .collect();
    let (id, written) = whole["device"].as_table().unwrap().iter().next().unwrap();
    let written = written.as_table().unwrap();
    let mut device = device(id);
    let points = written["points"].as_array().unwrap();
    for (key, point) in points.iter().enumerate() {
        let point = point.as_table().unwrap();
        let of = |key| text(point, key).or_else(|| text(written, key));
        let nmea = if frame == "nmea" { "nmea" } else { "text" };
        let message = Message {
            ask: of("ask").map(|ask| ask.parse().unwrap()),
            period: Duration::from_secs(2),
            parser: of("parse").unwrap_or(nmea).parse::<Parser>().unwrap(),
            starts: of("starts").unwrap_or_default().parse().unwrap(),
            length: None,
        };
        let reads = point.contains_key("field") || point.contains_key("ask");
        let read = reads.then(|| {
            let field = message.parser.field(text(point, "field")).unwrap();
            (device.message(message), field)
        });
        device.points.push(Point {
            key: PointKey(u32::try_from(key).unwrap()),
            id: PointId::try_new(text(point, "id").unwrap()).unwrap(),
            read,
            value: rules(point),
            write: text(point, "write").map(|write| Write {
                command: write.parse().unwrap(),
                confirm: match text(point, "expect") {
                    Some(expect) => Confirm::Answer {
                        expect: Pattern::new(expect).unwrap(),
                        refused: None,
                    },
                    None => Confirm::ReadBack,
                },
            }),
        });
    }
    bus.devices.push(device);
    bus
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key).map(|value| value.as_str().unwrap())
}

fn rules(point: &Table) -> ValueRules {
    let list = |key: &str| {
        point
            .get(key)
            .and_then(Toml::as_array)
            .into_iter()
            .flatten()
    };
    let map = point
        .get("map")
        .and_then(Toml::as_table)
        .into_iter()
        .flatten();
    let range: Vec<i64> = list("range").map(|n| n.as_integer().unwrap()).collect();
    let bound = |n: i64| f64::from(i32::try_from(n).unwrap());
    ValueRules {
        kind: text(point, "as").map_or(Kind::F64, |kind| kind.parse().unwrap()),
        invalid: list("invalid")
            .map(|text| text.as_str().unwrap().to_owned())
            .collect(),
        map: map
            .map(|(text, value)| (text.clone(), Value::Bool(value.as_bool().unwrap())))
            .collect(),
        range: (!range.is_empty()).then(|| bound(range[0])..=bound(range[1])),
        ..ValueRules::default()
    }
}

const YES: Said = Ok(Value::Bool(true));

#[tokio::test(start_paused = true)]
async fn the_scale_that_sends_by_itself() {
    let mut rig = Rig::new(example("scale"));
    let mut port = rig.port().await;
    say(
        &mut port,
        b"2.50kg\r\nST,GS,+  12.50kg\r\nUS,GS,-   0.25kg\r\n",
    )
    .await;
    assert_eq!(rig.next().await, [good(12.5), YES]);
    assert_eq!(rig.next().await, [good(-0.25), Ok(Value::Bool(false))]);
    let placed = rig.place(2, Value::Bool(true));
    assert_eq!(until(&mut port, b"\n").await, b"T\r\n");
    say(&mut port, b"ST,GS,+  12.50kg\r\nTARED\r\n").await;
    assert!(placed.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_scale_that_is_asked() {
    let mut rig = Rig::new(example("asked-scale"));
    let mut port = rig.port().await;
    for (answer, said) in [
        (b"S S     12.50 kg\r\n".as_slice(), [good(12.5), YES]),
        (
            b"S I\r\n",
            [
                bad(protocols_model::Reason::BadAnswer),
                bad(protocols_model::Reason::BadAnswer),
            ],
        ),
    ] {
        assert_eq!(until(&mut port, b"\n").await, b"SI\r\n");
        say(&mut port, answer).await;
        assert_eq!(rig.next().await, said);
    }
}

#[tokio::test(start_paused = true)]
async fn the_instrument() {
    let mut rig = Rig::new(example("scpi"));
    let mut port = rig.port().await;
    assert_eq!(until(&mut port, b"\n").await, b"*CLS\n");
    for (question, answer, said) in [
        ("MEAS:VOLT?\n", "+1.2000E+01\n", good(12.0)),
        (
            "MEAS:CURR?\n",
            "9.91E37\n",
            bad(protocols_model::Reason::DeviceError),
        ),
        ("SOUR:VOLT?\n", "12.000\n", good(12.0)),
        ("OUTP?\n", "1\n", YES),
    ] {
        assert_eq!(until(&mut port, b"\n").await, question.as_bytes());
        say(&mut port, answer.as_bytes()).await;
        assert_eq!(rig.one().await, said);
    }
    let placed = rig.place(3, Value::Bool(false));
    assert_eq!(until(&mut port, b"\n").await, b"OUTP OFF\n");
    assert_eq!(until(&mut port, b"\n").await, b"OUTP?\n");
    say(&mut port, b"0\n").await;
    assert_eq!(
        placed.await.unwrap().unwrap().read_back,
        Some(Value::Bool(false))
    );
}

#[tokio::test(start_paused = true)]
async fn the_gps_receiver() {
    let mut rig = Rig::new(example("gps"));
    let mut port = rig.port().await;
    for body in [
        "GNRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,,,A",
        "GPGSV,3,1,11,03,03,111,00",
        "GNGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
    ] {
        let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
        say(&mut port, format!("${body}*{sum:02X}\r\n").as_bytes()).await;
    }
    let utc = Ok(Value::I64(764_426_119_000));
    let first = [
        good(48.1173),
        good(11.516_666_667),
        good(41.4848),
        good(84.4),
        utc,
    ];
    assert_eq!(rig.next().await, first);
    assert_eq!(
        rig.next().await,
        [good(545.4), Ok(Value::U64(8)), good(0.9), YES]
    );
}

#[tokio::test(start_paused = true)]
async fn the_binary_sensor() {
    let bus = example("sensor");
    let check = bus.checksum.clone().unwrap();
    let framed = |mut bytes: Vec<u8>| {
        bytes.extend(check.render(&bytes.clone()));
        bytes
    };
    let mut rig = Rig::new(bus);
    let mut port = rig.port().await;
    let question = framed(vec![0xaa, 0x55, 1, 0]);
    for (data, said) in [
        ([0xff, 0xec, 101], [good(-2.0), good(50.5)]),
        (
            [0x80, 0x00, 100],
            [bad(protocols_model::Reason::DeviceError), good(50.0)],
        ),
    ] {
        assert_eq!(until(&mut port, &question[4..]).await, question);
        say(
            &mut port,
            &framed([&[0xaa, 0x55, 0x81, 3][..], &data].concat()),
        )
        .await;
        assert_eq!(rig.next().await, said);
    }
}
