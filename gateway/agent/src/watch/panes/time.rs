//! Clocks: the wall clock and who says that it is right, the battery-backed one, a GNSS receiver's.

use super::super::grid::{Line, Style};
use super::{fact, styled};
use crate::human;
use crate::snapshot::{Report, RtcReport, TimeReport};

/// A battery-backed clock this far off is worth a look, seconds.
const RTC_OFF: i64 = 5;

/// The clock's state in a word.
pub(in super::super) const fn in_a_word(time: &TimeReport) -> (Style, &'static str) {
    match (time.synced, time.placed_within_ms) {
        (true, _) => (Style::Good, "right"),
        (false, Some(_)) => (Style::Plain, "placed by GNSS"),
        (false, None) => (Style::Warn, "not confirmed"),
    }
}

pub(super) fn body(report: &Report) -> (Line, Vec<Line>) {
    let time = &report.time;
    let mut rows = vec![fact("clock", &human::moment(report.now))];
    rows.push(match &time.confirmed_by {
        Some(name) => styled("right", Style::Good, &format!("yes, says {name}")),
        None => styled("right", Style::Warn, "no time service says so"),
    });
    rows.push(match time.placed_within_ms {
        Some(ms) => fact("readings are placed", &format!("to {ms} ms")),
        None => styled("readings are placed", Style::Warn, "not yet: by this clock"),
    });
    for service in &time.services {
        let style = if service.right {
            Style::Good
        } else {
            Style::Warn
        };
        rows.push(styled(
            &format!("  {}", service.name),
            style,
            &service.state,
        ));
    }
    if time.services.is_empty() {
        rows.push(fact("  time services", "none found on this machine"));
    }
    rows.push(match &time.rtc {
        Some(rtc) => {
            let (style, said) = battery(rtc);
            styled(&format!("  {}", rtc.device), style, &said)
        }
        None => fact("  battery-backed clock", "none"),
    });
    if let Some(gnss) = &time.gnss {
        let style = if gnss.state == "good" {
            Style::Good
        } else {
            Style::Warn
        };
        let off = gnss
            .offset_ms
            .map(|ms| format!(", {ms} ms ahead of the clock"));
        let said = format!("{}{}", gnss.state, off.unwrap_or_default());
        rows.push(styled(&format!("  {}", gnss.point), style, &said));
    }
    let steps = match (time.last_step_ms, time.last_step_at) {
        (Some(ms), Some(at)) => {
            let at = human::moment(at);
            format!("{}; the last by {ms} ms at {at}", time.steps)
        }
        _ => "none since the start".to_owned(),
    };
    rows.push(fact("steps", &steps));
    rows.push(fact("running since", &human::moment(report.started)));
    (Line::default().text("CLOCK"), rows)
}

fn battery(rtc: &RtcReport) -> (Style, String) {
    match (rtc.offset_s, rtc.is_set) {
        (None, _) => (Style::Warn, "cannot be read".to_owned()),
        (Some(_), false) => (Style::Warn, "not set: its battery may be empty".to_owned()),
        (Some(off), true) => {
            let style = if off.abs() > RTC_OFF {
                Style::Warn
            } else {
                Style::Plain
            };
            (style, format!("{off} s ahead of the clock"))
        }
    }
}
