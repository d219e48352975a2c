//! Buses, templates and devices: the field side of the configuration, put together.
//!
//! Reads buses and templates, then each device under its bus and template: what a device may say
//! depends on the family of its bus. At the end the drivers' own rules check what only shows when the
//! parts come together. Order of points in the point table: devices in the order of the file, their
//! template's points, their own, their list's.

mod builder;

use crate::ble;
use crate::bus::BusConfig;
use crate::config::PointConfig;
use crate::key::kinds::{Named, Text, Whole, Words};
use crate::key::{Key, Section};
use crate::modbus::level::Layer;
use crate::modbus::{self, Way};
use crate::notes::{self, Notes};
use crate::point::POINTS_FILE;
use crate::problem::Problem;
use crate::serial;
use crate::settings::resolve;
use crate::source::{Located, Place};
use crate::walk::Table;
pub(crate) use builder::{About, Builder};
use protocols_model::DeviceId;
use std::cell::Cell;
use std::path::Path;

/// The field side, built.
#[derive(Debug, Default)]
pub(crate) struct Field {
    pub(crate) buses: Vec<BusConfig>,
    pub(crate) points: Vec<PointConfig>,
}

/// Which driver serves a bus, and how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BusKind {
    Modbus(Way),
    Serial,
    Ble,
}

/// Which family of devices a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FamilyKind {
    Modbus,
    Serial,
    Ble,
}

impl FamilyKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Modbus => "modbus",
            Self::Serial => "serial",
            Self::Ble => "ble",
        }
    }
}

pub(crate) const KIND: Key<Words<BusKind>> = Key::new(
    "kind",
    Words(&[
        ("modbus-tcp", BusKind::Modbus(Way::Tcp)),
        ("modbus-rtu", BusKind::Modbus(Way::Rtu)),
        ("modbus-rtu-over-tcp", BusKind::Modbus(Way::RtuOverTcp)),
        ("serial", BusKind::Serial),
        ("ble", BusKind::Ble),
    ]),
    "which devices are on the bus and how they are reached",
)
.required();
pub(crate) const FAMILY: Key<Words<FamilyKind>> = Key::new(
    "kind",
    Words(&[
        ("modbus", FamilyKind::Modbus),
        ("serial", FamilyKind::Serial),
        ("ble", FamilyKind::Ble),
    ]),
    "which devices the template is for",
)
.default("modbus");
pub(crate) const SCHEMA: Key<Whole> = Key::new(
    "schema",
    Whole(crate::config::SCHEMA, crate::config::SCHEMA),
    "version of this shape",
)
.default(crate::config::SCHEMA);
const FILE: Key<Text> = Key::new(
    "file",
    Text("the path of a template file"),
    "the template stands in a file of its own",
)
.required();
pub(crate) const BUS_NAME: Key<Text> =
    Key::new("bus", Text("the name of a [bus.…]"), "the bus it is on").required();
pub(crate) const TEMPLATE_NAME: Key<Text> = Key::new(
    "template",
    Text("the name of a [template.…]"),
    "its register map; its own points and points_file come on top",
)
.otherwise("none");

static TEMPLATE_FILE: Section = Section::new(
    "[template.NAME] in a file",
    "A template that stands in a file of its own; paths are relative to the configuration.",
    &[&FILE],
);
pub(crate) const BUSES: Key<Named> = Key::new(
    "bus",
    Named(
        const {
            &[
                &modbus::TCP,
                &modbus::RTU,
                &modbus::RTU_OVER_TCP,
                &serial::BUS,
                &ble::BUS,
            ]
        },
    ),
    "one physical line, endpoint or radio each",
);
pub(crate) const TEMPLATES: Key<Named> = Key::new(
    "template",
    Named(
        const {
            &[
                &modbus::TEMPLATE,
                &serial::TEMPLATE,
                &ble::TEMPLATE,
                &TEMPLATE_FILE,
            ]
        },
    ),
    "what devices of one model share",
);
/// What a template file may be.
pub(crate) const MAP_FILES: &[&Section] = &[&modbus::MAP_FILE, &serial::MAP_FILE, &ble::MAP_FILE];
pub(crate) const DEVICES: Key<Named> = Key::new(
    "device",
    Named(const { &[&modbus::DEVICE, &serial::DEVICE, &ble::DEVICE] }),
    "one device on a bus",
);

/// A bus, as far as it could be read.
struct NamedBus {
    name: Located<String>,
    bus: Option<RawBus>,
    used: Cell<bool>,
}

enum RawBus {
    Modbus(Box<modbus::RawBus>),
    Serial(Box<serial::RawBus>),
    Ble(Box<ble::RawBus>),
}

impl RawBus {
    const fn family(&self) -> FamilyKind {
        match self {
            Self::Modbus(_) => FamilyKind::Modbus,
            Self::Serial(_) => FamilyKind::Serial,
            Self::Ble(_) => FamilyKind::Ble,
        }
    }
}

struct Template {
    name: Located<String>,
    map: Option<Map>,
    used: Cell<bool>,
}

enum Map {
    Modbus(modbus::Map),
    Serial(serial::Map),
    Ble(ble::Map),
}

impl Map {
    const fn family(&self) -> FamilyKind {
        match self {
            Self::Modbus(_) => FamilyKind::Modbus,
            Self::Serial(_) => FamilyKind::Serial,
            Self::Ble(_) => FamilyKind::Ble,
        }
    }
}

/// A device that is being read: its name, as far as it is one, and where it stands.
pub(crate) struct Entry<'a> {
    pub(crate) id: Option<&'a DeviceId>,
    pub(crate) place: &'a Place,
}

const NAME: &str = "1 to 63 characters of a-z, 0-9, '-' and '_'";

/// Reads `[bus.*]`, `[template.*]` and `[device.*]` under the given defaults.
pub(crate) fn read(root: &Table<'_>, defaults: &Layer, base: &Path) -> Field {
    let notes = root.notes();
    let mut buses: Vec<_> = root.named(&BUSES).into_iter().map(read_bus).collect();
    let templates = root.named(&TEMPLATES).into_iter();
    let templates: Vec<_> = templates
        .map(|(name, table)| read_template(name, table, base))
        .collect();
    let mut builder = Builder::new(notes, defaults);
    for (name, table) in root.named(&DEVICES) {
        read_device(&name, table, &mut buses, &templates, &mut builder, base);
    }
    warn_unused(&buses, &templates, notes);
    check_ports(&buses, notes);
    let mut field = Field::default();
    for NamedBus { name, bus, used } in buses {
        let Some(bus) = bus.filter(|_| used.get()) else {
            continue;
        };
        let built = match bus {
            RawBus::Modbus(raw) => modbus::finish(&name, *raw, &builder),
            RawBus::Serial(raw) => serial::finish(&name, *raw, &builder),
            RawBus::Ble(raw) => Some(ble::finish(&name, *raw, &builder)),
        };
        field.buses.extend(built);
    }
    field.points = builder.points;
    field
}

fn read_bus((name, table): (Located<String>, Table<'_>)) -> NamedBus {
    check_name(&name, table.notes());
    let bus = table.get(&KIND).map(|kind| match kind.value {
        BusKind::Modbus(way) => {
            table.choose(match way {
                Way::Tcp => &modbus::TCP,
                Way::Rtu => &modbus::RTU,
                Way::RtuOverTcp => &modbus::RTU_OVER_TCP,
            });
            RawBus::Modbus(modbus::read_bus(&table, way).into())
        }
        BusKind::Serial => {
            table.choose(&serial::BUS);
            RawBus::Serial(serial::read_bus(&name.value, &table).into())
        }
        BusKind::Ble => {
            table.choose(&ble::BUS);
            RawBus::Ble(ble::read_bus(&name.value, &table).into())
        }
    });
    // The keys of all kinds are known as long as the kind is not: then it is the one problem told.
    table.finish();
    NamedBus {
        name,
        bus,
        used: Cell::new(false),
    }
}

fn read_template(name: Located<String>, table: Table<'_>, base: &Path) -> Template {
    check_name(&name, table.notes());
    let notes = table.notes();
    let map = if table.has(&FILE) {
        table.choose(&TEMPLATE_FILE);
        let file = table.get(&FILE);
        table.finish();
        file.and_then(|file| {
            let path = resolve(base, &file.value);
            let source = notes.read_file(&path, Some(&file.place))?;
            let content = notes::parse(&source, notes);
            let root = Table::root(&content, &source, notes, MAP_FILES);
            root.get(&SCHEMA);
            let map = root.get_map([&modbus::MAP_FILE, &serial::MAP_FILE, &ble::MAP_FILE]);
            root.finish();
            map
        })
    } else {
        let map = table.get_map([&modbus::TEMPLATE, &serial::TEMPLATE, &ble::TEMPLATE]);
        table.finish();
        map
    };
    Template {
        name,
        map,
        used: Cell::new(false),
    }
}

impl Table<'_> {
    /// The template that the table holds; `sections` are those of the families in their order.
    fn get_map(&self, sections: [&'static Section; 3]) -> Option<Map> {
        let found = self.get(&FAMILY);
        if found.is_none() && self.has(&FAMILY) {
            return None;
        }
        let [modbus, serial, ble] = sections;
        Some(match FAMILY.value(found) {
            FamilyKind::Modbus => {
                self.choose(modbus);
                Map::Modbus(modbus::read_map(self))
            }
            FamilyKind::Serial => {
                self.choose(serial);
                Map::Serial(serial::read_map(self))
            }
            FamilyKind::Ble => {
                self.choose(ble);
                Map::Ble(ble::read_map(self))
            }
        })
    }
}

fn read_device(
    name: &Located<String>,
    table: Table<'_>,
    buses: &mut [NamedBus],
    templates: &[Template],
    builder: &mut Builder<'_>,
    base: &Path,
) {
    let notes = table.notes();
    let id = check_name(name, notes);
    let bus = table.get(&BUS_NAME).and_then(|wanted| {
        let names = buses.iter().map(|bus| &bus.name);
        find(&wanted, names, "bus", notes)
    });
    let template = table.get(&TEMPLATE_NAME).and_then(|wanted| {
        let names = templates.iter().map(|template| &template.name);
        let found = templates.get(find(&wanted, names, "template", notes)?)?;
        found.used.set(true);
        Some((wanted, found))
    });
    let mut families = buses.iter().filter_map(|bus| bus.bus.as_ref());
    let one_family = families.all(|bus| bus.family() == FamilyKind::Modbus);
    let bus = bus.and_then(|index| buses.get_mut(index));
    let mut nowhere;
    let (on, bus) = match bus {
        Some(NamedBus { name, bus, used }) => {
            used.set(true);
            let Some(bus) = bus else { return };
            (name.value.clone(), bus)
        }
        // Which keys it may have follows from its bus. Where there is but one family, that is known.
        None if one_family => {
            nowhere = RawBus::Modbus(Box::default());
            (String::new(), &mut nowhere)
        }
        None => return,
    };
    let family = bus.family();
    let map = template.as_ref().and_then(|(wanted, template)| {
        let map = template.map.as_ref()?;
        if map.family() == family {
            return Some(map);
        }
        let message = format!(
            "template {} is for {} devices, and bus {} has {} devices",
            wanted.value,
            map.family().as_str(),
            on,
            family.as_str()
        );
        let allowed = format!("a template with kind = {:?}", family.as_str());
        notes.push(Problem::error(&wanted.place, message, allowed));
        None
    });
    let entry = Entry {
        id: id.as_ref(),
        place: &name.place,
    };
    match bus {
        RawBus::Modbus(bus) => {
            table.choose(&modbus::DEVICE);
            let map = map.and_then(|map| match map {
                Map::Modbus(map) => Some(map),
                Map::Serial(_) | Map::Ble(_) => None,
            });
            modbus::read_device(&entry, &table, bus, map, builder, base);
        }
        RawBus::Serial(bus) => {
            table.choose(&serial::DEVICE);
            let map = map.and_then(|map| match map {
                Map::Serial(map) => Some(map),
                Map::Modbus(_) | Map::Ble(_) => None,
            });
            serial::read_device(&entry, &table, bus, map, builder, base);
        }
        RawBus::Ble(bus) => {
            table.choose(&ble::DEVICE);
            let map = map.and_then(|map| match map {
                Map::Ble(map) => Some(map),
                Map::Modbus(_) | Map::Serial(_) => None,
            });
            ble::read_device(&entry, &table, bus, map, builder, base);
        }
    }
    table.finish();
}

/// A device is there to be read or written.
pub(crate) fn check_device_has_points(entry: &Entry<'_>, table: &Table<'_>, listed: bool) {
    if listed || table.has(&TEMPLATE_NAME) || table.has(&POINTS_FILE) {
        return;
    }
    let name = entry.id.map_or("", |id| id.as_str());
    let message = format!("device {name} has no points");
    let allowed = "template = \"…\", points = [ … ] or points_file = \"….csv\"";
    table
        .notes()
        .push(Problem::error(&table.place(), message, allowed));
}

/// A template is there for its points.
pub(crate) fn check_template_has_points(table: &Table<'_>, listed: bool) {
    if !listed {
        let message = "a template without points";
        let allowed = "points = [ { id = \"…\", at = \"…\" }, … ], or file = \"…\"";
        table
            .notes()
            .push(Problem::error(&table.place(), message, allowed));
    }
}

fn check_name(name: &Located<String>, notes: &Notes<'_>) -> Option<DeviceId> {
    let id = DeviceId::try_new(&name.value);
    let id = id.map_err(|error| notes.push(Problem::error(&name.place, error.to_string(), NAME)));
    id.ok()
}

fn warn_unused(buses: &[NamedBus], templates: &[Template], notes: &Notes<'_>) {
    for bus in buses.iter().filter(|bus| !bus.used.get()) {
        let message = format!("no device is on bus {}", bus.name.value);
        notes.push(Problem::warning(
            &bus.name.place,
            message,
            "a [device.…] with this bus",
        ));
    }
    for template in templates.iter().filter(|template| !template.used.get()) {
        let message = format!("no device uses template {}", template.name.value);
        notes.push(Problem::warning(
            &template.name.place,
            message,
            "a [device.…] with this template",
        ));
    }
}

/// A port, an endpoint and a radio have one owner each: a TCP device may well refuse a second
/// connection.
fn check_ports(buses: &[NamedBus], notes: &Notes<'_>) {
    let port = |bus: &NamedBus| match bus.bus.as_ref()? {
        RawBus::Modbus(raw) => modbus::port(raw),
        RawBus::Serial(raw) => serial::port(raw),
        RawBus::Ble(raw) => Some(ble::port(raw)),
    };
    for (index, bus) in buses.iter().enumerate() {
        let Some(own) = port(bus) else { continue };
        let mut earlier = buses.iter().take(index);
        let other = earlier.find(|other| port(other).as_ref() == Some(&own));
        if let Some(other) = other {
            let message = format!("the same port as bus {}", other.name.value);
            let allowed = "one bus a port; several devices may share it";
            notes.push(Problem::error(&bus.name.place, message, allowed));
        }
    }
}

/// The place of `wanted` among `names`, or a problem with the nearest name.
#[expect(
    single_use_lifetimes,
    reason = "elision is not stable inside impl Trait"
)]
fn find<'n>(
    wanted: &Located<String>,
    names: impl Iterator<Item = &'n Located<String>> + Clone,
    what: &str,
    notes: &Notes<'_>,
) -> Option<usize> {
    let found = names.clone().position(|name| name.value == wanted.value);
    if found.is_none() {
        let list: Vec<_> = names.map(|name| name.value.as_str()).collect();
        let message = format!("unknown {what} {:?}", wanted.value);
        let allowed = if list.is_empty() {
            format!("no [{what}.…] is defined")
        } else {
            list.join(", ")
        };
        let problem = Problem::error(&wanted.place, message, allowed);
        notes.push(problem.suggest(&wanted.value, list));
    }
    found
}
