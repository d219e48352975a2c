//! What `fogline-cloud init` makes for a cluster, and the settings in which this one differs.

use crate::plan::{API_PORT, HostPlan, MONITOR_PORT, MQTT_PORT, Plan, Purpose};
use anyhow::Context as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tests_harness::evidence::CloudCommands;
use tests_harness::stack::Binaries;
use toml::{Table, Value};

/// Bound of the broker's stream: some minutes of a small site.
const STREAM_MAX_MB: i64 = 64;

/// An installation: authority, certificates, secrets, configuration.
#[derive(Debug, Clone)]
pub struct Installation {
    dir: PathBuf,
    /// Commands of `fogline-cloud` on this machine.
    pub commands: CloudCommands,
}

impl Installation {
    /// Makes one in `dir`. `disk` tells where the disk of a host is mounted.
    ///
    /// # Errors
    /// What `fogline-cloud` says.
    pub async fn make(
        dir: &Path,
        binaries: &Binaries,
        plan: &Plan,
        disk: impl Fn(&HostPlan) -> PathBuf,
    ) -> anyhow::Result<Self> {
        let made = Self {
            dir: dir.to_owned(),
            commands: CloudCommands {
                program: binaries.ours("fogline-cloud"),
                config: dir.join("cloud.toml"),
                host: None,
            },
        };
        let mut arguments = vec!["init".to_owned(), "--demo".to_owned()];
        arguments.extend(["--dir".to_owned(), dir.to_string_lossy().into_owned()]);
        for node in plan.of(Purpose::Broker) {
            arguments.extend([
                "--node".to_owned(),
                format!("{}@{}", node.name, node.address()),
            ]);
        }
        let balancers = plan.of(Purpose::Balancer).map(HostPlan::address);
        let apis = plan.of(Purpose::Cloud).map(HostPlan::address);
        for name in balancers.chain(apis).chain([Ipv4Addr::LOCALHOST]) {
            arguments.extend(["--host".to_owned(), name.to_string()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        made.commands.run_bare(&arguments).await?;

        let mut settings: Table = std::fs::read_to_string(&made.commands.config)?.parse()?;
        let cloud = plan.of(Purpose::Cloud).next().context("no cloud host")?;
        let database = disk(cloud).join("fogline.db");
        set(&mut settings, "database", "path", text(&database))?;
        let api = SocketAddr::from((Ipv4Addr::UNSPECIFIED, API_PORT));
        set(&mut settings, "api", "listen", api.to_string())?;
        set(&mut settings, "broker", "stream_max_mb", STREAM_MAX_MB)?;
        let servers = plan.of(Purpose::Balancer).map(HostPlan::address);
        let servers: Vec<String> = servers
            .map(|address| format!("mqtts://{address}:{MQTT_PORT}"))
            .collect();
        set(&mut settings, "broker", "servers", servers)?;
        watch_nodes(&mut settings, plan)?;
        std::fs::write(&made.commands.config, settings.to_string())?;
        for node in plan.of(Purpose::Broker) {
            made.configure(&settings, node, &disk(node)).await?;
        }
        Ok(made)
    }

    /// Writes a node's configuration: each has a disk of its own, on this machine all of them are seen.
    async fn configure(
        &self,
        settings: &Table,
        node: &HostPlan,
        disk: &Path,
    ) -> anyhow::Result<()> {
        let (folder, mut own) = (self.node(&node.name), settings.clone());
        set(&mut own, "broker", "files_at", text(&folder))?;
        set(
            &mut own,
            "broker",
            "store_at",
            text(&disk.join("jetstream")),
        )?;
        let config = self.dir.join(format!("{}.toml", node.name));
        std::fs::write(&config, own.to_string())?;
        let commands = CloudCommands {
            config,
            ..self.commands.clone()
        };
        let arguments = ["broker", "config", "--node", &node.name];
        commands.run(&arguments).await.map(drop)
    }

    /// The folder of a broker node.
    #[must_use]
    pub fn node(&self, name: &str) -> PathBuf {
        self.dir.join("broker").join(name)
    }

    /// A secret of the broker's own users.
    ///
    /// # Errors
    /// Where there is none.
    pub fn secret(&self, name: &str) -> anyhow::Result<String> {
        let file = self.dir.join("broker/secrets.toml");
        let secrets: Table = std::fs::read_to_string(file)?.parse()?;
        let secret = secrets.get(name).and_then(Value::as_str);
        secret
            .map(str::to_owned)
            .with_context(|| format!("no {name} among the secrets"))
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.join("pki/ca.pem")
    }

    /// Name and one-time password of the first user.
    ///
    /// # Errors
    /// Where there are none.
    pub fn first_login(&self) -> anyhow::Result<(String, String)> {
        let login = std::fs::read_to_string(self.dir.join("first-login"))?;
        let (name, password) = login.trim().split_once(' ').context("no first login")?;
        Ok((name.to_owned(), password.to_owned()))
    }
}

/// Each node tells how it is on its own address: balancers ask.
fn watch_nodes(settings: &mut Table, plan: &Plan) -> anyhow::Result<()> {
    let nodes = settings
        .get_mut("broker")
        .and_then(|broker| broker.get_mut("node"))
        .and_then(Value::as_array_mut)
        .context("init wrote no [[broker.node]]")?;
    for node in nodes.iter_mut().filter_map(Value::as_table_mut) {
        let own = |host: &&HostPlan| node.get("name").and_then(Value::as_str) == Some(&host.name);
        let host = plan.of(Purpose::Broker).find(own);
        let host = host.context("init wrote a node that nobody asked for")?;
        let listen = SocketAddr::from((host.address(), MONITOR_PORT));
        node.insert("monitor_listen".to_owned(), listen.to_string().into());
    }
    Ok(())
}

fn set(
    settings: &mut Table,
    section: &str,
    key: &str,
    value: impl Into<Value>,
) -> anyhow::Result<()> {
    let table = settings.get_mut(section).and_then(Value::as_table_mut);
    let table = table.with_context(|| format!("init wrote no [{section}]"))?;
    table.insert(key.to_owned(), value.into());
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
