//! Command lines of `record` and `replay`.

use super::DEFAULT_CONFIG;
use super::find::duration;
use clap::Args;
use gateway_config::units::{SIZE_FORM, parse_size};
use std::path::PathBuf;
use std::time::Duration;

/// The longest that a recording may be asked for: a week.
pub(crate) const MAX_SPAN: Duration = Duration::from_hours(7 * 24);

const RECORD_EXAMPLES: &str = "\
Examples:
  fogline-gateway record --for 1h --out plant.rec
      every reading of the gateway that runs, for an hour, in the folder plant.rec; Ctrl-C ends it earlier
  fogline-gateway record --for 7d --max 256MiB --out week.rec
      the last of it where it becomes too much: the oldest readings make room
  fogline-gateway replay --config new.toml --data plant.rec --against
      what a changed configuration would have made of it
  fogline-gateway sim recording plant.rec --print-config=rehearsal.toml
      the plant as it was, behind a Modbus port, for tests without the plant

A recording is raw: it holds what privacy keeps from leaving the site. It is written with mode 0600, under
your name, and nothing ever sends it.
Exit codes: 0 it was recorded until its time was over or Ctrl-C, 1 it ended earlier";

const REPLAY_EXAMPLES: &str = "\
Examples:
  fogline-gateway replay --config new.toml --data plant.rec
      readings and bytes a day, the error of each filter, alarms, rules, what leaves the site
  fogline-gateway replay --config new.toml --data plant.rec --against
      the difference to the configuration that runs, or ran last, on the same state directory
  fogline-gateway replay --config new.toml --data plant.rec --against=old.toml --json
      the difference to a file, for scripts

Nothing is read from devices, written to them, or sent. The recording holds values as drivers made them: other
registers, types or scales of a point do not show.
Exit codes: 0 it was tried, 1 the recording cannot be read, 3 a configuration has errors";

#[derive(Debug, Args)]
#[command(after_help = RECORD_EXAMPLES)]
pub(crate) struct RecordArgs {
    /// The configuration; only its state directory is used
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    /// For so long, at most seven days
    #[arg(long = "for", value_name = "TIME", value_parser = span, default_value = "1h")]
    pub(crate) span: Duration,
    /// The folder of the recording; made, for its owner alone
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Most bytes it may take; then the oldest readings make room
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "64MiB")]
    pub(crate) max: u64,
    /// Go on in a folder that holds a recording already
    #[arg(long)]
    pub(crate) append: bool,
    /// For machines: one JSON object at the end
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// The configuration to try
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    /// The recording that `record` made
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) data: PathBuf,
    /// Show the difference to this configuration; without FILE to the one that runs, or ran last
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(crate) against: Option<Option<PathBuf>>,
    /// Only the end of the recording
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) last: Option<Duration>,
    /// For machines
    #[arg(long)]
    pub(crate) json: bool,
}

fn span(text: &str) -> Result<Duration, String> {
    let span = duration(text)?;
    if span.is_zero() || span > MAX_SPAN {
        return Err("a recording takes more than nothing and at most seven days".to_owned());
    }
    Ok(span)
}

/// Less could not hold the points of a large table and a few seconds of it.
const LEAST: u64 = 1 << 20;

fn size(text: &str) -> Result<u64, String> {
    let size = parse_size(text).ok_or_else(|| format!("not a size; use {SIZE_FORM}"))?;
    if size < LEAST {
        return Err("at least 1MiB is needed".to_owned());
    }
    Ok(size)
}
