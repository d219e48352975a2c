//! `replay`: what a configuration makes of a recording, alone or beside another one.
//!
//! The pipeline is the real one, fed by the recording and its times; nothing is read, written or sent.

mod json;
mod text;

use crate::cli::record::ReplayArgs;
use crate::console::{colour_out, say, warn};
use crate::exit::Exit;
use crate::explain::privacy::{Field, fields};
use crate::{alarms, last_good, machine, processing};
use anyhow::Context;
use gateway_config::{GatewayConfig, Loaded, Options, Severity, load, render};
use gateway_pipeline::{BatchAge, KeptAlarms, Pipeline};
use gateway_recorder::Recording;
use gateway_replay::Ran;
use gateway_rules::Engine;
use protocols_model::{Instant, PointDescriptor, Timestamp};
use std::path::Path;
use std::sync::Arc;

/// A configuration and what it made of the recording.
struct Tried {
    /// How people call it.
    name: String,
    points: Vec<String>,
    fields: Vec<Field>,
    ran: Ran,
}

pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let options = Options {
        unknown_keys: Severity::Error,
        overload: Severity::Warning,
        memory: machine::memory_limit(),
    };
    let loaded = load(&args.config, options);
    let Some(config) = loaded.config else {
        warn(render(&loaded.problems, colour_out()));
        return Ok(Exit::ConfigRefused);
    };
    let other = match &args.against {
        None => None,
        Some(against) => {
            let (name, loaded) = other(&args.config, against.as_deref())?;
            let Some(config) = loaded.config else {
                warn(render(&loaded.problems, colour_out()));
                return Ok(Exit::ConfigRefused);
            };
            Some((name, config))
        }
    };
    let recording = Recording::read(&args.data, args.last)?;
    let (begin, _) = recording
        .span()
        .with_context(|| format!("{} holds no readings", args.data.display()))?;
    let before = other.map(|(name, config)| tried(name, config, &recording, begin));
    let before = before.transpose()?;
    let after = tried(name_of(&args.config), config, &recording, begin)?;
    if args.json {
        let all = json::json(&recording, before.as_ref(), &after);
        say(format_args!("{all}\n"));
    } else {
        say(text::text(args, &recording, before.as_ref(), &after));
    }
    Ok(Exit::Done)
}

/// The configuration to compare with: a file, or the one that ran last.
fn other(config: &Path, against: Option<&Path>) -> anyhow::Result<(String, Loaded)> {
    // It runs, or ran: what a newer program finds wrong with it does not matter here.
    let options = Options {
        unknown_keys: Severity::Warning,
        overload: Severity::Warning,
        memory: None,
    };
    if let Some(file) = against {
        return Ok((name_of(file), load(file, options)));
    }
    let state_dir = alarms::state_dir(config);
    let kept = last_good::load(&state_dir, options).with_context(|| {
        format!(
            "no configuration ever ran on {}; name a file: --against=old.toml",
            state_dir.display()
        )
    })?;
    Ok(("running".to_owned(), kept))
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str());
    name.to_string_lossy().into_owned()
}

fn tried(
    name: String,
    config: GatewayConfig,
    recording: &Recording,
    begin: Timestamp,
) -> anyhow::Result<Tried> {
    let fields = fields(&config);
    let age = config.uplink.as_ref();
    let age = age.map_or_else(BatchAge::default, |uplink| BatchAge {
        live: uplink.batch_live,
        offline: uplink.batch_offline,
    });
    let names: Vec<PointDescriptor> = config
        .points
        .iter()
        .map(|point| point.descriptor.clone())
        .collect();
    let (setup, rules) = processing::setup(config.points, config.fog);
    let start = Instant::default();
    let engine = Engine::new(rules, KeptAlarms::new(), start);
    let mut pipeline = Pipeline::try_new(setup, engine, age, Arc::default(), (start, begin))
        .with_context(|| format!("{name} cannot be run"))?;
    pipeline.set_live(true);
    Ok(Tried {
        ran: gateway_replay::run(recording, pipeline, &names),
        points: names.iter().map(name_of_point).collect(),
        name,
        fields,
    })
}

fn name_of_point(point: &PointDescriptor) -> String {
    format!("{}/{}", point.device, point.point)
}
