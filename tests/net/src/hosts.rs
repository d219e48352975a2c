//! Namespaces as hosts: made, joined, given addresses, and removed again.

use crate::relay::Relay;
use crate::shape::{Passed, Shape};
use anyhow::{Context as _, ensure};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use tun_rs::DeviceBuilder;

/// Counts networks of this process, so that parallel tests have names of their own.
static NETS: AtomicU32 = AtomicU32::new(0);

/// Some hosts and links, removed on drop.
#[derive(Debug)]
pub struct Net {
    tag: String,
    hosts: Vec<Host>,
    links: u8,
}

/// One host: a network namespace.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
}

/// A link between two hosts; gone when dropped.
#[derive(Debug)]
pub struct Link {
    relay: Relay,
    addresses: [Ipv4Addr; 2],
}

/// Whether this machine can make hosts, and if not, why, with what would help.
///
/// # Errors
/// The reason.
pub fn can_run() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("making network namespaces needs root".to_owned());
    }
    if Command::new("ip").arg("-V").output().is_err() {
        return Err("`ip` is missing: apt-get install iproute2".to_owned());
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Err("/dev/net/tun is missing: modprobe tun".to_owned());
    }
    // Parallel tests of one process each ask.
    let number = NETS.fetch_add(1, Ordering::Relaxed);
    let probe = format!("fl-probe-{}-{number}", std::process::id());
    ip(&["netns", "add", &probe]).map_err(|error| error.to_string())?;
    ip(&["netns", "del", &probe]).map_err(|error| error.to_string())
}

impl Default for Net {
    fn default() -> Self {
        Self::new()
    }
}

impl Net {
    /// No hosts yet.
    #[must_use]
    pub fn new() -> Self {
        let number = NETS.fetch_add(1, Ordering::Relaxed);
        Self {
            tag: format!("fl{:x}{number:x}", std::process::id()),
            hosts: Vec::new(),
            links: 0,
        }
    }

    /// A new host.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn host(&mut self, name: &str) -> anyhow::Result<Host> {
        let namespace = format!("{}-{name}", self.tag);
        ip(&["netns", "add", &namespace])?;
        let host = Host { namespace };
        self.hosts.push(host.clone());
        host.ip(&["link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// Joins two hosts by a link of their own.
    ///
    /// # Errors
    /// What the system or `ip` says.
    pub fn link(&mut self, a: &Host, b: &Host, shape: Shape, seed: u64) -> anyhow::Result<Link> {
        let number = self.links;
        self.links = number.checked_add(1).context("more links than networks")?;
        // Addresses need to be unlike each other within one host only, so every network may use them.
        let addresses = [1, 2].map(|end| Ipv4Addr::new(10, 87, number, end));
        let mut devices = Vec::with_capacity(2);
        for (end, host) in [a, b].into_iter().enumerate() {
            let name = format!("{}n{number}e{end}", self.tag);
            ensure!(name.len() < 16, "{name} is too long for a device");
            let device = DeviceBuilder::new()
                .name(&name)
                .build_sync()
                .with_context(|| format!("making the device {name}"))?;
            ip(&["link", "set", &name, "netns", &host.namespace])?;
            let [own, peer] = [end, 1 - end].map(|end| addresses.get(end).copied());
            let (Some(own), Some(peer)) = (own, peer) else {
                continue;
            };
            let (own, peer) = (own.to_string(), peer.to_string());
            host.ip(&["addr", "add", &own, "peer", &peer, "dev", &name])?;
            host.ip(&["link", "set", &name, "up", "mtu", "1500"])?;
            devices.push(device);
        }
        let devices: [_; 2] = devices
            .try_into()
            .map_err(|_| anyhow::anyhow!("a link has two ends"))?;
        let relay = Relay::start(devices, shape, seed)?;
        Ok(Link { relay, addresses })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in &self.hosts {
            // Nothing to be done about one that does not go; the next ones still do.
            drop(ip(&["netns", "del", &host.namespace]));
        }
    }
}

impl Host {
    /// A command that runs on this host.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program);
        command
    }

    /// Name of its namespace, for other ways into it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let all = [&["-n", &self.namespace], arguments].concat();
        ip(&all)
    }
}

impl Link {
    /// Addresses of its two ends.
    #[must_use]
    pub const fn addresses(&self) -> [Ipv4Addr; 2] {
        self.addresses
    }

    /// From now on both directions are like this.
    pub fn set(&self, shape: Shape) {
        self.set_one(0, shape);
        self.set_one(1, shape);
    }

    /// From now on one direction is like this; 0 is from the first host to the second.
    pub fn set_one(&self, direction: usize, shape: Shape) {
        self.relay.set(direction, shape);
    }

    /// What passed so far, by direction.
    #[must_use]
    pub fn passed(&self) -> [Passed; 2] {
        self.relay.passed()
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let said = Command::new("ip").args(arguments).output();
    let said = said.context("running `ip` (Debian: apt-get install iproute2)")?;
    let error = String::from_utf8_lossy(&said.stderr);
    ensure!(
        said.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        error.trim()
    );
    Ok(())
}
