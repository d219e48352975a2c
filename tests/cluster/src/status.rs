//! How a cluster is, as one table that is readable at a glance. Pure; who asks the processes is
//! [`crate::probe`].

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// Every host, with what runs on it.
    pub hosts: Vec<HostStatus>,
    /// Every gateway.
    pub gateways: Vec<GatewayStatus>,
    /// Links that are not as they should be.
    pub links: Vec<String>,
    /// The broker's stream.
    pub stream: Option<StreamStatus>,
    /// Where the dashboard is.
    pub dashboard: String,
}

/// A host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its address.
    pub address: String,
    /// What is wrong with it: no power, a full disk.
    pub trouble: Option<String>,
    /// What runs on it.
    pub units: Vec<UnitStatus>,
}

/// A process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitStatus {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: String,
    /// Its process id.
    pub pid: Option<u32>,
    /// Whether it says that it is ready; none where nobody asks.
    pub ready: Option<bool>,
    /// Why it is not.
    pub reason: Option<String>,
    /// How often it was started again.
    pub restarts: u64,
}

/// A gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Its name.
    pub name: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Readings taken.
    pub taken: u64,
    /// Records not settled yet.
    pub held: u64,
    /// Records settled since it started.
    pub settled: u64,
    /// Delay of settling that 99 of 100 records keep to, milliseconds.
    pub settling_p99_ms: Option<f64>,
    /// Why it says nothing of itself.
    pub trouble: Option<String>,
}

/// The broker's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// The host whose node leads it.
    pub leader: String,
    /// Messages that ingest has not settled.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Status {
    /// A process by name.
    #[must_use]
    pub fn unit(&self, name: &str) -> Option<&UnitStatus> {
        let mut units = self.hosts.iter().flat_map(|host| &host.units);
        units.find(|unit| unit.name == name)
    }

    /// Why not everything is well; empty where it is.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = self.links.clone();
        for host in &self.hosts {
            troubles.extend(
                host.trouble
                    .iter()
                    .map(|why| format!("{}: {why}", host.name)),
            );
            for unit in &host.units {
                if unit.state != "runs" {
                    troubles.push(format!("{}: {}", unit.name, unit.state));
                } else if unit.ready == Some(false) {
                    let why = unit.reason.as_deref().unwrap_or("not ready");
                    troubles.push(format!("{}: {why}", unit.name));
                }
            }
        }
        for gateway in &self.gateways {
            if let Some(why) = &gateway.trouble {
                troubles.push(format!("{}: {why}", gateway.name));
            } else if !gateway.connected {
                troubles.push(format!("{}: not connected", gateway.name));
            }
        }
        if self.stream.is_none() {
            troubles.push("the broker's stream has no leader".to_owned());
        }
        troubles
    }

    /// The tables, for people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let mut add = |line: String| {
            let _infallible = writeln!(text, "{}", line.trim_end());
        };
        let row = |host: &str, zone: &str, address: &str, unit: &str, state: &str, more: &str| {
            format!("{host:<10} {zone:<6} {address:<13} {unit:<12} {state:<14} {more}")
        };
        add(row(
            "HOST",
            "ZONE",
            "ADDRESS",
            "PROCESS",
            "STATE",
            "READY  STARTED AGAIN",
        ));
        for host in &self.hosts {
            let mut head = (
                host.name.as_str(),
                host.zone.as_str(),
                host.address.as_str(),
            );
            for unit in &host.units {
                let (name, zone, address) = std::mem::take(&mut head);
                let ready = match unit.ready {
                    None => "-",
                    Some(true) => "yes",
                    Some(false) => "NO",
                };
                let reason = unit.reason.as_deref().unwrap_or_default();
                let more = format!("{ready:<6} {:<5}  {reason}", unit.restarts);
                add(row(name, zone, address, &unit.name, &unit.state, &more));
            }
            if let Some(trouble) = &host.trouble {
                add(row(head.0, head.1, head.2, "", "", &format!("! {trouble}")));
            }
        }
        add(String::new());
        add(format!(
            "{:<10} {:<10} {:>9} {:>6} {:>9} {:>12}",
            "GATEWAY", "CONNECTED", "READ", "HELD", "SETTLED", "SETTLED p99"
        ));
        for gateway in &self.gateways {
            add(gateway.row());
        }
        add(String::new());
        add(match &self.stream {
            Some(stream) => format!(
                "stream: led by {}, {} messages ({} KiB) wait for ingest",
                stream.leader,
                stream.messages,
                stream.bytes / 1024
            ),
            None => "stream: NO LEADER".to_owned(),
        });
        for link in &self.links {
            add(format!("link: {link}"));
        }
        add(format!("dashboard: {}", self.dashboard));
        text
    }
}

impl GatewayStatus {
    fn row(&self) -> String {
        if let Some(trouble) = &self.trouble {
            let first = trouble.lines().next().unwrap_or_default();
            return format!("{:<10} ! {first}", self.name);
        }
        let p99 = self.settling_p99_ms;
        format!(
            "{:<10} {:<10} {:>9} {:>6} {:>9} {:>12}",
            self.name,
            if self.connected { "yes" } else { "NO" },
            self.taken,
            self.held,
            self.settled,
            p99.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let unit = |name: &str, state: &str, ready| UnitStatus {
            name: name.into(),
            state: state.into(),
            pid: Some(7),
            ready,
            reason: None,
            restarts: 2,
        };
        Status {
            hosts: vec![HostStatus {
                name: "broker-1".into(),
                zone: "a".into(),
                address: "198.18.0.11".into(),
                trouble: None,
                units: vec![unit("nats-1", "runs", Some(true))],
            }],
            gateways: vec![GatewayStatus {
                name: "hall-1".into(),
                connected: true,
                taken: 812,
                held: 1,
                settled: 55,
                settling_p99_ms: Some(41.6),
                trouble: None,
            }],
            stream: Some(StreamStatus {
                leader: "broker-2".into(),
                messages: 3,
                bytes: 4096,
            }),
            ..Status::default()
        }
    }

    #[test]
    fn a_glance_tells_where_everything_is_and_how() {
        let text = status().render();
        for part in [
            "broker-1   a      198.18.0.11",
            "nats-1       runs",
            "hall-1     yes",
            "led by broker-2, 3 messages (4 KiB)",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(status().troubles().is_empty());
    }

    #[test]
    fn every_trouble_is_named() {
        let mut status = status();
        status.hosts[0].trouble = Some("no power".into());
        status.hosts[0].units[0].state = "paused".into();
        status.gateways[0].connected = false;
        status.links = vec!["broker-1 → broker-2 cut".into()];
        status.stream = None;
        assert_eq!(status.troubles().len(), 5, "{:?}", status.troubles());
        let text = status.render();
        assert!(
            text.contains("! no power") && text.contains("NO LEADER"),
            "{text}"
        );
    }
}
