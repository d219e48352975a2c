//! Serial devices both ways: pynmea2 and pyserial speak to our driver, and listen to our simulator.

use crate::field::Field;
use crate::lines::Line;
use crate::scratch;
use protocols_line::PortConfig;
use protocols_model::{DeviceId, PointId, PointKey, Value};
use protocols_serial::SerialDriver;
use protocols_serial::config::{Bus, Bytes, Confirm, Device, Message, Point, ValueRules, Write};
use protocols_sim::{Sim, Site};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_interop::{Running, need, python};

fn peer() -> anyhow::Result<(PathBuf, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/serial_peer.py");
    Ok((python(&scratch())?, script.display().to_string()))
}

fn bus(path: PathBuf, frame: &str) -> Bus {
    let port = PortConfig::new(path, "115200 8N1".parse().unwrap());
    Bus::new("line", port, frame.parse().unwrap())
}

/// Adds a point that is read from a message of its own kind.
fn point(device: &mut Device, key: u32, ask: Option<&str>, parse: &str, field: Option<&str>) {
    let message = Message {
        ask: ask.map(|ask| ask.parse().unwrap()),
        // As asked: often. As listened to: longer than any machine stands still.
        period: Duration::from_millis(if ask.is_some() { 200 } else { 60_000 }),
        parser: parse.parse().unwrap(),
        starts: Bytes::default(),
        length: None,
    };
    let field = message.parser.field(field).unwrap();
    let message = device.message(message);
    device.points.push(Point {
        key: PointKey(key),
        id: PointId::try_new(&format!("p{key}")).unwrap(),
        read: Some((message, field)),
        value: ValueRules::default(),
        write: None,
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn sentences_of_pynmea2_are_read() {
    let (python, script) = need!(peer());
    let line = need!(Line::new());
    let path = line.b().display().to_string();
    let _talker = Running::start(&python, &[&script, "talk", &path]).unwrap();
    let mut gps = Device::new(DeviceId::try_new("gps").unwrap());
    let fields = [
        ("GGA.lat", Value::F64(53.55125)),
        ("GGA.lon", Value::F64(-9.99375)),
        ("GGA.satellites", Value::U64(8)),
        ("GGA.altitude", Value::F64(12.5)),
        ("RMC.utc", Value::I64(1_774_008_296_500)),
        ("RMC.lat", Value::F64(-33.5)),
        ("VTG.speed_kmh", Value::F64(14.8)),
        ("GSA.hdop", Value::F64(0.9)),
        ("ZDA.utc", Value::I64(1_774_008_296_000)),
    ];
    for (key, (field, _)) in (0..).zip(&fields) {
        point(&mut gps, key, None, "nmea", Some(field));
    }
    let mut bus = bus(line.a(), "nmea");
    bus.devices.push(gps);
    let mut field = Field::start(Box::new(SerialDriver::new(bus).unwrap()));
    let wanted = (0..).map(PointKey).zip(fields.map(|(_, value)| value));
    field.until(&wanted.collect()).await;
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instrument_behind_pyserial_is_asked_and_written() {
    let (python, script) = need!(peer());
    let line = need!(Line::new());
    let path = line.b().display().to_string();
    let mut instrument = Running::start(&python, &[&script, "instrument", &path]).unwrap();
    instrument.after("ready").unwrap();
    let mut source = Device::new(DeviceId::try_new("source").unwrap());
    source.timeout = Duration::from_secs(20);
    point(&mut source, 0, Some("SOUR:VOLT?\\n"), "text", None);
    point(&mut source, 1, Some("MEAS:CURR?\\n"), "text", None);
    source.points[0].write = Some(Write {
        command: "SOUR:VOLT {value:.3}\\n".parse().unwrap(),
        confirm: Confirm::ReadBack,
    });
    let mut bus = bus(line.a(), "line");
    bus.devices.push(source);
    let mut field = Field::start(Box::new(SerialDriver::new(bus).unwrap()));
    let wanted = |volt| {
        [
            (PointKey(0), Value::F64(volt)),
            (PointKey(1), Value::F64(0.125)),
        ]
        .into()
    };
    field.until(&wanted(5.0)).await;
    let written = field.write(PointKey(0), Value::F64(12.25)).await.unwrap();
    assert_eq!(written.read_back, Some(Value::F64(12.25)));
    field.until(&wanted(12.25)).await;
    field.stop().await;
    let said = instrument.said();
    assert_eq!(
        said.iter().filter(|line| *line == "set 12.250").count(),
        1,
        "{said:?}"
    );
}

async fn heard((python, script): (PathBuf, String), site: &str, what: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let plan = Site::parse(site).unwrap().build(folder.path()).unwrap();
    let sim = Sim::start(plan, None).await.unwrap();
    let line = sim.links()[0].display().to_string();
    let what = what.to_owned();
    let run = move || {
        Running::start(&python, &[&script, &what, &line])
            .unwrap()
            .output()
            .unwrap()
    };
    let said = tokio::task::spawn_blocking(run).await.unwrap();
    sim.stop();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn pynmea2_reads_our_simulated_receiver() {
    let values = "values = { lat = 53.55, lon = -9.99, altitude = 12, speed = 8, course = 90, satellites = 9 }";
    let site = format!(
        "[serial.gps]\nkind = \"nmea\"\nlink = \"gps\"\nline = \"115200 8N1\"\nevery = \"200ms\"\n{values}\n"
    );
    let mut said = heard(need!(peer()), &site, "listen").await;
    said.sort();
    let wanted = [
        "GGA 53.5500 -9.9900 12.0 9",
        "GSA 3 0.9",
        "RMC A 53.5500 -9.9900 8.0 90.0",
        "VTG 90.0 8.0 14.8",
        "ZDA",
    ];
    assert_eq!(said, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn pyserial_asks_our_simulated_instrument() {
    let values = "values = { volt = 12.5, curr = 1.5, res = 8 }";
    let site =
        format!("[serial.dmm]\nkind = \"scpi\"\nlink = \"dmm\"\nline = \"115200 8N1\"\n{values}\n");
    let said = heard(need!(peer()), &site, "ask").await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(!said[0].is_empty(), "it says who it is");
    assert_eq!(said[1], "12.5");
}
