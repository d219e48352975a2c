//! `[derive.NAME]`: points computed from others, whenever one of those is read.

use crate::fog::expression;
use crate::fog::names::{About, Catalogue, Known};
use crate::fog::window::period_of;
use crate::key::kinds::{Durations, Named, Number, Parsed, Text, Words};
use crate::key::{Key, Section};
use crate::notes::Notes;
use crate::problem::Problem;
use crate::source::{Located, Place};
use crate::walk::Table;
use gateway_expr::{Program, Type};
use protocols_model::dictionary::MAX_UNIT_LEN;
use protocols_model::{DeviceId, PointDescriptor, PointId, PointKey, ValueType};
use std::time::Duration;

/// A point computed from others.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// The point.
    pub point: PointKey,
    /// How.
    pub program: Program,
    /// Inputs older than this have no value.
    pub stale: Option<Duration>,
}

/// The device of points that name none.
const DEVICE: &str = "derived";

pub(super) const STALE: Key<Durations> = Key::new(
    "stale",
    Durations(Duration::from_millis(100), Duration::from_hours(7 * 24)),
    "inputs whose last reading is older have no value",
)
.otherwise("readings do not age; a device that fails reads as bad in any case");
const VALUE: Key<Text> = Key::new(
    "value",
    Text("an expression: \"meter1.p_sum + meter2.p_sum\""),
    "how it is computed, from points of devices, windows and points derived further up",
)
.required();
const ON: Key<Parsed<DeviceId>> = Key::new(
    "device",
    Parsed {
        allowed: "1 to 63 characters of a-z, 0-9, '-' and '_'",
        parse: |text| DeviceId::try_new(text).map_err(|error| error.to_string()),
    },
    "the device it belongs to, one of the configuration or a new one",
)
.default(DEVICE);
const UNIT: Key<Text> =
    Key::new("unit", Text("a text of at most 32 bytes"), "its unit").default("");
const SCALE: Key<Number> = Key::new(
    "scale",
    Number {
        allowed: "a number above 0",
        min: f64::MIN_POSITIVE,
        max: f64::MAX,
    },
    "the grid its values sit on, 0.1 for one digit; for people and for packing, nothing is rounded",
)
.default(1.0);
const TYPE: Key<Words<ValueType>> = Key::new(
    "as",
    Words(&[
        ("bool", ValueType::Bool),
        ("i64", ValueType::I64),
        ("u64", ValueType::U64),
        ("f64", ValueType::F64),
        ("text", ValueType::Text),
    ]),
    "its type",
)
.otherwise("what the expression gives: bool, i64, f64 or text");

static DERIVE: Section = Section::new(
    "[derive.NAME]",
    "A point computed from others whenever one of them is read; the name is its id.",
    &[&VALUE, &ON, &UNIT, &SCALE, &TYPE, &STALE],
);
pub(crate) const DERIVES: Key<Named> = Key::new(
    "derive",
    Named(const { &[&DERIVE] }),
    "points computed from others",
);

/// A derived point and where it is written.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) derived: Derived,
    pub(super) place: Place,
}

pub(super) fn read(root: &Table<'_>, catalogue: &mut Catalogue) -> Vec<Made> {
    let notes = root.notes();
    let mut all = Vec::new();
    for (name, table) in root.named(&DERIVES) {
        let value = table.get(&VALUE);
        let device = ON.value(table.get(&ON));
        let unit = table.get(&UNIT);
        let scale = SCALE.value(table.get(&SCALE));
        let wanted = table.get(&TYPE);
        let stale = table.get(&STALE).map(|stale| stale.value);
        table.finish();
        if let Some(unit) = unit.as_ref().filter(|unit| unit.value.len() > MAX_UNIT_LEN) {
            let message = format!("{} bytes are too long for a unit", unit.value.len());
            notes.push(Problem::error(&unit.place, message, "at most 32 bytes"));
        }
        let Some(value) = value else { continue };
        let Some(program) = expression::read(&value, None, catalogue, notes) else {
            continue;
        };
        let Some(value_type) = type_of(&program, wanted, notes) else {
            continue;
        };
        let descriptor = PointDescriptor {
            device,
            point: match PointId::try_new(&name.value) {
                Ok(id) => id,
                Err(error) => {
                    let allowed = "1 to 63 characters of a-z, 0-9, '-' and '_'";
                    notes.push(Problem::error(&name.place, error.to_string(), allowed));
                    continue;
                }
            },
            value_type,
            unit: UNIT.value(unit),
            scale,
        };
        let inputs: Vec<&Known> = program
            .inputs()
            .iter()
            .filter_map(|input| catalogue.get(*input))
            .collect();
        if inputs.is_empty() {
            let message = "nothing is read here: a constant is never computed";
            let allowed = "an expression over points";
            notes.push(Problem::error(&value.place, message, allowed));
            continue;
        }
        let about = About {
            period: period_of(&inputs),
            is_read: true,
            from: program.inputs().to_vec(),
            ..About::default()
        };
        let id = format!("{}/{}", descriptor.device, descriptor.point);
        let Some(point) = catalogue.add(descriptor, about) else {
            let message = format!("a second point {id}");
            let allowed = "another name, or another device";
            notes.push(Problem::error(&name.place, message, allowed));
            continue;
        };
        all.push(Made {
            derived: Derived {
                point,
                program,
                stale,
            },
            place: name.place,
        });
    }
    all
}

fn type_of(
    program: &Program,
    wanted: Option<Located<ValueType>>,
    notes: &Notes<'_>,
) -> Option<ValueType> {
    let natural = match program.result() {
        Type::Bool => ValueType::Bool,
        Type::Int => ValueType::I64,
        Type::Float => ValueType::F64,
        Type::Text => ValueType::Text,
    };
    let Some(wanted) = wanted else {
        return Some(natural);
    };
    let fits = wanted.value == natural
        || (program.result() == Type::Int
            && matches!(wanted.value, ValueType::U64 | ValueType::F64));
    if fits {
        return Some(wanted.value);
    }
    let message = format!(
        "the expression is {}, which cannot be kept as {}",
        program.result(),
        wanted.value.as_str()
    );
    let allowed = "int(…) around the expression makes an integer of a number";
    notes.push(Problem::error(&wanted.place, message, allowed));
    None
}
