//! What the points of every family have in common, and the two ways to list them: inline, and as a
//! file with the same names as columns.

use crate::csv;
use crate::key::kinds::{List, Pair, Parsed, Text};
use crate::key::{Declared, Group, Key, Section};
use crate::notes::Notes;
use crate::problem::Problem;
use crate::report::{self, Report};
use crate::settings::resolve;
use crate::source::{Located, Place, Source};
use crate::walk::{self, Table};
use protocols_model::PointId;
use protocols_model::dictionary::MAX_UNIT_LEN;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

const ID: Key<Parsed<PointId>> = Key::new(
    "id",
    Parsed {
        allowed: "1 to 63 characters of a-z, 0-9, '-' and '_'",
        parse: |text| PointId::try_new(text).map_err(|error| error.to_string()),
    },
    "name of the point, unique in its device",
)
.required();
const UNIT: Key<Parsed<String>> = Key::new(
    "unit",
    Parsed {
        allowed: "a text of at most 32 bytes",
        parse: |text| {
            if text.len() <= MAX_UNIT_LEN {
                Ok(text.to_owned())
            } else {
                Err(format!("{text:?} has {} bytes", text.len()))
            }
        },
    },
    "engineering unit; a changed unit is a new series",
)
.otherwise("none, or what the device says");
const RANGE: Key<Pair> = Key::new(
    "range",
    Pair::Range,
    "a value outside is bad, \"out-of-range\"; in engineering units",
)
.otherwise("every value");
/// Where points are listed in a file.
pub(crate) const POINTS_FILE: Key<Text> = Key::new(
    "points_file",
    Text("the path of a CSV file"),
    "more points, one a row, with the keys of a point as columns",
)
.otherwise("none");

/// What every point may say.
pub(crate) static COMMON: Group = Group {
    title: "Every point",
    help: "",
    keys: &[&ID as &dyn Declared, &UNIT, &RANGE, &report::REPORT],
};

/// The common part of a point, right by itself.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) place: Place,
    pub(crate) id: Located<PointId>,
    pub(crate) unit: Option<String>,
    pub(crate) range: Option<RangeInclusive<f64>>,
    pub(crate) report: Option<Report>,
}

/// Most points a file or list may hold: what a dictionary index and a person can handle.
const MAX_POINTS: usize = 20_000;

/// Reads the keys that every point may have.
pub(crate) fn read_head(table: &Table<'_>) -> Option<Head> {
    let id = table.get(&ID);
    let unit = table.get(&UNIT);
    let range = table.get(&RANGE).map(|range| range.value);
    let report = report::read(table).map(|report| report.value);
    Some(Head {
        place: table.place(),
        id: id?,
        unit: unit.map(|unit| unit.value),
        range: range.map(|(low, high)| low..=high),
        report,
    })
}

/// Reads `points = [ … ]` with `read`.
pub(crate) fn read_list<T>(
    table: &Table<'_>,
    key: &Key<List>,
    read: impl Fn(&Table<'_>) -> Option<T>,
) -> Vec<T> {
    let list = table.list(key).unwrap_or_default();
    if list.len() > MAX_POINTS {
        let message = format!("{} points in one list", list.len());
        let allowed = format!("at most {MAX_POINTS} points");
        table
            .notes()
            .push(Problem::error(&table.place(), message, allowed));
        return Vec::new();
    }
    let points = list.into_iter().filter_map(|table| {
        let point = read(&table);
        table.finish();
        point
    });
    points.collect()
}

/// Reads the point list that `points_file` of a device names, if it names one.
pub(crate) fn read_file<T>(
    table: &Table<'_>,
    base: &Path,
    sections: &'static [&'static Section],
    read: impl Fn(&Table<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(list) = table.get(&POINTS_FILE) else {
        return Vec::new();
    };
    let notes = table.notes();
    let path = resolve(base, &list.value);
    let Some(source) = notes.read_file(&path, Some(&list.place)) else {
        return Vec::new();
    };
    read_rows(&source, notes, &list.place.key, sections, read)
}

fn read_rows<T>(
    source: &Arc<Source>,
    notes: &Notes<'_>,
    key: &str,
    sections: &'static [&'static Section],
    read: impl Fn(&Table<'_>) -> Option<T>,
) -> Vec<T> {
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
        let at = (start..end, key.to_owned());
        let table = Table::at(&content, source, notes, at, sections).of_text();
        points.extend(read(&table));
        table.finish();
    }
    points
}
