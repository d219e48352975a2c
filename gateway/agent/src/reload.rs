//! Which configuration to run: the file, or the last good one when the file cannot be used.

use crate::{check, last_good, machine};
use gateway_config::source::Source;
use gateway_config::{
    BusConfig, Fog, GatewayConfig, Loaded, Options, PointConfig, Problem, Severity, load,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration that can be run.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Everything but the field side, which goes where it runs.
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) field: Field,
    /// What it amounts to, in one line.
    pub(crate) summary: String,
    pub(crate) files: Vec<Arc<Source>>,
    /// Digest of its files, for people.
    pub(crate) revision: String,
    /// Something in it must not leave the site.
    pub(crate) private: bool,
    /// The file could not be used.
    pub(crate) last_good: bool,
    /// What is wrong with the file.
    pub(crate) problems: Vec<Problem>,
}

/// What is read: the larger part of a large configuration, so there is one copy of it.
#[derive(Debug, Default)]
pub(crate) struct Field {
    pub(crate) buses: Vec<BusConfig>,
    pub(crate) points: Vec<PointConfig>,
    pub(crate) fog: Fog,
}

impl Chosen {
    fn new(
        mut config: GatewayConfig,
        files: Vec<Arc<Source>>,
        problems: Vec<Problem>,
        last_good: bool,
    ) -> Self {
        Self {
            summary: check::summary(&config),
            private: config.fog.is_private(),
            field: Field {
                buses: std::mem::take(&mut config.buses),
                points: std::mem::take(&mut config.points),
                fog: std::mem::take(&mut config.fog),
            },
            config: Arc::new(config),
            revision: revision(&files),
            files,
            last_good,
            problems,
        }
    }
}

/// Nothing can be run.
#[derive(Debug)]
pub(crate) struct Nothing {
    pub(crate) problems: Vec<Problem>,
}

/// Unknown keys are warnings here: the device must come up.
fn options(overload: Severity) -> Options {
    Options {
        unknown_keys: Severity::Warning,
        overload,
        memory: machine::memory_limit(),
    }
}

/// What to run at the start: the file, or what ran last.
pub(crate) fn at_start(path: &Path) -> Result<Chosen, Nothing> {
    let state_dir = match from_file(path, Severity::Warning) {
        Ok(chosen) => return Ok(chosen),
        Err(refused) => refused,
    };
    let (problems, state_dir) = state_dir;
    // It fitted when it was kept; a machine that has less memory since is no reason to stay down.
    let options = Options {
        memory: None,
        ..options(Severity::Warning)
    };
    let places = last_good::places(path, &state_dir);
    let kept = places.iter().find_map(|place| {
        let kept = last_good::load(place, options)?;
        Some((kept.config?, kept.files))
    });
    let Some((config, files)) = kept else {
        return Err(Nothing { problems });
    };
    Ok(Chosen::new(config, files, problems, true))
}

/// The file, for a reload; what is wrong with it and where the state is kept otherwise.
pub(crate) fn from_file(
    path: &Path,
    overload: Severity,
) -> Result<Chosen, (Vec<Problem>, PathBuf)> {
    let Loaded {
        config,
        problems,
        state_dir,
        files,
    } = load(path, options(overload));
    match config {
        Some(config) => Ok(Chosen::new(config, files, problems, false)),
        None => Err((problems, state_dir)),
    }
}

/// Digest of the files of a configuration, for people.
pub(crate) fn revision(files: &[Arc<Source>]) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for file in files {
        digest.update(file.text().as_bytes());
        digest.update(&[0]);
    }
    let bytes = digest.finish();
    bytes
        .as_ref()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
