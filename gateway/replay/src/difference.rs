//! What changes from one configuration to another, over the same recording.

use crate::run::Ran;
use protocols_model::AlarmState;
use std::collections::{BTreeMap, BTreeSet};

/// The difference, as people ask for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Readings a day, before and after.
    pub readings_a_day: (f64, f64),
    /// Bytes of envelopes a day, before and after.
    pub bytes_a_day: (f64, f64),
    /// Points whose largest error changed: name, before, after.
    pub errors: Vec<(String, Option<f64>, Option<f64>)>,
    /// How often each alarm was raised, where that changed: name, before, after.
    pub alarms: Vec<(String, u64, u64)>,
    /// How often each rule fired, where that changed: name, before, after.
    pub rules: Vec<(String, u64, u64)>,
    /// Points that leave the site after and did not before.
    pub new_fields: Vec<String>,
    /// Points that left the site before and do not after.
    pub gone_fields: Vec<String>,
}

/// Compares two runs over one recording.
#[must_use]
pub fn compare(before: &Ran, after: &Ran) -> Difference {
    let fields = |ran: &Ran| -> BTreeSet<String> {
        let sent = ran.points.iter().filter(|point| point.sent > 0);
        sent.map(|point| point.name.clone()).collect()
    };
    let (old, new) = (fields(before), fields(after));
    Difference {
        readings_a_day: (before.readings_a_day(), after.readings_a_day()),
        bytes_a_day: (before.bytes_a_day(), after.bytes_a_day()),
        errors: errors(before, after),
        alarms: changed(&raised(before), &raised(after)),
        rules: changed(&fired(before), &fired(after)),
        new_fields: new.difference(&old).cloned().collect(),
        gone_fields: old.difference(&new).cloned().collect(),
    }
}

fn errors(before: &Ran, after: &Ran) -> Vec<(String, Option<f64>, Option<f64>)> {
    let by_name = |ran: &Ran| -> BTreeMap<String, Option<f64>> {
        let points = ran.points.iter();
        points.map(|p| (p.name.clone(), p.error)).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let pair = |name: &String| {
        let of = |all: &BTreeMap<String, Option<f64>>| all.get(name).copied().flatten();
        (name.clone(), of(&old), of(&new))
    };
    names
        .into_iter()
        .map(pair)
        .filter(|(_, a, b)| a != b)
        .collect()
}

/// How often each alarm was raised.
#[must_use]
pub fn raised(ran: &Ran) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (_, change) in &ran.alarms {
        if change.state == AlarmState::Raised {
            *counts.entry(change.name.clone()).or_default() += 1;
        }
    }
    counts
}

fn fired(ran: &Ran) -> BTreeMap<String, u64> {
    ran.fired.iter().cloned().collect()
}

fn changed(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> Vec<(String, u64, u64)> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let count = |all: &BTreeMap<String, u64>, name: &String| all.get(name).copied().unwrap_or(0);
    names
        .into_iter()
        .map(|name| (name.clone(), count(before, name), count(after, name)))
        .filter(|(_, a, b)| a != b)
        .collect()
}
