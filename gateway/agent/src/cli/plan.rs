//! Command line of `spool plan`.

use super::find::duration;
use clap::Args;
use gateway_config::units::{SIZE_FORM, parse_size};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  fogline-gateway spool plan --points 500 --every 1s --max 64MiB
      how long 500 points, read once a second, last in 64 MiB of flash
  fogline-gateway spool plan --config gateway.toml
      the same for the points, rates, lanes and bounds of a configuration
  fogline-gateway spool plan --config gateway.toml --max 256MiB --max-write 100MiB/day --json
      what another size and a bound on flash wear would make of it, for machines";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlanArgs {
    /// The configuration: its points, how often they are read, and its [spool]
    #[arg(short, long, value_name = "FILE", required_unless_present = "points")]
    pub(crate) config: Option<PathBuf>,
    /// So many points, instead of those of the configuration
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) points: Option<u32>,
    /// How often each is read, instead of what the configuration says; 1s where nobody says
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) every: Option<Duration>,
    /// The flash the spool may take, instead of the configuration's `max`; 64MiB where nobody says
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max: Option<u64>,
    /// The most it may write a day, instead of the configuration's `max_write`
    #[arg(long, value_name = "SIZE/day", value_parser = a_day)]
    pub(crate) max_write: Option<u64>,
    /// Bytes a reading takes; measured with meters that are read once a second
    #[arg(long, value_name = "BYTES", default_value_t = gateway_spool::plan::BYTES_A_READING)]
    pub(crate) bytes: f64,
    /// For machines
    #[arg(long)]
    pub(crate) json: bool,
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| format!("not a size; it is {SIZE_FORM}"))
}

fn a_day(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/day").and_then(parse_size);
    size.filter(|size| *size > 0)
        .ok_or_else(|| "not a size a day; it is written \"256MiB/day\"".to_owned())
}
