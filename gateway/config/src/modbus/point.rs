//! One point of a Modbus device as written: in a template, inline in a device, or as a row of a list.

use super::level::{self, Layer};
use crate::key::kinds::{
    ANY_NUMBER, Choice, Flag, FlagOr, Inner, Number, Pair, Pairs, Parsed, Text, Whole, Words,
};
use crate::key::{Key, Section};
use crate::notes::Notes;
use crate::point::{self, Head};
use crate::poll;
use crate::problem::Problem;
use crate::source::Located;
use crate::walk::Table;
use protocols_modbus::config::{
    Address, Names, Order, Point, RawType, Scale, ScaleError, Write, WriteWith,
};
use protocols_model::PointKey;
use std::collections::BTreeMap;
use std::sync::Arc;

const AT: Key<Parsed<Address>> = Key::new(
    "at",
    Parsed {
        allowed: "space and address: \"hr:100\", \"ir:5\", \"co:3\", \"di:7\", a bit \"hr:10.4\", bits \"hr:10.4..7\", classic \"40101\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "where it stands: space and address counted from 0 (hr holding registers, ir input registers, co coils, di discrete inputs), or a classic number counted from 1",
)
.required();
const AS: Key<Text> = Key::new(
    "as",
    Text(
        "bool, bits, i16, u16, i32, u32, i64, u64, f16, f32, f64, bcd16, bcd32, q8.8, uq16.16, epoch32, epoch64, epoch64ms, string",
    ),
    "what stands there: integers and floats of 16, 32, 64 bits; bcd: decimal digits; q8.8, uq16.16: binary fractions; epoch: seconds (64ms: milliseconds) since 1970; string needs len",
)
.otherwise("bool for one bit, bits for several, else u16");
const LEN: Key<Whole> = Key::new(
    "len",
    Whole(1, 125),
    "registers of a string, two bytes each",
);
const SCALE: Key<Number> = Key::new(
    "scale",
    ANY_NUMBER,
    "value = raw * scale + offset, exact on the decimal grid",
)
.default(1.0);
const OFFSET: Key<Number> = Key::new("offset", ANY_NUMBER, "see scale").default(0.0);
const MAP: Key<Inner> = Key::new(
    "map",
    Inner(const { &[&LINE] }),
    "instead of scale and offset: the straight line through two pairs of raw number and value",
);
const RAW: Key<Pair> = Key::new("raw", Pair::Ends, "two raw numbers").required();
const VALUE: Key<Pair> = Key::new("value", Pair::Ends, "the values they stand for").required();
const VALUES: Key<Pairs> = Key::new(
    "values",
    Pairs("a name for each number: { 0 = \"off\", 1 = \"on\" }"),
    "names of numbers; the point's value is the name, a text",
)
.otherwise("numbers stay numbers");
const BITS: Key<Pairs> = Key::new(
    "bits",
    Pairs("a name for each bit: { 0 = \"overtemp\", 3 = \"door\" }"),
    "names of bits, 0 the lowest, for people; the value stays the number",
)
.otherwise("none");
const WRITE: Key<FlagOr> = Key::new(
    "write",
    FlagOr("only"),
    "whether it may be written; \"only\": written and never read, for command registers",
)
.default(false);
const VERIFY: Key<Flag> = Key::new(
    "verify",
    Flag,
    "whether a written value is read back and compared; needs write",
)
.default(false);
const WRITE_WITH: Key<Words<WriteWith>> =
    level::WRITE_WITH.of_point("function that writes it; needs write");
const ORDER: Key<Parsed<Order>> = level::ORDER.of_point("order of its bytes");
const GROUP: Key<Text> = poll::GROUP.of_point("its poll group");

static LINE: Section = Section::inline(&[&RAW, &VALUE]);
pub(super) static POINT: Section = Section::new(
    "points of Modbus",
    "One value of a Modbus device: `points = [ { id = \"u\", at = \"hr:0\" }, … ]` in a template or a device, or a row of a points_file with the same names as columns (`report.abs`, `map.raw`; pairs as `0=off; 1=on`, two numbers as `0..500`).",
    &[
        &AT,
        &AS,
        &LEN,
        &ORDER,
        &SCALE,
        &OFFSET,
        &MAP,
        &VALUES,
        &BITS,
        &GROUP,
        &WRITE,
        &VERIFY,
        &WRITE_WITH,
    ],
)
.with(&[&point::COMMON]);

/// A point before it meets a device: every part is right by itself.
#[derive(Debug, Clone)]
pub(super) struct RawPoint {
    pub(super) head: Head,
    address: Address,
    raw: RawType,
    order: Option<Order>,
    scale: Scale,
    names: Option<Arc<Names>>,
    group: Option<Located<String>>,
    write: Option<Write>,
}

pub(super) fn read(table: &Table<'_>) -> Option<RawPoint> {
    let head = point::read_head(table);
    let at = table.get(&AT);
    let raw = read_type(table, at.as_ref().map(|at| &at.value));
    let order = table.get(&ORDER).map(|order| order.value);
    let scale = read_scale(table);
    let names = read_names(table);
    let group = table.get(&GROUP);
    let write = read_write(table);
    Some(RawPoint {
        head: head?,
        address: at?.value,
        raw: raw?,
        order,
        scale: scale?,
        names: names?,
        group,
        write: write?,
    })
}

/// `as`, with `len` registers for a string; what is left out follows from the address.
fn read_type(table: &Table<'_>, at: Option<&Address>) -> Option<RawType> {
    let len = table.get(&LEN);
    let Some(name) = table.get(&AS) else {
        return at.map(RawType::default_at).filter(|_| !table.has(&AS));
    };
    let text = match &len {
        Some(len) if name.value == "string" => format!("string:{}", len.value),
        _ => name.value.clone(),
    };
    match text.parse::<RawType>() {
        Ok(raw) => {
            let of_text = matches!(raw, RawType::Text { .. });
            if let Some(len) = len.filter(|_| !of_text) {
                let message = "`len` is for strings only";
                table
                    .notes()
                    .push(Problem::error(&len.place, message, "no len"));
            }
            Some(raw)
        }
        Err(_) if text == "string" => {
            if !table.has(&LEN) {
                let message = "a string needs `len`, the registers it occupies";
                table
                    .notes()
                    .push(Problem::error(&name.place, message, "len = 1..125"));
            }
            None
        }
        Err(error) => {
            let problem = Problem::error(&name.place, error.to_string(), AS.kind.0);
            let names = RawType::names().chain(["string", "q8.8", "uq16.16"]);
            table.notes().push(problem.suggest(&name.value, names));
            None
        }
    }
}

fn read_scale(table: &Table<'_>) -> Option<Scale> {
    let (factor, offset) = (table.get(&SCALE), table.get(&OFFSET));
    let map = table.table(&MAP).map(|map| {
        let found = (map.get(&RAW), map.get(&VALUE), map.place());
        map.finish();
        found
    });
    let note = |place, error: ScaleError| {
        let problem = Problem::error(place, error.to_string(), "");
        table.notes().push(problem);
    };
    if let Some((raw, value, place)) = map {
        if factor.is_some() || offset.is_some() {
            let message = "`map` and `scale`, `offset` exclude each other";
            let problem = Problem::error(&place, message, "one of map, scale and offset");
            table.notes().push(problem);
        }
        let (raw, value) = (raw?.value, value?.value);
        let scale = Scale::through(raw.into(), value.into());
        return scale.map_err(|error| note(&place, error)).ok();
    }
    let at = factor.as_ref().or(offset.as_ref());
    let at = at.map_or_else(|| table.place(), |found| found.place.clone());
    let scale = Scale::new(SCALE.value(factor), OFFSET.value(offset));
    scale.map_err(|error| note(&at, error)).ok()
}

/// `Some(None)` where there are no names, `None` where they are wrong.
fn read_names(table: &Table<'_>) -> Option<Option<Arc<Names>>> {
    let (values, bits) = (table.get(&VALUES), table.get(&BITS));
    let names = match (values, bits) {
        (None, None) => return Some(None),
        (Some(_), Some(bits)) => {
            let message = "`values` and `bits` exclude each other";
            let problem = Problem::error(&bits.place, message, "one of values, bits");
            table.notes().push(problem);
            return None;
        }
        (Some(values), None) => Names::Values(numbered(table, values.value)?),
        (None, Some(bits)) => Names::Bits(numbered(table, bits.value)?),
    };
    Some(Some(Arc::new(names)))
}

fn numbered<N: std::str::FromStr + Ord>(
    table: &Table<'_>,
    pairs: Vec<(Located<String>, Located<String>)>,
) -> Option<BTreeMap<N, Arc<str>>> {
    let mut names = BTreeMap::new();
    let mut all = true;
    for (number, name) in pairs {
        match number.value.parse() {
            Ok(number) => drop(names.insert(number, name.value.into())),
            Err(_) => {
                let message = format!("{:?} is not a number", number.value);
                let allowed = "a whole number before each name: { 0 = \"off\" }";
                table
                    .notes()
                    .push(Problem::error(&number.place, message, allowed));
                all = false;
            }
        }
    }
    all.then_some(names)
}

/// `Some(None)` for a point that is only read, `None` where it is wrong.
fn read_write(table: &Table<'_>) -> Option<Option<Write>> {
    let found = table.get(&WRITE);
    let verify = table.get(&VERIFY);
    let with = table.get(&WRITE_WITH);
    if found.is_none() && table.has(&WRITE) {
        return None;
    }
    let write = WRITE.value(found);
    if write == Choice::No {
        let loose = verify.as_ref().filter(|verify| verify.value);
        let loose = loose.map(|found| ("verify", &found.place));
        let loose = loose.or(with.as_ref().map(|found| ("write_with", &found.place)));
        if let Some((key, place)) = loose {
            let message = format!("`{key}` of a point that is not written");
            let problem = Problem::error(place, message, "write = true beside it");
            table.notes().push(problem);
            return None;
        }
        return Some(None);
    }
    Some(Some(Write {
        verify: VERIFY.value(verify),
        with: with.map(|with| with.value),
        only: write == Choice::Word,
    }))
}

impl RawPoint {
    /// The point under the settings of its device; its key comes with its place in the point table.
    pub(super) fn under(&self, layer: &Layer, notes: &Notes<'_>) -> Option<Point> {
        let idle = self.write.is_some_and(|write| write.only);
        Some(Point {
            key: PointKey(0),
            id: self.head.id.value.clone(),
            address: self.address,
            raw: self.raw,
            order: self.order.unwrap_or_else(|| layer.order()),
            scale: self.scale,
            period: layer
                .poll
                .period(&self.head, self.group.as_ref(), idle, notes)?,
            range: self.head.range.clone(),
            names: self.names.clone(),
            write: self.write,
        })
    }
}
