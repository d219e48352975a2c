//! Buses with load and health; alarms and rules.

use super::super::grid::{Line, Style};
use super::super::seen::{Seen, counter};
use super::cut;
use crate::alarms::word;
use crate::control::{AlarmNow, WatchNow};
use crate::human;
use crate::snapshot::{BusReport, DeviceReport};
use gateway_config::units::show_duration;
use protocols_model::AlarmState;
use std::time::Duration;

/// Above this part of its time a bus is called full: it begins to miss its periods.
const FULL: f64 = 0.9;
/// Where the columns of the buses end.
const COLUMNS: [(usize, &str); 8] = [
    (26, "LOAD"),
    (33, "PLAN"),
    (41, "REQ/S"),
    (49, "LATE"),
    (57, "BAD"),
    (65, "SKIPPED"),
    (73, "UP"),
    (79, "STARTS"),
];

pub(super) fn buses(now: &WatchNow, seen: &Seen) -> (Line, Vec<Line>) {
    let heading = COLUMNS
        .iter()
        .fold(Line::default().text("BUS"), |line, (at, name)| {
            line.ending(*at, Style::Plain, name)
        });
    let mut rows = Vec::new();
    for bus in &now.report.buses {
        rows.push(self::bus(bus, seen));
        let down = bus.devices.iter().filter(|device| device.state != "up");
        rows.extend(down.map(|device| self::device(device, now.report.now)));
    }
    if rows.is_empty() {
        rows.push(Line::default().text("the configuration has no buses"));
    }
    (heading, rows)
}

fn bus(bus: &BusReport, seen: &Seen) -> Line {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let rates = seen
        .rates
        .as_ref()
        .and_then(|rates| rates.buses.get(&bus.name));
    // The air and a line that is listened to are not taken by anybody.
    let asked = counter(bus, "requests") > 0;
    let load = rates.filter(|_| asked).map(|(_, load)| *load);
    let up = bus
        .devices
        .iter()
        .filter(|device| device.state == "up")
        .count();
    let all = bus.devices.len();
    let faults =
        counter(bus, "bad_answers") + counter(bus, "crc_errors") + counter(bus, "exceptions");
    let warn = |bad: bool, style| if bad { style } else { Style::Plain };
    let dash = || "-".to_owned();
    let cells = [
        (
            warn(load.is_some_and(|l| l > FULL), Style::Bad),
            load.map_or_else(dash, percent),
        ),
        (
            warn(bus.planned_load.is_some_and(|l| l > FULL), Style::Warn),
            bus.planned_load.map_or_else(dash, percent),
        ),
        (
            Style::Plain,
            rates.map_or_else(dash, |(requests, _)| human::rate(*requests)),
        ),
        (Style::Plain, counter(bus, "timeouts").to_string()),
        (Style::Plain, faults.to_string()),
        (Style::Plain, counter(bus, "missed_polls").to_string()),
        (warn(up < all, Style::Bad), format!("{up}/{all}")),
        (
            warn(bus.restarts > 0, Style::Warn),
            (bus.restarts + 1).to_string(),
        ),
    ];
    let name = Line::default().text(&cut(&bus.name, 20));
    COLUMNS
        .iter()
        .zip(cells)
        .fold(name, |line, ((at, _), (style, said))| {
            line.ending(*at, style, &said)
        })
}

fn device(device: &DeviceReport, now: i64) -> Line {
    let reason = device.reason.as_deref().unwrap_or("not asked yet");
    let style = if device.state == "down" {
        Style::Bad
    } else {
        Style::Warn
    };
    let line = Line::default()
        .text(&format!("  {} ", cut(&device.id, 40)))
        .put(style, &format!("{}: {reason}", device.state));
    match device.since {
        Some(since) => line.text(&format!(" for {}", human::span(now - since))),
        None => line,
    }
}

pub(super) fn alarms(now: &WatchNow, chosen: Option<usize>, columns: usize) -> (Line, Vec<Line>) {
    let heading = Line::default()
        .text("STATE")
        .to(14)
        .text("LEVEL")
        .to(24)
        .text("ALARM");
    let alarms = now.rules.alarms.iter().enumerate();
    let mut rows: Vec<Line> = alarms
        .map(|(place, one)| {
            let line = alarm(one, now.report.now);
            if chosen == Some(place) {
                line.painted(Style::Reverse, columns)
            } else {
                line
            }
        })
        .collect();
    if rows.is_empty() {
        rows.push(Line::default().text("no rule has an alarm"));
    }
    if !now.rules.rules.is_empty() {
        rows.push(Line::default());
    }
    rows.extend(now.rules.rules.iter().map(|rule| {
        let (style, on) = if rule.on {
            (Style::Warn, "fired")
        } else {
            (Style::Plain, "idle")
        };
        let line = Line::default().put(style, on).to(14).text("rule").to(24);
        line.text(&rule.name)
    }));
    (heading, rows)
}

fn alarm(alarm: &AlarmNow, now: i64) -> Line {
    let style = match alarm.state {
        AlarmState::Raised => Style::Bad,
        AlarmState::Acknowledged | AlarmState::Returned => Style::Warn,
        AlarmState::Normal => Style::Plain,
    };
    let mut line = Line::default()
        .put(style, word(alarm.state))
        .to(14)
        .text(alarm.level.as_str())
        .to(24)
        .text(&format!("{}: {}", alarm.name, alarm.text));
    if let Some(since) = alarm.since {
        line = line.text(&format!("  {}", human::span(now - since)));
    }
    if let Some(by) = alarm
        .by
        .as_ref()
        .filter(|_| alarm.state == AlarmState::Acknowledged)
    {
        line = line.text(&format!(", by {by}"));
    }
    if let Some(left) = alarm.shelved_s {
        let left = show_duration(Duration::from_secs(left));
        line = line.text(&format!(", shelved for {left}"));
    }
    line
}
