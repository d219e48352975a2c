//! Buses, templates and devices of Modbus: from what is written to what the driver takes.

pub(crate) mod level;
mod point;

use crate::bus::BusConfig;
use crate::field::{self, Builder, Entry};
use crate::key::kinds::{Durations, Flag, Inner, List, Parsed, Text, Whole};
use crate::key::{Key, Section};
use crate::point::{POINTS_FILE, read_file, read_list};
use crate::poll::POLL;
use crate::problem::Problem;
use crate::source::Located;
use crate::walk::Table;
use level::{LEVEL, Layer};
use point::{POINT, RawPoint};
use protocols_line::{DELAYS, LineSettings, Rs485};
use protocols_modbus::config::{Bus, Device, Transport};
use protocols_modbus::load::load;
use protocols_model::DeviceId;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const ADDR: Key<Parsed<(String, u16)>> = Key::new(
    "addr",
    Parsed {
        allowed: "host and port: \"10.0.7.20:502\"",
        parse: |text| parse_addr(text).map_err(str::to_owned),
    },
    "where the device or its gateway listens; port 502 when left out",
)
.required();
pub(crate) const PORT: Key<Text> = Key::new(
    "port",
    Text("the path of a serial port: \"/dev/serial/by-id/…\""),
    "the serial port; a /dev/serial/by-id path survives replugging",
)
.required();
pub(crate) const LINE: Key<Parsed<LineSettings>> = Key::new(
    "line",
    Parsed {
        allowed: "speed and format: \"19200 8E1\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "speed (300 to 4000000 baud) and character format of the line",
)
.required();
const GAP: Key<Durations> = Key::new(
    "gap",
    Durations(Duration::ZERO, Duration::from_secs(1)),
    "silence before each request; on a serial line at least 3.5 characters are kept",
)
.default(Duration::ZERO);
const FORCE: Key<Flag> = Key::new(
    "force",
    Flag,
    "run although the polls need more than 95 % of the bus: some will be late",
)
.default(false);
pub(crate) const RS485: Key<Inner> = Key::new(
    "rs485",
    Inner(const { &[&DIRECTION] }),
    "direction control by the kernel; most adapters switch by themselves and need none",
)
.otherwise("none");
const RTS_ON_SEND: Key<Flag> =
    Key::new("rts_on_send", Flag, "RTS is high while sending").default(true);
const RTS_AFTER_SEND: Key<Flag> =
    Key::new("rts_after_send", Flag, "RTS is high while not sending").default(false);
const DELAY: Durations = Durations(*DELAYS.start(), *DELAYS.end());
const DELAY_BEFORE: Key<Durations> = Key::new(
    "delay_before",
    DELAY,
    "from switching to the first character, whole milliseconds",
)
.default(Duration::ZERO);
const DELAY_AFTER: Key<Durations> = Key::new(
    "delay_after",
    DELAY,
    "from the last character to switching back, whole milliseconds",
)
.default(Duration::ZERO);
const RX_DURING_TX: Key<Flag> = Key::new(
    "rx_during_tx",
    Flag,
    "the receiver listens while we send, and so hears us",
)
.default(false);
const UNIT: Key<Whole> = Key::new(
    "unit",
    Whole(0, 255),
    "the unit id: 1..247 on a serial line, or 0 to broadcast writes; 0..255 over TCP",
)
.required();
pub(super) const POINTS: Key<List> = Key::new("points", List(const { &[&POINT] }), "the points");

static DIRECTION: Section = Section::inline(&[
    &RTS_ON_SEND,
    &RTS_AFTER_SEND,
    &DELAY_BEFORE,
    &DELAY_AFTER,
    &RX_DURING_TX,
]);
pub(crate) static TCP: Section = Section::new(
    "[bus.NAME] of Modbus TCP",
    "One TCP endpoint; the devices behind it share one connection.",
    &[&field::KIND, &ADDR, &GAP, &FORCE],
)
.with(&[&POLL, &LEVEL])
.tagged("kind", "modbus-tcp");
pub(crate) static RTU: Section = Section::new(
    "[bus.NAME] of Modbus RTU",
    "One serial line of this machine.",
    &[&field::KIND, &PORT, &LINE, &RS485, &GAP, &FORCE],
)
.with(&[&POLL, &LEVEL])
.tagged("kind", "modbus-rtu");
pub(crate) static RTU_OVER_TCP: Section = Section::new(
    "[bus.NAME] of Modbus RTU over TCP",
    "A serial line behind a server that passes its bytes on as they are; `line` is that of the line behind it.",
    &[&field::KIND, &ADDR, &LINE, &GAP, &FORCE],
)
.with(&[&POLL, &LEVEL])
.tagged("kind", "modbus-rtu-over-tcp");
pub(crate) static TEMPLATE: Section = Section::new(
    "[template.NAME] of Modbus",
    "A register map and the quirks of a model, shared by its devices.",
    &[&field::FAMILY, &POINTS],
)
.with(&[&POLL, &LEVEL])
.tagged("kind", "modbus");
pub(crate) static MAP_FILE: Section = Section::new(
    "Template file of Modbus",
    "The same keys in a file of their own, to be passed on.",
    &[&field::SCHEMA, &field::FAMILY, &POINTS],
)
.with(&[&POLL, &LEVEL])
.tagged("kind", "modbus");
pub(crate) static DEVICE: Section = Section::new(
    "[device.NAME] on a Modbus bus",
    "One unit of a bus.",
    &[
        &field::BUS_NAME,
        &UNIT,
        &field::TEMPLATE_NAME,
        &POINTS,
        &POINTS_FILE,
    ],
)
.with(&[&POLL, &LEVEL]);

/// A bus being put together; the default one is nowhere.
#[derive(Default)]
pub(crate) struct RawBus {
    transport: Option<Transport>,
    gap: Duration,
    force: bool,
    layer: Layer,
    units: BTreeMap<u8, DeviceId>,
    devices: Vec<Device>,
}

/// A register map: a level's settings and points.
pub(crate) struct Map {
    layer: Layer,
    points: Vec<RawPoint>,
}

/// Which transport a kind of bus has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Tcp,
    Rtu,
    RtuOverTcp,
}

pub(crate) fn read_bus(table: &Table<'_>, way: Way) -> RawBus {
    let addr = |table: &Table<'_>| table.get(&ADDR).map(|addr| addr.value);
    let line = |table: &Table<'_>| table.get(&LINE).map(|line| line.value);
    let transport = match way {
        Way::Tcp => addr(table).map(|(host, port)| Transport::Tcp { host, port }),
        Way::Rtu => {
            let (path, line) = (table.get(&PORT), line(table));
            let rs485 = read_rs485(table);
            path.zip(line).map(|(path, line)| Transport::Rtu {
                path: path.value.into(),
                line,
                rs485,
            })
        }
        Way::RtuOverTcp => {
            let both = addr(table).zip(line(table));
            both.map(|((host, port), line)| Transport::RtuOverTcp { host, port, line })
        }
    };
    RawBus {
        transport,
        gap: GAP.value(table.get(&GAP)),
        force: FORCE.value(table.get(&FORCE)),
        layer: Layer::read(table),
        units: BTreeMap::new(),
        devices: Vec::new(),
    }
}

pub(crate) fn read_rs485(table: &Table<'_>) -> Option<Rs485> {
    let table = table.table(&RS485)?;
    let rs485 = Rs485 {
        rts_on_send: RTS_ON_SEND.value(table.get(&RTS_ON_SEND)),
        rts_after_send: RTS_AFTER_SEND.value(table.get(&RTS_AFTER_SEND)),
        delay_before: DELAY_BEFORE.value(table.get(&DELAY_BEFORE)),
        delay_after: DELAY_AFTER.value(table.get(&DELAY_AFTER)),
        rx_during_tx: RX_DURING_TX.value(table.get(&RX_DURING_TX)),
    };
    table.finish();
    Some(rs485)
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

pub(crate) fn read_map(table: &Table<'_>) -> Map {
    let layer = Layer::read(table);
    let points = read_list(table, &POINTS, point::read);
    field::check_template_has_points(table, table.has(&POINTS));
    Map { layer, points }
}

/// Reads a device and adds it to its bus.
pub(crate) fn read_device(
    entry: &Entry<'_>,
    table: &Table<'_>,
    bus: &mut RawBus,
    template: Option<&Map>,
    builder: &mut Builder<'_>,
    base: &Path,
) {
    let notes = table.notes();
    let unit = table.get(&UNIT);
    let own = Layer::read(table);
    let mut points = read_list(table, &POINTS, point::read);
    points.extend(read_file(table, base, const { &[&POINT] }, point::read));
    field::check_device_has_points(entry, table, table.has(&POINTS));
    let mut outer = bus.layer.clone().over(builder.defaults);
    if let Some(template) = template {
        outer = template.layer.clone().over(&outer);
    }
    let layer = own.over(&outer);
    let (Some(id), Some(unit)) = (entry.id, unit) else {
        return;
    };
    // The key allows 0..=255 only.
    let number = u8::try_from(unit.value).unwrap_or(u8::MAX);
    if let Some(other) = bus.units.insert(number, id.clone()) {
        let message = format!("unit {number} of this bus is already device {other}");
        notes.push(Problem::error(&unit.place, message, "one device a unit"));
    }
    builder.device(id, entry.place);
    let from_template = template.map_or(&[][..], |template| &template.points);
    let mut built = Vec::new();
    for raw in from_template.iter().chain(&points) {
        let Some(mut point) = raw.under(&layer, notes) else {
            continue;
        };
        let unit = raw.head.unit.clone().unwrap_or_default();
        let about = (point.value_type(), unit, point.scale.factor());
        if let Some(key) = builder.point(id, &raw.head, about, layer.poll.report) {
            point.key = key;
            built.push(point);
        }
    }
    // As large as it is for as long as the gateway runs.
    built.shrink_to_fit();
    bus.devices.push(Device {
        id: id.clone(),
        unit: number,
        timeout: layer.poll.timeout(),
        retry: layer.retry(),
        limits: layer.limits(),
        quirks: layer.quirks(),
        points: built,
    });
}

/// The bus as its driver takes it; what the driver finds wrong is noted where it was written.
pub(crate) fn finish(
    name: &Located<String>,
    raw: RawBus,
    builder: &Builder<'_>,
) -> Option<BusConfig> {
    let bus = Bus {
        name: name.value.as_str().into(),
        transport: raw.transport?,
        gap: raw.gap,
        devices: raw.devices,
    };
    let errors = bus.check();
    for error in &errors {
        let at = (error.device.as_ref(), error.point.as_ref());
        builder.note(at, &name.place, error.problem.to_string());
    }
    // Of a bus that is wrong in itself nothing can be reckoned.
    if errors.is_empty()
        && !raw.force
        && let Err(overload) = load(&bus, None).check()
    {
        builder.overload(&name.place, overload.to_string());
    }
    Some(BusConfig::Modbus(bus.into()))
}

/// The serial port of a bus, for the check that each has one owner.
pub(crate) fn port(raw: &RawBus) -> Option<String> {
    match raw.transport.as_ref()? {
        Transport::Rtu { path, .. } => Some(path.display().to_string()),
        Transport::Tcp { host, port } | Transport::RtuOverTcp { host, port, .. } => {
            Some(format!("{host}:{port}"))
        }
    }
}
