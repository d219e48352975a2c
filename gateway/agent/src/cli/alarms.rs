//! Command line of `alarms`.

use super::DEFAULT_CONFIG;
use super::find::duration;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  fogline-gateway alarms --config gateway.toml
      alarms and rules of the gateway that runs
  fogline-gateway alarms ack overtemp
      somebody knows: a latched alarm whose cause is gone goes away
  fogline-gateway alarms shelve overtemp --for 1h
      quiet while the door is being repaired; it speaks up again if it is still raised then";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AlarmsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AlarmCommand>,
    /// The configuration; only its state directory is used
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG, global = true)]
    pub(crate) config: PathBuf,
    /// For machines
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlarmCommand {
    /// Show alarms and rules
    List,
    /// Say that somebody knows of an alarm
    Ack(AckArgs),
    /// Put an alarm aside for a while
    Shelve(ShelveArgs),
    /// Take a shelved alarm back
    Unshelve(UnshelveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AckArgs {
    /// The alarm: the name of its rule
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Who knows; default: the user of this shell
    #[arg(long, value_name = "WHO")]
    pub(crate) by: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ShelveArgs {
    /// The alarm: the name of its rule
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// For so long, at most seven days
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) span: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct UnshelveArgs {
    /// The alarm: the name of its rule
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}
