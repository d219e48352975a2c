//! From the configuration's words to what the pipeline is made of.

use gateway_config::{Deadband, PointConfig, Report};
use gateway_filter::{Band, Stage};
use gateway_pipeline::{PointSetup, Privacy, Setup};

/// The points with their filters.
pub(crate) fn setup(points: Vec<PointConfig>) -> Setup {
    let points = points.into_iter().map(|point| PointSetup {
        descriptor: point.descriptor,
        stages: stages(&point.report),
        privacy: Privacy::Open,
    });
    Setup {
        points: points.collect(),
        ..Setup::default()
    }
}

fn stages(report: &Report) -> Vec<Stage> {
    match report {
        Report::Every => Vec::new(),
        Report::Changes { deadband, beat } => {
            let band = match deadband {
                Deadband::Absolute(width) => Band::Absolute(*width),
                Deadband::Percent(percent) => Band::Percent(*percent),
            };
            vec![Stage::deadband(band, *beat)]
        }
    }
}
