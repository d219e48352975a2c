//! `HAProxy` before broker and API, from the template that is shipped (`deploy/haproxy`).
//!
//! What tests run is what is deployed: only addresses and limits are filled in.

use crate::process::{Process, Recipe};
use anyhow::Context as _;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TEMPLATE: &str = include_str!("../../../deploy/haproxy/haproxy.cfg.template");

/// What `HAProxy` calls them.
const DENIED: &str = "haproxy_frontend_denied_connections_total{proxy=\"mqtts\"}";

/// What is before what.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where gateways come in.
    pub mqtt: SocketAddr,
    /// Where browsers come in.
    pub api: SocketAddr,
    /// Where `HAProxy` tells its own numbers.
    pub metrics: SocketAddr,
    /// The broker's nodes.
    pub brokers: Vec<Server>,
    /// Port at which each node says whether it is healthy (`/healthz`); without one, that it takes
    /// connections must do. A frozen node still takes them.
    pub monitor_port: Option<u16>,
    /// The replicas of the API.
    pub apis: Vec<Server>,
    /// The authority that vouches for them.
    pub ca: PathBuf,
    /// What one source may do.
    pub limits: Limits,
}

/// A server behind `HAProxy`.
#[derive(Debug, Clone)]
pub struct Server {
    /// For the statistics.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Bounds of the entry; the defaults are those of the deployment.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections in all.
    pub connections: u32,
    /// Connection attempts of one source in ten seconds.
    pub attempts: u32,
    /// Connections of one source at a time: gateways of a plant share an address.
    pub sessions: u32,
    /// Connections of one source in a minute that did not begin with TLS.
    pub strangers: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            attempts: 300,
            sessions: 2_000,
            strangers: 30,
        }
    }
}

impl Entry {
    /// The configuration's text.
    #[must_use]
    pub fn render(&self) -> String {
        let health = match self.monitor_port {
            Some(_) => {
                "  option httpchk GET /healthz?js-server-only=true\n  http-check expect status 200"
            }
            None => "  # A connection is the whole check.",
        };
        let check = self
            .monitor_port
            .map_or_else(|| "check".to_owned(), |port| format!("check port {port}"));
        let limits = self.limits;
        let values = [
            ("@MAX_CONNECTIONS@", limits.connections.to_string()),
            ("@ATTEMPTS@", limits.attempts.to_string()),
            ("@SESSIONS@", limits.sessions.to_string()),
            ("@STRANGERS@", limits.strangers.to_string()),
            ("@MQTT_LISTEN@", self.mqtt.to_string()),
            ("@API_LISTEN@", self.api.to_string()),
            ("@METRICS_LISTEN@", self.metrics.to_string()),
            ("@HEALTH@", health.to_owned()),
            ("@BROKERS@", servers(&self.brokers, &check)),
            ("@APIS@", servers(&self.apis, "check")),
            ("@CA@", self.ca.display().to_string()),
        ];
        let fill = |text: String, (marker, value): &(&str, String)| text.replace(marker, value);
        values.iter().fold(TEMPLATE.to_owned(), fill)
    }

    /// Writes `haproxy.cfg` into `dir` and starts `HAProxy` on it; it logs into `logs`.
    ///
    /// # Errors
    /// Where the file cannot be written or `HAProxy` not be started.
    pub fn start(&self, dir: &Path, logs: &Path) -> anyhow::Result<Process> {
        let file = dir.join("haproxy.cfg");
        std::fs::write(&file, self.render())
            .with_context(|| format!("writing {}", file.display()))?;
        let arguments = ["-db", "-f", &file.to_string_lossy()];
        Process::start(Recipe::new("haproxy", &program(), &arguments, logs))
    }
}

/// Where `HAProxy` is: Debian keeps it outside the path of ordinary users.
#[must_use]
pub fn program() -> PathBuf {
    let debian = Path::new("/usr/sbin/haproxy");
    let found = if debian.exists() {
        debian
    } else {
        Path::new("haproxy")
    };
    found.to_owned()
}

/// Connections of gateways that `HAProxy` denied so far, from its own numbers.
///
/// # Errors
/// Where it does not answer.
pub async fn denied(metrics: SocketAddr) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(metrics).await?;
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let wanted = |line: &&str| line.starts_with(DENIED);
    let line = text.lines().find(wanted);
    let value = line.and_then(|line| line.rsplit(' ').next());
    Ok(value.with_context(|| format!("no {DENIED}"))?.parse()?)
}

fn servers(servers: &[Server], check: &str) -> String {
    let mut text = String::new();
    for Server { name, address } in servers {
        // Writing to a text cannot fail.
        let _written = writeln!(text, "  server {name} {address} {check}");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_marker_of_the_template_is_filled() {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let server = |name: &str| Server {
            name: name.to_owned(),
            address,
        };
        let entry = Entry {
            mqtt: address,
            api: address,
            metrics: address,
            brokers: vec![server("broker-1"), server("broker-2")],
            monitor_port: Some(8222),
            apis: vec![server("api-1")],
            ca: "/etc/fogline/ca.pem".into(),
            limits: Limits::default(),
        };
        let text = entry.render();
        let body = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        assert!(body.clone().all(|line| !line.contains('@')), "{text}");
        assert!(text.contains("  server broker-2 127.0.0.1:1 check port 8222\n"));
    }
}
