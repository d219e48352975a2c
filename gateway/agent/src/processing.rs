//! From the configuration's words to what the pipeline is made of.

use gateway_config::{Deadband, Fog, Leaves, PointConfig, Report};
use gateway_filter::{Band, Stage};
use gateway_pipeline::{DerivedSetup, PointSetup, Privacy, Setup, WindowSetup};
use gateway_rules::Rule;
use protocols_model::PointKey;

/// The points with their filters and privacy, what is computed from them, and the rules.
pub(crate) fn setup(points: Vec<PointConfig>, mut fog: Fog) -> (Setup, Vec<Rule>) {
    let points = (0..).map(PointKey).zip(points).map(|(key, point)| {
        let filters = fog.stages.remove(&key).unwrap_or_default();
        let keep_alive = fog.keep_alive.remove(&key);
        PointSetup {
            stages: stages(&point.report, filters),
            keep_alive: keep_alive.or_else(|| point.report.keep_alive()),
            privacy: fog.privacy.remove(&key).map_or(Privacy::Open, privacy),
            descriptor: point.descriptor,
        }
    });
    let points = points.collect();
    let derived = fog.derived.into_iter().map(|derived| DerivedSetup {
        point: derived.point,
        program: derived.program,
        stale: derived.stale,
    });
    let windows = fog.windows.into_iter().map(|window| WindowSetup {
        of: window.of,
        period: window.period,
        spec: window.spec,
        results: window.results,
    });
    let setup = Setup {
        points,
        derived: derived.collect(),
        windows: windows.collect(),
    };
    (setup, fog.rules)
}

fn privacy(leaves: Leaves) -> Privacy {
    match leaves {
        Leaves::Nothing(_) => Privacy::Withheld,
        Leaves::Treated {
            treatments,
            latitude,
        } => Privacy::Treated {
            treatments,
            latitude,
        },
    }
}

/// What a point's own report leaves, then its filters.
pub(crate) fn stages(report: &Report, mut filters: Vec<Stage>) -> Vec<Stage> {
    if let Report::Changes { deadband, beat, .. } = report {
        let band = match deadband {
            Deadband::Absolute(width) => Band::Absolute(*width),
            Deadband::Percent(percent) => Band::Percent(*percent),
        };
        filters.insert(0, Stage::deadband(band, *beat));
    }
    filters
}
