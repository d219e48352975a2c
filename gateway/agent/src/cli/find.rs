//! Command lines of the tools that find out.

use super::{DEFAULT_CONFIG, Format};
use clap::{ArgGroup, Args, Subcommand};
use gateway_config::units::parse_duration;
use protocols_line::LineSettings;
use protocols_modbus::config::Address;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| {
        format!(
            "not a duration; use {}",
            gateway_config::units::DURATION_FORM
        )
    })
}

const READ_EXAMPLES: &str = "\
Examples:
  fogline-gateway read --config gateway.toml
      every point of the configuration once
  fogline-gateway read --config gateway.toml 'meter1/*' plc1/level --every 1s
      some of them, each second, until Ctrl-C
  fogline-gateway read --tcp 10.0.7.20:502 --unit 1 hr:0 --as f32 --order CDAB --count 10
      ten floats of a device that nothing is configured for yet
  fogline-gateway read --rtu /dev/ttyUSB0 --line '9600 8N1' --unit 3 ir:0 ir:40 --as i32 --json
      one JSON object a line, for scripts

Exit codes: 0 all readings are good, 1 one is not or the bus cannot be reached";

const WRITE_EXAMPLES: &str = "\
Examples:
  fogline-gateway write --config gateway.toml meter1/relay=true
      a point of the configuration; asks first. While a gateway runs with this configuration, the
      value goes through it, ahead of its polls
  fogline-gateway write --tcp 10.0.7.20:502 --unit 1 hr:5=230.5 --as u16 --scale 0.1 --yes
      a register of any device, without asking, read back and compared

What was sent and not confirmed is told as unknown, and never repeated.
Exit codes: 0 written and confirmed, 1 not written or not known";

const PROBE_MODBUS_EXAMPLES: &str = "\
Examples:
  fogline-gateway probe modbus --rtu /dev/ttyUSB0 --line '19200 8E1'
      which units are on the line
  fogline-gateway probe modbus --tcp 10.0.7.20:502 --unit 1 --range ir:0..60 --expect 231.4
      the display shows 231.4: which registers, type, order and scale are that
  fogline-gateway probe modbus --tcp 10.0.7.20:502 --unit 1 --range hr:0..8 --times 5 --every 2s
      every decoding of a range side by side, over time";

const PROBE_SERIAL_EXAMPLES: &str = "\
Examples:
  fogline-gateway probe serial /dev/ttyUSB0
      listens at the usual speeds, shows what came and guesses speed, framing and content
  fogline-gateway probe serial /dev/ttyUSB0 --line '9600 7E1' --for 10s
      the same at one speed
  fogline-gateway probe serial /dev/ttyUSB0 --line '9600 8N1' --send 'W\\r\\n'
      asks a device that says nothing by itself";

const SCAN_BLE_EXAMPLES: &str = "\
Examples:
  fogline-gateway scan ble --for 20s
      every device that is heard, with decoded values and the lines for the configuration
  fogline-gateway scan ble --config /etc/fogline/gateway.toml
      the values of encrypted sensors too, with the keys of their devices
  fogline-gateway scan ble --adapter hci1 --json";

/// One bus that is named on the command line instead of in a configuration.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("bus").args(["tcp", "rtu", "rtu_over_tcp"]))]
pub(crate) struct BusArgs {
    /// Modbus TCP
    #[arg(long, value_name = "HOST:PORT", help_heading = "Bus")]
    pub(crate) tcp: Option<String>,
    /// Modbus RTU on a serial port
    #[arg(long, value_name = "PORT", help_heading = "Bus")]
    pub(crate) rtu: Option<String>,
    /// Modbus RTU behind a server that passes bytes on
    #[arg(long, value_name = "HOST:PORT", help_heading = "Bus")]
    pub(crate) rtu_over_tcp: Option<String>,
    /// Speed and format of the line
    #[arg(
        long,
        value_name = "LINE",
        default_value = "19200 8E1",
        help_heading = "Bus"
    )]
    pub(crate) line: LineSettings,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, help_heading = "Bus")]
    pub(crate) timeout: Duration,
}

/// How registers are read.
#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// The unit
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "Registers"
    )]
    pub(crate) unit: u8,
    /// What stands there: u16, i32, f32, string:8 …
    #[arg(long = "as", value_name = "TYPE", help_heading = "Registers")]
    pub(crate) raw: Option<String>,
    /// Order of the bytes, A the most significant
    #[arg(long, value_name = "LETTERS", help_heading = "Registers")]
    pub(crate) order: Option<String>,
    /// value = raw * scale
    #[arg(long, value_name = "NUMBER", help_heading = "Registers")]
    pub(crate) scale: Option<f64>,
}

#[derive(Debug, Args)]
#[command(after_help = READ_EXAMPLES)]
pub(crate) struct ReadArgs {
    /// Points of the configuration (`device/point`, with `*`), or addresses such as hr:0 with a bus;
    /// all points when left out
    #[arg(value_name = "POINT")]
    pub(crate) points: Vec<String>,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) bus: BusArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    /// So many values, one behind the other, from each address
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "Registers"
    )]
    pub(crate) count: u16,
    /// Again and again, until Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) every: Option<Duration>,
    /// How long to wait for readings; devices that speak by themselves take their time
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = WRITE_EXAMPLES)]
pub(crate) struct WriteArgs {
    /// `device/point=value`, or `hr:5=value` with a bus
    #[arg(value_name = "POINT=VALUE")]
    pub(crate) assignment: String,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) bus: BusArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    /// Do not read back what was written to an address
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// The outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProbeCommand {
    /// Units on a bus, and what their registers mean
    Modbus(ProbeModbusArgs),
    /// Speed, framing and content of a serial line
    Serial(ProbeSerialArgs),
}

#[derive(Debug, Args)]
#[command(after_help = PROBE_MODBUS_EXAMPLES)]
pub(crate) struct ProbeModbusArgs {
    #[command(flatten)]
    pub(crate) bus: BusArgs,
    /// Units to look for
    #[arg(long, value_name = "FROM-TO", default_value = "1-247", value_parser = units, conflicts_with = "unit")]
    pub(crate) units: (u8, u8),
    /// What each unit is asked for
    #[arg(long, value_name = "ADDRESS", default_value = "hr:0")]
    pub(crate) at: Address,
    /// Look into this unit
    #[arg(long, value_name = "N", requires = "range")]
    pub(crate) unit: Option<u8>,
    /// The registers to look at, for example hr:0..60
    #[arg(long, value_name = "FROM..TO", value_parser = range, requires = "unit")]
    pub(crate) range: Option<(Address, u16)>,
    /// What the display of the device shows, as it is written there
    #[arg(long, value_name = "NUMBER", requires = "range")]
    pub(crate) expect: Option<gateway_finder::decoding::Expected>,
    /// How often to read the range
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) times: u32,
    /// Pause between two readings of the range
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(crate) every: Duration,
    /// Most answers to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) most: usize,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn units(text: &str) -> Result<(u8, u8), String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let both = from.trim().parse().ok().zip(to.trim().parse().ok());
    both.filter(|(from, to)| from <= to)
        .ok_or_else(|| "not units; write 1-247".to_owned())
}

/// `hr:0..60`: the first address and how many.
fn range(text: &str) -> Result<(Address, u16), String> {
    let wrong = || "not a range of registers; write hr:0..60".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let from: Address = from.parse().map_err(|error| format!("{error}"))?;
    let to: u16 = to.trim().parse().map_err(|_| wrong())?;
    let count = to.checked_sub(from.register).and_then(|n| n.checked_add(1));
    let count = count.filter(|count| (1..=1000).contains(count));
    count
        .filter(|_| !from.space.is_bits())
        .map(|count| (from, count))
        .ok_or_else(|| "use at most 1000 registers, the lower first: hr:0..60".to_owned())
}

#[derive(Debug, Args)]
#[command(after_help = PROBE_SERIAL_EXAMPLES)]
pub(crate) struct ProbeSerialArgs {
    /// The port
    #[arg(value_name = "PORT")]
    pub(crate) port: PathBuf,
    /// Only this speed and format
    #[arg(long, value_name = "LINE")]
    pub(crate) line: Option<LineSettings>,
    /// How long to listen at each speed
    #[arg(long = "for", value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub(crate) listen: Duration,
    /// Send this once a second, `\r`, `\n` and `\x05` being bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) send: Option<protocols_serial::config::Bytes>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScanCommand {
    /// Bluetooth LE devices that are heard, with decoded values
    Ble(ScanBleArgs),
}

#[derive(Debug, Args)]
#[command(after_help = SCAN_BLE_EXAMPLES)]
pub(crate) struct ScanBleArgs {
    /// The adapter: hci0, or its address
    #[arg(long, value_name = "ADAPTER", default_value = "hci0")]
    pub(crate) adapter: protocols_ble::config::Adapter,
    /// How long to listen
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) listen: Duration,
    /// Weaker devices are left out, in dBm
    #[arg(long, value_name = "DBM", allow_negative_numbers = true)]
    pub(crate) min_rssi: Option<i16>,
    /// A configuration with the bind keys of encrypted sensors
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// As JSON, one object a device
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The configuration
    #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) file: PathBuf,
    /// What leaves the site, and in what form: every field
    #[arg(long)]
    pub(crate) privacy: bool,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every key with kind, default and meaning, in Markdown
    Reference,
    /// A JSON schema for editors
    Schema {
        /// Of template files instead
        #[arg(long)]
        template: bool,
    },
}
