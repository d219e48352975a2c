//! `write`: one value to one point, of a configuration or of any Modbus device; at most once.

use super::direct::Direct;
use super::names::{self, Named};
use super::value::{parse, show, to_json};
use super::{block_on, configured};
use crate::cli::find::WriteArgs;
use crate::console::{say, warn};
use crate::control::{self, Outcome};
use crate::exit::Exit;
use crate::lock;
use anyhow::{Context, bail};
use gateway_config::{BusConfig, GatewayConfig};
use protocols_driver::WriteError;
use protocols_model::Value;
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::time::Duration;

/// The write must begin within this time, opening the bus included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to hold off before the next try while the bus is being opened.
const AGAIN: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &WriteArgs) -> anyhow::Result<Exit> {
    let (name, text) = args
        .assignment
        .split_once('=')
        .context("write POINT=VALUE, for example meter1/relay=true")?;
    let name = name.trim();
    let verify = if args.no_verify {
        ""
    } else {
        ", verify = true"
    };
    let config = if args.bus.is_named() {
        let write = format!(", write = true{verify}");
        let addresses = [name.to_owned()];
        args.bus.config(&args.decode, &addresses, (1, &write))?
    } else {
        configured(&args.config)?
    };
    let point = find(&config, name, args.bus.is_named())?;
    let value = parse(text, point.value_type)?;
    let bus = config
        .buses
        .iter()
        .find(|bus| bus.points().contains(&point.key));
    let bus = bus.context("no bus has the point")?;
    if !args.yes && !confirmed(&point, &value, bus)? {
        say("not written\n");
        return Ok(Exit::Failed);
    }
    let state_dir = &config.gateway.state_dir;
    let running = !args.bus.is_named() && lock::owner(state_dir).is_some();
    let outcome = if running {
        through(state_dir, &point, text)?
    } else {
        block_on(directly(bus, &point, value))?
    };
    report(args, &point, &outcome)
}

fn find(config: &GatewayConfig, name: &str, only: bool) -> anyhow::Result<Named> {
    let all = names::all(config);
    let found = all.iter().find(|point| only || point.name() == name);
    found
        .cloned()
        .with_context(|| format!("the configuration has no point {name:?}; write device/point"))
}

/// Asks on the terminal. Without one nobody can say yes.
fn confirmed(point: &Named, value: &Value, bus: &BusConfig) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: say --yes to write without asking");
    }
    let (name, unit) = (point.name(), &point.unit);
    let bus = bus.name();
    warn(format_args!(
        "write {} {unit} to {name} on bus {bus}? [y/N] ",
        show(value)
    ));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// By the gateway that runs: it owns the bus.
fn through(state_dir: &Path, point: &Named, text: &str) -> anyhow::Result<Outcome> {
    control::write(state_dir, (&point.device, &point.point), text)
}

/// By the driver itself.
async fn directly(bus: &BusConfig, point: &Named, value: Value) -> anyhow::Result<Outcome> {
    let alone = bus.only(&|key| key == point.key, Duration::from_secs(1));
    let alone = alone.context("the bus has no such point")?;
    let direct = Direct::start(vec![alone]).await?;
    let desk = direct.desk()?;
    let until = direct.clock().monotonic().plus(PATIENCE);
    let outcome = loop {
        let outcome = desk.place(point.key, value.clone(), until).await;
        // Nothing was sent: the bus is still being opened.
        let early = outcome == Err(WriteError::Unreachable);
        if !early || direct.clock().monotonic() >= until {
            break outcome;
        }
        tokio::time::sleep(AGAIN).await;
    };
    direct.stop().await;
    Ok(outcome.into())
}

fn report(args: &WriteArgs, point: &Named, outcome: &Outcome) -> anyhow::Result<Exit> {
    let name = point.name();
    if args.json {
        let report = json!({
            "device": point.device,
            "point": point.point,
            "written": outcome.error.is_none(),
            "read_back": outcome.read_back,
            "error": outcome.error,
        });
        say(format_args!("{report}\n"));
    } else {
        match (&outcome.error, &outcome.read_back) {
            (None, Some(read)) => say(format_args!("{name} written; it reads {read}\n")),
            (None, None) => say(format_args!("{name} written and confirmed\n")),
            (Some(error), _) => bail!("{name}: {error}"),
        }
    }
    Ok(if outcome.error.is_none() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

impl From<Result<protocols_driver::Written, WriteError>> for Outcome {
    fn from(outcome: Result<protocols_driver::Written, WriteError>) -> Self {
        match outcome {
            Ok(written) => Self {
                read_back: written.read_back.as_ref().map(to_json),
                error: None,
            },
            Err(error) => Self {
                read_back: None,
                error: Some(error.to_string()),
            },
        }
    }
}
