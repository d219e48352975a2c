//! Command line of `watch`.

use super::DEFAULT_CONFIG;
use super::find::duration;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  fogline-gateway watch --config gateway.toml
      the gateway that runs, renewed each second; Tab changes the pane, q ends
  fogline-gateway watch --filter 'meter*/p_*' --trouble
      points that fit and are not good
  fogline-gateway watch --once --pane buses | less
      printed once, for pipes and reports
  sudo fogline-gateway watch --ascii
      over a serial console that takes nothing but ASCII

Keys:
  Tab, 1 to 6   change the pane         arrows, PgUp, PgDn, Home, End   move
  /             filter points           t   only points that are not good
  a             acknowledge the alarm   Ctrl-L   draw anew       ?   help    q   end";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// The configuration; only its state directory is used
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    /// The state directory, instead of what the configuration says
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Print one screen and end; everything where the output is no terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// What to begin with, or to print
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pane: Pane,
    /// Only points that fit: a selector with `*`, or a part of the name
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) filter: String,
    /// Only points that are not good
    #[arg(long)]
    pub(crate) trouble: bool,
    /// Ask so often; default: each second, every 2 seconds on a line of 19200 baud or less
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) every: Option<Duration>,
    /// Nothing but ASCII; found out from the locale otherwise
    #[arg(long)]
    pub(crate) ascii: bool,
}

/// One part of what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Pane {
    /// Points with value, quality and age
    #[default]
    Points,
    /// Buses with load and health
    Buses,
    /// Alarms and rules
    Alarms,
    /// The spool, lane by lane
    Spool,
    /// The uplink's window and how soon the cloud acknowledges
    Uplink,
    /// Clocks
    Time,
}
