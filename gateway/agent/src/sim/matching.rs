//! The gateway's configuration for what a simulator serves, so that a newcomer has values at once.

use super::around::Around;
use protocols_bluez_sim::config as ble;
use protocols_sim::serial::Sentence;
use protocols_sim::site::{DeviceSite, PointSite, SerialKind, SerialSite, Site};
use protocols_sim::span::Time;
use protocols_sim::{Place, Served};
use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

/// A text that grows; writing to a `String` cannot fail.
#[derive(Default)]
struct Text(String);

impl Text {
    fn add(&mut self, part: fmt::Arguments<'_>) {
        let _infallible = self.0.write_fmt(part);
    }
}

/// A configuration that reads everything in `site`, which is served as `served` says.
pub(super) fn configuration(site: &Site, served: &[Served], around: Option<&Around>) -> String {
    let mut text = Text(
        "# For what `fogline-gateway sim` serves. Check it: fogline-gateway check gateway.toml\n\
         schema = 1\n\n[gateway]\nid = \"rehearsal\"\nstate_dir = \"fogline-state\"\n\n\
         # Without an uplink readings stay in the spool: fogline-gateway status --config gateway.toml\n"
            .to_owned(),
    );
    for served in served {
        match &served.at {
            Place::Tcp(address) => bus(&mut text, served, "modbus-tcp", address),
            Place::RtuOverTcp(address) => {
                bus(&mut text, served, "modbus-rtu-over-tcp", address);
                text.add(format_args!("line = \"19200 8E1\"\n"));
            }
            Place::Rtu(line) => text.add(format_args!(
                "\n[bus.{}]\nkind = \"modbus-rtu\"\nport = {}\nline = \"{}\"\n",
                served.name,
                path(&line.link),
                line.line
            )),
            Place::Serial(line) => {
                if let Some(serial) = site.serial.get(&*served.name) {
                    let place = format!("port = {}\nline = \"{}\"\n", path(&line.link), line.line);
                    serial_device(&mut text, &served.name, serial, &place);
                }
                continue;
            }
        }
        let devices = site
            .device
            .iter()
            .filter(|(_, device)| *device.bus == *served.name);
        for (name, device) in devices {
            modbus_device(&mut text, name, device);
        }
    }
    if let Some(around) = around {
        sensors(&mut text, around);
    }
    text.0
}

fn path(path: &Path) -> String {
    toml::Value::String(path.to_string_lossy().into_owned()).to_string()
}

fn bus(text: &mut Text, served: &Served, kind: &str, address: &std::net::SocketAddr) {
    text.add(format_args!(
        "\n[bus.{}]\nkind = \"{kind}\"\naddr = \"{address}\"\n",
        served.name
    ));
}

fn modbus_device(text: &mut Text, name: &str, device: &DeviceSite) {
    text.add(format_args!(
        "\n[device.{name}]\nbus = \"{}\"\nunit = {}\n",
        device.bus, device.unit
    ));
    let order = device.order.to_string();
    if order != "ABCD" {
        text.add(format_args!("order = \"{order}\"\n"));
    }
    if let Some(most) = device.max_registers {
        text.add(format_args!("max_regs = {}\n", most.clamp(1, 125)));
    }
    if device.refuse_gaps {
        text.add(format_args!("max_gap = 0\n"));
    }
    text.add(format_args!("points = [\n"));
    for point in &device.points {
        modbus_point(text, point);
    }
    text.add(format_args!("]\n"));
}

fn modbus_point(text: &mut Text, point: &PointSite) {
    text.add(format_args!(
        "  {{ id = \"{}\", at = \"{}\"",
        point.id, point.at
    ));
    if let Some(kind) = point.kind {
        text.add(format_args!(", as = \"{kind}\""));
    }
    if let Some(len) = point.len {
        text.add(format_args!(", len = {len}"));
    }
    if let Some(order) = point.order {
        text.add(format_args!(", order = \"{order}\""));
    }
    if point.scale.to_bits() != 1f64.to_bits() {
        text.add(format_args!(", scale = {:?}", point.scale));
    }
    if point.offset != 0.0 {
        text.add(format_args!(", offset = {:?}", point.offset));
    }
    if !point.unit.is_empty() {
        let unit = toml::Value::String(point.unit.clone());
        text.add(format_args!(", unit = {unit}"));
    }
    if point.write {
        text.add(format_args!(", write = true"));
    }
    text.add(format_args!(" }},\n"));
}

/// Of a device that sends by itself so many frames may be missing before it counts as silent.
const SILENCE: u32 = 3;

fn serial_device(text: &mut Text, name: &str, serial: &SerialSite, place: &str) {
    let every = serial.every.map(|every| every.0);
    let (framing, points, is_asked) = match serial.kind {
        SerialKind::Scale => (SCALE, scale(every.is_none()), every.is_none()),
        SerialKind::Nmea => ("frame = \"nmea\"\n", receiver(serial), false),
        SerialKind::Scpi => ("", instrument(), true),
        SerialKind::Binary => (SENSOR, SENSOR_POINTS.to_owned(), false),
        SerialKind::Template => return template(text, name, serial),
    };
    let period = if is_asked {
        Duration::from_secs(1)
    } else {
        // Of a device that is listened to: the longest silence that is no fault.
        every.unwrap_or(Duration::from_secs(1)) * SILENCE
    };
    let period = Time(period);
    text.add(format_args!(
        "\n[bus.{name}]\nkind = \"serial\"\n{place}{framing}\n[device.{name}]\nbus = \"{name}\"\n\
         groups = {{ all = \"{period}\" }}\npoints = [\n{points}]\n"
    ));
}

const SCALE: &str = "check = \"xor8 hex after:*\"\n";
const SENSOR: &str = "frame = 'fixed:12 start:\\xaa\\x55'\n\
                      check = \"crc16/modbus le with:start\"\nparse = \"binary\"\n";
const SENSOR_POINTS: &str = r#"  { id = "temperature", field = "i16be@4*0.01", unit = "°C" },
  { id = "humidity", field = "u16be@6*0.01", unit = "%" },
  { id = "pressure", field = "u16be@8*0.1", unit = "hPa" },
"#;

fn scale(is_asked: bool) -> String {
    let ask = if is_asked { ", ask = \"S\\r\\n\"" } else { "" };
    let parse = "regex:ST,GS, *(?<weight>[-+][0-9.]+),kg";
    format!("  {{ id = \"weight\", unit = \"kg\", parse = '{parse}', field = \"weight\"{ask} }},\n")
}

fn instrument() -> String {
    let point = |(id, ask, unit): (&str, &str, &str)| {
        format!("  {{ id = \"{id}\", ask = \"{ask}\\n\", unit = \"{unit}\" }},\n")
    };
    let points = [
        ("volt", "MEAS:VOLT?", "V"),
        ("curr", "MEAS:CURR?", "A"),
        ("res", "MEAS:RES?", "Ω"),
    ];
    points.map(point).concat()
}

/// What can be taken from the sentences that the receiver says.
fn receiver(serial: &SerialSite) -> String {
    let fields = [
        (Sentence::Rmc, "lat", "RMC.lat", "°"),
        (Sentence::Rmc, "lon", "RMC.lon", "°"),
        (Sentence::Rmc, "speed", "RMC.speed_kmh", "km/h"),
        (Sentence::Gga, "altitude", "GGA.altitude", "m"),
        (Sentence::Gga, "satellites", "GGA.satellites", ""),
    ];
    let said = serial.sentences.as_deref().unwrap_or(&Sentence::ALL);
    let mut points = String::new();
    for (_, id, field, unit) in fields.iter().filter(|(kind, ..)| said.contains(kind)) {
        let unit = match *unit {
            "" => String::new(),
            unit => format!(", unit = \"{unit}\""),
        };
        points += &format!("  {{ id = \"{id}\", field = \"{field}\"{unit} }},\n");
    }
    points
}

/// Nobody can know what the texts of a template mean: what it says, for whoever configures it.
fn template(text: &mut Text, name: &str, serial: &SerialSite) {
    text.add(format_args!(
        "\n# [bus.{name}] kind = \"serial\": configure it by what it says:\n"
    ));
    for say in &serial.say {
        text.add(format_args!("#   every {}: {:?}\n", say.every, say.text));
    }
    for answer in &serial.answer {
        let (to, said) = (&answer.to, &answer.text);
        text.add(format_args!("#   {to:?} is answered {said:?}\n"));
    }
}

fn sensors(text: &mut Text, around: &Around) {
    text.add(format_args!(
        "\n# The adapter exists only on a bus of its own; start the gateway with\n\
         #   DBUS_SYSTEM_BUS_ADDRESS={} fogline-gateway run --config gateway.toml\n\
         [bus.ble]\nkind = \"ble\"\nadapter = \"hci0\"\n",
        around.address()
    ));
    for (name, sensor) in around.sensors() {
        let Some(decode) = decoded(sensor) else {
            text.add(format_args!(
                "\n# {name} ({}): see the guide for a device that is connected to\n",
                sensor.address
            ));
            continue;
        };
        text.add(format_args!(
            "\n[device.{name}]\nbus = \"ble\"\ndecode = \"{decode}\"\naddress = \"{}\"\npoints = [\n",
            sensor.address
        ));
        for value in sensor.values.keys() {
            let id = value.replace(' ', "_");
            text.add(format_args!(
                "  {{ id = \"{id}\", field = \"{value}\" }},\n"
            ));
        }
        text.add(format_args!("]\n"));
    }
}

/// The gateway's name of a format that it decodes, where the sensor has values.
fn decoded(sensor: &ble::SensorEntry) -> Option<&'static str> {
    let name = match sensor.format? {
        ble::Format::Bthome if sensor.key.is_none() => "bthome",
        ble::Format::Ruuvi | ble::Format::Ruuvi3 => "ruuvi",
        ble::Format::Atc => "atc",
        ble::Format::Pvvx => "pvvx",
        _ => return None,
    };
    (!sensor.values.is_empty()).then_some(name)
}
