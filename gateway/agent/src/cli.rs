//! The command line.

pub(crate) mod alarms;
pub(crate) mod find;
pub(crate) mod plan;
pub(crate) mod record;
pub(crate) mod watch;

use clap::{Args, Parser, Subcommand, ValueEnum};
use find::{ConfigCommand, ExplainArgs, ProbeCommand, ReadArgs, ScanCommand, WriteArgs};
use std::ffi::OsString;
use std::path::PathBuf;

/// Where the configuration is when nobody says.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/fogline/gateway.toml";

const EXAMPLES: &str = "\
Examples:
  fogline-gateway check gateway.toml
      every problem of a configuration, with line, column and what is allowed; how busy each bus is
  fogline-gateway explain gateway.toml
      every request it will make, what it costs the bus, and the bytes it sends a day
  fogline-gateway run --config gateway.toml
      read the devices, keep the readings, report to the cloud; Ctrl-C or SIGTERM stops cleanly,
      SIGHUP reads the configuration anew
  fogline-gateway status --config gateway.toml
      what the gateway is doing; needs neither network nor a valid configuration
  fogline-gateway watch --config gateway.toml
      the same all the time, with every point: a view for a terminal or a serial console
  fogline-gateway alarms --config gateway.toml
      what rules have raised; `alarms ack NAME`, `alarms shelve NAME --for 1h`
  fogline-gateway explain --privacy gateway.toml
      every field that leaves the site, and in what form
  fogline-gateway record --for 1h --out plant.rec
  fogline-gateway replay --config new.toml --data plant.rec --against
      what a changed configuration would send, raise and write, tried on an hour of this plant
  fogline-gateway spool stat --config gateway.toml
      what a stopped gateway still holds
  fogline-gateway spool plan --points 500 --every 1s --max 64MiB
      how many hours without the cloud, at this rate, in this much flash
  fogline-gateway probe modbus --rtu /dev/ttyUSB0 --line '9600 8N1'
      which units are on a line; `probe serial`, `scan ble`, `read` and `write` have examples of their own

Exit codes:
  0  done
  1  failed; the message says what and what to do
  2  wrong command line
  3  the configuration has errors
  4  status, watch: no gateway is running; status: or it is not healthy";

/// A Fogline gateway: reads devices, buffers offline, reports to the cloud.
#[derive(Debug, Parser)]
#[command(name = "fogline-gateway", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C
    Run(RunArgs),
    /// Check a configuration and tell everything that is wrong with it
    Check(CheckArgs),
    /// Show what the gateway is doing
    Status(StatusArgs),
    /// Watch the gateway that runs: points, buses, alarms, spool, uplink, clocks
    Watch(watch::WatchArgs),
    /// Show alarms and rules of the gateway that runs; acknowledge and shelve alarms
    Alarms(alarms::AlarmsArgs),
    /// How long the spool lasts; look into the spool of a stopped gateway
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Show what a configuration will do: requests, bus load, bytes a day
    Explain(ExplainArgs),
    /// Keep the raw readings of the gateway that runs for a while, to try configurations on them
    Record(record::RecordArgs),
    /// Try a configuration on a recording: what it would send, raise and write
    Replay(record::ReplayArgs),
    /// Read points now, of a configuration or of any Modbus device
    Read(ReadArgs),
    /// Write one point now, of a configuration or of any Modbus device
    Write(WriteArgs),
    /// Find out how an unknown device must be configured
    #[command(subcommand)]
    Probe(ProbeCommand),
    /// Show who is in the air
    #[command(subcommand)]
    Scan(ScanCommand),
    /// Every key of the configuration, for people and editors
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Simulate devices: Modbus, serial lines in real time, Bluetooth LE
    #[command(disable_help_flag = true)]
    Sim(SimArgs),
}

/// What follows belongs to `fogline-sim`, its `--help` too.
#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// What to simulate: `sim --help` tells
    #[arg(
        value_name = "ARGUMENTS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
    /// The same, as for the other commands
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The configuration; only its state directory is used, and only if it can be read
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    /// The state directory, instead of what the configuration says
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// What it holds, lane by lane
    Stat(SpoolArgs),
    /// Read every record and tell which are damaged; changes nothing
    Verify(SpoolArgs),
    /// Write every readable record as a line of JSON
    Export(ExportArgs),
    /// How many hours without the cloud, at this rate, in this much flash
    Plan(plan::PlanArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SpoolArgs {
    /// The configuration; only the spool's directory is used
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    /// The spool's directory, instead of what the configuration says
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
    /// Where to; standard output when left out
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Human,
    /// For machines
    Json,
}
