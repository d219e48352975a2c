//! What is computed from private points: windows over a group, and everything else, which stays in until
//! somebody decides.

use super::Policies;
use crate::fog::derive;
use crate::fog::names::{Catalogue, Known};
use crate::fog::window::{Windows, tells_one};
use crate::notes::Notes;
use crate::problem::Problem;
use gateway_filter::Aggregate;
use protocols_model::PointKey;
use std::collections::BTreeSet;

impl Policies {
    /// What windows over points of a group must be, and how many readings they need.
    pub(super) fn let_aggregates_out(
        &self,
        catalogue: &Catalogue,
        windows: &mut Windows,
        notes: &Notes<'_>,
    ) {
        for (key, (least, place)) in &self.groups {
            let Some(known) = catalogue.get(*key) else {
                continue;
            };
            let mut any = false;
            for window in windows.over(*key) {
                any = true;
                window.spec.min_count = window.spec.min_count.max(*least);
                let results = || window.results.iter().zip(&window.spec.aggregates);
                let open =
                    |key: &PointKey| !self.leaves.contains_key(key) && !self.open.contains(key);
                let told: Vec<_> = results().filter(|(key, _)| open(key)).collect();
                if told.is_empty() {
                    continue;
                }
                if window.spec.step != window.spec.size {
                    let message = format!(
                        "sliding windows over {} differ by single readings, which could be told from them",
                        known.name()
                    );
                    let allowed = "a step of the window's size";
                    notes.push(Problem::error(place, message, allowed));
                }
                for (_, aggregate) in told.iter().filter(|(_, aggregate)| tells_one(aggregate)) {
                    let message = format!(
                        "{} of {} tells a single reading",
                        word(aggregate),
                        known.name()
                    );
                    let allowed = "mean, time_mean, stddev and count, or drop the result";
                    notes.push(Problem::error(place, message, allowed));
                }
                if told
                    .iter()
                    .all(|(_, aggregate)| **aggregate == Aggregate::Count)
                {
                    let message = format!(
                        "a count alone loses every change of quality of {}: a failed device would look like a quiet one",
                        known.name()
                    );
                    let allowed = "mean, time_mean or stddev beside it";
                    notes.push(Problem::error(place, message, allowed));
                }
            }
            if !any {
                let message = format!("no window looks at {}: nothing of it leaves", known.name());
                let allowed = "a [filter.…] with a window over it, or drop";
                notes.push(Problem::warning(place, message, allowed));
            }
        }
    }

    /// What is computed from a private point would tell it.
    pub(super) fn keep_computed_in(
        &self,
        catalogue: &Catalogue,
        derived: &[derive::Made],
        windows: &Windows,
        notes: &Notes<'_>,
    ) {
        // What aggregates let out, and what somebody opened, may go on into other points.
        let groups = windows
            .made
            .iter()
            .filter(|w| self.groups.contains_key(&w.of));
        let mut cleared: BTreeSet<PointKey> = groups.flat_map(|w| &w.results).copied().collect();
        cleared.extend(&self.open);
        let private_source = |known: &Known| -> Option<PointKey> {
            let mut open = known.about.from.clone();
            let mut seen = BTreeSet::new();
            while let Some(source) = open.pop() {
                if cleared.contains(&source) || !seen.insert(source) {
                    continue;
                }
                if self.leaves.contains_key(&source) {
                    return Some(source);
                }
                open.extend(&catalogue.get(source)?.about.from);
            }
            None
        };
        for (key, known) in catalogue.all() {
            if cleared.contains(&key) || self.leaves.contains_key(&key) {
                continue;
            }
            let private = private_source(known).and_then(|source| catalogue.get(source));
            let Some(private) = private else { continue };
            let message = format!(
                "{} is computed from {}, which is private, and would tell it",
                known.name(),
                private.name()
            );
            let allowed =
                "the computed point in a policy too, or in its `open` where that is meant";
            let made = derived.iter().find(|made| made.derived.point == key);
            let place = made.map(|made| &made.place).or_else(|| windows.place(key));
            if let Some(place) = place {
                notes.push(Problem::error(place, message, allowed));
            }
        }
    }
}

const fn word(aggregate: &Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Mean => "mean",
        Aggregate::TimeMean => "time_mean",
        Aggregate::Last => "last",
        Aggregate::Count => "count",
        Aggregate::Deviation => "stddev",
        Aggregate::Percentile(_) => "a percentile",
        Aggregate::TimeIn(_) => "time_in",
    }
}
