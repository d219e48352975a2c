//! `explain`: what a configuration will do: the requests it makes, how busy each bus is, what it does with
//! readings, what it sends.

mod fog;
pub(crate) mod privacy;

use crate::cli::Format;
use crate::cli::find::ExplainArgs;
use crate::console::{colour_out, say, warn};
use crate::exit::Exit;
use crate::{check, machine};
use gateway_config::units::{show_duration, show_size};
use gateway_config::{BusConfig, GatewayConfig, Leaves, Options, Report, Severity, load, render};
use gateway_finder::volume::{Flow, Volume, volume};
use protocols_ble::config as ble;
use protocols_modbus::config as modbus;
use protocols_modbus::learned::{FileMemory, Memory, Snapshot};
use protocols_modbus::load::{self, BusLoad};
use protocols_model::PointKey;
use protocols_serial::config as serial;
use serde_json::json;
use std::time::Duration;

/// Readings a second of a device that speaks by itself, where nothing says more: once an interval.
const TELLS: f64 = 1.0;

pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let options = Options {
        unknown_keys: Severity::Error,
        overload: Severity::Warning,
        memory: machine::memory_limit(),
    };
    let loaded = load(&args.file, options);
    let Some(config) = &loaded.config else {
        warn(render(&loaded.problems, colour_out()));
        return Ok(Exit::ConfigRefused);
    };
    match args.format {
        Format::Json if args.privacy => say(format_args!("{}\n", privacy::json(config))),
        Format::Human if args.privacy => say(privacy::text(config)),
        Format::Json => say(format_args!("{}\n", as_json(config))),
        Format::Human => say(as_text(config)),
    }
    Ok(Exit::Done)
}

/// One line a bus and one about volume, for `check`.
pub(crate) fn brief(config: &GatewayConfig) -> String {
    let mut text = String::new();
    for bus in &config.buses {
        if let BusConfig::Modbus(bus) = bus {
            let load = bus_load(config, bus);
            text += &format!("bus {}: {load}\n", bus.name);
        }
    }
    text + &format!("{}\n", show_volume(bytes_a_day(config)))
}

/// The load with what the driver has learned on this machine, if it ran here.
fn bus_load(config: &GatewayConfig, bus: &modbus::Bus) -> BusLoad {
    let file = config.gateway.state_dir.join("learned");
    let memory = FileMemory::new(file.join(format!("{}.json", bus.name)));
    let learned = memory.load().ok().flatten();
    let learned = learned.and_then(|bytes| Snapshot::from_bytes(&bytes).ok());
    load::load(bus, learned.as_ref())
}

fn as_text(config: &GatewayConfig) -> String {
    let mut text = format!("{}\n", check::summary(config));
    for bus in &config.buses {
        text += &match bus {
            BusConfig::Modbus(bus) => modbus_text(config, bus),
            BusConfig::Serial(bus) => serial_text(bus),
            BusConfig::Ble(bus) => ble_text(bus),
        };
    }
    text += &fog::text(config);
    text + &format!("\n{}\n", show_volume(bytes_a_day(config)))
}

fn modbus_text(config: &GatewayConfig, bus: &modbus::Bus) -> String {
    let load = bus_load(config, bus);
    let mut text = format!("\nbus {}: {load}\n  {}\n", bus.name, load.assumptions());
    for (device, planned) in bus.devices.iter().zip(&load.devices) {
        text += &format!(
            "  {} (unit {}): {:.1} % of the bus; without an answer {} a request\n",
            device.id,
            device.unit,
            planned.share * 100.0,
            rounded(planned.silence),
        );
        for group in &planned.groups {
            let requests = group.requests.len();
            text += &format!(
                "    each {}: {requests} request{}, {}\n",
                show_duration(group.period),
                if requests == 1 { "" } else { "s" },
                rounded(group.busy)
            );
            for request in &group.requests {
                let points = request
                    .slots
                    .iter()
                    .filter_map(|slot| device.points.get(slot.point));
                let points: Vec<_> = points.map(|point| point.id.as_str()).collect();
                let gap = if request.has_gap {
                    ", gaps read along"
                } else {
                    ""
                };
                let last = u32::from(request.start) + u32::from(request.count) - 1;
                text += &format!(
                    "      {}:{}..{last} ({}{gap}): {}\n",
                    request.space.as_str(),
                    request.start,
                    request.count,
                    points.join(" ")
                );
            }
        }
        let written = device.points.iter().filter(|point| point.write.is_some());
        let written: Vec<_> = written.map(|point| point.id.as_str()).collect();
        if !written.is_empty() {
            text += &format!("    may be written: {}\n", written.join(" "));
        }
    }
    text
}

fn serial_text(bus: &serial::Bus) -> String {
    let (port, line) = (bus.port.path.display(), bus.port.line);
    let mut text = format!("\nbus {}: {port}, {line}\n", bus.name);
    for device in &bus.devices {
        text += &format!("  {}\n", device.id);
        for (index, message) in device.messages.iter().enumerate() {
            let points = device
                .points
                .iter()
                .filter(|point| point.read.as_ref().is_some_and(|(of, _)| *of == index));
            let points: Vec<_> = points.map(|point| point.id.as_str()).collect();
            let how = match &message.ask {
                Some(ask) => format!("asked {ask} each {}", show_duration(message.period)),
                None => format!(
                    "listened to, silent after {}",
                    show_duration(message.period)
                ),
            };
            text += &format!(
                "    {how}, parsed by {}: {}\n",
                message.parser,
                points.join(" ")
            );
        }
    }
    text
}

fn ble_text(bus: &ble::Bus) -> String {
    let mut text = format!("\nbus {}: adapter {}\n", bus.name, bus.adapter);
    for device in &bus.devices {
        text += &match &device.kind {
            ble::Kind::Adverts(heard) => format!(
                "  {}: heard ({}), silent after {}: {}\n",
                device.id,
                heard.format,
                show_duration(heard.interval.saturating_mul(2)),
                heard
                    .points
                    .iter()
                    .map(|point| point.id.as_str())
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
            ble::Kind::Gatt(gatt) => format!(
                "  {}: connected to: {}\n",
                device.id,
                gatt.points
                    .iter()
                    .map(|point| point.id.as_str())
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
        };
    }
    text
}

/// How often each point is read, by key.
fn rates(config: &GatewayConfig) -> Vec<f64> {
    let mut rates = vec![0.0; config.points.len()];
    let mut set = |key: PointKey, rate: f64| {
        let place = usize::try_from(key.0)
            .ok()
            .and_then(|key| rates.get_mut(key));
        if let Some(place) = place {
            *place = rate;
        }
    };
    for bus in &config.buses {
        match bus {
            BusConfig::Modbus(bus) => {
                for point in bus.devices.iter().flat_map(|device| &device.points) {
                    set(
                        point.key,
                        if point.is_polled() {
                            1.0 / point.period.as_secs_f64()
                        } else {
                            0.0
                        },
                    );
                }
            }
            BusConfig::Serial(bus) => {
                for device in &bus.devices {
                    for point in &device.points {
                        let message = point
                            .read
                            .as_ref()
                            .and_then(|(of, _)| device.messages.get(*of));
                        set(
                            point.key,
                            message.map_or(0.0, |m| 1.0 / m.period.as_secs_f64()),
                        );
                    }
                }
            }
            BusConfig::Ble(bus) => {
                for device in &bus.devices {
                    match &device.kind {
                        ble::Kind::Adverts(heard) => {
                            for point in &heard.points {
                                set(point.key, TELLS / heard.interval.as_secs_f64());
                            }
                        }
                        ble::Kind::Gatt(gatt) => {
                            for point in &gatt.points {
                                set(
                                    point.key,
                                    match point.access {
                                        ble::Access::Read(period) => 1.0 / period.as_secs_f64(),
                                        ble::Access::Notify(interval) => interval
                                            .map_or(TELLS, |every| TELLS / every.as_secs_f64()),
                                        ble::Access::None => 0.0,
                                    },
                                );
                            }
                        }
                    }
                }
            }
        }
    }
    rates
}

/// Points of which readings may leave, and their readings a second where no filter drops any.
pub(crate) fn leaving(config: &GatewayConfig) -> (f64, f64) {
    let rates = flows(config).map(|flow| flow.rate);
    rates.fold((0.0, 0.0), |(count, sum), rate| {
        if rate > 0.0 {
            (count + 1.0, sum + rate)
        } else {
            (count, sum)
        }
    })
}

/// What each point sends.
fn flows(config: &GatewayConfig) -> impl Iterator<Item = Flow> {
    let rates = rates(config);
    let read = move |key: PointKey| {
        let rate = *rates.get(usize::try_from(key.0).ok()?)?;
        (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate))
    };
    let keys = (0..).map(PointKey);
    keys.zip(&config.points).map(move |(key, point)| {
        let period = read(key).or_else(|| config.fog.period(key, &read));
        let withheld = matches!(config.fog.privacy.get(&key), Some(Leaves::Nothing(_)));
        let filtered = config.fog.stages.contains_key(&key);
        Flow {
            rate: match period {
                Some(period) if !withheld => 1.0 / period.as_secs_f64(),
                _ => 0.0,
            },
            changes: match point.report {
                Report::Changes { beat, .. } if !filtered => Some(beat),
                Report::Every if !filtered => None,
                // How much its filters leave is for the readings to say.
                _ => Some(None),
            },
        }
    })
}

fn bytes_a_day(config: &GatewayConfig) -> Volume {
    let batch = config
        .uplink
        .as_ref()
        .map_or(Duration::from_secs(1), |uplink| uplink.batch_live);
    volume(flows(config), batch)
}

fn show_volume(volume: Volume) -> String {
    let (least, most) = (size(volume.least), size(volume.most));
    if least == most {
        format!("about {most} a day to the cloud")
    } else {
        format!("{least} to {most} a day to the cloud, by how much changes")
    }
}

/// An estimate in two digits: 4.1 MiB, 350 KiB.
pub(crate) fn size(bytes: f64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut amount = bytes;
    let mut unit = "B";
    for name in UNITS {
        unit = name;
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
    }
    if amount < 10.0 && unit != "B" {
        format!("{amount:.1} {unit}")
    } else {
        format!("{amount:.0} {unit}")
    }
}

/// A duration in few digits.
fn rounded(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1e3;
    if ms >= 10_000.0 {
        format!("{:.0} s", ms / 1e3)
    } else if ms >= 100.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{ms:.1} ms")
    }
}

fn as_json(config: &GatewayConfig) -> serde_json::Value {
    let volume = bytes_a_day(config);
    let buses: Vec<_> = config
        .buses
        .iter()
        .map(|bus| {
            let load = match bus {
                BusConfig::Modbus(bus) => Some(bus_load(config, bus)),
                BusConfig::Serial(_) | BusConfig::Ble(_) => None,
            };
            json!({
                "name": bus.name().as_ref(),
                "devices": bus.devices().iter().map(ToString::to_string).collect::<Vec<_>>(),
                "points": bus.points().len(),
                "cycle_ms": load.as_ref().map(|load| load.cycle.as_secs_f64() * 1e3),
                "share": load.as_ref().map(|load| load.share),
            })
        })
        .collect();
    json!({
        "gateway": config.gateway.id.to_string(),
        "buses": buses,
        "points": config.points.len(),
        "bytes_a_day": { "least": volume.least, "most": volume.most },
        "fog": fog::json(config),
        "spool": show_size(config.spool.disk_quota_bytes),
    })
}
