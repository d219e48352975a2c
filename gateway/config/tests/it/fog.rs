//! Filters, derived points, rules and privacy that are right, and what they mean.

use crate::{CHECK, load_texts};
use gateway_config::{GatewayConfig, Leaves, Options, Severity, load, render};
use gateway_filter::{Aggregate, Bound, Stage};
use gateway_privacy::Treatment;
use gateway_rules::rule::WriteValue;
use gateway_rules::{Action, OnBad};
use protocols_model::{PointKey, Value, ValueType};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const FIELD: &str = r#"schema = 1
[gateway]
id = "gw"
[bus.b]
kind = "modbus-tcp"
addr = "h"
[device.m1]
bus = "b"
unit = 1
points = [
  { id = "p", at = "ir:0", as = "i16", scale = 0.1, unit = "W", range = [0, 500] },
  { id = "on", at = "di:0" },
  { id = "name", at = "hr:100", as = "string", len = 4 },
]
[device.m2]
bus = "b"
unit = 2
points = [
  { id = "p", at = "ir:0", as = "i16", scale = 0.1, unit = "W" },
  { id = "level", at = "hr:0", as = "i16", scale = 0.1, write = true },
]
"#;

const SECOND: Duration = Duration::from_secs(1);

fn accepted(more: &str) -> GatewayConfig {
    let loaded = load_texts(&[("gateway.toml", &format!("{FIELD}{more}"))], CHECK);
    let config = loaded.config.clone();
    config.unwrap_or_else(|| panic!("{}", render(&loaded.problems, false)))
}

fn names(config: &GatewayConfig) -> Vec<String> {
    let names = config
        .points
        .iter()
        .map(|p| format!("{}/{}", p.descriptor.device, p.descriptor.point));
    names.collect()
}

fn bound(stages: &[Stage]) -> Bound {
    stages
        .iter()
        .map(Stage::bound)
        .fold(Bound::Exact, Bound::then)
}

#[test]
fn without_a_word_nothing_is_left_out_or_held_back() {
    let config = accepted("");
    assert!(config.fog.stages.is_empty() && !config.fog.is_private());
    assert_eq!(config.fog.held, Duration::ZERO);
    assert_eq!(config.spool.batch_age, Duration::from_secs(10));
}

#[test]
fn filters_of_one_point_work_one_behind_the_other_in_the_order_of_the_file() {
    let config = accepted(
        r#"
[filter.b]
match = "*/p"
do = [ { deadband = { abs = 1.0 } } ]
[filter.a]
match = ["m1/*"]
do = [ { deadband = { pct_of_range = 1 } }, { min_interval = "10s" } ]
"#,
    );
    let stages = &config.fog.stages;
    let of = |key| stages.get(&PointKey(key)).map_or(&[][..], Vec::as_slice);
    assert_eq!(of(0).len(), 3);
    assert_eq!(
        bound(&of(0)[..2]),
        Bound::Hold {
            absolute: 6.0,
            relative: 0.0
        },
        "the errors add: 1 W and 1 % of 500 W"
    );
    assert_eq!(
        bound(of(3)),
        Bound::Hold {
            absolute: 1.0,
            relative: 0.0
        }
    );
    assert!(of(4).is_empty());
}

#[test]
fn what_a_swinging_door_and_spans_of_time_hold_back_counts_into_the_loss_window() {
    let config = accepted(
        r#"
[filter.a]
match = "*/p"
do = [ { swing = { error = 0.5 } } ]
[privacy.cloud]
time = { "m1/p" = "15m", "m1/on" = "1h" }
"#,
    );
    // A minute by default, and the period after which a reading ends it.
    let door = Duration::from_secs(61);
    assert_eq!(config.fog.held, (door + 900 * SECOND).max(3600 * SECOND));
    assert_eq!(
        config.spool.batch_age,
        Duration::from_secs(10) + config.fog.held
    );
}

#[test]
fn a_keep_alive_belongs_to_deadbands_and_the_shortest_of_a_point_counts() {
    let config = accepted(
        r#"
[filter.slow]
match = "*/p"
do = [ { deadband = { abs = 1, keep_alive = "5m" } } ]
[filter.fast]
match = "m1/*"
do = [ { deadband = { abs = 0, keep_alive = "1m", beat = "1h" } } ]
[privacy.rounded]
round = { "m1/p" = 10 }
"#,
    );
    let every = |key| config.fog.keep_alive.get(&PointKey(key)).copied();
    assert_eq!(every(0), Some(60 * SECOND));
    assert_eq!(every(2), Some(60 * SECOND), "texts that do not change too");
    assert_eq!(every(3), Some(300 * SECOND));
    assert_eq!(every(4), None);
}

#[test]
fn windows_make_points_of_the_same_device_and_derived_points_may_look_at_them() {
    let config = accepted(
        r#"
[filter.w]
match = "m*/p"
do = [ { window = { size = "10s", agg = ["mean", "count", "p95"], keep = false } } ]
[filter.states]
match = "m1/on"
do = [ { window = { size = "1h", step = "1m", agg = ["time_in:true"], name = "hour" } } ]
[filter.results]
match = "*_mean"
do = [ { deadband = { abs = 2 } } ]
[filter.total]
match = "derived/*"
do = [ { window = { size = "1m", agg = ["max"] } } ]
[derive.total]
value = "m1.p_mean + m2.p"
unit = "W"
"#,
    );
    assert_eq!(
        names(&config)[5..],
        [
            "m1/p_mean",
            "m1/p_count",
            "m1/p_p95",
            "m2/p_mean",
            "m2/p_count",
            "m2/p_p95",
            "m1/on_hour_time_in_true",
            "derived/total",
            "derived/total_max"
        ]
    );
    let type_of = |place: usize| {
        let point = &config.points[place].descriptor;
        (point.value_type, point.unit.as_str())
    };
    assert_eq!(type_of(6), (ValueType::U64, ""));
    assert_eq!(type_of(7), (ValueType::F64, "W"));
    assert_eq!(type_of(11), (ValueType::F64, "s"));
    let fog = &config.fog;
    assert_eq!(fog.windows.len(), 4);
    assert_eq!(fog.windows[0].of, PointKey(0));
    assert_eq!(fog.windows[0].results, [5, 6, 7].map(PointKey));
    assert_eq!(
        fog.windows[2].spec.aggregates,
        [Aggregate::TimeIn(Value::Bool(true))]
    );
    // Of the readings themselves only changes of quality; of the means what moves.
    assert_eq!(bound(&fog.stages[&PointKey(0)]), Bound::Unstated);
    assert_eq!(
        bound(&fog.stages[&PointKey(5)]),
        Bound::Hold {
            absolute: 2.0,
            relative: 0.0
        }
    );
    assert!(
        !fog.stages.contains_key(&PointKey(12)),
        "results of its own are not for it"
    );
    let of_field = |key: PointKey| (key.0 < 5).then_some(SECOND);
    let period = |key| fog.period(PointKey(key), &of_field);
    assert_eq!(period(5), Some(10 * SECOND));
    assert_eq!(period(0), None);
    let total = period(12).unwrap().as_secs_f64();
    assert!((total - 1.0 / 1.1).abs() < 1e-6, "{total}");
}

#[test]
fn a_rule_says_all_it_does() {
    let config = accepted(
        r#"
[rule.full]
when = "m1.p > 30 && m1.on"
for = "20s"
clear = "m1.p < 28"
clear_for = "5s"
on_bad = "fire"
bad_after = "1m"
stale = "30s"
never = "!m1.on"
max_writes = "2/10s"
event = "e"
alarm = { level = "high", text = "hot", latch = true }
write = [ { point = "m2.level", value = 3, ttl = "5s" }, { point = "m2/level", expr = "m1.p / 2" } ]
safe = [ { point = "m2/level", value = 0.5 } ]
capture = { points = "m1/*", for = "60s" }
"#,
    );
    let [rule] = config.fog.rules.as_slice() else {
        panic!("{:?}", config.fog.rules)
    };
    assert_eq!(
        (rule.hold, rule.clear_hold, rule.bad_after),
        (20 * SECOND, 5 * SECOND, 60 * SECOND)
    );
    assert_eq!((rule.on_bad, rule.stale), (OnBad::Fire, Some(30 * SECOND)));
    assert_eq!((rule.limit.count, rule.limit.per), (2, 10 * SECOND));
    assert!(rule.never.is_some() && rule.clear.is_some() && rule.on_clear.is_empty());
    let [
        Action::Write(constant),
        Action::Write(computed),
        Action::Alarm { latch: true, .. },
        Action::Event { .. },
        Action::Capture { points, span },
    ] = rule.actions.as_slice()
    else {
        panic!("{:?}", rule.actions)
    };
    assert_eq!((constant.point, constant.ttl), (PointKey(4), 5 * SECOND));
    assert!(
        matches!(constant.value, WriteValue::Constant(Value::F64(x)) if x.to_bits() == 3.0_f64.to_bits())
    );
    assert!(matches!(
        computed.value,
        WriteValue::Computed(_, ValueType::F64)
    ));
    assert_eq!(
        (points.as_slice(), *span),
        ([0, 1, 2].map(PointKey).as_slice(), 60 * SECOND)
    );
}

#[test]
fn what_is_computed_from_private_points_leaves_only_where_somebody_decided_it() {
    let config = accepted(
        r#"
[filter.w]
match = "m1/p"
do = [ { window = { size = "10s", agg = ["mean", "count"] } } ]
[filter.v]
match = "m2/p"
do = [ { window = { size = "10s", agg = ["max"] } } ]
[derive.twice]
value = "m1.p_mean * 2"
[derive.secret]
value = "m2.p * 2"
[privacy.a]
aggregate_only = { match = "m1/p", min_group = 7 }
drop = ["m2/p"]
open = "m2/p_max"
round = { "derived/secret" = 100 }
"#,
    );
    let fog = &config.fog;
    assert_eq!(fog.windows[0].spec.min_count, 7);
    assert_eq!(fog.windows[1].spec.min_count, 0);
    assert!(matches!(fog.privacy[&PointKey(0)], Leaves::Nothing(_)));
    assert!(matches!(fog.privacy[&PointKey(3)], Leaves::Nothing(_)));
    let secret = names(&config)
        .iter()
        .position(|n| n == "derived/secret")
        .unwrap();
    let secret = PointKey(u32::try_from(secret).unwrap());
    assert!(
        matches!(&fog.privacy[&secret], Leaves::Treated { treatments, .. }
        if matches!(treatments.as_slice(), [Treatment::Round(_)]))
    );
    assert_eq!(fog.privacy.len(), 3);
}

#[test]
fn the_coarsest_word_counts_and_nothing_is_less_than_anything() {
    let config = accepted(
        r#"
[privacy.a]
time = { "m1/*" = "1m", "m1/on" = "1h" }
drop = "m2/p"
[privacy.b]
round = { "m2/p" = 5 }
place = { latitude = "m1/p", longitude = "m2/level", cell = "1km" }
"#,
    );
    let privacy = &config.fog.privacy;
    let Leaves::Treated { treatments, .. } = &privacy[&PointKey(1)] else {
        panic!("{privacy:?}")
    };
    assert!(matches!(treatments.as_slice(), [Treatment::Time(span)] if *span == 3600 * SECOND));
    assert!(matches!(privacy[&PointKey(3)], Leaves::Nothing(_)));
    assert!(matches!(
        &privacy[&PointKey(4)],
        Leaves::Treated {
            latitude: Some(PointKey(0)),
            ..
        }
    ));
}

#[test]
fn without_its_key_a_pseudonym_is_an_error_to_check_and_at_boot_nothing_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    let policy =
        "[privacy.badges]\npseudonymise = { match = \"m1/name\", key = \"file:pseudo\" }\n";
    std::fs::write(&path, format!("{FIELD}{policy}")).unwrap();
    let boot = Options {
        unknown_keys: Severity::Warning,
        ..CHECK
    };
    let name = PointKey(2);
    for content in [None, Some("00ff"), Some("not a key")] {
        if let Some(content) = content {
            std::fs::write(folder.path().join("pseudo"), content).unwrap();
        }
        assert!(load(&path, CHECK).config.is_none());
        let config = load(&path, boot).config.unwrap();
        assert!(matches!(config.fog.privacy[&name], Leaves::Nothing(_)));
    }
    let secret = "5a".repeat(32);
    std::fs::write(folder.path().join("pseudo"), &secret).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("pseudo"), mode).unwrap();
    let loaded = load(&path, CHECK);
    assert!(
        loaded.problems.is_empty(),
        "{}",
        render(&loaded.problems, false)
    );
    assert_eq!(
        loaded.files.len(),
        1,
        "the secret is not among the files that are kept"
    );
    let config = loaded.config.unwrap();
    assert!(
        matches!(&config.fog.privacy[&name], Leaves::Treated { treatments, .. }
        if matches!(treatments.as_slice(), [Treatment::Pseudonym(_)]))
    );
    let shown = format!("{config:?}");
    assert!(!shown.contains(&secret) && !shown.contains("90, 90"));
}
