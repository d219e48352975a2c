//! The whole screen: a bar, four lines that say how the gateway is, the chosen pane, the keys. Pure.
//!
//! ```text
//! bar      who, whether it is well, since when                      its clock
//! summary  points · buses, alarms, clock · uplink · spool · what is wrong
//! tabs     [1 Points] 2 Buses …                                     the filter
//! pane     a heading and as many rows as there is room for
//! foot     keys, or what came of the last one
//! ```
//! Everything keeps its place, so that a slow line has little to send.

use super::grid::{Line, Style};
use super::panes;
use super::seen::Seen;
use super::view::View;
use crate::cli::watch::Pane;
use crate::control::WatchNow;
use crate::human;
use crate::snapshot::{Report, UplinkReport};
use protocols_model::AlarmState;
use std::time::Duration;

/// Rows above and below the rows of a pane.
const FRAME_ROWS: usize = 9;
/// An answer that is older than this is said to be old.
const OLD: Duration = Duration::from_secs(5);

/// Rows that a pane has on a screen of so many.
pub(super) fn room(rows: usize) -> usize {
    rows.saturating_sub(FRAME_ROWS).max(1)
}

/// The screen at `at`.
pub(super) fn screen(
    view: &View,
    seen: &Seen,
    at: Duration,
    (rows, columns): (usize, usize),
) -> Vec<Line> {
    let Some(now) = &seen.now else {
        return unknown(seen, columns);
    };
    let mut lines = head(now, seen, columns);
    let old = seen
        .age(at)
        .filter(|age| *age >= OLD || seen.problem.is_some());
    lines.push(trouble(now, seen, old));
    lines.push(tabs(view, now, columns));
    if view.help {
        lines.extend(help());
    } else {
        let (heading, mut body) = panes::body(view, seen, columns);
        let skipped = if view.pane == Pane::Points {
            0
        } else {
            view.first(body.len())
        };
        let shown = body.drain(..).skip(skipped).take(room(rows));
        lines.push(heading.painted(Style::Bold, 0));
        lines.extend(shown);
    }
    lines.resize_with(rows.saturating_sub(1), Line::default);
    lines.push(foot(view));
    lines
}

/// One pane as text: at most so many rows, without those that only a terminal needs.
pub(super) fn text(view: &View, seen: &Seen, columns: usize, most: usize) -> String {
    let Some(now) = &seen.now else {
        return String::new();
    };
    let mut lines = head(now, seen, columns);
    lines.push(trouble(now, seen, None));
    let (heading, body) = panes::body(view, seen, columns);
    lines.push(Line::default());
    lines.push(heading);
    lines.extend(body);
    lines.truncate(most);
    lines.iter().map(|line| line.plain() + "\n").collect()
}

/// The bar and the summary.
fn head(now: &WatchNow, seen: &Seen, columns: usize) -> Vec<Line> {
    let report = &now.report;
    let health = if report.health().ok {
        "well"
    } else {
        "NOT WELL"
    };
    let up = human::span(i64::try_from(report.uptime_s).unwrap_or(0) * 1000);
    let (name, pid, version) = (&report.gateway, report.pid, &report.version);
    let bar = Line::default().text(&format!(" {name}  {health}  up {up}  pid {pid}  {version}"));
    let bar = bar.ending(
        columns.saturating_sub(1),
        Style::Plain,
        &human::moment(report.now),
    );
    vec![
        bar.painted(Style::Reverse, columns),
        points(now, seen),
        field(now),
        uplink(report.uplink.as_ref(), report.now),
        spool(report),
    ]
}

fn points(now: &WatchNow, seen: &Seen) -> Line {
    let standing = &now.standing;
    let mut line = Line::default()
        .put(Style::Bold, "points  ")
        .text(&format!("{} good", standing.good));
    for (count, what, style) in [
        (standing.uncertain, "uncertain", Style::Warn),
        (standing.bad, "bad", Style::Bad),
        (standing.silent, "silent", Style::Warn),
    ] {
        if count > 0 {
            line = line.text(", ").put(style, &format!("{count} {what}"));
        }
    }
    if let Some(rates) = &seen.rates {
        let (taken, kept) = (human::rate(rates.taken), human::rate(rates.kept));
        line = line.text(&format!("   {taken} readings/s, {kept}/s sent"));
    }
    line
}

fn field(now: &WatchNow) -> Line {
    let buses = &now.report.buses;
    let devices = || buses.iter().flat_map(|bus| &bus.devices);
    let (all, up) = (
        devices().count(),
        devices().filter(|d| d.state == "up").count(),
    );
    let style = if up == all { Style::Plain } else { Style::Bad };
    let count = |state| {
        let alarms = now.rules.alarms.iter();
        alarms.filter(|alarm| alarm.state == state).count()
    };
    let (raised, known) = (count(AlarmState::Raised), count(AlarmState::Acknowledged));
    let returned = count(AlarmState::Returned);
    let mut line = Line::default()
        .put(Style::Bold, "field   ")
        .put(style, &format!("{up} of {all} devices up"))
        .text(&match buses.len() {
            1 => " on 1 bus   alarms: ".to_owned(),
            many => format!(" on {many} buses   alarms: "),
        });
    line = match (raised, known + returned) {
        (0, 0) => line.text("none"),
        (0, _) => line,
        _ => line.put(Style::Bad, &format!("{raised} RAISED")),
    };
    for (count, what) in [(known, "acknowledged"), (returned, "returned")] {
        if count > 0 {
            line = line.text(" ").put(Style::Warn, &format!("{count} {what}"));
        }
    }
    line
}

fn uplink(uplink: Option<&UplinkReport>, now: i64) -> Line {
    let line = Line::default().put(Style::Bold, "uplink  ");
    let Some(uplink) = uplink else {
        return line.text("none configured");
    };
    let line = match (uplink.no_identity, uplink.connected, uplink.store_away) {
        (true, _, _) => line.put(Style::Bad, "no identity"),
        (_, true, false) => line.put(Style::Good, "connected"),
        (_, true, true) => line.put(Style::Bad, "connected, but nothing is stored"),
        (_, false, _) => line.put(Style::Bad, "not connected"),
    };
    let line = match uplink.since {
        Some(since) => line.text(&format!(" for {}", human::span(now - since))),
        None => line,
    };
    let (sent, left) = (uplink.unsettled_records, uplink.backlog_records);
    let line = match uplink.settling_p50_ms {
        Some(ms) => line.text(&format!("   acknowledged in {ms:.0} ms")),
        None => line,
    };
    line.text(&format!("   {sent} under way, {left} wait"))
}

fn spool(report: &Report) -> Line {
    let spool = &report.spool;
    let percent = spool
        .live_bytes
        .saturating_mul(100)
        .checked_div(spool.quota_bytes);
    let (live, quota) = (
        human::bytes(spool.live_bytes),
        human::bytes(spool.quota_bytes),
    );
    let style = if spool.alarms.is_empty() {
        Style::Plain
    } else {
        Style::Bad
    };
    let (records, percent) = (spool.records, percent.unwrap_or(0));
    let (of_clock, clock) = panes::time::in_a_word(&report.time);
    Line::default()
        .put(Style::Bold, "spool   ")
        .text(&format!("{records} records, "))
        .put(style, &format!("{live} of {quota} ({percent} %)"))
        .text("   clock: ")
        .put(of_clock, clock)
}

/// What is wrong, in one line: nothing where nothing is.
fn trouble(now: &WatchNow, seen: &Seen, old: Option<Duration>) -> Line {
    if let Some(old) = old {
        let age = human::span(i64::try_from(old.as_millis()).unwrap_or(i64::MAX));
        let why = seen.problem.as_deref().unwrap_or("no answer yet");
        let text = format!("!! this is {age} old: {why}");
        return Line::default().put(Style::Bad, &text);
    }
    let problems = now.report.health().problems;
    let Some(first) = problems.first() else {
        return Line::default();
    };
    let more = problems.len() - 1;
    let more = if more > 0 {
        format!(" (and {more} more)")
    } else {
        String::new()
    };
    Line::default().put(Style::Bad, &format!("!! {first}{more}"))
}

fn tabs(view: &View, now: &WatchNow, columns: usize) -> Line {
    let mut line = Line::default();
    for (number, pane) in (1..).zip(Pane::ALL) {
        let name = panes::name(pane);
        line = if pane == view.pane {
            line.put(Style::Reverse, &format!("[{number} {name}]"))
        } else {
            line.text(&format!(" {number} {name} "))
        };
    }
    if view.pane != Pane::Points {
        return line;
    }
    let fitting = now.fitting;
    let shown = match (view.filter.as_str(), view.trouble) {
        ("", false) => String::new(),
        ("", true) => format!("not good: {fitting}"),
        (filter, false) => format!("{filter}: {fitting}"),
        (filter, true) => format!("{filter}, not good: {fitting}"),
    };
    line.ending(columns.saturating_sub(1), Style::Bold, &shown)
}

fn foot(view: &View) -> Line {
    if let Some(typed) = &view.typed {
        let line = Line::default().put(Style::Bold, "filter (a part of the name, or * for any): ");
        return line.text(typed).put(Style::Reverse, " ");
    }
    if let Some(note) = &view.note {
        return Line::default().put(Style::Bold, note);
    }
    let keys = match view.pane {
        Pane::Points => {
            "Tab pane  arrows PgUp PgDn move  / filter  t not good  Esc all  ? help  q quit"
        }
        Pane::Alarms => "Tab pane  arrows choose  a acknowledge  ? help  q quit",
        _ => "Tab pane  arrows PgUp PgDn move  ? help  q quit",
    };
    Line::default().text(keys)
}

fn help() -> Vec<Line> {
    let lines = [
        "",
        "Tab, 1 to 6      points, buses, alarms, spool, uplink, clocks",
        "arrows, j k      one row",
        "PgUp, PgDn, b    a page; Space as well",
        "Home, End, g G   the first row, the last one",
        "/                show points that fit: a part of the name, or a pattern with *",
        "t                show only points whose last reading is not good",
        "Esc              show all points again",
        "a                acknowledge the alarm that is chosen: somebody knows",
        "Ctrl-L           draw everything anew, after noise on the line",
        "q, Ctrl-C        end; the gateway goes on",
        "",
        "Good, uncertain (?), bad (!): after the mark stands why. The age counts from",
        "the last reading, whatever it was. \"Under way\" is what was sent and is not",
        "acknowledged by the cloud yet.",
    ];
    lines
        .iter()
        .map(|line| Line::default().text(line))
        .collect()
}

/// Before the first answer.
fn unknown(seen: &Seen, columns: usize) -> Vec<Line> {
    let bar = Line::default().text(" fogline-gateway watch");
    let why = seen.problem.as_deref().unwrap_or("asking the gateway …");
    vec![
        bar.painted(Style::Reverse, columns),
        Line::default(),
        Line::default().text(why),
    ]
}
