//! Raising a cluster: hosts, disks, installation, and every process, in the order a person would.

use crate::cluster::Cluster;
use crate::disk::Disk;
use crate::host::Machine;
use crate::installation::Installation;
use crate::leftovers::Mark;
use crate::plan::{API_PORT, HostPlan, MONITOR_PORT, MOST, MQTT_PORT, Plan, Purpose};
use crate::unit::{Body, Role, Unit};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tests_harness::gateway::{Around, Gateway};
use tests_harness::haproxy::{self, Entry, Limits, Server};
use tests_harness::process::{Process, Recipe};
use tests_harness::pulse::Pulse;
use tests_harness::site::{self, GatewayOptions};
use tests_harness::stack::{Binaries, START_LIMIT};
use tests_harness::wait::wait_for;
use tests_harness::{devices, http};
use tests_net::{Fabric, Net, Shape};
use tokio::time::Instant;

/// Room on the disk of a host; the image is sparse.
const DISK_MB: u64 = 512;
/// Where `HAProxy` tells its own numbers.
const HAPROXY_METRICS: u16 = 8405;

/// Where the first process of cloud roles tells how it is.
const HEALTH_PORT: u16 = 9460;
/// The processes of cloud roles: name, roles, how many. A `SQLite` file takes one process that writes.
const ROLES: [(&str, &str, u8); 3] = [
    ("ingest", "ingest,tasks", 1),
    ("auth", "auth", 2),
    ("api", "api", 1),
];

/// The role of which there may be any number on one host, with a database that is a file.
const SCALED: &str = "auth";

/// Connections through one balancer: descriptors for more are not everybody's to have.
const MOST_CONNECTIONS: u32 = 1000;

/// Before each start of a broker node its volume is looked at, as its service unit does.
const CHECKED: &str = r#""$0" broker check --dir "$1" && exec "$2" -c "$1/nats-server.conf""#;

/// What is raised.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Broker nodes, 3 or 5.
    pub brokers: u8,
    /// How gateways are configured.
    pub gateways: GatewayOptions,
}

/// Whether this machine can have a cluster, and if not, why, with what would help.
///
/// # Errors
/// The reason.
pub fn can_run() -> anyhow::Result<()> {
    tests_net::can_run().map_err(|why| anyhow::anyhow!(why))?;
    for (program, package) in [
        (haproxy::program(), "haproxy"),
        ("mkfs.ext4".into(), "e2fsprogs"),
        ("python3".into(), "python3"),
        ("nsenter".into(), "util-linux"),
    ] {
        let asked = std::process::Command::new(&program).arg("-V").output();
        let name = program.display();
        asked.with_context(|| format!("{name} is missing: apt-get install {package}"))?;
    }
    Ok(())
}

/// Raises a cluster in `dir`, which must be empty. `progress` is told each step.
///
/// # Errors
/// Where this machine cannot have one, or a process does not become reachable.
pub async fn raise(
    dir: &Path,
    binaries: &Binaries,
    wishes: Wishes,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<Cluster> {
    can_run()?;
    let plan = Plan::new(wishes.brokers)?;
    for name in ["field", "logs", "gateways", "disks"] {
        std::fs::create_dir_all(dir.join(name))?;
    }
    let dir = dir.canonicalize()?;
    let (pulse, origin) = (Pulse::start(), Instant::now());
    progress("hosts and disks");
    // Before the first host is made: whatever ends this process, they can be found.
    let mark = Mark::new();
    mark.write(&dir)?;
    let mut net = Net::tagged(mark.tag());
    let fabric = Fabric::new(&net, Shape::CLEAN, 1)?;
    let mut machines = BTreeMap::new();
    for host in &plan.hosts {
        let machine = machine(&dir, host, &mut net, &fabric)?;
        machines.insert(host.name.clone(), machine);
    }
    progress("authority, certificates, configuration");
    let disk = |host: &HostPlan| disk_folder(&dir, host);
    let installation = Installation::make(&dir.join("cloud"), binaries, &plan, disk).await?;
    let mut raised = Cluster {
        units: Vec::new(),
        machines,
        fabric,
        _net: net,
        dir,
        binaries: binaries.clone(),
        plan,
        installation,
        options: wishes.gateways,
        pulse,
        origin,
        dashboard: String::new(),
    };
    raised.start_brokers(binaries, &mut progress)?;
    raised.start_balancers(&mut progress)?;
    raised.start_cloud(&mut progress).await?;
    raised.start_site(binaries, &mut progress).await?;
    Ok(raised)
}

fn machine(dir: &Path, plan: &HostPlan, net: &mut Net, fabric: &Fabric) -> anyhow::Result<Machine> {
    let host = net.host(&plan.name)?;
    fabric.join(&host, plan.number)?;
    let disk = match plan.purpose {
        Purpose::Broker | Purpose::Cloud => Some(Disk::make(&disk_folder(dir, plan), DISK_MB)?),
        Purpose::Balancer | Purpose::Site => None,
    };
    Ok(Machine::new(plan.clone(), host, disk))
}

fn disk_folder(dir: &Path, host: &HostPlan) -> PathBuf {
    dir.join("disks").join(&host.name)
}

impl Cluster {
    fn start_brokers(
        &mut self,
        binaries: &Binaries,
        progress: &mut impl FnMut(&str),
    ) -> anyhow::Result<()> {
        let cloud = binaries.ours("fogline-cloud");
        for host in self.hosts_for(Purpose::Broker) {
            progress(&host.name);
            let folder = self.installation.node(&host.name);
            let arguments = [
                "-c",
                CHECKED,
                &cloud.to_string_lossy(),
                &folder.to_string_lossy(),
                &binaries.nats_server.to_string_lossy(),
            ];
            let name = host.name.replace("broker", "nats");
            self.start(&host, &name, Role::Broker, Path::new("sh"), &arguments)?;
        }
        Ok(())
    }

    fn start_balancers(&mut self, progress: &mut impl FnMut(&str)) -> anyhow::Result<()> {
        for host in self.hosts_for(Purpose::Balancer) {
            progress(&host.name);
            let file = self.dir.join(format!("{}.cfg", host.name));
            std::fs::write(&file, self.entry(&host).render())?;
            let arguments = ["-db", "-f", &file.to_string_lossy()];
            let name = host.name.replace("lb", "haproxy");
            self.start(
                &host,
                &name,
                Role::Balancer,
                &haproxy::program(),
                &arguments,
            )?;
        }
        Ok(())
    }

    /// What one balancer stands before.
    fn entry(&self, own: &HostPlan) -> Entry {
        let at = |host: &HostPlan, port| SocketAddr::from((host.address(), port));
        let servers = |purpose, port| {
            let hosts = self.plan.of(purpose);
            let server = |host: &HostPlan| Server {
                name: host.name.clone(),
                address: at(host, port),
            };
            hosts.map(server).collect()
        };
        Entry {
            mqtt: at(own, MQTT_PORT),
            api: at(own, API_PORT),
            metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, HAPROXY_METRICS)),
            brokers: servers(Purpose::Broker, MQTT_PORT),
            monitor_port: Some(MONITOR_PORT),
            apis: servers(Purpose::Cloud, API_PORT),
            ca: self.installation.ca(),
            limits: Limits {
                connections: MOST_CONNECTIONS,
                ..Limits::default()
            },
        }
    }

    async fn start_cloud(&mut self, progress: &mut impl FnMut(&str)) -> anyhow::Result<()> {
        for (called, _, count) in ROLES {
            for number in 1..=count {
                progress(&format!("{called}-{number}"));
                let health = self.start_role(called, number)?;
                self.wait_until_alive(&format!("{called}-{number}"), health)
                    .await?;
            }
        }
        Ok(())
    }

    /// Starts one process of a role; gives where it tells how it is.
    fn start_role(&mut self, called: &str, number: u8) -> anyhow::Result<SocketAddr> {
        let known = ROLES.map(|(called, ..)| called);
        let mut all = (0u16..).zip(ROLES);
        let found = all.find(|(_, (known, ..))| *known == called);
        let (place, (_, roles, _)) = found
            .with_context(|| format!("{called} is no role; there are {}", known.join(", ")))?;
        let hosts = self.hosts_for(Purpose::Cloud);
        let host = hosts.first().context("no cloud host")?;
        let port = HEALTH_PORT + place * 10 + u16::from(number);
        let health = SocketAddr::from((host.address(), port));
        let program = self.binaries.ours("fogline-cloud");
        let config = self.installation.commands.config.clone();
        let arguments = [
            "run",
            "--config",
            &config.to_string_lossy(),
            "--role",
            roles,
            "--health",
            &health.to_string(),
        ];
        let role = Role::Cloud { health: port };
        let name = format!("{called}-{number}");
        self.start(host, &name, role, &program, &arguments)?;
        Ok(health)
    }

    /// Starts processes of a role, or asks the last ones to end, until there are so many.
    pub(crate) fn scale(&mut self, called: &str, count: u8) -> anyhow::Result<String> {
        let most = if called == SCALED { MOST } else { 1 };
        anyhow::ensure!(
            (1..=most).contains(&count),
            "{count} of {called}; allowed are 1 to {most}: a SQLite file takes one that writes, a host one API"
        );
        for number in 1..=most {
            let name = format!("{called}-{number}");
            let there = self.units.iter_mut().find(|unit| unit.name == name);
            match there {
                Some(unit) if number > count => unit.retire()?,
                None if number <= count => drop(self.start_role(called, number)?),
                _ => {}
            }
        }
        Ok(format!("{called}: {count}"))
    }

    /// The process runs its tasks: the next one, and commands beside it, find the database.
    async fn wait_until_alive(&self, name: &str, health: SocketAddr) -> anyhow::Result<()> {
        let cloud = self.plan.of(Purpose::Cloud).next();
        let machine = cloud.and_then(|cloud| self.machines.get(&cloud.name));
        let inside = machine.map(|machine| &machine.host);
        let words = || {
            let unit = self.units.iter().find(|unit| unit.name == name);
            let words = unit.map(|unit| unit.process().last_words());
            format!("the log of {name} ends:\n{}", words.unwrap_or_default())
        };
        wait_for(name, START_LIMIT, async || {
            let (status, body) = http::ask(inside, health, "/livez").await?;
            anyhow::ensure!(status == 200, "{body}");
            Ok(())
        })
        .await
        .with_context(words)
    }

    async fn start_site(
        &mut self,
        binaries: &Binaries,
        progress: &mut impl FnMut(&str),
    ) -> anyhow::Result<()> {
        let hosts = self.hosts_for(Purpose::Site);
        let host = hosts.first().context("no host for the site")?;
        let inside = self.machines.get(&host.name).context("no such host")?;
        let inside = inside.host.clone();
        progress("devices");
        let site = site::demo(&self.dir.join("field"));
        let (field, ports) = devices::start(&self.dir, binaries, &site, Some(&inside)).await?;
        self.push("devices", host, Role::Devices, Body::Process(field));
        for name in site::gateways(&site) {
            progress(&name);
            let dir = self.dir.join("gateways").join(&name);
            std::fs::create_dir_all(&dir)?;
            let identity = dir.join("identity.toml");
            let identity = identity.to_string_lossy();
            let add = ["gateway", "add", &name, "--out", &identity];
            self.installation.commands.run(&add).await?;
            let config = site::gateway_toml(&site, &name, &ports, &self.options);
            std::fs::write(dir.join("gateway.toml"), config)?;
            let around = Around {
                host: Some(inside.clone()),
                ..Around::default()
            };
            let binary = binaries.ours("fogline-gateway");
            let logs = self.dir.join("logs");
            let gateway = Gateway::start_in(&name, &dir, &binary, &logs, around)?;
            self.push(&name, host, Role::Gateway, Body::Gateway(gateway));
        }
        Ok(())
    }

    fn hosts_for(&self, purpose: Purpose) -> Vec<HostPlan> {
        self.plan.of(purpose).cloned().collect()
    }

    fn start(
        &mut self,
        host: &HostPlan,
        name: &str,
        role: Role,
        program: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<()> {
        let machine = self.machines.get(&host.name).context("no such host")?;
        let logs = self.dir.join("logs");
        let recipe = Recipe::new(name, program, arguments, &logs).on(&machine.host);
        let process = Process::start(recipe)?;
        self.push(name, host, role, Body::Process(process));
        Ok(())
    }

    fn push(&mut self, name: &str, host: &HostPlan, role: Role, body: Body) {
        let now = self.origin.elapsed();
        self.units
            .push(Unit::new(name, &host.name, role, body, now));
    }
}
