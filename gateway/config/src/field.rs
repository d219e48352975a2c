//! Buses, templates and devices: the field side of the configuration, put together.
//!
//! Reads everything first, then connects names (bus, template, group), then builds the drivers'
//! buses and lets them check what only shows when the parts come together. Order of points in the
//! point table: devices in the order of the file, their template's points, their own, their list's.

mod build;

use crate::bus::BusConfig;
use crate::config::PointConfig;
use crate::layer::Layer;
use crate::notes::{self, Notes};
use crate::point::{self, RawPoint};
use crate::problem::Problem;
use crate::settings::resolve;
use crate::source::{Located, Place};
use crate::walk::Table;
use protocols_modbus::config::{LineSettings, Transport};
use protocols_model::DeviceId;
use std::path::Path;
use std::time::Duration;

/// The field side, built.
#[derive(Debug, Default)]
pub(crate) struct Field {
    pub(crate) buses: Vec<BusConfig>,
    pub(crate) points: Vec<PointConfig>,
}

struct RawBus {
    name: Located<String>,
    transport: Option<Transport>,
    gap: Duration,
    layer: Layer,
}

struct Template {
    name: Located<String>,
    layer: Layer,
    points: Vec<RawPoint>,
}

struct RawDevice {
    id: Option<DeviceId>,
    place: Place,
    bus: Option<Located<String>>,
    unit: Option<Located<i64>>,
    template: Option<Located<String>>,
    layer: Layer,
    points: Vec<RawPoint>,
}

const NAME: &str = "1 to 63 characters of a-z, 0-9, '-' and '_'";

/// Reads `[bus.*]`, `[template.*]` and `[device.*]` under the given defaults.
pub(crate) fn read(root: &Table<'_>, defaults: &Layer, base: &Path) -> Field {
    let notes = root.notes();
    let buses: Vec<_> = root.named("bus").into_iter().map(read_bus).collect();
    let templates = root.named("template").into_iter();
    let templates: Vec<_> = templates
        .map(|(name, table)| read_template(name, table, base))
        .collect();
    let devices = root.named("device").into_iter();
    let devices: Vec<_> = devices
        .map(|(name, table)| read_device(name, table, base))
        .collect();
    warn_unused(&buses, &templates, &devices, notes);
    check_ports(&buses, notes);
    build::build(buses, &templates, &devices, defaults, notes)
}

fn read_bus((name, table): (Located<String>, Table<'_>)) -> RawBus {
    check_name(&name, table.notes());
    let kinds = [("modbus-tcp", true), ("modbus-rtu", false)];
    let kind = table.require("kind", table.word("kind", &kinds), "modbus-tcp, modbus-rtu");
    let transport = match kind.map(|kind| kind.value) {
        Some(true) => {
            const ADDR: &str = "host and port: \"10.0.7.20:502\"";
            let addr = table.require("addr", table.parse("addr", ADDR, parse_addr), ADDR);
            addr.map(|addr| Transport::Tcp {
                host: addr.value.0,
                port: addr.value.1,
            })
        }
        Some(false) => {
            const PORT: &str = "the path of a serial port: \"/dev/serial/by-id/…\"";
            const LINE: &str = "speed and format: \"19200 8E1\"";
            let path = table.require("port", table.text("port"), PORT);
            let line = table.parse("line", LINE, str::parse::<LineSettings>);
            let line = table.require("line", line, LINE);
            path.zip(line).map(|(path, line)| Transport::Rtu {
                path: path.value.into(),
                line: line.value,
            })
        }
        None => {
            // Both kinds' keys are known, so that a wrong kind is the one problem that is told.
            for key in ["addr", "port", "line"] {
                table.has(key);
            }
            None
        }
    };
    let gap = table.duration("gap", Duration::ZERO..=Duration::from_secs(1));
    let layer = Layer::read(&table);
    table.finish();
    RawBus {
        name,
        transport,
        gap: gap.map_or(Duration::ZERO, |gap| gap.value),
        layer,
    }
}

fn parse_addr(text: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, "502"),
        Some((host, port)) => (host, port),
        None => (text, "502"),
    };
    let port = port.parse().ok().filter(|port| *port > 0);
    let host = host.trim_matches(['[', ']']);
    if host.is_empty() || host.contains([' ', '/']) {
        return Err("not a host name or address");
    }
    Ok((host.to_owned(), port.ok_or("the port is not 1..65535")?))
}

fn read_template(name: Located<String>, table: Table<'_>, base: &Path) -> Template {
    check_name(&name, table.notes());
    let notes = table.notes();
    let Some(file) = table.text("file") else {
        let (layer, points) = read_map(&table);
        table.finish();
        return Template {
            name,
            layer,
            points,
        };
    };
    let path = resolve(base, &file.value);
    let mut template = Template {
        name,
        layer: Layer::default(),
        points: Vec::new(),
    };
    if let Some(source) = notes.read_file(&path, Some(&file.place)) {
        let content = notes::parse(&source, notes);
        let root = Table::root(&content, &source, notes);
        root.integer("schema", 1..=1);
        (template.layer, template.points) = read_map(&root);
        root.finish();
    }
    table.finish();
    template
}

/// A register map: a level's settings and points.
fn read_map(table: &Table<'_>) -> (Layer, Vec<RawPoint>) {
    let layer = Layer::read(table);
    let points = point::read_list(table);
    if points.is_empty() && !table.has("points") {
        let message = "a template without points";
        let allowed = "points = [ { id = \"…\", at = \"…\" }, … ], or file = \"…\"";
        table
            .notes()
            .push(Problem::error(&table.place(), message, allowed));
    }
    (layer, points)
}

fn read_device(name: Located<String>, table: Table<'_>, base: &Path) -> RawDevice {
    let notes = table.notes();
    let id = check_name(&name, notes);
    let bus = table.require("bus", table.text("bus"), "the name of a [bus.…]");
    let unit = table.integer("unit", 0..=255);
    let unit = table.require(
        "unit",
        unit,
        "the unit id: 1..247 on a serial line, 0..255 over TCP",
    );
    let template = table.text("template");
    let layer = Layer::read(&table);
    let mut points = point::read_list(&table);
    if let Some(list) = table.text("points_file") {
        let path = resolve(base, &list.value);
        if let Some(source) = notes.read_file(&path, Some(&list.place)) {
            points.extend(point::read_file(&source, notes, &list.place.key));
        }
    }
    if !["template", "points", "points_file"]
        .iter()
        .any(|key| table.has(key))
    {
        let message = format!("device {} has no points", name.value);
        let allowed = "template = \"…\", points = [ … ] or points_file = \"….csv\"";
        notes.push(Problem::error(&table.place(), message, allowed));
    }
    table.finish();
    RawDevice {
        id,
        place: name.place,
        bus,
        unit,
        template,
        layer,
        points,
    }
}

fn check_name(name: &Located<String>, notes: &Notes<'_>) -> Option<DeviceId> {
    let id = DeviceId::try_new(&name.value);
    let id = id.map_err(|error| notes.push(Problem::error(&name.place, error.to_string(), NAME)));
    id.ok()
}

fn warn_unused(buses: &[RawBus], templates: &[Template], devices: &[RawDevice], notes: &Notes<'_>) {
    let used = |name: &Located<String>, of: fn(&RawDevice) -> Option<&Located<String>>| {
        devices
            .iter()
            .any(|device| of(device).is_some_and(|used| used.value == name.value))
    };
    for bus in buses
        .iter()
        .filter(|bus| !used(&bus.name, |d| d.bus.as_ref()))
    {
        let message = format!("no device is on bus {}", bus.name.value);
        notes.push(Problem::warning(
            &bus.name.place,
            message,
            "a [device.…] with this bus",
        ));
    }
    for template in templates
        .iter()
        .filter(|t| !used(&t.name, |d| d.template.as_ref()))
    {
        let message = format!("no device uses template {}", template.name.value);
        notes.push(Problem::warning(
            &template.name.place,
            message,
            "a [device.…] with this template",
        ));
    }
}

/// A serial port has one owner; a TCP device may well refuse a second connection.
fn check_ports(buses: &[RawBus], notes: &Notes<'_>) {
    for (index, bus) in buses.iter().enumerate() {
        let earlier = buses.iter().take(index);
        let same = |other: &&RawBus| match (&other.transport, &bus.transport) {
            (Some(Transport::Rtu { path: a, .. }), Some(Transport::Rtu { path: b, .. })) => a == b,
            (Some(a), Some(b)) => a == b,
            _ => false,
        };
        if let Some(other) = earlier.into_iter().find(same) {
            let message = format!("the same port as bus {}", other.name.value);
            let allowed = "one bus a port; several devices may share it";
            notes.push(Problem::error(&bus.name.place, message, allowed));
        }
    }
}
