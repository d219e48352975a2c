//! One point as written: in a template, inline in a device, or as a row of a point list.

use crate::csv;
use crate::layer::{DEFAULT_PERIOD, Layer, ORDER};
use crate::notes::Notes;
use crate::problem::Problem;
use crate::report::{self, Report};
use crate::source::{Located, Place, Source};
use crate::walk::{self, Table};
use protocols_modbus::config::{Address, Order, RawType, Scale};
use protocols_model::PointId;
use protocols_model::dictionary::MAX_UNIT_LEN;
use std::sync::Arc;
use std::time::Duration;

/// A point before it meets a device: every part is right by itself.
#[derive(Debug, Clone)]
pub(crate) struct RawPoint {
    pub(crate) place: Place,
    pub(crate) id: Located<PointId>,
    pub(crate) address: Located<Address>,
    pub(crate) raw: RawType,
    pub(crate) order: Option<Order>,
    pub(crate) scale: Scale,
    pub(crate) unit: String,
    pub(crate) group: Option<Located<String>>,
    pub(crate) report: Option<Report>,
    pub(crate) range: Option<(f64, f64)>,
}

/// Most points a file or list may hold: what a dictionary index and a person can handle.
const MAX_POINTS: usize = 20_000;

/// Reads `points = [ … ]`.
pub(crate) fn read_list(table: &Table<'_>) -> Vec<RawPoint> {
    let list = table.list("points").unwrap_or_default();
    if list.len() > MAX_POINTS {
        let message = format!("{} points in one list", list.len());
        let allowed = format!("at most {MAX_POINTS} points");
        table
            .notes()
            .push(Problem::error(&table.place(), message, allowed));
        return Vec::new();
    }
    list.into_iter().filter_map(read_one).collect()
}

/// Reads a point list: CSV with the same names as columns.
pub(crate) fn read_file(source: &Arc<Source>, notes: &Notes<'_>, key: &str) -> Vec<RawPoint> {
    let mut rows = csv::rows(source.text()).into_iter();
    let whole = |span| Place {
        source: Arc::clone(source),
        span,
        key: key.to_owned(),
    };
    let header = match rows.next() {
        Some(Ok(header)) => header,
        Some(Err(bad)) => {
            notes.push(Problem::error(
                &whole(bad.span),
                bad.why,
                "cells on one line",
            ));
            return Vec::new();
        }
        None => {
            let message = "the point list is empty";
            notes.push(Problem::error(
                &whole(0..0),
                message,
                "a header and one point a row",
            ));
            return Vec::new();
        }
    };
    let mut points = Vec::new();
    for row in rows.take(MAX_POINTS) {
        let cells = match row {
            Ok(cells) if cells.len() <= header.len() => cells,
            Ok(cells) => {
                let span = cells
                    .get(header.len())
                    .map_or(0..0, |(_, span)| span.clone());
                let message = format!("{} cells under {} columns", cells.len(), header.len());
                notes.push(Problem::error(&whole(span), message, "one cell a column"));
                continue;
            }
            Err(bad) => {
                notes.push(Problem::error(
                    &whole(bad.span),
                    bad.why,
                    "cells on one line",
                ));
                continue;
            }
        };
        let start = cells.first().map_or(0, |(_, span)| span.start);
        let end = cells.last().map_or(start, |(_, span)| span.end);
        let content = walk::row(
            header
                .iter()
                .zip(cells)
                .map(|((name, at), (text, span))| (name.clone(), at.clone(), text, span)),
        );
        let table = Table::at(&content, source, notes, start..end, key.to_owned()).of_text();
        points.extend(read_one(table));
    }
    points
}

fn read_one(table: Table<'_>) -> Option<RawPoint> {
    const ID: &str = "1 to 63 characters of a-z, 0-9, '-' and '_'";
    const AT: &str = "space and address: \"hr:100\", \"ir:5\", \"co:3\", \"di:7\", a bit \"hr:10.4\", bits \"hr:10.4..7\", classic \"40101\"";
    const NUMBER: &str = "a number";
    let notes = table.notes();
    let id = table.require("id", table.parse("id", ID, PointId::try_new), ID);
    let at = table.require("at", table.parse("at", AT, str::parse::<Address>), AT);
    let raw = read_type(&table, at.as_ref().map(|at| &at.value));
    let order = table
        .parse("order", ORDER, str::parse)
        .map(|order| order.value);
    let factor = table.number("scale", NUMBER);
    let offset = table.number("offset", NUMBER);
    let scale = Scale::new(
        factor.as_ref().map_or(1.0, |factor| factor.value),
        offset.as_ref().map_or(0.0, |offset| offset.value),
    );
    let scale = scale.map_err(|error| {
        let place = factor.as_ref().or(offset.as_ref());
        let place = place.map_or_else(|| table.place(), |found| found.place.clone());
        notes.push(Problem::error(
            &place,
            error.to_string(),
            "a finite number other than 0",
        ));
    });
    let unit = table.text("unit");
    if let Some(unit) = unit.as_ref().filter(|unit| unit.value.len() > MAX_UNIT_LEN) {
        let message = format!("the unit has {} bytes", unit.value.len());
        let allowed = format!("at most {MAX_UNIT_LEN} bytes");
        notes.push(Problem::error(&unit.place, message, allowed));
    }
    let group = table.text("group");
    let report = report::read(&table).map(|report| report.value);
    let range = table.span("range").map(|range| range.value);
    let place = table.place();
    table.finish();
    Some(RawPoint {
        place,
        id: id?,
        address: at?,
        raw: raw?,
        order,
        scale: scale.ok()?,
        unit: unit.map_or_else(String::new, |unit| unit.value),
        group,
        report,
        range,
    })
}

/// Reads `as`, with `len` registers for a string; what is left out follows from the address.
fn read_type(table: &Table<'_>, at: Option<&Address>) -> Option<RawType> {
    const AS: &str = "bool, bits, i16, u16, i32, u32, i64, u64, f32, f64, string";
    let len = table.integer("len", 1..=125);
    let Some(name) = table.text("as") else {
        return at.map(RawType::default_at).filter(|_| !table.has("as"));
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
            if !table.has("len") {
                let message = "a string needs `len`, the registers it occupies";
                table
                    .notes()
                    .push(Problem::error(&name.place, message, "len = 1..125"));
            }
            None
        }
        Err(error) => {
            let problem = Problem::error(&name.place, error.to_string(), AS);
            table
                .notes()
                .push(problem.suggest(&name.value, AS.split(", ")));
            None
        }
    }
}

impl RawPoint {
    /// The poll period of the point under the settings of its device.
    pub(crate) fn period(&self, layer: &Layer, notes: &Notes<'_>) -> Option<Duration> {
        let names = || layer.groups.iter().map(|group| group.name.as_str());
        let list = || names().collect::<Vec<_>>().join(", ");
        match (
            self.group.as_ref().or(layer.group.as_ref()),
            layer.groups.as_slice(),
        ) {
            (Some(name), groups) => {
                let found = groups.iter().find(|group| group.name == name.value);
                if found.is_none() {
                    let message = format!("unknown poll group {:?}", name.value);
                    let allowed = if groups.is_empty() {
                        "groups = { name = \"1s\" } in the template, the device, the bus or gateway.defaults".to_owned()
                    } else {
                        list()
                    };
                    notes.push(
                        Problem::error(&name.place, message, allowed).suggest(&name.value, names()),
                    );
                }
                found.map(|group| group.period)
            }
            (None, []) => Some(DEFAULT_PERIOD),
            (None, [only]) => Some(only.period),
            (None, _) => {
                let message = format!(
                    "point {} names no poll group, and there are several",
                    self.id.value
                );
                notes.push(Problem::error(
                    &self.place,
                    message,
                    format!("group = one of {}", list()),
                ));
                None
            }
        }
    }
}
