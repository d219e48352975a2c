//! Points with value, quality and age.

use super::super::grid::{Line, Style};
use super::cut;
use crate::control::{PointNow, WatchNow};
use crate::human;

/// Columns besides the name: value, unit, quality, age, and a blank before each.
const VALUE: usize = 18;
const UNIT: usize = 7;
const QUALITY: usize = 16;
const AGE: usize = 5;
const OTHERS: usize = VALUE + UNIT + QUALITY + AGE + 4;

pub(super) fn body(now: &WatchNow, columns: usize) -> (Line, Vec<Line>) {
    // The last column stays free.
    let name = columns.saturating_sub(OTHERS + 1).max(20);
    let heading = Line::default()
        .text("POINT")
        .ending(name + 1 + VALUE, Style::Plain, "VALUE")
        .to(name + VALUE + 2)
        .text("UNIT")
        .to(name + VALUE + UNIT + 3)
        .text("QUALITY")
        .ending(name + OTHERS, Style::Plain, "AGE");
    let rows: Vec<Line> = now.points.iter().map(|point| row(point, name)).collect();
    if rows.is_empty() {
        let why = if now.standing.good + now.standing.bad + now.standing.silent == 0 {
            "the configuration has no points"
        } else {
            "no point fits; Esc shows all"
        };
        return (heading, vec![Line::default().text(why)]);
    }
    (heading, rows)
}

fn row(point: &PointNow, name: usize) -> Line {
    let reason = point.reason.as_deref().unwrap_or("");
    let (style, quality) = match point.quality.as_str() {
        "good" => (Style::Plain, "good".to_owned()),
        "none" => (Style::Warn, "not read yet".to_owned()),
        "uncertain" => (Style::Warn, format!("? {reason}")),
        _ => (Style::Bad, format!("! {reason}")),
    };
    let value = point.value.as_deref().unwrap_or("-");
    let age = point.age_ms.map_or_else(|| "-".to_owned(), human::age);
    Line::default()
        .text(&cut(&point.name, name))
        .ending(name + 1 + VALUE, Style::Plain, &cut(value, VALUE))
        .to(name + VALUE + 2)
        .text(&cut(&point.unit, UNIT))
        .to(name + VALUE + UNIT + 3)
        .put(style, &cut(&quality, QUALITY))
        .ending(name + OTHERS, Style::Plain, &age)
}
