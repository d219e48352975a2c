//! Screens of a console of 24 rows and 80 columns, kept as files: what a technician sees. With
//! `FOGLINE_UPDATE_EXPECTED=1` the test writes them anew; read the difference.

use super::keys::Key;
use super::page;
use super::seen::Seen;
use super::view::{View, Wish};
use crate::cli::watch::Pane;
use crate::control::WatchNow;
use serde_json::{Value, json};
use std::time::Duration;

const CONSOLE: (usize, usize) = (24, 80);
const NOW: i64 = 1_795_177_867_000;

fn counters(names: &[(&str, u64)]) -> Value {
    let counter = |(name, value): &(&str, u64)| json!({ "name": name, "help": "", "value": value });
    names.iter().map(counter).collect()
}

fn point(name: &str, value: Option<&str>, unit: &str, quality: &str, age: Option<u64>) -> Value {
    let (quality, reason) = quality
        .split_once(' ')
        .map_or((quality, None), |(q, r)| (q, Some(r)));
    json!({ "name": name, "value": value, "unit": unit, "quality": quality, "reason": reason, "age_ms": age })
}

/// An answer of a plant with a little of everything.
fn answer(taken: u64, busy: u64) -> WatchNow {
    let points = [
        point("meter1/u_l1", Some("230.4"), "V", "good", Some(400)),
        point("meter1/p_sum", Some("-1250"), "W", "good", Some(400)),
        point(
            "cellar/temperature",
            Some("21.5"),
            "°C",
            "uncertain stale",
            Some(75_000),
        ),
        point("pump/relay", Some("true"), "", "good", Some(1_200)),
        point("pump/speed", None, "%", "bad timeout", Some(3_000)),
        point(
            "station/hall-of-the-long-names-4/serial_number",
            Some("\"AB-1234\\u{1b}[2J56789-XYZ\""),
            "",
            "good",
            Some(7_200_000),
        ),
        point("weather/wind", None, "m/s", "none", None),
    ];
    let now = json!({
        "report": {
            "gateway": "plant-7", "labels": {}, "version": "0.1.0", "boot": "00000000000000aa",
            "pid": 812, "now": NOW, "started": NOW - 273_840_000, "uptime_s": 273_840,
            "config": { "path": "gateway.toml", "revision": "4f2a91c0de11", "last_good": false, "refused": null, "points": 7 },
            "buses": [
                { "name": "rs485", "restarts": 0, "planned_load": 0.34,
                  "counters": counters(&[("requests", 48_211), ("timeouts", 31), ("bad_answers", 2), ("missed_polls", 0), ("busy_microseconds", busy)]),
                  "devices": [
                    { "id": "meter1", "state": "up", "reason": null, "since": NOW - 9_000_000 },
                    { "id": "pump", "state": "down", "reason": "timeout", "since": NOW - 65_000 } ] },
                { "name": "air", "restarts": 1, "counters": counters(&[("requests", 0)]),
                  "devices": [ { "id": "weather", "state": "unknown", "reason": null, "since": null } ] } ],
            "pipeline": { "taken": taken, "kept": taken / 10, "filtered": taken - taken / 10, "not_good": 3, "records": 9, "bytes": 900, "unsealable": 0 },
            "alarms": [],
            "spool": { "epoch": "00000000000000ee", "records": 12, "live_bytes": 40_960, "quota_bytes": 16_777_216, "memory_bytes": 2_048,
                "lanes": [
                    { "lane": "alarm", "records": 0, "last_seq": 3 }, { "lane": "event", "records": 1, "last_seq": 41 },
                    { "lane": "telemetry", "records": 11, "last_seq": 270_113 }, { "lane": "bulk", "records": 0, "last_seq": 0 } ],
                "loss_window_ms": 3_000, "alarms": ["at-bound"], "disk_trouble": null,
                "counters": { "appended_records": 270_157, "settled_records": 270_140, "evicted_records": 5 } },
            "uplink": { "name": "cloud", "connected": true, "server": "broker-1.example:8883", "since": NOW - 7_440_000, "error": null,
                "no_identity": false, "store_away": false, "last_settled": NOW - 300, "unsettled_records": 4, "unsettled_bytes": 65_536,
                "window_bytes": 262_144, "in_flight_bytes": 3_072, "backlog_records": 0, "backlog_bytes": 0,
                "slowed_to_bytes_per_s": 4_096, "history_window_bytes": 98_304, "link_bytes_per_s": 51_200,
                "settling_p50_ms": 180.0, "settling_p99_ms": 420.0,
                "counters": { "bytes": taken, "envelopes": 99, "reconnects": 2 } },
            "time": { "synced": true, "confirmed_by": "chrony", "placed_within_ms": 100,
                "services": [ { "name": "chrony", "right": true, "state": "stratum 2, 0.3 ms to correct" } ],
                "rtc": { "device": "rtc0", "is_set": true, "offset_s": 62 },
                "gnss": { "point": "gps/utc", "state": "good", "offset_ms": -412 },
                "steps": 1, "last_step_ms": -3_600_000, "last_step_at": NOW - 86_400_000 },
            "process": { "resident_bytes": 16_000_000, "resident_peak_bytes": 17_000_000, "cpu_seconds": 12.5 } },
        "standing": { "good": 4, "uncertain": 1, "bad": 1, "silent": 1 },
        "fitting": 7, "from": 0, "points": points,
        "rules": { "error": null,
            "alarms": [
                { "name": "overtemp", "level": "high", "state": "raised", "text": "cellar hot", "since": NOW - 125_000, "by": null, "shelved_s": null },
                { "name": "dry-run", "level": "critical", "state": "acknowledged", "text": "pump runs dry", "since": NOW - 7_300_000, "by": "ada", "shelved_s": 1_800 },
                { "name": "door", "level": "low", "state": "normal", "text": "door open", "since": null, "by": null, "shelved_s": null } ],
            "rules": [ { "name": "overtemp", "on": true }, { "name": "night", "on": false } ] },
    });
    serde_json::from_value(now).unwrap()
}

/// Two answers, two seconds apart.
fn seen() -> Seen {
    let mut seen = Seen::default();
    seen.answered(Duration::from_secs(1), answer(10_000, 1_000_000));
    seen.answered(Duration::from_secs(3), answer(11_024, 1_740_000));
    seen
}

fn view(pane: Pane) -> View {
    let mut view = View::new(pane, String::new(), false);
    view.room = page::room(CONSOLE.0);
    view
}

fn shown(view: &View, seen: &Seen, at: Duration) -> String {
    let lines = page::screen(view, seen, at, CONSOLE);
    assert_eq!(lines.len(), CONSOLE.0);
    lines.iter().map(|line| line.plain() + "\n").collect()
}

fn compare(name: &str, found: &str) {
    let path = format!("{}/src/watch/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("FOGLINE_UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, kept, "{name}");
    for line in found.lines() {
        assert!(
            line.chars().count() <= CONSOLE.1,
            "{name} is too wide: {line:?}"
        );
    }
}

#[test]
fn each_pane_says_what_a_technician_asks_on_a_console_of_24_by_80() {
    let (seen, at) = (seen(), Duration::from_secs(3));
    for pane in Pane::ALL {
        let name = super::panes::name(pane).to_lowercase();
        compare(&name, &shown(&view(pane), &seen, at));
    }
    let mut help = view(Pane::Points);
    help.help = true;
    compare("help", &shown(&help, &seen, at));
    compare(
        "once",
        &page::text(&view(Pane::Buses), &seen, 80, usize::MAX),
    );
}

#[test]
fn a_gateway_that_stopped_answering_is_said_to_and_its_last_answer_stays() {
    let mut seen = seen();
    seen.failed("no gateway runs on state any more".to_owned());
    let text = shown(&view(Pane::Points), &seen, Duration::from_secs(43));
    assert!(
        text.contains("!! this is 40s old: no gateway runs on state any more"),
        "{text}"
    );
    assert!(text.contains("230.4"), "{text}");
    assert!(
        !text.contains("readings/s"),
        "rates of a dead gateway: {text}"
    );
}

#[test]
fn a_second_of_an_idle_plant_costs_a_slow_line_next_to_nothing() {
    use super::grid::{Screen, Skill};
    let (view, mut seen) = (view(Pane::Points), seen());
    let mut screen = Screen::new(
        Skill {
            utf8: false,
            colour: false,
        },
        CONSOLE.0,
        CONSOLE.1,
    );
    let whole = screen.show(&page::screen(&view, &seen, Duration::from_secs(3), CONSOLE));
    assert!(whole.is_ascii());
    // 9600 baud are 960 characters a second.
    assert!(whole.len() < 1_920, "{} bytes", whole.len());
    let mut next = answer(11_536, 2_110_000);
    next.report.now += 1_000;
    next.points[0].value = Some("230.7".to_owned());
    next.points[2].age_ms = Some(76_000);
    seen.answered(Duration::from_secs(4), next);
    let changed = screen.show(&page::screen(&view, &seen, Duration::from_secs(4), CONSOLE));
    assert!(changed.len() < 120, "{} bytes: {changed:?}", changed.len());
}

#[test]
fn a_terminal_smaller_than_the_screen_is_cut_and_breaks_nothing() {
    let seen = seen();
    for size in [(1, 1), (2, 10), (8, 40), (24, 80), (60, 200)] {
        for pane in Pane::ALL {
            let mut view = view(pane);
            view.room = page::room(size.0);
            let lines = page::screen(&view, &seen, Duration::from_secs(3), size);
            assert!(lines.len() <= size.0, "{size:?}");
        }
    }
}

#[test]
fn keys_change_panes_move_and_never_beyond_what_is_there() {
    let seen = seen();
    let mut view = view(Pane::Points);
    assert_eq!(view.key(Key::Tab, &seen), Wish::Ask);
    assert_eq!(view.pane, Pane::Buses);
    view.key(Key::BackTab, &seen);
    view.key(Key::BackTab, &seen);
    assert_eq!(view.pane, Pane::Time);
    view.key(Key::Char('1'), &seen);
    view.room = 3;
    assert_eq!(view.key(Key::End, &seen), Wish::Ask);
    assert_eq!((view.page().from, view.page().most), (4, 3));
    for _ in 0..5 {
        view.key(Key::PageUp, &seen);
    }
    assert_eq!(view.page().from, 0);
    assert_eq!(view.key(Key::Char('q'), &seen), Wish::Quit);
}

#[test]
fn a_filter_is_typed_kept_and_taken_back() {
    let seen = seen();
    let mut view = view(Pane::Buses);
    view.key(Key::Char('/'), &seen);
    for key in [
        Key::Char('m'),
        Key::Char('q'),
        Key::Backspace,
        Key::Char('*'),
    ] {
        assert_eq!(view.key(key, &seen), Wish::Draw, "typing ends nothing");
    }
    assert_eq!(view.filter, "");
    assert_eq!(view.key(Key::Enter, &seen), Wish::Ask);
    assert_eq!(
        (view.pane, view.page().filter.as_str()),
        (Pane::Points, "m*")
    );
    view.key(Key::Char('t'), &seen);
    assert!(view.page().trouble);
    view.key(Key::Escape, &seen);
    assert_eq!(
        (view.page().filter.as_str(), view.page().trouble),
        ("", false)
    );
}

#[test]
fn an_alarm_is_acknowledged_by_name_and_only_where_there_is_something_to() {
    let seen = seen();
    let mut view = view(Pane::Points);
    assert_eq!(
        view.key(Key::Char('a'), &seen),
        Wish::Ask,
        "first it is shown"
    );
    assert_eq!(view.pane, Pane::Alarms);
    let wish = view.key(Key::Char('a'), &seen);
    assert_eq!(wish, Wish::Acknowledge("overtemp".to_owned()));
    view.key(Key::End, &seen);
    assert_eq!(view.key(Key::Char('a'), &seen), Wish::Draw);
    assert_eq!(
        view.note.as_deref(),
        Some("door: there is nothing to acknowledge")
    );
}

#[test]
fn points_that_went_away_are_not_looked_at_any_more() {
    let mut seen = seen();
    let mut view = view(Pane::Points);
    view.room = 3;
    view.key(Key::End, &seen);
    let mut fewer = answer(1, 1);
    (fewer.fitting, fewer.from, fewer.points) = (2, 4, Vec::new());
    seen.answered(Duration::from_secs(9), fewer);
    assert!(view.settle(&seen));
    assert_eq!(view.page().from, 0);
    assert!(!view.settle(&seen), "it asks once");
}
