//! What is done with readings on the spot, in words: filters with their error, computed points, rules.

use crate::processing::stages;
use gateway_config::units::show_duration;
use gateway_config::{GatewayConfig, PointConfig};
use gateway_filter::{Bound, Stage};
use gateway_rules::{Action, Rule};
use protocols_model::PointKey;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// `device/point` of a key.
pub(super) fn name(config: &GatewayConfig, key: PointKey) -> String {
    point(config, key).map_or_else(String::new, |point| {
        format!("{}/{}", point.descriptor.device, point.descriptor.point)
    })
}

fn point(config: &GatewayConfig, key: PointKey) -> Option<&PointConfig> {
    config.points.get(usize::try_from(key.0).ok()?)
}

/// The filters of a point, with its report, and the error they can introduce.
fn filters(config: &GatewayConfig, key: PointKey) -> Option<(usize, Bound)> {
    let report = point(config, key)?.report;
    let more = config.fog.stages.get(&key).cloned().unwrap_or_default();
    let all = stages(&report, more);
    let bound = all.iter().map(Stage::bound);
    (!all.is_empty()).then(|| (all.len(), bound.fold(Bound::Exact, Bound::then)))
}

pub(super) fn text(config: &GatewayConfig) -> String {
    let mut text = filters_text(config);
    for window in &config.fog.windows {
        let spec = &window.spec;
        let results: Vec<_> = window
            .results
            .iter()
            .map(|key| name(config, *key))
            .collect();
        text += &format!(
            "\nover {}: the last {}, each {}: {}{}\n",
            name(config, window.of),
            show_duration(spec.size),
            show_duration(spec.step),
            results.join(" "),
            if spec.min_count > 0 {
                format!(" (of at least {} readings)", spec.min_count)
            } else {
                String::new()
            }
        );
    }
    for derived in &config.fog.derived {
        let inputs = derived.program.inputs().iter();
        let inputs: Vec<_> = inputs.map(|key| name(config, *key)).collect();
        let point = name(config, derived.point);
        text += &format!(
            "\n{point}: computed whenever one is read of {}\n",
            inputs.join(" ")
        );
    }
    for rule in &config.fog.rules {
        text += &rule_text(config, rule);
    }
    text
}

/// One line a bound with its points: a glob makes many alike.
fn filters_text(config: &GatewayConfig) -> String {
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in (0..).map(PointKey).take(config.points.len()) {
        if let Some((_, bound)) = filters(config, key) {
            alike
                .entry(bound.to_string())
                .or_default()
                .push(name(config, key));
        }
    }
    let mut text = String::new();
    for (bound, points) in alike {
        text += &format!("\nfiltered, {bound}: {}\n", points.join(" "));
    }
    let mut signs: BTreeMap<Duration, Vec<String>> = BTreeMap::new();
    for key in (0..).map(PointKey).take(config.points.len()) {
        if let Some(every) = keep_alive(config, key) {
            signs.entry(every).or_default().push(name(config, key));
        }
    }
    for (every, points) in signs {
        let (every, points) = (show_duration(every), points.join(" "));
        text += &format!("\nwhile nothing is new, tells so each {every}: {points}\n");
    }
    text
}

/// How often a point tells that it still says the same.
fn keep_alive(config: &GatewayConfig, key: PointKey) -> Option<Duration> {
    let filtered = config.fog.keep_alive.get(&key).copied();
    filtered.or_else(|| point(config, key)?.report.keep_alive())
}

fn rule_text(config: &GatewayConfig, rule: &Rule) -> String {
    let mut text = format!(
        "\nrule {}: looks at {}",
        rule.name,
        inputs(config, rule).join(" ")
    );
    if !rule.hold.is_zero() {
        text += &format!(", holds for {}", show_duration(rule.hold));
    }
    text += "\n";
    for action in &rule.actions {
        text += &match action {
            Action::Write(write) => format!("  writes {}\n", name(config, write.point)),
            Action::Alarm { level, text, latch } => format!(
                "  raises a{} {} alarm: {text}\n",
                if *latch { " latched" } else { "" },
                level.as_str()
            ),
            Action::Event { text } => format!("  tells: {text}\n"),
            Action::Capture { points, span } => {
                let points: Vec<_> = points.iter().map(|key| name(config, *key)).collect();
                let span = show_duration(*span);
                format!("  sends every reading for {span} of {}\n", points.join(" "))
            }
        };
    }
    for (when, writes) in [("ends", &rule.on_clear), ("is blind", &rule.safe)] {
        let points: Vec<_> = writes
            .iter()
            .map(|write| name(config, write.point))
            .collect();
        if !points.is_empty() {
            text += &format!("  when it {when}, writes {}\n", points.join(" "));
        }
    }
    if rule.never.is_some() {
        text += "  has an interlock\n";
    }
    text
}

/// The points a rule's conditions look at.
pub(super) fn inputs(config: &GatewayConfig, rule: &Rule) -> Vec<String> {
    let programs = [Some(&rule.when), rule.clear.as_ref(), rule.never.as_ref()];
    let inputs = programs.into_iter().flatten().flat_map(|p| p.inputs());
    let mut keys: Vec<PointKey> = inputs.copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().map(|key| name(config, key)).collect()
}

pub(super) fn json(config: &GatewayConfig) -> serde_json::Value {
    let keys = (0..).map(PointKey).take(config.points.len());
    let filtered: Vec<_> = keys
        .filter_map(|key| {
            let (count, bound) = filters(config, key)?;
            let (kind, absolute, relative) = match bound {
                Bound::Exact => ("exact", 0.0, 0.0),
                Bound::Hold { absolute, relative } => ("hold", absolute, relative),
                Bound::Linear { absolute } => ("linear", absolute, 0.0),
                Bound::Unstated => ("unstated", 0.0, 0.0),
            };
            Some(json!({
                "point": name(config, key), "stages": count, "error": bound.to_string(),
                "reconstruct": kind, "absolute": absolute, "relative": relative,
                "keep_alive_s": keep_alive(config, key).map(|every| every.as_secs_f64()),
            }))
        })
        .collect();
    let rules = config.fog.rules.iter().map(|rule| {
        let written = rule.actions.iter().filter_map(|action| match action {
            Action::Write(write) => Some(write),
            _ => None,
        });
        let written = written.chain(&rule.on_clear).chain(&rule.safe);
        let alarm = rule.actions.iter().find_map(|action| match action {
            Action::Alarm { level, text, latch } => {
                Some(json!({ "level": level, "text": text, "latch": latch }))
            }
            _ => None,
        });
        json!({
            "name": rule.name,
            "looks_at": inputs(config, rule),
            "writes": written.map(|write| name(config, write.point)).collect::<Vec<_>>(),
            "alarm": alarm,
            "interlock": rule.never.is_some(),
        })
    });
    json!({ "filters": filtered, "rules": rules.collect::<Vec<_>>() })
}
