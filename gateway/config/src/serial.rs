//! Buses, templates and devices on serial lines of their own: from what is written to what the driver
//! takes.

mod message;
mod point;

use crate::bus::BusConfig;
use crate::field::{self, Builder, Entry};
use crate::key::kinds::{Durations, Flag, List, Parsed, Texts, Whole, Words};
use crate::key::{Key, Section};
use crate::modbus::{LINE, PORT, RS485, read_rs485};
use crate::point::{POINTS_FILE, read_file, read_list};
use crate::poll::{POLL, Poll};
use crate::problem::Problem;
use crate::source::Located;
use crate::walk::Table;
use message::{MESSAGE, Said};
use point::{POINT, RawPoint};
use protocols_line::{FlowControl, PortConfig};
use protocols_serial::config::{
    Bus, Checksum, Command, Device, Framing, MAX_FRAMES, MAX_INIT, PAUSES, Retry,
};
use std::path::Path;
use std::time::Duration;

const FLOW: Key<Words<FlowControl>> = Key::new(
    "flow",
    Words(&[
        ("none", FlowControl::None),
        ("rts-cts", FlowControl::RtsCts),
        ("xon-xoff", FlowControl::XonXoff),
    ]),
    "how one end tells the other to wait",
)
.default("none");
const FRAME: Key<Parsed<Framing>> = Key::new(
    "frame",
    Parsed {
        allowed: "line, nmea, slip, cobs, \"end:\\r\\n\", \"start:\\x02 end:\\x03 tail:1\", \"fixed:8 start:\\xaa\", \"length:u8@1+2\", \"gap:20ms\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "how the stream of bytes is cut into frames",
)
.default("line");
const CHECK: Key<Parsed<Option<Checksum>>> = Key::new(
    "check",
    Parsed {
        allowed: "algorithm and where it stands: \"crc16/modbus le\", \"xor8 hex after:*\", \"sum8\", or \"none\"",
        parse: |text| match text {
            "none" => Ok(None),
            _ => text.parse().map(Some).map_err(|error| format!("{error}")),
        },
    },
    "the checksum of a frame; with one, a broken, merged or cut frame never becomes a value",
)
.otherwise("none; for frame = \"nmea\" that of NMEA");
const MAX_FRAME: Key<Whole> = Key::new(
    "max_frame",
    Whole::sizes(*MAX_FRAMES.start(), *MAX_FRAMES.end()),
    "bytes; what is longer is no frame",
)
.default(1024);
const PAUSE: Key<Durations> = Key::new(
    "pause",
    Durations(*PAUSES.start(), *PAUSES.end()),
    "a silence of so long inside a frame means that the rest of it is lost",
)
.default(Duration::from_millis(500));
const INIT: Key<Texts> = Key::new(
    "init",
    Texts("a list of commands: [\"*RST\\n\"]"),
    "commands sent after the port was opened; answers to them are not looked at",
)
.otherwise("nothing is sent");
const GAP: Key<Durations> = Key::new(
    "gap",
    Durations(Duration::ZERO, Duration::from_secs(10)),
    "silence before each question",
)
.default(Duration::ZERO);
const ECHO: Key<Flag> = Key::new(
    "echo",
    Flag,
    "the line gives back what we send before the answer: two-wire RS-485 that hears itself",
)
.default(false);
const POINTS: Key<List> = Key::new("points", List(const { &[&POINT] }), "the points");

pub(crate) static BUS: Section = Section::new(
    "[bus.NAME] of a serial line",
    "One serial line with devices that speak a protocol of their own. It is listened to, or asked: then all its read points have a question.",
    &[
        &field::KIND,
        &PORT,
        &LINE,
        &FLOW,
        &RS485,
        &FRAME,
        &CHECK,
        &MAX_FRAME,
        &PAUSE,
        &INIT,
        &GAP,
        &ECHO,
    ],
)
.with(&[&POLL, &MESSAGE])
.tagged("kind", "serial");
pub(crate) static TEMPLATE: Section = Section::new(
    "[template.NAME] of serial devices",
    "What devices of one model share.",
    &[&field::FAMILY, &POINTS],
)
.with(&[&POLL, &MESSAGE])
.tagged("kind", "serial");
pub(crate) static MAP_FILE: Section = Section::new(
    "Template file of serial devices",
    "The same keys in a file of their own, to be passed on.",
    &[&field::SCHEMA, &field::FAMILY, &POINTS],
)
.with(&[&POLL, &MESSAGE])
.tagged("kind", "serial");
pub(crate) static DEVICE: Section = Section::new(
    "[device.NAME] on a serial line",
    "One device of a line.",
    &[
        &field::BUS_NAME,
        &field::TEMPLATE_NAME,
        &POINTS,
        &POINTS_FILE,
    ],
)
.with(&[&POLL, &MESSAGE]);

/// A bus being put together.
pub(crate) struct RawBus {
    port: Option<PortConfig>,
    /// The bus without its port: made when that is known.
    bus: Bus,
    poll: Poll,
    said: Said,
}

/// A model: a level's settings and points.
pub(crate) struct Map {
    poll: Poll,
    said: Said,
    points: Vec<RawPoint>,
}

pub(crate) fn read_bus(name: &str, table: &Table<'_>) -> RawBus {
    let (path, line) = (table.get(&PORT), table.get(&LINE));
    let flow = FLOW.value(table.get(&FLOW));
    let rs485 = read_rs485(table);
    let port = path.zip(line).map(|(path, line)| PortConfig {
        path: path.value.into(),
        line: line.value,
        flow,
        rs485,
    });
    let framing = FRAME.value(table.get(&FRAME));
    let check = table.get(&CHECK);
    // Without a port the bus is not built; until then any stands in its place.
    let any = LINE_OF_NO_PORT.parse().expect("invariant: a line setting");
    let place = port.clone().unwrap_or_else(|| PortConfig::new("", any));
    let mut bus = Bus::new(name, place, framing);
    if let Some(check) = check {
        bus.checksum = check.value;
    }
    let max_frame = MAX_FRAME.value(table.get(&MAX_FRAME));
    bus.max_frame = usize::try_from(max_frame).unwrap_or(usize::MAX);
    bus.pause = PAUSE.value(table.get(&PAUSE));
    bus.init = read_init(table);
    bus.gap = GAP.value(table.get(&GAP));
    bus.echo = ECHO.value(table.get(&ECHO));
    RawBus {
        port,
        bus,
        poll: Poll::read(table),
        said: Said::read(table),
    }
}

const LINE_OF_NO_PORT: &str = "9600 8N1";

fn read_init(table: &Table<'_>) -> Vec<Command> {
    let list = table.get(&INIT);
    if let Some(list) = list.as_ref().filter(|list| list.value.len() > MAX_INIT) {
        let message = format!("{} commands", list.value.len());
        let allowed = format!("at most {MAX_INIT} commands");
        table
            .notes()
            .push(Problem::error(&list.place, message, allowed));
    }
    let mut commands = Vec::new();
    for text in list.map_or_else(Vec::new, |list| list.value) {
        match text.value.parse() {
            Ok(command) => commands.push(command),
            Err(error) => {
                let message = format!("{:?}: {error}", text.value);
                let problem = Problem::error(&text.place, message, INIT.kind.0);
                table.notes().push(problem);
            }
        }
    }
    commands
}

pub(crate) fn read_map(table: &Table<'_>) -> Map {
    let (poll, said) = (Poll::read(table), Said::read(table));
    let points = read_list(table, &POINTS, point::read);
    field::check_template_has_points(table, table.has(&POINTS));
    Map { poll, said, points }
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
    let (mut poll, mut said) = (Poll::read(table), Said::read(table));
    let mut points = read_list(table, &POINTS, point::read);
    points.extend(read_file(table, base, const { &[&POINT] }, point::read));
    field::check_device_has_points(entry, table, table.has(&POINTS));
    if let Some(template) = template {
        (poll, said) = (poll.over(&template.poll), said.over(&template.said));
    }
    poll = poll.over(&bus.poll).over(&builder.defaults.poll);
    said = said.over(&bus.said);
    let Some(id) = entry.id else { return };
    builder.device(id, entry.place);
    let (backoff_min, backoff_max) = poll.backoff();
    let mut device = Device::new(id.clone());
    device.timeout = poll.timeout();
    device.retry = Retry {
        fails: poll.fails(),
        backoff_min,
        backoff_max,
    };
    let from_template = template.map_or(&[][..], |template| &template.points);
    for raw in from_template.iter().chain(&points) {
        let built = raw.under(&poll, &said, &bus.bus.framing, &mut device, table.notes());
        let Some(mut point) = built else { continue };
        let unit = raw.head.unit.clone().unwrap_or_default();
        let about = (point.value_type(), unit, raw.grid());
        if let Some(key) = builder.point(id, &raw.head, about, poll.report) {
            point.key = key;
            device.points.push(point);
        }
    }
    bus.bus.devices.push(device);
}

/// The bus as its driver takes it; what the driver finds wrong is noted where it was written.
pub(crate) fn finish(
    name: &Located<String>,
    raw: RawBus,
    builder: &Builder<'_>,
) -> Option<BusConfig> {
    let bus = raw.bus;
    for error in bus.check() {
        let at = (error.device.as_ref(), error.point.as_ref());
        builder.note(at, &name.place, error.problem.to_string());
    }
    raw.port.map(|_| BusConfig::Serial(bus.into()))
}

/// The serial port, for the check that each has one owner.
pub(crate) fn port(raw: &RawBus) -> Option<String> {
    raw.port
        .as_ref()
        .map(|port| port.path.display().to_string())
}
