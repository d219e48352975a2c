//! The whole system as real processes on loopback: field simulator, broker, cloud, gateways, and a
//! link between gateways and broker that can be broken.
//!
//! Starts in the order a person would, waits for conditions, stops everything by its id. What the
//! oracle needs is gathered from files that the processes wrote and from the cloud's raw export.

use crate::api::Api;
use crate::gateway::Gateway;
use crate::ports;
use crate::process::{Process, Recipe};
use crate::proxy::Proxy;
use crate::pulse::Pulse;
use crate::site::{self, GatewayOptions};
use crate::wait::wait_for;
use anyhow::Context as _;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_fieldsim::answer_log::AnswerLine;
use tests_fieldsim::{BusKind, BusSite, Site, radio};
use tests_oracle::{Evidence, Pause, Run};
use tokio::process::Command;
use tokio::time::Instant;

/// How long a process may take to become reachable on a slow, shared machine.
pub const START_LIMIT: Duration = Duration::from_secs(90);
/// How long the simulated devices may take to fall silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How long an answer that was begun may take to leave.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// How long simulator, broker and cloud may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// What a crash may take beyond batch age and commit interval: the judge's own clock, a busy disk,
/// a busy machine. Times in which the machine stood still come on top.
const LOSS_SLACK: Duration = Duration::from_secs(2);

/// How late a batch may be sealed on a busy machine.
const SEAL_SLACK: Duration = Duration::from_secs(1);

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
        mut progress: impl FnMut(&str),
    ) -> anyhow::Result<Self> {
        let (mut stack, ports) =
            Self::start_without_gateways(dir, binaries, site, options, &[], &mut progress).await?;
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
        for name in ["field", "logs", "gateways"] {
            std::fs::create_dir_all(dir.join(name))?;
        }
        let logs = dir.join("logs");
        let pulse = Pulse::start();
        progress("simulated devices");
        let (field, ports) = start_field(dir, &binaries, &site).await?;

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
        run(&binaries.ours("fogline-cloud"), &init).await?;

        progress("broker");
        let conf = cloud_dir.join("broker/nats-server.conf");
        let conf = conf.to_string_lossy();
        let broker = Recipe::new("broker", &binaries.nats_server, &["-c", &conf], &logs);
        let broker = Process::start(broker)?;

        progress("cloud");
        let config = cloud_dir.join("cloud.toml");
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
        let mut names: Vec<String> = self
            .site
            .buses
            .iter()
            .map(|bus| bus.gateway.clone())
            .collect();
        names.sort();
        names.dedup();
        for name in names {
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
            let faketime = self.options.faketime.as_deref();
            let logs = self.dir.join("logs");
            let air = self.air()?;
            let gateway = Gateway::start_with(&name, &dir, &binary, &logs, faketime, air)?;
            self.gateways.push(gateway);
        }
        Ok(())
    }

    /// What a gateway must have in its environment to find the simulated adapter, where there is one.
    fn air(&self) -> anyhow::Result<Vec<(String, String)>> {
        let is_radio = |bus: &BusSite| matches!(bus.kind, BusKind::Radio { .. });
        if !self.site.buses.iter().any(is_radio) {
            return Ok(Vec::new());
        }
        let address = radio::bus_address(&self.dir.join("field").canonicalize()?);
        Ok(vec![("DBUS_SYSTEM_BUS_ADDRESS".to_owned(), address)])
    }

    /// Runs a command of `fogline-cloud` beside the running one; gives what it prints.
    ///
    /// # Errors
    /// Where it fails, with its words.
    pub async fn cloud_command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let config = self.dir.join("cloud/cloud.toml");
        let config = config.to_string_lossy();
        let arguments = [arguments, &["--config", &config]].concat();
        run(&self.binaries.ours("fogline-cloud"), &arguments).await
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
        wait_for("data to flow", limit, async || {
            for gateway in &self.gateways {
                let status = gateway.status().await?;
                let uplink = status.uplink.context("no uplink")?;
                anyhow::ensure!(
                    uplink.connected && uplink.settling_p50_ms.is_some(),
                    "{}: connected {}, settled {}; the cloud's log ends:\n{}",
                    gateway.id,
                    uplink.connected,
                    uplink.settling_p50_ms.is_some(),
                    self.cloud.last_words()
                );
                anyhow::ensure!(status.pipeline.taken > 0, "{} has read nothing", gateway.id);
            }
            Ok(())
        })
        .await
    }

    /// Stops the devices for good: they fall silent. Their simulator stays until the end, or its ports
    /// and terminals could be given to another one that runs beside this system.
    ///
    /// # Errors
    /// Where the simulator does not run.
    pub async fn stop_devices(&mut self) -> anyhow::Result<()> {
        self.field.signal(Signal::USR1)?;
        let ready = ready_file(&self.dir);
        wait_for("the devices to fall silent", SILENCE_LIMIT, async || {
            anyhow::ensure!(!ready.exists(), "the simulator has not said so");
            Ok(())
        })
        .await?;
        tokio::time::sleep(LAST_ANSWER).await;
        Ok(())
    }

    /// Lets Modbus units that were stopped answer again; other families stay silent.
    ///
    /// # Errors
    /// Where the simulator does not run.
    pub async fn resume_devices(&self) -> anyhow::Result<()> {
        self.field.signal(Signal::USR2)?;
        let ready = ready_file(&self.dir);
        wait_for("the devices to answer again", SILENCE_LIMIT, async || {
            anyhow::ensure!(ready.exists(), "the simulator has not said so");
            Ok(())
        })
        .await
    }

    /// Waits until no gateway holds a reading any more. With the devices stopped the gateways still
    /// report their absence; what counts is that everything held for longer than a batch is settled.
    /// A spool that is empty sooner proves nothing: the last readings may still wait in a batch. So
    /// each gateway must first have sealed one; devices that were stopped are bad readings, filtered
    /// ones, and those are counted in a record too.
    ///
    /// # Errors
    /// What is still held after `limit`.
    pub async fn wait_for_quiescence(&self, limit: Duration) -> anyhow::Result<()> {
        let batch = self.options.batch_live.max(self.options.batch_offline);
        let sealed = Instant::now() + batch + SEAL_SLACK;
        let mut sealing: Vec<Sealing> = self.gateways.iter().map(|_| Sealing::default()).collect();
        wait_for("quiescence", limit, async || {
            anyhow::ensure!(Instant::now() >= sealed, "a batch may still be open");
            for (gateway, sealing) in self.gateways.iter().zip(&mut sealing) {
                let status = gateway.status().await?;
                let sealed = sealing.look(status.pipeline.records);
                anyhow::ensure!(sealed, "{} has sealed no batch since", gateway.id);
                let connected = status
                    .uplink
                    .as_ref()
                    .is_some_and(|uplink| uplink.connected);
                anyhow::ensure!(connected, "{} is not connected", gateway.id);
                anyhow::ensure!(
                    status.spool.records == 0,
                    "{} holds {} records ({} bytes)",
                    gateway.id,
                    status.spool.records,
                    status.spool.live_bytes
                );
            }
            Ok(())
        })
        .await
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
        answers_in(&self.dir)
    }

    /// Everything the oracle looks at. The database is read through the cloud's raw export.
    ///
    /// # Errors
    /// Where a file or an export cannot be read.
    pub async fn evidence(&self) -> anyhow::Result<Evidence> {
        let runs: Vec<Run> = self
            .gateways
            .iter()
            .flat_map(|gateway| gateway.runs().to_vec())
            .collect();
        self.evidence_of(runs, LOSS_SLACK).await
    }

    /// As [`Self::evidence`], for gateways that this machine did not start: whoever did says when they ran,
    /// and what they may lose beyond batch age and commit interval.
    ///
    /// # Errors
    /// Where a file or an export cannot be read.
    pub async fn evidence_of(&self, runs: Vec<Run>, slack: Duration) -> anyhow::Result<Evidence> {
        let window =
            self.options.batch_live.max(self.options.batch_offline) + self.options.commit + slack;
        // Beside the other evidence: a verdict can be looked into, and repeated, afterwards.
        let lives = Lives {
            runs,
            loss_window_ns: i64::try_from(window.as_nanos())?,
            pauses: self.pulse.pauses(),
        };
        std::fs::write(self.dir.join(LIVES), serde_json::to_vec_pretty(&lives)?)?;
        evidence_in(&self.dir, &self.binaries).await
    }
}

/// Notices that a batch was sealed and is in the spool, from the count of sealed records at each look:
/// a record that is counted is about to be appended, and the one after it comes only then.
#[derive(Debug, Default)]
struct Sealing {
    seen: Option<u64>,
    rises: u32,
}

impl Sealing {
    fn look(&mut self, records: u64) -> bool {
        let before = self.seen.replace(records);
        self.rises += u32::from(before.is_some_and(|before| before != records));
        self.rises >= 2
    }
}

/// Where the lives of the gateways are written down for the judge.
const LIVES: &str = "runs.json";

/// What only the harness knows.
#[derive(Debug, Serialize, Deserialize)]
struct Lives {
    runs: Vec<Run>,
    loss_window_ns: i64,
    pauses: Vec<Pause>,
}

/// The evidence of a system whose folder was kept, running or not.
///
/// # Errors
/// Where a file or an export cannot be read.
pub async fn evidence_in(dir: &Path, binaries: &Binaries) -> anyhow::Result<Evidence> {
    let site = std::fs::read(dir.join("field/site.json")).context("reading the site")?;
    let lives = std::fs::read(dir.join(LIVES)).context("reading the gateways' lives")?;
    let lives: Lives = serde_json::from_slice(&lives)?;
    let config = dir.join("cloud/cloud.toml");
    let config = config.to_string_lossy();
    let cloud = binaries.ours("fogline-cloud");
    let stored = run(&cloud, &["export", "--readings", "--config", &config]).await?;
    let ledger = run(&cloud, &["export", "--ledger", "--config", &config]).await?;
    Ok(Evidence {
        site: serde_json::from_slice(&site)?,
        answers: answers_in(dir)?,
        stored: Evidence::read_lines(&stored).context("the export of readings")?,
        ledger: Evidence::read_lines(&ledger).context("the export of the ledger")?,
        runs: lives.runs,
        loss_window_ns: lives.loss_window_ns,
        pauses: lives.pauses,
    })
}

fn answers_in(dir: &Path) -> anyhow::Result<Vec<AnswerLine>> {
    let text = std::fs::read_to_string(dir.join("field/answers.ndjson"))?;
    let mut answers: Vec<AnswerLine> = Evidence::read_lines(&text)?;
    // Lines of several buses are written as they come; the judge wants them by time.
    answers.sort_by_key(|line| line.t);
    Ok(answers)
}

/// There while the simulated devices answer.
fn ready_file(dir: &Path) -> PathBuf {
    dir.join("field/ready.json")
}

async fn start_field(
    dir: &Path,
    binaries: &Binaries,
    site: &Site,
) -> anyhow::Result<(Process, BTreeMap<String, u16>)> {
    let field = dir.join("field");
    let (file, ready) = (field.join("site.json"), ready_file(dir));
    std::fs::write(&file, serde_json::to_vec_pretty(site)?)?;
    for bus in &site.buses {
        if let Some(link) = bus.kind.link() {
            let parent = Path::new(link)
                .parent()
                .context("the terminal's link has no folder")?;
            std::fs::create_dir_all(parent)?;
        }
    }
    let log = field.join("answers.ndjson");
    let arguments = [
        "--site",
        &file.to_string_lossy(),
        "--log",
        &log.to_string_lossy(),
        "--ready",
        &ready.to_string_lossy(),
    ];
    let program = binaries.ours("fogline-fieldsim");
    let recipe = Recipe::new("field", &program, &arguments, &dir.join("logs"));
    let process = Process::start(recipe)?;
    let ports = wait_for("the simulated devices", START_LIMIT, async || {
        let text = std::fs::read(&ready).with_context(|| process.last_words())?;
        Ok(serde_json::from_slice(&text)?)
    });
    let ports = ports.await?;
    Ok((process, ports))
}

async fn run(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .await
        .with_context(|| format!("starting {}", program.display()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{} {arguments:?}: {words}",
        program.display()
    );
    Ok(String::from_utf8(output.stdout)?)
}
