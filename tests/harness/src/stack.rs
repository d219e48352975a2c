//! The whole system as real processes on loopback: field simulator, broker, cloud, gateways, and a
//! link between gateways and broker that can be broken.
//!
//! Starts in the order a person would, waits for conditions, stops everything by its id. What the
//! oracle needs is gathered from files that the processes wrote and from the cloud's raw export.

use crate::api::Api;
use crate::evidence::{self, CloudCommands, Lives};
use crate::gateway::{Around, Door, Gateway};
use crate::process::{Process, Recipe};
use crate::proxy::Proxy;
use crate::pulse::Pulse;
use crate::site::{self, GatewayOptions};
use crate::wait::wait_for;
use crate::{devices, mosquitto, ports, settled};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_fieldsim::Site;
use tests_fieldsim::answer_log::AnswerLine;
use tests_oracle::{Evidence, Pause, Run};

/// How long a process may take to become reachable on a slow, shared machine.
pub const START_LIMIT: Duration = Duration::from_secs(90);
/// How long simulator, broker and cloud may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Where the binaries are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// Our own.
    pub dir: PathBuf,
    /// `nats-server`.
    pub nats_server: PathBuf,
}

impl Binaries {
    /// From the environment that `cargo xtask` sets.
    ///
    /// # Errors
    /// Where it is not set.
    pub fn from_environment() -> anyhow::Result<Self> {
        let path = |name: &str| {
            let value = std::env::var_os(name);
            value
                .map(PathBuf::from)
                .with_context(|| format!("{name} is not set: use cargo xtask"))
        };
        Ok(Self {
            dir: path("FOGLINE_BIN_DIR")?,
            nats_server: path("FOGLINE_NATS_SERVER")?,
        })
    }

    /// One of ours.
    #[must_use]
    pub fn ours(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Which broker a system runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerKind {
    /// Ours.
    Nats,
    /// Another one, which knows gateways by certificate and access rules alone.
    Mosquitto,
}

/// Which broker, and how gateways reach it besides by loopback.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    broker: BrokerKind,
    hosts: &'a [&'a str],
}

/// The running system.
#[derive(Debug)]
pub struct Stack {
    dir: PathBuf,
    binaries: Binaries,
    options: GatewayOptions,
    site: Site,
    /// The simulated devices.
    pub field: Process,
    /// The broker.
    pub broker: Process,
    /// The cloud, all roles.
    pub cloud: Process,
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// The link between the gateways and the broker.
    pub link: Proxy,
    api: SocketAddr,
    pulse: Pulse,
}

impl Stack {
    /// Starts everything in `dir`, which must be empty. `progress` is told each step.
    ///
    /// # Errors
    /// Where a process cannot be started or does not become reachable; its last words are added.
    pub async fn start(
        dir: &Path,
        binaries: Binaries,
        site: Site,
        options: GatewayOptions,
        progress: impl FnMut(&str),
    ) -> anyhow::Result<Self> {
        Self::start_on(BrokerKind::Nats, dir, binaries, site, options, progress).await
    }

    /// As [`Self::start`], on another broker.
    ///
    /// # Errors
    /// As there.
    pub async fn start_on(
        broker: BrokerKind,
        dir: &Path,
        binaries: Binaries,
        site: Site,
        options: GatewayOptions,
        mut progress: impl FnMut(&str),
    ) -> anyhow::Result<Self> {
        let place = Place { broker, hosts: &[] };
        let started =
            Self::start_services(place, dir, binaries, site, options, &mut progress).await;
        let (mut stack, ports) = started?;
        stack.add_gateways(&ports, &mut progress).await?;
        Ok(stack)
    }

    /// Starts everything but gateways, for those that run elsewhere and reach this machine by one of
    /// `hosts`. Gives the ports of the simulated devices too.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_without_gateways(
        dir: &Path,
        binaries: Binaries,
        site: Site,
        options: GatewayOptions,
        hosts: &[&str],
        progress: &mut impl FnMut(&str),
    ) -> anyhow::Result<(Self, BTreeMap<String, u16>)> {
        let place = Place {
            broker: BrokerKind::Nats,
            hosts,
        };
        Self::start_services(place, dir, binaries, site, options, progress).await
    }

    async fn start_services(
        Place { broker, hosts }: Place<'_>,
        dir: &Path,
        binaries: Binaries,
        site: Site,
        options: GatewayOptions,
        progress: &mut impl FnMut(&str),
    ) -> anyhow::Result<(Self, BTreeMap<String, u16>)> {
        for name in ["field", "logs", "gateways"] {
            std::fs::create_dir_all(dir.join(name))?;
        }
        let logs = dir.join("logs");
        let pulse = Pulse::start();
        progress("simulated devices");
        let (field, ports) = devices::start(dir, &binaries, &site, None).await?;

        progress("certificate authority, certificates, database");
        let [mqtt, client, api] = ports::free()?;
        let cloud_dir = dir.join("cloud");
        let init = ["init", "--demo", "--dir", &cloud_dir.to_string_lossy()].map(str::to_owned);
        let ports_told = [
            format!("--mqtt-port={mqtt}"),
            format!("--client-port={client}"),
            format!("--api-port={api}"),
        ];
        let mut init: Vec<&str> = init.iter().chain(&ports_told).map(String::as_str).collect();
        if !hosts.is_empty() {
            let all = [&["127.0.0.1", "localhost"], hosts].concat();
            init.extend(all.into_iter().flat_map(|host| ["--host", host]));
        }
        commands_in(dir, &binaries).run_bare(&init).await?;

        progress("broker");
        let config = cloud_dir.join("cloud.toml");
        let broker = match broker {
            BrokerKind::Nats => {
                let conf = cloud_dir.join("broker/nats-server.conf");
                let conf = conf.to_string_lossy();
                Recipe::new("broker", &binaries.nats_server, &["-c", &conf], &logs)
            }
            BrokerKind::Mosquitto => {
                let ports = mosquitto::Ports {
                    gateways: mqtt,
                    ingest: client,
                };
                mosquitto::name_in(&config, ports)?;
                let commands = commands_in(dir, &binaries);
                commands.run(&["broker", "certificate"]).await?;
                mosquitto::prepare(&cloud_dir, &logs, ports)?
            }
        };
        let broker = Process::start(broker)?;

        progress("cloud");
        let config = config.to_string_lossy();
        let cloud = ["run", "--config", &config];
        let cloud = Recipe::new("cloud", &binaries.ours("fogline-cloud"), &cloud, &logs);
        let cloud = Process::start(cloud)?;

        let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let link = Proxy::start(loopback(mqtt)).await?;
        let mut stack = Self {
            dir: dir.to_owned(),
            binaries,
            options,
            site,
            field,
            broker,
            cloud,
            gateways: Vec::new(),
            link,
            api: loopback(api),
            pulse,
        };
        stack.wait_for_api().await?;
        Ok((stack, ports))
    }

    async fn add_gateways(
        &mut self,
        ports: &BTreeMap<String, u16>,
        progress: &mut impl FnMut(&str),
    ) -> anyhow::Result<()> {
        for name in site::gateways(&self.site) {
            progress(&format!("gateway {name}"));
            let dir = self.dir.join("gateways").join(&name);
            std::fs::create_dir_all(&dir)?;
            let identity = dir.join("identity.toml");
            let server = format!("mqtts://{}", self.link.address());
            self.cloud_command(&[
                "gateway",
                "add",
                &name,
                "--out",
                &identity.to_string_lossy(),
                "--server",
                &server,
            ])
            .await?;
            let config = site::gateway_toml(&self.site, &name, ports, &self.options);
            std::fs::write(dir.join("gateway.toml"), config)?;
            let binary = self.binaries.ours("fogline-gateway");
            let around = Around {
                faketime: self.options.faketime.as_deref(),
                environment: devices::air(&self.dir, &self.site)?,
                host: None,
            };
            let gateway = Gateway::start_in(&name, &dir, &binary, &self.logs(), around)?;
            self.gateways.push(gateway);
        }
        Ok(())
    }

    /// Runs a command of `fogline-cloud` beside the running one; gives what it prints.
    ///
    /// # Errors
    /// Where it fails, with its words.
    pub async fn cloud_command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        commands_in(&self.dir, &self.binaries).run(arguments).await
    }

    /// Waits until the cloud can be reached: after its start, or its restart by whoever tests.
    ///
    /// # Errors
    /// Where it cannot, with the end of its log.
    pub async fn wait_for_api(&mut self) -> anyhow::Result<()> {
        let waited = wait_for("the cloud's API", START_LIMIT, async || {
            tokio::net::TcpStream::connect(self.api)
                .await
                .map(drop)
                .map_err(Into::into)
        });
        waited.await.map_err(|error: anyhow::Error| {
            error.context(format!(
                "the cloud's log ends:\n{}",
                self.cloud.last_words()
            ))
        })
    }

    /// The dashboard's address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.api)
    }

    /// Where the API listens.
    #[must_use]
    pub const fn api(&self) -> SocketAddr {
        self.api
    }

    /// Name and one-time password of the first user.
    ///
    /// # Errors
    /// Where `init` left none.
    pub fn first_login(&self) -> anyhow::Result<(String, String)> {
        let text = std::fs::read_to_string(self.dir.join("cloud/first-login"))?;
        let (name, password) = text.trim().split_once(' ').context("no first login")?;
        Ok((name.to_owned(), password.to_owned()))
    }

    /// A client of the API, logged in as the first user. Possible once: the password is spent.
    ///
    /// # Errors
    /// Where the API refuses.
    pub async fn log_in(&self) -> anyhow::Result<Api> {
        let (name, password) = self.first_login()?;
        let mut api = Api::new(self.api, &self.ca())?;
        api.log_in(&name, &password).await?;
        Ok(api)
    }

    /// The authority's certificate, for whoever wants to trust the dashboard.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.join("cloud/pki/ca.pem")
    }

    /// Where every process logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The folder of the cloud's files.
    #[must_use]
    pub fn cloud_dir(&self) -> PathBuf {
        self.dir.join("cloud")
    }

    /// The site.
    #[must_use]
    pub const fn site(&self) -> &Site {
        &self.site
    }

    /// Waits until every gateway is connected, has read something and has had something settled.
    ///
    /// # Errors
    /// What is missing after `limit`.
    pub async fn wait_for_flow(&self, limit: Duration) -> anyhow::Result<()> {
        let words = || format!("the cloud's log ends:\n{}", self.cloud.last_words());
        settled::wait_for_flow(&self.doors(), limit, words).await
    }

    /// Stops the devices for good: they fall silent.
    ///
    /// # Errors
    /// Where the simulator does not run.
    pub async fn stop_devices(&mut self) -> anyhow::Result<()> {
        devices::silence(&self.field, &self.dir).await
    }

    /// Lets Modbus units that were stopped answer again; other families stay silent.
    ///
    /// # Errors
    /// Where the simulator does not run.
    pub async fn resume_devices(&self) -> anyhow::Result<()> {
        devices::resume(&self.field, &self.dir).await
    }

    /// Waits until no gateway holds a reading any more ([`settled::wait_for_quiescence`]).
    ///
    /// # Errors
    /// What is still held after `limit`.
    pub async fn wait_for_quiescence(&self, limit: Duration) -> anyhow::Result<()> {
        let batch = self.options.longest_batch();
        settled::wait_for_quiescence(&self.doors(), batch, limit).await
    }

    /// Where the gateways tell how they are.
    #[must_use]
    pub fn doors(&self) -> Vec<Door> {
        self.gateways.iter().map(Gateway::door).collect()
    }

    /// Stops everything in order: gateways first, so that what they hold can still be settled.
    ///
    /// # Errors
    /// The first process that had to be killed; the others are stopped all the same.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let mut worst = Ok(());
        for gateway in &mut self.gateways {
            worst = worst.and(gateway.stop().await);
        }
        worst = worst.and(self.cloud.stop(STOP_LIMIT).await);
        worst = worst.and(self.broker.stop(STOP_LIMIT).await);
        worst.and(self.field.stop(STOP_LIMIT).await)
    }

    /// When the machine stood still so far.
    #[must_use]
    pub fn pauses(&self) -> Vec<Pause> {
        self.pulse.pauses()
    }

    /// What the devices answered so far, by time.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn answers(&self) -> anyhow::Result<Vec<AnswerLine>> {
        devices::answers(&self.dir)
    }

    /// Everything the oracle looks at. The database is read through the cloud's raw export.
    ///
    /// # Errors
    /// Where a file or an export cannot be read.
    pub async fn evidence(&self) -> anyhow::Result<Evidence> {
        let runs = self
            .gateways
            .iter()
            .flat_map(|gateway| gateway.runs().to_vec());
        self.evidence_of(runs.collect(), evidence::LOSS_SLACK).await
    }

    /// As [`Self::evidence`], for gateways that this machine did not start: whoever did says when they ran,
    /// and what they may lose beyond batch age and commit interval.
    ///
    /// # Errors
    /// Where a file or an export cannot be read.
    pub async fn evidence_of(&self, runs: Vec<Run>, slack: Duration) -> anyhow::Result<Evidence> {
        let lives = Lives::new(runs, &self.options, slack, &self.pulse)?;
        lives.keep(&self.dir)?;
        evidence_in(&self.dir, &self.binaries).await
    }
}

/// The evidence of a system whose folder was kept, running or not.
///
/// # Errors
/// Where a file or an export cannot be read.
pub async fn evidence_in(dir: &Path, binaries: &Binaries) -> anyhow::Result<Evidence> {
    evidence::gather(dir, &commands_in(dir, binaries)).await
}

fn commands_in(dir: &Path, binaries: &Binaries) -> CloudCommands {
    CloudCommands {
        program: binaries.ours("fogline-cloud"),
        config: dir.join("cloud/cloud.toml"),
        host: None,
    }
}
