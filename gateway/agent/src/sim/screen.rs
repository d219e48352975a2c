//! What the simulator says: for people on standard error, for machines as JSON on standard output.

use super::around::Around;
use protocols_bluez_sim::Event as Heard;
use protocols_sim::event::{Event, Shown, What};
use protocols_sim::line::PortState;
use protocols_sim::site::Site;
use protocols_sim::{Place, Served, Sim};
use serde_json::{Value, json};
use std::fmt::{Display, Write as _};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;

/// Writes to standard output. A reader that went away (`| head`) is no error.
pub(super) fn say(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _reader_gone = write!(out, "{text}").and_then(|()| out.flush());
}

/// Writes to standard error.
pub(super) fn warn(text: impl Display) {
    let mut out = std::io::stderr().lock();
    let _reader_gone = write!(out, "{text}");
}

/// Where things are said.
pub(super) struct Screen {
    json: bool,
    events: bool,
    /// A terminal: sums renew themselves in one line. Holds that line's length.
    live: Option<Mutex<usize>>,
}

impl Screen {
    pub(super) fn new(json: bool, events: bool) -> Self {
        let live = !json && !events && std::io::stderr().is_terminal();
        Self {
            json,
            events,
            live: live.then(Mutex::default),
        }
    }

    /// What is served and where.
    pub(super) fn serving(&self, site: &Site, served: &[Served], around: Option<&Around>) {
        if self.json {
            let buses: Vec<Value> = served.iter().map(|served| place(site, served)).collect();
            let ble = around.map(|around| {
                let sensor = |(name, sensor): (String, &protocols_bluez_sim::config::SensorEntry)| {
                    json!({ "name": name, "address": sensor.address.to_string() })
                };
                json!({ "bus": around.address(), "sensors": around.sensors().map(sensor).collect::<Vec<_>>() })
            });
            line(&json!({ "event": "serving", "buses": buses, "ble": ble }));
            return;
        }
        let mut text = list(served, around);
        text.push_str("--print-config prints the gateway's configuration for this\n");
        text.push_str("Ctrl-C ends; \"help\" and Enter tell which faults can be switched\n");
        warn(text);
    }

    /// The answer to a word.
    pub(super) fn answer(&self, text: &str) {
        if self.json {
            line(&json!({ "event": "word", "answer": text }));
        } else if !text.is_empty() {
            self.clear();
            warn(format_args!("{}\n", text.trim_end()));
        }
    }

    /// The sums, each second.
    pub(super) fn sums(&self, sim: &Sim, around: Option<&Around>) {
        if self.json {
            line(&status("status", sim, around));
        } else if let Some(live) = &self.live {
            let mut text = sums(sim, around);
            let length = text.chars().count();
            let mut last = live
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let blank = last.saturating_sub(length);
            *last = length;
            drop(last);
            text.extend(std::iter::repeat_n(' ', blank));
            warn(format_args!("\r{text}"));
        }
    }

    fn clear(&self) {
        if let Some(live) = &self.live {
            let mut last = live
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let blank = " ".repeat(*last);
            *last = 0;
            drop(last);
            warn(format_args!("\r{blank}\r"));
        }
    }

    /// The last words.
    pub(super) fn ended(&self, sim: &Sim, around: Option<&Around>) {
        if self.json {
            line(&status("ended", sim, around));
            return;
        }
        self.clear();
        let mut text = format!("served {:.0?}: {}\n", sim.elapsed(), sums(sim, around));
        for served in sim.served() {
            if let Some(port) = served.port.filter(|port| port.accuracy.count() > 0) {
                put(
                    &mut text,
                    format_args!(
                        "  {}: {} deadlines, late by {:.0?} (half), {:.0?} (99 %), {:.0?} (worst)\n",
                        served.name,
                        port.accuracy.count(),
                        port.accuracy.quantile(0.5),
                        port.accuracy.quantile(0.99),
                        port.accuracy.worst()
                    ),
                );
            }
        }
        warn(text);
    }

    /// One event, where events were asked for.
    pub(super) fn event(&self, event: &Event<'_>) {
        if self.json {
            let mut told = json!({
                "event": kind(&event.what),
                "t": event.elapsed.as_secs_f64(),
                "bus": event.bus,
                "device": event.device,
            });
            if let (Some(told), Value::Object(more)) = (told.as_object_mut(), details(&event.what))
            {
                told.extend(more);
            }
            line(&told);
        } else {
            let device = event.device.unwrap_or(event.bus);
            let told = sentence(&event.what);
            say(format_args!(
                "{:10.3} {device:<12} {told}\n",
                event.elapsed.as_secs_f64()
            ));
        }
    }

    /// One thing that went over the simulated air, where events were asked for.
    pub(super) fn advert(&self, name: &str, event: &Heard) {
        if !self.events {
            return;
        }
        if self.json {
            line(&json!({ "event": "ble", "device": name, "what": format!("{event:?}") }));
        } else {
            say(format_args!("{:>10} {name:<12} {event:?}\n", ""));
        }
    }
}

fn line(value: &Value) {
    say(format_args!("{value}\n"));
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = text.write_fmt(part);
}

/// What is served, and the faults at work, for people.
pub(super) fn list(served: &[Served], around: Option<&Around>) -> String {
    let mut text = String::new();
    for served in served {
        let at = match &served.at {
            Place::Tcp(address) => format!("Modbus TCP       {address}"),
            Place::RtuOverTcp(address) => format!("RTU over TCP     {address}"),
            Place::Rtu(line) => format!("Modbus RTU       {}  {}", line.link.display(), line.line),
            Place::Serial(line) => {
                format!("serial           {}  {}", line.link.display(), line.line)
            }
        };
        put(&mut text, format_args!("{:<12} {at}", served.name));
        match &served.port {
            Some(port) if !port.is_plugged => text.push_str("  (unplugged)"),
            Some(port) if port.is_open => text.push_str("  (open)"),
            _ => {}
        }
        if let Some(speed) = served.port.as_ref().and_then(|port| port.wrong_speed) {
            put(
                &mut text,
                format_args!("  (opened with {speed} baud: nothing is understood)"),
            );
        }
        text.push('\n');
        for (device, faults) in &served.devices {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            if *device != served.name || !faults.is_empty() {
                put(
                    &mut text,
                    format_args!("             {device:<16} {}\n", faults.join(", ")),
                );
            }
        }
    }
    if let Some(around) = around {
        put(
            &mut text,
            format_args!(
                "Bluetooth LE  DBUS_SYSTEM_BUS_ADDRESS={}\n",
                around.address()
            ),
        );
        for (name, sensor) in around.sensors() {
            put(
                &mut text,
                format_args!("             {name:<16} {}\n", sensor.address),
            );
        }
    }
    text
}

fn sums(sim: &Sim, around: Option<&Around>) -> String {
    let mut text = sim.counts().to_string();
    if let Some(around) = around {
        put(
            &mut text,
            format_args!(", adverts heard {}", around.heard()),
        );
    }
    text
}

fn status(event: &str, sim: &Sim, around: Option<&Around>) -> Value {
    let counts = sim.counts();
    let served = sim.served();
    let lines = served
        .iter()
        .filter_map(|served| Some((served, served.port.as_ref()?)));
    let lines: Vec<Value> = lines
        .map(|(served, port)| port_state(&served.name, port))
        .collect();
    json!({
        "event": event,
        "t": sim.elapsed().as_secs_f64(),
        "requests": counts.requests,
        "answers": counts.answers,
        "writes": counts.writes,
        "refused": counts.refused,
        "faulted": counts.faulted,
        "not_understood": counts.not_understood,
        "thrown_away": counts.troubles,
        "collisions": counts.collisions,
        "adverts": around.map(Around::heard),
        "lines": lines,
    })
}

fn port_state(name: &str, port: &PortState) -> Value {
    let micros = |share| u64::try_from(port.accuracy.quantile(share).as_micros()).ok();
    json!({
        "name": name,
        "open": port.is_open,
        "plugged": port.is_plugged,
        "wrong_speed": port.wrong_speed,
        "overrun": port.overrun,
        "deadlines": port.accuracy.count(),
        "late_us_p50": micros(0.5),
        "late_us_p99": micros(0.99),
        "late_us_worst": micros(1.0),
    })
}

fn place(site: &Site, served: &Served) -> Value {
    let (kind, place) = match &served.at {
        Place::Tcp(address) => ("modbus-tcp", json!({ "address": address.to_string() })),
        Place::RtuOverTcp(address) => (
            "modbus-rtu-over-tcp",
            json!({ "address": address.to_string() }),
        ),
        Place::Rtu(line) => (
            "modbus-rtu",
            json!({ "link": line.link, "line": line.line.to_string() }),
        ),
        Place::Serial(line) => (
            "serial",
            json!({ "link": line.link, "line": line.line.to_string() }),
        ),
    };
    let devices = served.devices.iter().map(|(name, _)| {
        json!({ "name": **name, "unit": site.device.get(&**name).map(|device| device.unit) })
    });
    let mut told =
        json!({ "name": *served.name, "kind": kind, "devices": devices.collect::<Vec<_>>() });
    if let (Some(told), Value::Object(place)) = (told.as_object_mut(), place) {
        told.extend(place);
    }
    told
}

fn kind(what: &What<'_>) -> &'static str {
    match what {
        What::Read { .. } => "read",
        What::Wrote { .. } => "wrote",
        What::Refused { .. } => "refused",
        What::Said { .. } => "said",
        What::Port { .. } => "port",
        What::Faulted(_) => "faulted",
        What::Trouble(_) => "trouble",
        What::NotUnderstood(_) => "not-understood",
    }
}

fn details(what: &What<'_>) -> Value {
    match what {
        What::Read {
            function,
            address,
            count,
            shown,
        } => json!({
            "function": function, "address": address, "count": count, "points": points(shown),
        }),
        What::Wrote {
            function,
            address,
            count,
        } => {
            json!({ "function": function, "address": address, "count": count })
        }
        What::Refused { function, code } => json!({ "function": function, "code": code }),
        What::Said {
            to,
            frame,
            shown,
            heard,
        } => json!({
            "to": to.map(escaped), "frame": escaped(frame), "points": points(shown), "heard": heard,
        }),
        What::Port { open } => json!({ "open": open }),
        What::Faulted(fault) => json!({ "fault": fault }),
        What::Trouble(trouble) => json!({ "trouble": trouble.to_string() }),
        What::NotUnderstood(bytes) => json!({ "bytes": escaped(bytes) }),
    }
}

fn points(shown: &[Shown]) -> Value {
    let point =
        |shown: &Shown| json!({ "point": *shown.point, "poll": shown.poll, "value": shown.value });
    shown.iter().map(point).collect()
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn sentence(what: &What<'_>) -> String {
    let values = |shown: &[Shown]| {
        let value = |shown: &Shown| format!(" {}={:.3}", shown.point, shown.value);
        shown.iter().map(value).collect::<String>()
    };
    match what {
        What::Read {
            function,
            address,
            count,
            shown,
        } => {
            format!(
                "read    fc {function}, {count} from {address}:{}",
                values(shown)
            )
        }
        What::Wrote {
            function,
            address,
            count,
        } => format!("written fc {function}, {count} from {address}"),
        What::Refused { function, code } => format!("refused fc {function}, exception {code}"),
        What::Said {
            to, frame, heard, ..
        } => {
            let to = to.map_or_else(String::new, |to| format!(" to \"{}\"", escaped(to)));
            let heard = if *heard {
                ""
            } else {
                " (nobody has the port open)"
            };
            format!("said    \"{}\"{to}{heard}", escaped(frame))
        }
        What::Port { open: true } => "opened".to_owned(),
        What::Port { open: false } => "closed".to_owned(),
        What::Faulted(fault) => format!("fault   {fault}"),
        What::Trouble(trouble) => format!("thrown away: {trouble}"),
        What::NotUnderstood(bytes) => format!("not understood: \"{}\"", escaped(bytes)),
    }
}
