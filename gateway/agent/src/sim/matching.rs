//! The gateway's configuration for what a simulator serves, so that a newcomer has values at once.

use super::around::Around;
use protocols_bluez_sim::config as ble;
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
    let (framing, points) = match serial.kind {
        SerialKind::Scale => {
            let ask = if serial.every.is_none() {
                ", ask = \"S\\r\\n\""
            } else {
                ""
            };
            let points = format!(
                "  {{ id = \"weight\", unit = \"kg\", parse = 'regex:ST,GS, *(?<weight>[-+][0-9.]+),kg', field = \"weight\"{ask} }},\n"
            );
            ("check = \"xor8 hex after:*\"\n", points)
        }
        SerialKind::Nmea => {
            let field = |(id, field, unit): &(&str, &str, &str)| {
                let unit = if unit.is_empty() {
                    String::new()
                } else {
                    format!(", unit = \"{unit}\"")
                };
                format!("  {{ id = \"{id}\", field = \"{field}\"{unit} }},\n")
            };
            let fields = [
                ("lat", "RMC.lat", "°"),
                ("lon", "RMC.lon", "°"),
                ("speed", "RMC.speed_kmh", "km/h"),
                ("altitude", "GGA.altitude", "m"),
                ("satellites", "GGA.satellites", ""),
            ];
            let said = serial.sentences.as_ref();
            let is_said = |field: &str| {
                let sentence = field.split('.').next().unwrap_or_default();
                said.is_none_or(|said| {
                    said.iter()
                        .any(|kind| format!("{kind:?}").eq_ignore_ascii_case(sentence))
                })
            };
            let fields = fields.iter().filter(|(_, name, _)| is_said(name));
            ("frame = \"nmea\"\n", fields.map(field).collect())
        }
        SerialKind::Scpi => {
            let point = |(id, ask, unit): (&str, &str, &str)| {
                format!("  {{ id = \"{id}\", ask = \"{ask}\\n\", unit = \"{unit}\" }},\n")
            };
            let points = [
                ("volt", "MEAS:VOLT?", "V"),
                ("curr", "MEAS:CURR?", "A"),
                ("res", "MEAS:RES?", "Ω"),
            ];
            ("", points.map(point).concat())
        }
        SerialKind::Binary => (
            "frame = 'fixed:12 start:\\xaa\\x55'\ncheck = \"crc16/modbus le with:start\"\nparse = \"binary\"\n",
            "  { id = \"temperature\", field = \"i16be@4*0.01\", unit = \"°C\" },\n  \
             { id = \"humidity\", field = \"u16be@6*0.01\", unit = \"%\" },\n  \
             { id = \"pressure\", field = \"u16be@8*0.1\", unit = \"hPa\" },\n"
                .to_owned(),
        ),
        SerialKind::Template => {
            text.add(format_args!(
                "\n# [bus.{name}] kind = \"serial\": configure it by what it says:\n"
            ));
            for say in &serial.say {
                text.add(format_args!("#   every {}: {:?}\n", say.every, say.text));
            }
            for answer in &serial.answer {
                text.add(format_args!(
                    "#   {:?} is answered {:?}\n",
                    answer.to, answer.text
                ));
            }
            return;
        }
    };
    let is_scale = matches!(serial.kind, SerialKind::Scale);
    let is_asked = matches!(serial.kind, SerialKind::Scpi) || (is_scale && serial.every.is_none());
    let period = if is_asked {
        Duration::from_secs(1)
    } else {
        // Of a device that is listened to: the longest silence that is no fault.
        serial.every.map_or(Duration::from_secs(1), |every| every.0) * SILENCE
    };
    let groups = format!("groups = {{ all = \"{}\" }}\n", Time(period));
    text.add(format_args!(
        "\n[bus.{name}]\nkind = \"serial\"\n{place}{framing}\n[device.{name}]\nbus = \"{name}\"\n{groups}points = [\n{points}]\n"
    ));
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
