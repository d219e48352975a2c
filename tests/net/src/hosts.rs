//! Namespaces as hosts: made, joined, given addresses, and removed again.

use crate::leftovers;
use crate::relay::Relay;
use crate::shape::{Passed, Shape};
use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tun_rs::{DeviceBuilder, SyncDevice};

/// Counts networks of this process, so that parallel tests have names of their own.
static NETS: AtomicU32 = AtomicU32::new(0);

/// Some hosts and links, removed on drop with whatever still runs on them.
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
    if !Path::new("/dev/net/tun").exists() {
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
        Self::tagged(&format!("fl{:x}{number:x}", std::process::id()))
    }

    /// No hosts yet. The names of all of them will begin with `tag`, so that they can be found when this
    /// process was killed ([`crate::leftovers`]); it must not be in use.
    #[must_use]
    pub fn tagged(tag: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            hosts: Vec::new(),
            links: 0,
        }
    }

    /// How the names of all its hosts and devices begin.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Takes a host away, with whatever still runs on it.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn remove(&mut self, host: &Host) -> anyhow::Result<()> {
        self.hosts.retain(|known| known.namespace != host.namespace);
        leftovers::remove(&host.namespace)
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
        let relay = Relay::start(shape, seed)?;
        let [first, second] = addresses;
        for (end, (host, own, peer)) in [(a, first, second), (b, second, first)]
            .into_iter()
            .enumerate()
        {
            let name = format!("{}n{number}e{end}", self.tag);
            let address = [&own.to_string(), "peer", &peer.to_string()].map(str::to_owned);
            relay.join(own, host.device(&name, &address)?)?;
        }
        Ok(Link { relay, addresses })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in &self.hosts {
            // Nothing to be done about one that does not go; the next ones still do.
            drop(leftovers::remove(&host.namespace));
        }
    }
}

impl Host {
    /// A command that runs on this host: the process is the program itself. Of its surroundings only the
    /// network is the host's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let net = format!("--net={}", self.file().display());
        command.args([&net, "--"]).arg(program);
        command
    }

    /// Name of its namespace, for other ways into it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Connects from this host, by a thread of its own that enters it: the connection stays the host's,
    /// the calling thread stays where it is.
    ///
    /// # Errors
    /// Where the host is gone or nobody answers within `limit`.
    pub fn connect(&self, address: SocketAddr, limit: Duration) -> anyhow::Result<TcpStream> {
        self.inside(move || Ok(TcpStream::connect_timeout(&address, limit)?))
    }

    /// Does something on this host, in a thread of its own; what it opens stays the host's.
    ///
    /// # Errors
    /// Where the host is gone, and what `work` says.
    pub fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let file = self.file();
        let file = File::open(&file).with_context(|| format!("opening {}", file.display()))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let only_net = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), only_net).context("entering a host")?;
                work()
            });
            let done = thread.join();
            done.map_err(|_| anyhow::anyhow!("what was done on the host broke down"))?
        })
    }

    /// Makes a device, moves it here and gives it an address; `address` as `ip addr add` takes it.
    pub(crate) fn device(&self, name: &str, address: &[String]) -> anyhow::Result<SyncDevice> {
        ensure!(name.len() < 16, "{name} is too long for a device");
        let device = DeviceBuilder::new()
            .name(name)
            .build_sync()
            .with_context(|| format!("making the device {name}"))?;
        ip(&["link", "set", name, "netns", &self.namespace])?;
        let add = ["addr", "add"].into_iter();
        let address = address.iter().map(String::as_str);
        let add: Vec<&str> = add.chain(address).chain(["dev", name]).collect();
        self.ip(&add)?;
        self.ip(&["link", "set", name, "up", "mtu", "1500"])?;
        Ok(device)
    }

    fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
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
        let [first, second] = self.addresses;
        match direction {
            0 => self.relay.set(first, second, shape),
            _ => self.relay.set(second, first, shape),
        }
    }

    /// What passed so far, by direction.
    #[must_use]
    pub fn passed(&self) -> [Passed; 2] {
        let [first, second] = self.addresses;
        [(first, second), (second, first)].map(|(from, to)| self.relay.passed(from, to))
    }
}

/// Runs `ip`.
pub(crate) fn ip(arguments: &[&str]) -> anyhow::Result<()> {
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
