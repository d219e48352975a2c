//! The command line of `sim`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  fogline-gateway sim modbus-tcp --units 3
      three meters behind one port; prints where, and ends with Ctrl-C
  fogline-gateway sim modbus-rtu --link ./bus0 --line \"19200 8E1\" --print-config=gateway.toml
      a bus that keeps real time, and a configuration: fogline-gateway run --config gateway.toml
  fogline-gateway sim serial scale --link ./scale --every 500ms
      a scale that sends its weight; scale, nmea, scpi, binary
  fogline-gateway sim ble
      two sensors around a Bluetooth adapter that exists only on a bus of its own
  fogline-gateway sim recording plant.rec --print-config=rehearsal.toml
      every point of a recording behind one port, as it was, again and again: the plant without the plant
  fogline-gateway sim example > site.toml
  fogline-gateway sim --file site.toml
      everything together, by a file; the example explains each key
  echo 'meter1 silent 10s' | nc -UN sim.sock      with --control sim.sock
      switch a fault while it runs; the same words on standard input; \"help\" tells them all";

/// Simulate devices: Modbus, serial lines in real time, Bluetooth LE
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = false)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(super) what: Option<What>,
    /// The site to serve; "sim example" prints one
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Print the gateway's configuration for what is served, or write it to FILE, and go on serving
    #[arg(long, global = true, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub(super) print_config: Option<PathBuf>,
    /// For machines: one JSON object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Tell every answer, not only the sums
    #[arg(long, global = true)]
    pub(super) events: bool,
    /// Listen for words on this Unix socket too
    #[arg(long, global = true, value_name = "SOCKET")]
    pub(super) control: Option<PathBuf>,
    /// Folder for the socket of the private D-Bus, so that its name does not change
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) bus_dir: Option<PathBuf>,
    /// End by itself after this long
    #[arg(long = "for", global = true, value_name = "TIME", value_parser = time)]
    pub(super) time: Option<Duration>,
}

/// What to serve without a file.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Meters behind a Modbus TCP port
    ModbusTcp(Tcp),
    /// Meters behind a TCP port that carries RTU frames, as serial servers do
    ModbusRtuOverTcp(Tcp),
    /// Meters on a serial line in real time
    ModbusRtu(Rtu),
    /// One serial device on a line of its own
    Serial(Serial),
    /// Bluetooth LE sensors
    Ble(Ble),
    /// The points of a recording behind a Modbus TCP port
    Recording(Recorded),
    /// Print a commented site file with everything in it
    Example,
}

#[derive(Debug, Args)]
pub(super) struct Recorded {
    /// The recording that `fogline-gateway record` made
    #[arg(value_name = "FOLDER")]
    pub(super) data: PathBuf,
    /// Only its end
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) last: Option<Duration>,
    /// Address and port; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(super) listen: std::net::SocketAddr,
}

#[derive(Debug, Args)]
pub(super) struct Tcp {
    /// How many meters, unit ids from 1
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=247))]
    pub(super) units: u8,
    /// Address and port; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(super) listen: std::net::SocketAddr,
}

#[derive(Debug, Args)]
pub(super) struct Rtu {
    /// The name that the gateway opens
    #[arg(long, value_name = "PATH")]
    pub(super) link: PathBuf,
    /// Speed and format
    #[arg(long, default_value = "19200 8E1", value_parser = line)]
    pub(super) line: String,
    /// Speed alone, with 8E1
    #[arg(long, conflicts_with = "line")]
    pub(super) baud: Option<u32>,
    /// How many meters, unit ids from 1
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=247))]
    pub(super) units: u8,
}

#[derive(Debug, Args)]
pub(super) struct Serial {
    /// Which device
    #[arg(value_enum)]
    pub(super) device: Ready,
    /// The name that the gateway opens
    #[arg(long, value_name = "PATH")]
    pub(super) link: PathBuf,
    /// Speed and format
    #[arg(long, default_value = "9600 8N1", value_parser = line)]
    pub(super) line: String,
    /// How often it sends by itself; a scale without it only answers to S
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) every: Option<Duration>,
}

/// Ready-made serial devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Ready {
    /// A weighing scale
    Scale,
    /// A GPS receiver
    Nmea,
    /// An instrument that answers SCPI commands
    Scpi,
    /// A sensor with binary frames and a CRC
    Binary,
}

#[derive(Debug, Args)]
pub(super) struct Ble {
    /// How many sensors, BTHome and Ruuvi in turn
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    pub(super) sensors: u8,
    /// How often each advertises
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(super) every: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = text.parse::<protocols_sim::span::Time>();
    time.map(|time| time.0).map_err(|error| error.to_string())
}

fn line(text: &str) -> Result<String, String> {
    let line = text.parse::<protocols_sim::line::LineSettings>();
    line.map(|line| line.to_string())
        .map_err(|error| error.to_string())
}
