//! `read`: points of a configuration or of any Modbus device, once or again and again.

use super::direct::{Direct, why_unreachable};
use super::names::{self, Named};
use super::value::{quality, show, to_json};
use super::{block_on, configured};
use crate::cli::find::ReadArgs;
use crate::console::{say, warn};
use crate::exit::Exit;
use crate::lock;
use anyhow::bail;
use gateway_config::fog::fits;
use gateway_config::{BusConfig, GatewayConfig};
use protocols_model::{Quality, Reading};
use serde_json::json;
use std::time::Duration;

/// What is asked for once is asked for at once.
const HURRY: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &ReadArgs) -> anyhow::Result<Exit> {
    let (config, wanted) = if args.bus.is_named() {
        if args.points.is_empty() {
            bail!("which registers? for example hr:0, with --count 10 for ten of them");
        }
        let config = args
            .bus
            .config(&args.decode, &args.points, (args.count, ""))?;
        let all = names::all(&config);
        (config, all)
    } else {
        let config = configured(&args.config)?;
        let wanted = chosen(&config, &args.points)?;
        (config, wanted)
    };
    let period = args.every.unwrap_or(HURRY);
    let is_wanted = |key| wanted.iter().any(|point| point.key == key);
    let buses: Vec<_> = config
        .buses
        .iter()
        .filter_map(|bus| bus.only(&|key| is_wanted(key) && bus.is_read(key), period))
        .collect();
    let wanted: Vec<_> = wanted
        .into_iter()
        .filter(|point| buses.iter().any(|bus| bus.points().contains(&point.key)))
        .collect();
    if wanted.is_empty() {
        bail!("none of these points is ever read: they are only written");
    }
    let running = (!args.bus.is_named())
        .then(|| lock::owner(&config.gateway.state_dir))
        .flatten();
    block_on(async {
        if args.every.is_some() {
            follow(args, buses, &wanted).await
        } else {
            once(args, buses, &wanted, running).await
        }
    })
}

/// The points that the patterns name.
fn chosen(config: &GatewayConfig, patterns: &[String]) -> anyhow::Result<Vec<Named>> {
    let all = names::all(config);
    for pattern in patterns {
        if !all.iter().any(|point| fits(pattern, &point.name())) {
            let some: Vec<_> = all.iter().take(5).map(Named::name).collect();
            bail!(
                "no point is called {pattern:?}; there are {} points, for example {}",
                all.len(),
                some.join(", ")
            );
        }
    }
    let fits =
        |point: &Named| patterns.is_empty() || patterns.iter().any(|p| fits(p, &point.name()));
    Ok(all.into_iter().filter(fits).collect())
}

async fn once(
    args: &ReadArgs,
    buses: Vec<BusConfig>,
    wanted: &[Named],
    running: Option<String>,
) -> anyhow::Result<Exit> {
    let mut direct = Direct::start(buses.clone()).await?;
    let found = direct.first(wanted, args.wait).await;
    direct.stop().await;
    let width = wanted
        .iter()
        .map(|point| point.name().len())
        .max()
        .unwrap_or(0);
    let mut good = true;
    let mut text = String::new();
    for point in wanted {
        let reading = found.get(&point.key.0);
        good &= reading.is_some_and(|reading| reading.quality == Quality::Good);
        text += &line(point, reading, args, width);
    }
    say(text);
    if !good {
        for bus in &buses {
            let silent = |point: &&Named| {
                let reading = found.get(&point.key.0);
                bus.points().contains(&point.key)
                    && reading.is_none_or(|reading| reading.value.is_none())
            };
            if wanted.iter().any(|point| silent(&point))
                && let Some(why) = why_unreachable(bus).await
            {
                warn(format_args!(
                    "bus {} cannot be reached: {why}\n",
                    bus.name()
                ));
            }
        }
        if let Some(pid) = running {
            warn(format_args!(
                "a gateway (pid {pid}) runs with this configuration; a device that takes one connection only answers it alone: its readings are in `fogline-gateway status`, or stop it first\n"
            ));
        }
    }
    Ok(if good { Exit::Done } else { Exit::Failed })
}

async fn follow(args: &ReadArgs, buses: Vec<BusConfig>, wanted: &[Named]) -> anyhow::Result<Exit> {
    let mut direct = Direct::start(buses).await?;
    let width = wanted
        .iter()
        .map(|point| point.name().len())
        .max()
        .unwrap_or(0);
    loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => break,
            readings = direct.next() => {
                let Some(readings) = readings else { break };
                let mut text = String::new();
                for reading in &readings {
                    if let Some(point) = wanted.iter().find(|point| point.key == reading.point) {
                        text += &line(point, Some(reading), args, width);
                    }
                }
                say(text);
            }
        }
    }
    direct.stop().await;
    Ok(Exit::Done)
}

fn line(point: &Named, reading: Option<&Reading>, args: &ReadArgs, width: usize) -> String {
    let value = reading.and_then(|reading| reading.value.as_ref());
    let quality = reading.map_or_else(|| "no reading".to_owned(), quality);
    if args.json {
        let object = json!({
            "device": point.device,
            "point": point.point,
            "value": value.map(to_json),
            "unit": point.unit,
            "quality": quality,
            "time": reading.map(|reading| reading.sampled.as_millis()),
        });
        return format!("{object}\n");
    }
    let name = point.name();
    match value {
        Some(value) if quality == "good" => {
            format!("{name:width$}  {} {}\n", show(value), point.unit).replace(" \n", "\n")
        }
        Some(value) => format!(
            "{name:width$}  {} {}  ({quality})\n",
            show(value),
            point.unit
        ),
        None => format!("{name:width$}  {quality}\n"),
    }
}
