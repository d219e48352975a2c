//! The tools that find out: read, write, probe, scan. Each opens a bus with the driver's own code, does
//! its work and closes it. The rules (ranking, scoring) are in `gateway-finder`; here is what waits and
//! prints.

mod direct;
mod names;
pub(crate) mod probe_modbus;
pub(crate) mod probe_serial;
pub(crate) mod read;
pub(crate) mod scan_ble;
pub(crate) mod value;
pub(crate) mod write;

pub(crate) use value::{parse as parse_value, show as show_value};

use crate::cli::find::{BusArgs, DecodeArgs};
use anyhow::{Context, bail};
use gateway_config::{BusConfig, GatewayConfig, Options, Severity, load, load_with, render};
use protocols_modbus::config::{Address, RawType, Transport};
use std::future::Future;
use std::path::Path;

/// Runs one tool on a runtime of its own.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(work);
    // What still blocks (a name resolution) must not hold the end.
    runtime.shutdown_background();
    done
}

/// The configuration at `path`, for looking: unknown keys do not matter here.
fn configured(path: &Path) -> anyhow::Result<GatewayConfig> {
    let options = Options {
        unknown_keys: Severity::Warning,
        overload: Severity::Warning,
        memory: None,
    };
    let loaded = load(path, options);
    loaded.config.with_context(|| {
        let problems = render(&loaded.problems, false);
        format!("the configuration has errors\n{problems}")
    })
}

impl BusArgs {
    /// Whether a bus is named on the command line.
    pub(crate) const fn is_named(&self) -> bool {
        self.tcp.is_some() || self.rtu.is_some() || self.rtu_over_tcp.is_some()
    }

    /// How the named bus is reached.
    pub(crate) fn transport(&self) -> anyhow::Result<Transport> {
        let bus = self.document("", &[]);
        let config = understood(&format!(
            "{bus}[device.probe]\nbus = \"bus\"\nunit = 1\npoints = [{{ id = \"a\", at = \"hr:0\" }}]\n"
        ))?;
        match config.buses.first() {
            Some(BusConfig::Modbus(bus)) => Ok(bus.transport.clone()),
            _ => bail!("no bus is named: use --tcp, --rtu or --rtu-over-tcp"),
        }
    }

    /// The bus as a configuration, with a device of `unit` and these points.
    fn document(&self, device: &str, points: &[String]) -> String {
        let line = self.line;
        let bus = match (&self.tcp, &self.rtu, &self.rtu_over_tcp) {
            (Some(addr), _, _) => format!("kind = \"modbus-tcp\"\naddr = {addr:?}\n"),
            (_, Some(port), _) => {
                format!("kind = \"modbus-rtu\"\nport = {port:?}\nline = \"{line}\"\n")
            }
            (_, _, Some(addr)) => {
                format!("kind = \"modbus-rtu-over-tcp\"\naddr = {addr:?}\nline = \"{line}\"\n")
            }
            (None, None, None) => String::new(),
        };
        let mut text =
            format!("schema = 1\n[gateway]\nid = \"gateway\"\n[bus.bus]\n{bus}force = true\n");
        if !points.is_empty() {
            let points = points.join(",\n");
            text += &format!("{device}points = [\n{points}\n]\n");
        }
        text
    }

    /// A configuration of one device with points at `addresses`, read or written as said.
    pub(crate) fn config(
        &self,
        decode: &DecodeArgs,
        addresses: &[String],
        (count, write): (u16, &str),
    ) -> anyhow::Result<GatewayConfig> {
        let mut points = Vec::new();
        for text in addresses {
            let address: Address = text.parse()?;
            let raw: Option<RawType> = decode.raw.as_deref().map(str::parse).transpose()?;
            let raw = raw.unwrap_or_else(|| RawType::default_at(&address));
            let width = if address.space.is_bits() {
                1
            } else {
                raw.registers()
            };
            for index in 0..count {
                let at = width
                    .checked_mul(index)
                    .and_then(|by| address.register.checked_add(by))
                    .context("that is past the last address, 65535")?;
                let at = Address {
                    register: at,
                    ..address
                };
                let order = decode
                    .order
                    .as_ref()
                    .map(|order| format!(", order = {order:?}"));
                let scale = decode.scale.map(|scale| format!(", scale = {scale:?}"));
                points.push(format!(
                    "  {{ id = \"{}\", at = \"{at}\", as = \"{raw}\"{}{}{write} }}",
                    names::id_of(&at),
                    order.unwrap_or_default(),
                    scale.unwrap_or_default(),
                ));
            }
        }
        let timeout = gateway_config::units::show_duration(self.timeout);
        let unit = decode.unit;
        let device = format!(
            "[device.unit{unit}]\nbus = \"bus\"\nunit = {unit}\ntimeout = \"{timeout}\"\nmax_gap = 0\n"
        );
        understood(&self.document(&device, &points))
    }
}

/// A configuration that was put together from the command line.
fn understood(text: &str) -> anyhow::Result<GatewayConfig> {
    let options = Options {
        unknown_keys: Severity::Error,
        overload: Severity::Warning,
        memory: None,
    };
    let loaded = load_with(Path::new("command line"), options, &|_| Ok(text.to_owned()));
    if let Some(config) = loaded.config {
        return Ok(config);
    }
    let errors = loaded
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error);
    let errors: Vec<_> = errors.map(|problem| problem.message.as_str()).collect();
    bail!("{}", errors.join("; "))
}
