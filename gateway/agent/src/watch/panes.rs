//! What stands in each pane. Pure.

mod field;
mod points;
pub(super) mod time;
mod way;

use super::grid::{Line, Style};
use super::seen::Seen;
use super::view::View;
use crate::cli::watch::Pane;

pub(super) const fn name(pane: Pane) -> &'static str {
    match pane {
        Pane::Points => "Points",
        Pane::Buses => "Buses",
        Pane::Alarms => "Alarms",
        Pane::Spool => "Spool",
        Pane::Uplink => "Uplink",
        Pane::Time => "Time",
    }
}

/// Heading and rows of the chosen pane; of the points those that were asked for, of the others all.
pub(super) fn body(view: &View, seen: &Seen, columns: usize) -> (Line, Vec<Line>) {
    let Some(now) = &seen.now else {
        return (Line::default(), Vec::new());
    };
    match view.pane {
        Pane::Points => points::body(now, columns),
        Pane::Buses => field::buses(now, seen),
        Pane::Alarms => field::alarms(now, view.chosen(seen), columns),
        Pane::Spool => way::spool(&now.report.spool),
        Pane::Uplink => way::uplink(&now.report, seen),
        Pane::Time => time::body(&now.report),
    }
}

/// How many rows the pane has, those beyond the screen included.
pub(super) fn rows(view: &View, seen: &Seen) -> usize {
    match (&seen.now, view.pane) {
        (None, _) => 0,
        (Some(now), Pane::Points) => now.fitting,
        (Some(now), Pane::Alarms) => now.rules.alarms.len(),
        (Some(_), _) => body(view, seen, 80).1.len(),
    }
}

/// A text cut to `width` characters; its end is what distinguishes names.
fn cut(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let head = width.saturating_sub(1) / 3;
    let tail = width.saturating_sub(1 + head);
    let start = text.chars().take(head);
    let end = text.chars().skip(count - tail);
    start.chain(std::iter::once('~')).chain(end).collect()
}

/// A word and what it says, in two columns.
fn fact(what: &str, said: &str) -> Line {
    styled(what, Style::Plain, said)
}

fn styled(what: &str, style: Style, said: &str) -> Line {
    Line::default().text(what).to(24).put(style, said)
}
