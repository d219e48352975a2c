//! Buses, templates and devices of Bluetooth LE: from what is written to what the driver takes.

mod point;

use crate::bus::BusConfig;
use crate::field::{self, Builder, Entry};
use crate::key::kinds::{Durations, Flag, List, Parsed, Texts, Whole, Words};
use crate::key::{Group, Key, Section};
use crate::notes::Notes;
use crate::point::{POINTS_FILE, read_file, read_list};
use crate::poll::parse_backoff;
use crate::problem::Problem;
use crate::report::{self, Report};
use crate::settings::resolve;
use crate::source::{Located, Place};
use crate::walk::Table;
use point::{HEARD, READ, RawPoint};
use protocols_ble::config::{
    Adapter, Address, Adverts, BindKey, Bus, Device, Format, Gatt, INTERVALS, Identity, Kind,
    Pattern, RSSI, SILENCES, TABLE, TIMEOUTS, Uuid,
};
use std::path::Path;
use std::time::Duration;

const ADAPTER: Key<Parsed<Adapter>> = Key::new(
    "adapter",
    Parsed {
        allowed: "\"hci0\", or the adapter's address \"00:1A:7D:DA:71:13\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "the adapter: BlueZ' name of it, or its address, which survives another order at start",
)
.default("hci0");
const MIN_RSSI: Key<Whole> = Key::new(
    "min_rssi",
    Whole(*RSSI.start() as i64, *RSSI.end() as i64),
    "in dBm; weaker advertisements are ignored, whoever sends them",
)
.otherwise("all are taken");
const ALLOW: Key<Texts> = Key::new(
    "allow",
    Texts("a list: [\"A4:C1:38:*\", \"uuid:fcd2\", \"company:0499\", \"name:ATC_*\"]"),
    "which devices without a configuration are kept in the table and reported; configured ones are always allowed",
)
.otherwise("whoever is heard");
const MAX_STRANGERS: Key<Whole> = Key::new(
    "max_strangers",
    Whole::sizes(*TABLE.start(), *TABLE.end()),
    "devices without a configuration that are remembered; the one heard longest ago makes room",
)
.default(Whole::sizes(Bus::MAX_STRANGERS, 0).0);
const REPORT_STRANGERS: Key<Flag> = Key::new(
    "report_strangers",
    Flag,
    "an event when an allowed device without a configuration is first heard, at most one a minute",
)
.default(false);
const SILENCE: Key<Durations> = Key::new(
    "silence",
    Durations(*SILENCES.start(), *SILENCES.end()),
    "after so long without a single advertisement the adapter is repaired",
)
.otherwise("three times the shortest interval of its devices, at least 1m");

const ADDRESS: Key<Parsed<Address>> = Key::new(
    "address",
    Parsed {
        allowed: "six bytes: \"A4:C1:38:01:02:03\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "recognises the device by its address",
)
.otherwise("uuid or namespace");
const UUID: Key<Parsed<Uuid>> = Key::new(
    "uuid",
    Parsed {
        allowed: "a proximity UUID: \"e2c56db5-dffb-48d2-b060-d0f5a71096e0\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "recognises an iBeacon",
)
.otherwise("address or namespace");
const BEACON_NUMBER: Whole = Whole(0, 65_535);
const MAJOR: Key<Whole> = Key::new("major", BEACON_NUMBER, "group of the iBeacon").otherwise("any");
const MINOR: Key<Whole> =
    Key::new("minor", BEACON_NUMBER, "number of the iBeacon").otherwise("any");
const NAMESPACE: Key<Parsed<[u8; 10]>> = Key::new(
    "namespace",
    Parsed {
        allowed: "ten bytes in hexadecimal: \"edd1ebeac04e5defa017\"",
        parse: |text| hex(text).ok_or_else(|| "not ten bytes in hexadecimal".to_owned()),
    },
    "recognises an Eddystone beacon",
)
.otherwise("address or uuid");
const INSTANCE: Key<Parsed<[u8; 6]>> = Key::new(
    "instance",
    Parsed {
        allowed: "six bytes in hexadecimal: \"0badc0de0001\"",
        parse: |text| hex(text).ok_or_else(|| "not six bytes in hexadecimal".to_owned()),
    },
    "instance of the Eddystone beacon",
)
.otherwise("any");
const BIND_KEY: Key<crate::key::kinds::Text> = Key::new(
    "key",
    crate::key::kinds::Text("a file that only its owner may read: \"file:keys/cellar\""),
    "the key of encrypted BTHome, by file; with it, advertisements that are not encrypted are refused",
)
.otherwise("advertisements are plain");

const DECODE: Key<Words<Format>> = Key::new(
    "decode",
    Words(&[
        ("bthome", Format::Bthome),
        ("ruuvi", Format::Ruuvi),
        ("ibeacon", Format::Ibeacon),
        ("eddystone", Format::Eddystone),
        ("atc", Format::Atc),
        ("pvvx", Format::Pvvx),
    ]),
    "the device is heard: format of its advertisements",
)
.otherwise("the device is connected to");
const CONNECT: Key<Flag> = Key::new(
    "connect",
    Flag,
    "the device is connected to, and its characteristics are read, subscribed and written",
)
.default(false);
pub(super) const INTERVAL: Key<Durations> = Key::new(
    "interval",
    Durations(*INTERVALS.start(), *INTERVALS.end()),
    "the span within which the device speaks: each such span of silence is a reading \"timeout\"; three times what the sensor is set to, or more",
)
.default(Adverts::INTERVAL);
const TIME: Durations = Durations(*TIMEOUTS.start(), *TIMEOUTS.end());
const TIMEOUT: Key<Durations> = Key::new(
    "timeout",
    TIME,
    "how long one read, write or subscription may take",
)
.default(Duration::from_secs(10));
const CONNECT_TIMEOUT: Key<Durations> = Key::new(
    "connect_timeout",
    TIME,
    "how long connecting may take, finding its services included",
)
.default(Duration::from_secs(45));
const BACKOFF: Key<Parsed<(Duration, Duration)>> = Key::new(
    "backoff",
    Parsed {
        allowed: "first and longest wait: \"5s..10m\"",
        parse: parse_backoff,
    },
    "waits after failed connections, doubling from the first to the longest",
)
.default("5s..5m");
const POINTS: Key<List> = Key::new("points", List(const { &[&HEARD, &READ] }), "the points");

/// What a template says for its devices, or a device for itself.
static MODEL: Group = Group {
    title: "Model of a Bluetooth LE device",
    help: "May be said in a template and in a device, which wins.",
    keys: &[
        &DECODE,
        &CONNECT,
        &INTERVAL,
        &TIMEOUT,
        &CONNECT_TIMEOUT,
        &BACKOFF,
        &POINTS,
        &report::REPORT,
    ],
};
pub(crate) static BUS: Section = Section::new(
    "[bus.NAME] of Bluetooth LE",
    "One adapter with the sensors it hears.",
    &[
        &field::KIND,
        &ADAPTER,
        &MIN_RSSI,
        &ALLOW,
        &MAX_STRANGERS,
        &REPORT_STRANGERS,
        &SILENCE,
        &report::REPORT,
    ],
)
.tagged("kind", "ble");
pub(crate) static TEMPLATE: Section = Section::new(
    "[template.NAME] of Bluetooth LE",
    "What sensors of one model share.",
    &[&field::FAMILY],
)
.with(&[&MODEL])
.tagged("kind", "ble");
pub(crate) static MAP_FILE: Section = Section::new(
    "Template file of Bluetooth LE",
    "The same keys in a file of their own, to be passed on.",
    &[&field::SCHEMA, &field::FAMILY],
)
.with(&[&MODEL])
.tagged("kind", "ble");
pub(crate) static DEVICE: Section = Section::new(
    "[device.NAME] on a Bluetooth LE bus",
    "One sensor: heard (`decode`) or connected to (`connect = true`).",
    &[
        &field::BUS_NAME,
        &field::TEMPLATE_NAME,
        &ADDRESS,
        &UUID,
        &MAJOR,
        &MINOR,
        &NAMESPACE,
        &INSTANCE,
        &BIND_KEY,
        &POINTS_FILE,
    ],
)
.with(&[&MODEL]);

/// A bus being put together.
pub(crate) struct RawBus {
    bus: Bus,
    report: Option<Report>,
}

/// What is said of a model.
pub(crate) struct Map {
    format: Option<Located<Format>>,
    connect: Option<Located<bool>>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    backoff: Option<(Duration, Duration)>,
    report: Option<Report>,
    points: Vec<RawPoint>,
}

pub(crate) fn read_bus(name: &str, table: &Table<'_>) -> RawBus {
    let mut bus = Bus::new(name, ADAPTER.value(table.get(&ADAPTER)), Vec::new());
    let rssi = table.get(&MIN_RSSI);
    bus.min_rssi = rssi.and_then(|rssi| i16::try_from(rssi.value).ok());
    for text in table.get(&ALLOW).map_or_else(Vec::new, |list| list.value) {
        match text.value.parse::<Pattern>() {
            Ok(pattern) => bus.allow.push(pattern),
            Err(error) => {
                let message = format!("{:?}: {error}", text.value);
                let problem = Problem::error(&text.place, message, ALLOW.kind.0);
                table.notes().push(problem);
            }
        }
    }
    let strangers = MAX_STRANGERS.value(table.get(&MAX_STRANGERS));
    bus.max_strangers = usize::try_from(strangers).unwrap_or(Bus::MAX_STRANGERS);
    bus.report_strangers = REPORT_STRANGERS.value(table.get(&REPORT_STRANGERS));
    bus.silence = table.get(&SILENCE).map(|silence| silence.value);
    let report = report::read(table).map(|report| report.value);
    RawBus { bus, report }
}

/// Reads what is said of a model.
pub(crate) fn read_model(table: &Table<'_>) -> Map {
    Map {
        format: table.get(&DECODE),
        connect: table.get(&CONNECT),
        interval: table.get(&INTERVAL).map(|found| found.value),
        timeout: table.get(&TIMEOUT).map(|found| found.value),
        connect_timeout: table.get(&CONNECT_TIMEOUT).map(|found| found.value),
        backoff: table.get(&BACKOFF).map(|found| found.value),
        report: report::read(table).map(|found| found.value),
        points: read_list(table, &POINTS, point::read),
    }
}

/// A template: a model that has points.
pub(crate) fn read_map(table: &Table<'_>) -> Map {
    let map = read_model(table);
    field::check_template_has_points(table, table.has(&POINTS));
    map
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
    let identity = read_identity(table);
    let mut own = read_model(table);
    let both = const { &[&HEARD, &READ] };
    own.points.extend(read_file(table, base, both, point::read));
    field::check_device_has_points(entry, table, table.has(&POINTS));
    let key = read_key(table, base);
    let format = own.format.as_ref();
    let format = format.or(template.and_then(|map| map.format.as_ref()));
    let connect = own.connect.as_ref();
    let connect = connect.or(template.and_then(|map| map.connect.as_ref()));
    let connected = connect.is_some_and(|connect| connect.value);
    if format.is_none() && table.has(&DECODE) {
        // A format that is none is told already.
        return;
    }
    if connected == format.is_some() {
        let message = if connected {
            "`decode` and `connect` exclude each other: it is heard or connected to"
        } else {
            "neither heard nor connected to"
        };
        let place = format.map_or_else(|| table.place(), |format| format.place.clone());
        let allowed = "decode = \"bthome\" (or another format), or connect = true";
        table.notes().push(Problem::error(&place, message, allowed));
        return;
    }
    let from_template = template.map_or(&[][..], |map| &map.points);
    let mut described = Vec::new();
    for raw in from_template.iter().chain(&own.points) {
        match raw.about(format.map(|format| format.value)) {
            Ok(about) => described.push((raw, about)),
            Err((message, allowed)) => {
                let place = &raw.head().place;
                table.notes().push(Problem::error(place, message, allowed));
            }
        }
    }
    let (Some(id), Some(identity), Ok(key)) = (entry.id, identity, key) else {
        return;
    };
    builder.device(id, entry.place);
    let report = own.report.or(template.and_then(|map| map.report));
    let report = report.or(bus.report).or(builder.defaults.poll.report);
    let mut points = Vec::new();
    for (raw, about) in described {
        let key = builder.point(id, raw.head(), about, report);
        points.extend(key.map(|key| (key, raw)));
    }
    let pick = |of: fn(&Map) -> Option<Duration>| of(&own).or_else(|| of(template?));
    let kind = match format {
        Some(format) => Kind::Adverts(Adverts {
            format: format.value,
            key,
            interval: INTERVAL.or_default(pick(|map| map.interval)),
            points: points
                .iter()
                .filter_map(|(key, raw)| raw.heard(*key))
                .collect(),
        }),
        None => {
            let backoff = own.backoff.or(template.and_then(|map| map.backoff));
            let (backoff_min, backoff_max) = BACKOFF.or_default(backoff);
            Kind::Gatt(Gatt {
                timeout: TIMEOUT.or_default(pick(|map| map.timeout)),
                connect_timeout: CONNECT_TIMEOUT.or_default(pick(|map| map.connect_timeout)),
                backoff_min,
                backoff_max,
                points: points
                    .iter()
                    .filter_map(|(key, raw)| raw.read(*key))
                    .collect(),
            })
        }
    };
    bus.bus.devices.push(Device {
        id: id.clone(),
        identity,
        kind,
    });
}

fn read_identity(table: &Table<'_>) -> Option<Identity> {
    let (address, uuid, namespace) = (table.get(&ADDRESS), table.get(&UUID), table.get(&NAMESPACE));
    let number = |key| {
        table
            .get(key)
            .and_then(|found| u16::try_from(found.value).ok())
    };
    let (major, minor) = (number(&MAJOR), number(&MINOR));
    let instance = table.get(&INSTANCE).map(|found| found.value);
    let written = [table.has(&ADDRESS), table.has(&UUID), table.has(&NAMESPACE)];
    let written = written.iter().filter(|written| **written).count();
    if written != 1 {
        let message = if written == 0 {
            "nothing says how the device is recognised"
        } else {
            "the device is recognised in more than one way"
        };
        let allowed = "one of address, uuid (with major, minor) or namespace (with instance)";
        let problem = Problem::error(&table.place(), message, allowed);
        table.notes().push(problem);
        return None;
    }
    let loose = [
        (
            table.has(&MAJOR) || table.has(&MINOR),
            uuid.is_none(),
            "`major` and `minor` belong to a uuid",
        ),
        (
            table.has(&INSTANCE),
            namespace.is_none(),
            "`instance` belongs to a namespace",
        ),
    ];
    for (said, without, message) in loose {
        if said && without {
            let problem = Problem::error(&table.place(), message, "leave it out");
            table.notes().push(problem);
        }
    }
    address
        .map(|address| Identity::Address(address.value))
        .or_else(|| {
            uuid.map(|uuid| Identity::Ibeacon {
                uuid: uuid.value,
                major,
                minor,
            })
        })
        .or_else(|| {
            namespace.map(|namespace| Identity::Eddystone {
                namespace: namespace.value,
                instance,
            })
        })
}

/// The bind key by file. A device whose key cannot be read is left out: without its key anybody's
/// advertisements would be taken for its own.
fn read_key(table: &Table<'_>, base: &Path) -> Result<Option<BindKey>, ()> {
    let Some(named) = table.get(&BIND_KEY) else {
        return if table.has(&BIND_KEY) {
            Err(())
        } else {
            Ok(None)
        };
    };
    let notes: &Notes<'_> = table.notes();
    let Some(path) = named.value.strip_prefix("file:") else {
        let message = "a secret is named by its file and never written here";
        // The line itself would show it: the device is the place.
        let place = Place {
            key: named.place.key,
            ..table.place()
        };
        notes.push(Problem::error(&place, message, BIND_KEY.kind.0));
        return Err(());
    };
    let path = resolve(base, path);
    let text = notes.read_secret(&path, &named.place).ok_or(())?;
    match text.parse() {
        Ok(key) => Ok(Some(key)),
        Err(error) => {
            let message = format!("{}: {error}", path.display());
            notes.push_of_file(Problem::error(
                &named.place,
                message,
                "32 hexadecimal digits",
            ));
            Err(())
        }
    }
}

/// The bus as its driver takes it; what the driver finds wrong is noted where it was written.
pub(crate) fn finish(name: &Located<String>, raw: RawBus, builder: &Builder<'_>) -> BusConfig {
    for error in raw.bus.check() {
        let at = (error.device.as_ref(), error.point.as_ref());
        builder.note(at, &name.place, error.problem.to_string());
    }
    BusConfig::Ble(raw.bus.into())
}

/// The adapter, for the check that each has one owner.
pub(crate) fn port(raw: &RawBus) -> String {
    raw.bus.adapter.to_string()
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Vec<u8> = text
        .trim()
        .chars()
        .filter(|c| !matches!(c, ':' | '-'))
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.try_into().ok().filter(|_| rest.is_empty())
}
