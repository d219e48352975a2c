//! The way to the cloud: the spool lane by lane, the uplink's window.

use super::super::grid::{Line, Style};
use super::super::seen::Seen;
use super::{fact, styled};
use crate::human;
use crate::snapshot::{Report, SpoolReport};
use gateway_config::units::show_duration;
use std::time::Duration;

/// Counters of the spool that tell of something lost or damaged.
const LOSSES: [&str; 4] = [
    "evicted_records",
    "damaged_records",
    "quarantined_stores",
    "failed_commits",
];

pub(super) fn spool(spool: &SpoolReport) -> (Line, Vec<Line>) {
    let heading = Line::default()
        .text("LANE")
        .ending(30, Style::Plain, "RECORDS")
        .ending(46, Style::Plain, "LAST NUMBER");
    let mut rows: Vec<Line> = spool
        .lanes
        .iter()
        .map(|lane| {
            let line = Line::default().text(&lane.lane);
            let line = line.ending(30, Style::Plain, &lane.records.to_string());
            line.ending(46, Style::Plain, &lane.last_seq.to_string())
        })
        .collect();
    rows.push(Line::default());
    let quota = human::bytes(spool.quota_bytes);
    rows.push(fact(
        "held",
        &format!("{} of {quota}", human::bytes(spool.live_bytes)),
    ));
    rows.push(fact(
        "of it in memory only",
        &human::bytes(spool.memory_bytes),
    ));
    let window = show_duration(Duration::from_millis(spool.loss_window_ms));
    rows.push(fact("a crash would take", &format!("the last {window}")));
    for alarm in &spool.alarms {
        rows.push(styled("alarm", Style::Bad, alarm));
    }
    if let Some(trouble) = &spool.disk_trouble {
        rows.push(styled("disk", Style::Bad, trouble));
    }
    rows.push(fact("epoch", &spool.epoch));
    rows.push(Line::default());
    rows.extend(spool.counters.iter().map(|(name, count)| {
        let lost = *count > 0 && LOSSES.contains(&name.as_str());
        let style = if lost { Style::Warn } else { Style::Plain };
        Line::default()
            .text(&name.replace('_', " "))
            .ending(46, style, &count.to_string())
    }));
    (heading, rows)
}

pub(super) fn uplink(report: &Report, seen: &Seen) -> (Line, Vec<Line>) {
    let Some(uplink) = &report.uplink else {
        let none = "no uplink is configured: records stay in the spool";
        return (
            Line::default().text("UPLINK"),
            vec![Line::default().text(none)],
        );
    };
    let heading = Line::default().text("UPLINK").to(24).text(&uplink.name);
    let server = uplink.server.as_deref().unwrap_or("none tried yet");
    let mut rows = vec![fact("server", server)];
    if let Some(error) = uplink.error.as_ref().filter(|_| !uplink.connected) {
        rows.push(styled("failed because", Style::Bad, error));
    }
    let settled = uplink.last_settled;
    let settled = settled.map_or_else(
        || "nothing yet".to_owned(),
        |at| format!("{} ago", human::span(report.now - at)),
    );
    rows.push(fact("last acknowledgement", &settled));
    let delay = match (uplink.settling_p50_ms, uplink.settling_p99_ms) {
        (Some(p50), Some(p99)) => format!("{p50:.0} ms (half), {p99:.0} ms (99 %)"),
        _ => "not measured yet".to_owned(),
    };
    rows.push(fact("acknowledged after", &delay));
    let (used, limit) = (uplink.unsettled_bytes, uplink.window_bytes);
    rows.push(fact(
        "window",
        &format!(
            "{} {} of {}",
            bar(used, limit),
            human::bytes(used),
            human::bytes(limit)
        ),
    ));
    rows.push(fact(
        "not taken by the broker",
        &human::bytes(uplink.in_flight_bytes),
    ));
    rows.push(fact(
        "sent, not settled",
        &format!("{} records", uplink.unsettled_records),
    ));
    let left = human::bytes(uplink.backlog_bytes);
    rows.push(fact(
        "not sent",
        &format!("{} records, {left}", uplink.backlog_records),
    ));
    let window = human::bytes(uplink.history_window_bytes);
    rows.push(fact("of it at once", &window));
    let link = human::bytes(uplink.link_bytes_per_s);
    rows.push(fact("the link carries", &format!("{link}/s")));
    if let Some(slow) = uplink.slowed_to_bytes_per_s {
        let slow = human::bytes(slow);
        rows.push(styled(
            "slowed by the cloud to",
            Style::Warn,
            &format!("{slow}/s of backlog"),
        ));
    }
    if let Some(rates) = &seen.rates {
        rows.push(fact(
            "sending",
            &format!("{} bytes/s", human::rate(rates.bytes_up)),
        ));
    }
    rows.push(Line::default());
    rows.extend(uplink.counters.iter().map(|(name, count)| {
        Line::default()
            .text(&name.replace('_', " "))
            .ending(46, Style::Plain, &count.to_string())
    }));
    (heading, rows)
}

/// How much of a bound is used.
fn bar(used: u64, limit: u64) -> String {
    const WIDTH: u64 = 20;
    let filled = (used.saturating_mul(WIDTH)).checked_div(limit).unwrap_or(0);
    let filled = usize::try_from(filled.min(WIDTH)).unwrap_or(0);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(20 - filled))
}
