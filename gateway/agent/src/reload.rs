//! Which configuration to run: the file, or the last good one when the file cannot be used.

use crate::{last_good, machine};
use gateway_config::source::Source;
use gateway_config::{GatewayConfig, Loaded, Options, Problem, Severity, load};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration that can be run.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) files: Vec<Arc<Source>>,
    /// Digest of its files, for people.
    pub(crate) revision: String,
    /// The file could not be used.
    pub(crate) last_good: bool,
    /// What is wrong with the file.
    pub(crate) problems: Vec<Problem>,
}

/// Nothing can be run.
#[derive(Debug)]
pub(crate) struct Nothing {
    pub(crate) problems: Vec<Problem>,
}

/// Unknown keys are warnings here: the device must come up.
fn options() -> Options {
    Options {
        unknown_keys: Severity::Warning,
        memory: machine::memory_limit(),
    }
}

/// What to run at the start: the file, or what ran last.
pub(crate) fn at_start(path: &Path) -> Result<Chosen, Nothing> {
    let state_dir = match from_file(path) {
        Ok(chosen) => return Ok(chosen),
        Err(refused) => refused,
    };
    let (problems, state_dir) = state_dir;
    let kept = last_good::load(&state_dir, options());
    let Some((config, files)) = kept.and_then(|kept| Some((kept.config?, kept.files))) else {
        return Err(Nothing { problems });
    };
    Ok(Chosen {
        config,
        revision: revision(&files),
        files,
        last_good: true,
        problems,
    })
}

/// The file, for a reload; what is wrong with it and where the state is kept otherwise.
pub(crate) fn from_file(path: &Path) -> Result<Chosen, (Vec<Problem>, PathBuf)> {
    let Loaded {
        config,
        problems,
        state_dir,
        files,
    } = load(path, options());
    match config {
        Some(config) => Ok(Chosen {
            config,
            revision: revision(&files),
            files,
            last_good: false,
            problems,
        }),
        None => Err((problems, state_dir)),
    }
}

fn revision(files: &[Arc<Source>]) -> String {
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
