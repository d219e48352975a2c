//! The system on two hosts: field and gateway here, broker and cloud there, a relayed link between them.

use super::GATEWAY;
use crate::config::Config;
use crate::database::Database;
use crate::field;
use crate::measure::float;
use crate::report::say;
use crate::rig::STOP_LIMIT;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tests_fieldsim::answer_log::AnswerLine;
use tests_harness::process::{Process, Recipe};
use tests_harness::stack::{Binaries, START_LIMIT};
use tests_harness::wait::wait_for;
use tests_net::{Host, Link, Net, Shape};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// Ports of the other host, which has no others.
const MQTT: u16 = 8883;
const SINK: u16 = 9000;
/// Before a turn of the bare sender counts: TCP finds the size of the link, and the line in front of it is full.
const BARE_WARM_UP: Duration = Duration::from_secs(15);

/// The two hosts and what runs on them.
pub(super) struct Far {
    dir: TempDir,
    binaries: Binaries,
    field: Process,
    broker: Process,
    cloud: Process,
    gateway: Option<Process>,
    /// Where each bus listens, at the site.
    pub ports: BTreeMap<String, u16>,
    /// The cloud's.
    pub database: Database,
    site: Host,
    there: Host,
    /// Between them.
    pub link: Link,
    // Last: the namespaces go when nobody is in them any more.
    _net: Net,
}

/// What there is to see at one moment.
#[derive(Debug)]
pub(super) struct Look {
    /// Bytes of envelopes handed over so far, and those of backlog among them: the gateway's count.
    pub bytes: u64,
    pub history_bytes: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Records not sent yet.
    pub backlog_records: u64,
    /// Bytes that arrived in the broker's TCP stream.
    pub arrived: u64,
}

impl Far {
    pub(super) async fn start(keep: bool, seed: u64) -> anyhow::Result<Self> {
        let binaries = Binaries::from_environment()?;
        let beside = binaries.dir.parent().context("no folder beside")?;
        let mut dir = tempfile::Builder::new()
            .prefix("fogline-link-")
            .tempdir_in(beside)?;
        dir.disable_cleanup(keep);
        for name in ["field", "logs", "gateway", "lines"] {
            std::fs::create_dir_all(dir.path().join(name))?;
        }
        let mut net = Net::new();
        let (site, there) = (net.host("site")?, net.host("cloud")?);
        let link = net.link(&site, &there, Shape::CLEAN, seed)?;
        let [_, address] = link.addresses().map(|address| address.to_string());
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let logs = dir.path().join("logs");
        let start = |host: &Host, name: &str, program: &Path, arguments: &[&str]| {
            Process::start(inside(host, name, program, arguments, &logs))
        };

        let model = field::site(GATEWAY, &dir.path().join("lines"), false);
        std::fs::write(path("field/site.json"), serde_json::to_vec(&model)?)?;
        let (file, log, ready) = (
            path("field/site.json"),
            path("field/answers.ndjson"),
            path("field/ready.json"),
        );
        let arguments = ["--site", &file, "--log", &log, "--ready", &ready];
        let field = start(
            &site,
            "field",
            &binaries.ours("fogline-fieldsim"),
            &arguments,
        )?;

        let cloud_program = binaries.ours("fogline-cloud");
        let (folder, config) = (path("cloud"), path("cloud/cloud.toml"));
        let init = [
            "init", "--demo", "--dir", &folder, "--host", &address, "--listen", &address,
        ];
        run(Command::new(&cloud_program).args(init)).await?;
        let conf = path("cloud/broker/nats-server.conf");
        let broker = start(&there, "broker", &binaries.nats_server, &["-c", &conf])?;
        let cloud = ["run", "--config", &config];
        let cloud = start(&there, "cloud", &cloud_program, &cloud)?;
        let identity = path("gateway/identity.toml");
        let add = [
            "gateway", "add", GATEWAY, "--out", &identity, "--config", &config,
        ];
        run(Command::new(&cloud_program).args(add)).await?;

        let ports = wait_for("the simulated devices", START_LIMIT, async || {
            let text = std::fs::read(&ready).with_context(|| field.last_words())?;
            Ok(serde_json::from_slice(&text)?)
        });
        let ports = ports.await?;
        let database = Database::open(Path::new(&path("cloud/data/fogline.db")))?;
        Ok(Self {
            dir,
            binaries,
            field,
            broker,
            cloud,
            gateway: None,
            ports,
            database,
            site,
            there,
            link,
            _net: net,
        })
    }

    pub(super) async fn stop(mut self, failed: bool) -> anyhow::Result<()> {
        if failed {
            self.dir.disable_cleanup(true);
            say(&format!(
                "the logs are in {}/logs",
                self.dir.path().display()
            ));
        }
        // Whoever stops in order wants to say goodbye over a link that carries it.
        self.link.set(Shape::CLEAN);
        let mut worst = self.kill_gateway().await;
        for process in [&mut self.cloud, &mut self.broker, &mut self.field] {
            worst = worst.and(process.stop(STOP_LIMIT).await);
        }
        worst
    }

    /// Starts the gateway with this configuration.
    pub(super) fn start_gateway(&mut self, config: &Config) -> anyhow::Result<()> {
        let folder = self.dir.path().join("gateway");
        // The address of its last life must not be asked in this one.
        let _gone = std::fs::remove_file(folder.join("state/http.addr"));
        let file = folder.join("gateway.toml");
        std::fs::write(&file, config.text())?;
        let program = self.binaries.ours("fogline-gateway");
        let arguments = ["run", "--config", &file.to_string_lossy()];
        let logs = self.dir.path().join("logs");
        let recipe = inside(&self.site, GATEWAY, &program, &arguments, &logs);
        self.gateway = Some(Process::start(recipe)?);
        Ok(())
    }

    pub(super) async fn stop_gateway(&mut self) -> anyhow::Result<()> {
        let mut gateway = self.gateway.take().context("no gateway runs")?;
        gateway.stop(STOP_LIMIT).await
    }

    pub(super) async fn kill_gateway(&mut self) -> anyhow::Result<()> {
        if let Some(mut gateway) = self.gateway.take() {
            gateway.kill().await?;
        }
        Ok(())
    }

    /// Waits until the gateway has had something settled.
    pub(super) async fn wait_for_settled(&self, limit: Duration) -> anyhow::Result<()> {
        wait_for(
            "the gateway's first readings to be stored",
            limit,
            async || {
                let status = self.status().await?;
                let settled = number(&status, "/uplink/counters/settled_records")?;
                anyhow::ensure!(settled > 0, "nothing is settled: {}", self.words());
                Ok(())
            },
        )
        .await
    }

    /// Waits until backlog and live data flow.
    pub(super) async fn wait_for_backlog(&self, limit: Duration) -> anyhow::Result<()> {
        wait_for("backlog to flow", limit, async || {
            let status = self.status().await?;
            let settled = number(&status, "/uplink/counters/settled_records")?;
            let sent = number(&status, "/uplink/counters/history_bytes")?;
            anyhow::ensure!(settled > 0 && sent > 0, "none does: {}", self.words());
            Ok(())
        })
        .await
    }

    /// What there is to see now.
    pub(super) async fn look(&self) -> anyhow::Result<Look> {
        let status = self.status().await?;
        Ok(Look {
            bytes: number(&status, "/uplink/counters/bytes")?,
            history_bytes: number(&status, "/uplink/counters/history_bytes")?,
            reconnects: number(&status, "/uplink/counters/reconnects")?,
            backlog_records: number(&status, "/uplink/backlog_records")?,
            arrived: self.arrived(MQTT).await?,
        })
    }

    /// Bytes a second of a bare TLS stream over the link: what the other side has confirmed in the span.
    ///
    /// Not what it has put in order: that stands still at a lost packet and leaps by seconds of the link when
    /// it came again, and a span that begins in front of such a leap shows more than a link can carry. And not
    /// what was sent: that fills buffers first. Confirmed is what arrived, each byte once, behind a hole too.
    pub(super) async fn bare(&self, span: Duration) -> anyhow::Result<f64> {
        let [_, address] = self.link.addresses();
        let address = format!("{address}:{SINK}");
        let path = |name: &str| self.dir.path().join(name).to_string_lossy().into_owned();
        let (certificate, key) = (
            path("cloud/broker/broker.pem"),
            path("cloud/broker/broker.key"),
        );
        let ca = path("cloud/pki/ca.pem");
        let this = std::env::current_exe()?;
        let logs = self.dir.path().join("logs");
        let sink = [
            "sink",
            "--listen",
            &address,
            "--certificate",
            &certificate,
            "--key",
            &key,
        ];
        let mut sink = Process::start(inside(&self.there, "sink", &this, &sink, &logs))?;
        let bulk = ["bulk", "--to", &address, "--ca", &ca];
        let mut bulk = Process::start(inside(&self.site, "bulk", &this, &bulk, &logs))?;
        let measuring = async {
            wait_for("the bare sender's bytes", START_LIMIT, async || {
                let arrived = self.arrived(SINK).await?;
                anyhow::ensure!(arrived > 10_000, "{arrived} bytes arrived");
                Ok(())
            })
            .await
            .with_context(|| bulk.last_words())?;
            sleep(BARE_WARM_UP).await;
            let (begun, before) = (Instant::now(), self.confirmed(SINK).await?);
            sleep(span).await;
            let (seconds, after) = (begun.elapsed().as_secs_f64(), self.confirmed(SINK).await?);
            anyhow::Ok(float(after.saturating_sub(before)) / seconds)
        };
        let measured = measuring.await;
        bulk.kill().await?;
        sink.kill().await?;
        measured
    }

    /// Bytes that have arrived at `port` of the other host, in the TCP streams that are open.
    async fn arrived(&self, port: u16) -> anyhow::Result<u64> {
        let said = streams(&self.there, &format!("sport = :{port}")).await?;
        Ok(said
            .lines()
            .filter_map(|line| of_stream(line, "bytes_received:"))
            .sum())
    }

    /// Bytes of the streams from here to `port` of the other host that it has confirmed, in order or not. The
    /// sender's packets are full: it always has more.
    async fn confirmed(&self, port: u16) -> anyhow::Result<u64> {
        let said = streams(&self.site, &format!("dport = :{port}")).await?;
        let bytes = |line| Some(of_stream(line, "delivered:")? * of_stream(line, "mss:")?);
        let mut each = said.lines().filter_map(bytes);
        each.next()
            .with_context(|| format!("the bare sender is gone: {said:?}"))
    }

    async fn status(&self) -> anyhow::Result<serde_json::Value> {
        let file = self.dir.path().join("gateway/gateway.toml");
        let file = file.to_string_lossy();
        let program = self.binaries.ours("fogline-gateway");
        let program = program.to_string_lossy();
        let arguments = ["status", "--config", &file, "--format", "json"];
        let said = Command::from(with(&self.site, &program, &arguments))
            .output()
            .await?;
        Ok(serde_json::from_slice(&said.stdout)?)
    }

    /// What the devices answered between two moments of the wall clock.
    pub(super) fn answers(&self, from: i64, to: i64) -> anyhow::Result<Vec<AnswerLine>> {
        let text = std::fs::read_to_string(self.dir.path().join("field/answers.ndjson"))?;
        let mut lines = Vec::new();
        for line in text.lines() {
            let line: AnswerLine = serde_json::from_str(line)?;
            if line.kind == "answer" && (from..to).contains(&line.t) {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    fn words(&self) -> String {
        self.gateway
            .as_ref()
            .map_or_else(String::new, Process::last_words)
    }
}

/// How to start a program on a host.
fn inside(host: &Host, name: &str, program: &Path, arguments: &[&str], logs: &Path) -> Recipe {
    Recipe::new(name, program, arguments, logs).on(host)
}

/// What the system knows of the open TCP streams of a host.
async fn streams(host: &Host, filter: &str) -> anyhow::Result<String> {
    let arguments = ["-tinH", "state", "established", filter];
    run(&mut Command::from(with(host, "ss", &arguments))).await
}

/// A number of a stream, by its name.
fn of_stream(line: &str, name: &str) -> Option<u64> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.parse().ok())
}

fn with(host: &Host, program: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = host.command(program);
    command.args(arguments);
    command
}

async fn run(command: &mut Command) -> anyhow::Result<String> {
    let said = command.output().await?;
    let words = String::from_utf8_lossy(&said.stderr);
    anyhow::ensure!(said.status.success(), "{command:?}: {}", words.trim());
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

fn number(status: &serde_json::Value, place: &str) -> anyhow::Result<u64> {
    let found = status.pointer(place).and_then(serde_json::Value::as_u64);
    found.with_context(|| format!("the gateway's status has no {place}"))
}
