//! Clocks.

use super::super::grid::{Line, Style};
use super::{fact, styled};
use crate::human;
use crate::snapshot::{Report, TimeReport};

/// The clock's state in a word.
pub(in super::super) const fn in_a_word(time: &TimeReport) -> (Style, &'static str) {
    if time.synced {
        (Style::Good, "right")
    } else {
        (Style::Warn, "not confirmed")
    }
}

pub(super) fn body(report: &Report) -> (Line, Vec<Line>) {
    let time = &report.time;
    let mut rows = vec![fact("clock", &human::moment(report.now))];
    let (style, confirmed) = if time.synced {
        (Style::Good, "yes: a time source says that it is right")
    } else {
        (Style::Warn, "no time source says so")
    };
    rows.push(styled("right", style, confirmed));
    rows.push(fact("running since", &human::moment(report.started)));
    let steps = match (time.last_step_ms, time.last_step_at) {
        (Some(ms), Some(at)) => {
            format!(
                "{}; the last by {ms} ms at {}",
                time.steps,
                human::moment(at)
            )
        }
        _ => "none since the start".to_owned(),
    };
    rows.push(fact("steps", &steps));
    (Line::default().text("CLOCK"), rows)
}
