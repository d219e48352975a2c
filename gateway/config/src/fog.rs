//! What the gateway does with readings on the spot: filters, derived points, rules, privacy.
//!
//! ```text
//! points of devices ─▶ windows over them ─▶ derived points ─▶ windows over those
//!                                                    └─▶ stages by selector ─▶ rules ─▶ privacy
//! ```
//!
//! Read after the field side, because everything here names points. What is computed is a point of the
//! table like any other, behind those of devices. Everything that could only go wrong later is checked
//! here: types, ranges, loops, budgets, memory, and that nothing private leaves by a detour.

mod derive;
mod expression;
pub(crate) mod filter;
pub(crate) mod kinds;
mod names;
mod privacy;
mod rule;
mod window;

use crate::bus::BusConfig;
use crate::config::PointConfig;
use crate::report::Report;
use crate::walk::Table;
use gateway_filter::Stage;
use gateway_rules::Rule;
use protocols_model::PointKey;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

pub(crate) use derive::DERIVES;
pub use derive::Derived;
pub(crate) use filter::FILTERS;
pub use filter::MAX_SWING_BEAT;
use names::Catalogue;
pub use names::fits;
pub use privacy::Leaves;
pub(crate) use privacy::POLICIES;
pub(crate) use rule::RULES;
pub use window::Windowed;
use window::Windows;

/// Everything that is done with readings on the spot.
#[derive(Debug, Clone, Default)]
pub struct Fog {
    /// Stages of points, behind what the point's own report leaves.
    pub stages: BTreeMap<PointKey, Vec<Stage>>,
    /// Points whose filters tell that they still say the same, and how often.
    pub keep_alive: BTreeMap<PointKey, Duration>,
    /// Points computed from others, each from points before it.
    pub derived: Vec<Derived>,
    /// Points computed over time.
    pub windows: Vec<Windowed>,
    /// What the gateway does by itself.
    pub rules: Vec<Rule>,
    /// What leaves of private points; all others leave as they are.
    pub privacy: BTreeMap<PointKey, Leaves>,
    /// How long filters and privacy hold readings back at most: part of what a crash may take along.
    pub held: Duration,
}

impl Fog {
    /// How often a computed point comes, at most; `None` for points of devices.
    #[must_use]
    pub fn period(
        &self,
        point: PointKey,
        of: &dyn Fn(PointKey) -> Option<Duration>,
    ) -> Option<Duration> {
        let window = self.windows.iter().find(|w| w.results.contains(&point));
        if let Some(window) = window {
            return Some(window.spec.step);
        }
        let derived = self.derived.iter().find(|derived| derived.point == point)?;
        let inputs = derived.program.inputs().iter();
        let rate: f64 = inputs
            .filter_map(|input| self.period(*input, of).or_else(|| of(*input)))
            .map(|period| 1.0 / period.as_secs_f64().max(1e-3))
            .sum();
        (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate))
    }

    /// Whether some policy withholds or treats anything.
    #[must_use]
    pub fn is_private(&self) -> bool {
        !self.privacy.is_empty()
    }
}

/// Reads what is done with the points of `buses`; computed points are added to `points`.
pub(crate) fn read(
    root: &Table<'_>,
    base: &Path,
    buses: &[BusConfig],
    points: &mut Vec<PointConfig>,
    memory: Option<u64>,
) -> Fog {
    let notes = root.notes();
    let written =
        root.has(&FILTERS) || root.has(&DERIVES) || root.has(&RULES) || root.has(&POLICIES);
    // A large point table is not looked at twice for nothing.
    let mut catalogue = if written {
        Catalogue::new(points, buses)
    } else {
        Catalogue::default()
    };
    let of_devices = points.len();
    let mut windows = Windows::new(memory);
    let mut filters = filter::read(root);
    filter::make_windows(&mut filters, 0, &mut catalogue, &mut windows, notes);
    let first_derived = u32::try_from(catalogue.len()).unwrap_or(u32::MAX);
    let derived = derive::read(root, &mut catalogue);
    filter::make_windows(
        &mut filters,
        first_derived,
        &mut catalogue,
        &mut windows,
        notes,
    );
    let applied = filter::attach(&filters, points, &catalogue, notes);
    let rules = rule::read(root, &catalogue);
    let reported = (0..).map(PointKey).zip(points.iter());
    let reported = reported.filter(|(_, point)| point.report.keep_alive().is_some());
    let mut signs: BTreeSet<PointKey> = reported.map(|(key, _)| key).collect();
    signs.extend(applied.keep_alive.keys());
    let policies = privacy::read(root, base, &catalogue, &mut windows, &derived, signs);
    for (_, known) in catalogue.all().skip(of_devices) {
        points.push(PointConfig {
            descriptor: known.descriptor.clone(),
            report: Report::Every,
        });
    }
    let held = |key: &PointKey| {
        let of = |held: &BTreeMap<PointKey, Duration>| held.get(key).copied().unwrap_or_default();
        of(&applied.held).saturating_add(of(&policies.held))
    };
    let keys = applied.held.keys().chain(policies.held.keys());
    Fog {
        held: keys.map(held).max().unwrap_or_default(),
        stages: applied.stages,
        keep_alive: applied.keep_alive,
        derived: derived.into_iter().map(|made| made.derived).collect(),
        windows: windows.made,
        rules,
        privacy: policies.leaves,
    }
}
