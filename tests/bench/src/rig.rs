//! The running system and one round on it: start what is measured, let it settle, measure between two
//! quiet moments of the link, stop it, and find in the database what it had read.
//!
//! Edges lie where nothing is under way (no byte for [`QUIET`]), so that the bytes counted belong to
//! the readings counted.

use crate::broker::Identity;
use crate::database::Database;
use crate::ingest::{self, Sender};
use crate::machine::Machine;
use crate::measure::{Usage, Used, float};
use crate::report::say;
use crate::{config, field};
use anyhow::Context as _;
use protocols_model::{Epoch, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tests_fieldsim::answer_log::{AnswerLine, wall_ns};
use tests_harness::process::{Process, Recipe};
use tests_harness::proxy::Carried;
use tests_harness::site::GatewayOptions;
use tests_harness::stack::{Binaries, Stack};
use tests_harness::wait::wait_for;
use tokio::time::{Instant, sleep};

const GATEWAY: &str = "bench";
const YARDSTICK: &str = "yardstick";
/// How long data may take to flow after a start.
const FLOW_LIMIT: Duration = Duration::from_secs(120);
/// After data flows: connections, buffers and the allocator find their size.
const WARM_UP: Duration = Duration::from_secs(4);
/// A link without a byte for so long has nothing under way.
const QUIET: Duration = Duration::from_millis(150);
/// How long to wait for such a moment.
const QUIET_LIMIT: Duration = Duration::from_secs(30);
const SECOND_NS: u64 = 1_000_000_000;
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long a round of ingest may take.
const INGEST_LIMIT: Duration = Duration::from_secs(120);

/// How the gateway is set up for a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gateway {
    age: Duration,
}

impl Gateway {
    /// Live batches are sealed at `age`.
    pub(crate) const fn sealing(age: Duration) -> Self {
        Self { age }
    }
}

/// What was seen between the two edges of a round.
#[derive(Debug)]
pub(crate) struct Measured {
    seconds: f64,
    /// What the process used.
    pub used: Used,
    carried: Carried,
    /// Readings that the devices gave.
    read: u64,
    /// Polls that are missing between the answers of a unit.
    skipped: u64,
    /// Readings that went over the wire.
    sent: u64,
    /// Share of the machine that others took.
    pub foreign: f64,
    /// Answer → database, of every answer.
    pub latencies_ms: Vec<f64>,
}

impl Measured {
    /// Percent of the polls that were due and made: one a unit and second.
    pub(crate) fn polled_percent(&self) -> f64 {
        let made = float(self.read / field::READINGS_PER_ANSWER);
        made * 100.0 / (made + float(self.skipped))
    }

    /// CPU seconds for a million readings taken.
    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.used.cpu_s * 1e6 / float(self.read)
    }

    /// Bytes of both directions for each reading sent.
    pub(crate) fn wire_bytes_per_reading(&self) -> f64 {
        float(self.carried.up + self.carried.down) / float(self.sent)
    }

    /// Bytes towards the broker for each reading sent.
    pub(crate) fn wire_up_bytes_per_reading(&self) -> f64 {
        float(self.carried.up) / float(self.sent)
    }

    /// Bytes written to storage in an hour at this pace.
    pub(crate) fn flash_per_hour(&self) -> f64 {
        float(self.used.written_bytes) * 3600.0 / self.seconds
    }
}

/// One moment of a round.
struct Edge {
    at: Instant,
    wall_ns: i64,
    usage: Usage,
    carried: Carried,
    newest: i64,
    machine: Machine,
}

/// Senders of the ingest measurement and how far their field time has come.
#[derive(Debug)]
pub(crate) struct IngestLoad {
    /// The senders.
    pub senders: Vec<Sender>,
    epoch: Epoch,
    next: Timestamp,
}

/// One round of ingest.
#[derive(Debug)]
pub(crate) struct IngestRound {
    /// Readings stored.
    pub readings: u64,
    /// From the first publish to the last record visible.
    pub seconds: f64,
    /// What the cloud's process spent.
    pub cloud_cpu_s: f64,
    /// Share of the machine that others took.
    pub foreign: f64,
}

/// The running system.
pub(crate) struct Rig {
    dir: TempDir,
    stack: Stack,
    ports: BTreeMap<String, u16>,
    database: Database,
}

impl Rig {
    /// Starts everything and leaves the gateway stopped.
    pub(crate) async fn start(keep: bool) -> anyhow::Result<Self> {
        let binaries = Binaries::from_environment()?;
        // Beside the binaries and not in the system's temporary folder: that may lie in memory, and
        // a disk that costs nothing would flatter both database and spool.
        let beside = binaries.dir.parent().context("no folder beside")?;
        let mut dir = tempfile::Builder::new()
            .prefix("fogline-bench-")
            .tempdir_in(beside)?;
        dir.disable_cleanup(keep);
        let site = field::site(GATEWAY);
        let progress = |step: &str| say(&format!("  starting {step}"));
        let started = Stack::start(
            dir.path(),
            binaries,
            site,
            GatewayOptions::default(),
            progress,
        );
        let mut stack = match started.await {
            Ok(stack) => stack,
            Err(error) => {
                let kept = dir.keep();
                return Err(error.context(format!("the logs are in {}/logs", kept.display())));
            }
        };
        stack.wait_for_flow(FLOW_LIMIT).await?;
        for gateway in &mut stack.gateways {
            gateway.stop().await?;
        }
        let ports = std::fs::read(dir.path().join("field/ready.json"))?;
        let database = Database::open(&stack.cloud_dir().join("data/fogline.db"))?;
        let rig = Self {
            ports: serde_json::from_slice(&ports)?,
            database,
            dir,
            stack,
        };
        rig.enter(YARDSTICK).await?;
        Ok(rig)
    }

    /// Stops everything; keeps the folder where something went wrong.
    pub(crate) async fn stop(self, failed: bool) -> anyhow::Result<()> {
        let stopped = self.stack.stop().await;
        let mut dir = self.dir;
        if failed || stopped.is_err() {
            dir.disable_cleanup(true);
        }
        if failed {
            say(&format!("the logs are in {}/logs", dir.path().display()));
        }
        stopped
    }

    /// Enters a gateway in the registry; gives its identity file.
    async fn enter(&self, id: &str) -> anyhow::Result<PathBuf> {
        let file = self.dir.path().join(format!("{id}.toml"));
        let server = format!("mqtts://{}", self.stack.link.address());
        let out = file.to_string_lossy();
        let command = ["gateway", "add", id, "--out", &out, "--server", &server];
        self.stack.cloud_command(&command).await?;
        Ok(file)
    }

    /// A round of the gateway.
    pub(crate) async fn gateway(
        &mut self,
        setup: Gateway,
        window: Duration,
    ) -> anyhow::Result<Measured> {
        let gateway = self.stack.gateways.first_mut().context("no gateway")?;
        let text = config::gateway(GATEWAY, setup.age, &self.ports);
        std::fs::write(gateway.dir().join("gateway.toml"), text)?;
        let watch = self.database.watch()?;
        gateway.restart()?;
        let pid = gateway.pid().context("the gateway has no process id")?;
        self.stack.wait_for_flow(FLOW_LIMIT).await?;
        // Whole batches, and the first one, which has more to say than the others, outside.
        sleep(WARM_UP.max(setup.age + QUIET)).await;
        let from = self.edge(pid).await?;
        sleep(window).await;
        let to = self.edge(pid).await?;
        let gateway = self.stack.gateways.first_mut().context("no gateway")?;
        // In order: what it holds is settled first, so every answer of the window is stored now.
        gateway.stop().await?;
        let newest = self.database.newest()?;
        let seen = watch.end().await?;

        let records = self.database.records(from.newest, newest, field::PROBE)?;
        let mut stored = HashMap::new();
        for record in &records {
            let at = seen.at(record.row);
            for (device, value) in &record.probes {
                stored.insert((device.clone(), *value), at);
            }
        }
        let answers = self.answers(&from, &to)?;
        let mut latencies_ms = Vec::with_capacity(answers.len());
        for line in &answers {
            let value = line.polls.first().context("an answer without a probe")?.raw;
            let found = stored.get(&(line.device.clone(), value)).copied().flatten();
            // An answer just before the edge may belong to a batch that was open at it.
            let Some(at) = found else {
                anyhow::bail!(
                    "{} answered {value}, and the database lacks it",
                    line.device
                );
            };
            latencies_ms.push(float(u64::try_from(at - line.t).unwrap_or(0)) / 1e6);
        }
        let sent = records.iter().filter(|record| record.row <= to.newest);
        let sent = sent.map(|record| record.readings).sum();
        Ok(measured(&from, &to, &answers, sent, latencies_ms))
    }

    /// A round of the yardstick.
    pub(crate) async fn yardstick(&mut self, window: Duration) -> anyhow::Result<Measured> {
        let spool = tempfile::Builder::new()
            .prefix("yardstick-")
            .tempdir_in(self.dir.path())?;
        let units: Vec<String> = (1..=field::UNITS)
            .filter_map(|number| self.ports.get(&field::bus_name(number)))
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let registers = field::REGISTERS.to_string();
        let broker = self.stack.link.address().to_string();
        let identity = self.dir.path().join(format!("{YARDSTICK}.toml"));
        let arguments = [
            "yardstick",
            "--units",
            &units.join(","),
            "--registers",
            &registers,
            "--broker",
            &broker,
            "--identity",
            &identity.to_string_lossy(),
            "--spool",
            &spool.path().to_string_lossy(),
        ];
        let program = std::env::current_exe()?;
        let recipe = Recipe::new(YARDSTICK, &program, &arguments, &self.stack.logs());
        let before = self.stack.link.carried();
        let mut process = Process::start(recipe)?;
        let pid = process.id().context("the yardstick has no process id")?;
        let measuring = async {
            // Three records: it runs.
            let flowing = u64::from(field::UNITS) * u64::from(field::REGISTERS) * 2 * 3;
            wait_for("the yardstick's data to flow", FLOW_LIMIT, async || {
                let up = self.stack.link.carried().up - before.up;
                anyhow::ensure!(up > flowing, "{up} bytes so far");
                Ok(())
            })
            .await?;
            sleep(WARM_UP).await;
            let from = self.edge(pid).await?;
            sleep(window).await;
            anyhow::Ok((from, self.edge(pid).await?))
        };
        let measuring = measuring.await;
        if let Some(status) = process.ended()? {
            anyhow::bail!("the yardstick ended ({status}): {}", process.last_words());
        }
        process.stop(STOP_LIMIT).await?;
        let (from, to) = measuring?;
        let answers = self.answers(&from, &to)?;
        let read = answers.len() as u64 * field::READINGS_PER_ANSWER;
        let seen = measured(&from, &to, &answers, read, Vec::new());
        // It sends raw registers: fewer bytes than these, and it did not do its work.
        anyhow::ensure!(
            seen.wire_up_bytes_per_reading() > 1.8,
            "the yardstick did not publish what it read: {:.2} bytes a reading",
            seen.wire_up_bytes_per_reading()
        );
        Ok(seen)
    }

    /// A moment at which nothing is under way.
    async fn edge(&self, pid: u32) -> anyhow::Result<Edge> {
        let deadline = Instant::now() + QUIET_LIMIT;
        let mut carried = self.stack.link.carried();
        let mut since = Instant::now();
        while since.elapsed() < QUIET {
            anyhow::ensure!(
                Instant::now() < deadline,
                "the link was not quiet for {QUIET_LIMIT:?}"
            );
            sleep(Duration::from_millis(5)).await;
            let now = self.stack.link.carried();
            if now != carried {
                (carried, since) = (now, Instant::now());
            }
        }
        let processes = [&self.stack.field, &self.stack.broker, &self.stack.cloud];
        let mut ours: Vec<u32> = processes
            .iter()
            .filter_map(|process| process.id())
            .collect();
        ours.push(pid);
        Ok(Edge {
            at: Instant::now(),
            wall_ns: wall_ns(),
            usage: Usage::of(pid)?,
            carried,
            newest: self.database.newest()?,
            machine: Machine::look(&ours)?,
        })
    }

    /// What the devices answered between two edges.
    fn answers(&self, from: &Edge, to: &Edge) -> anyhow::Result<Vec<AnswerLine>> {
        let text = std::fs::read_to_string(self.dir.path().join("field/answers.ndjson"))?;
        let mut lines = Vec::new();
        for line in text.lines() {
            let line: AnswerLine = serde_json::from_str(line)?;
            if line.kind == "answer" && (from.wall_ns..to.wall_ns).contains(&line.t) {
                lines.push(line);
            }
        }
        anyhow::ensure!(!lines.is_empty(), "nothing was polled in the window");
        Ok(lines)
    }

    /// Connects the senders of the ingest measurement and lets each settle its dictionaries.
    pub(crate) async fn ingest_load(&self) -> anyhow::Result<IngestLoad> {
        let broker = self.stack.link.address().to_string();
        let mut senders = Vec::with_capacity(ingest::GATEWAYS);
        for number in 0..ingest::GATEWAYS {
            let file = self.enter(&format!("load-{number}")).await?;
            let identity = Identity::read(&file)?;
            senders.push(Sender::connect(&identity, &broker, number).await?);
        }
        // An hour ago: no stamp of the run lies in the future.
        let begin = Timestamp(wall_ns() / 1_000_000_000 * 1_000_000_000);
        let mut load = IngestLoad {
            senders,
            epoch: Epoch(u64::try_from(begin.0)?),
            next: begin.minus(Duration::from_hours(1)),
        };
        self.ingest(&mut load, 1).await?;
        Ok(load)
    }

    /// Publishes `seconds` of all senders as fast as they are taken, and waits until they are stored.
    pub(crate) async fn ingest(
        &self,
        load: &mut IngestLoad,
        seconds: u32,
    ) -> anyhow::Result<IngestRound> {
        let mut packed = Vec::with_capacity(load.senders.len());
        for sender in &mut load.senders {
            packed.push(sender.pack(load.epoch, load.next, seconds)?);
        }
        load.next = load.next.plus(Duration::from_secs(u64::from(seconds)));
        let records: u64 = packed.iter().map(|load| load.records).sum();
        let readings: u64 = packed.iter().map(|load| load.readings).sum();
        let cloud = self.stack.cloud.id().context("the cloud does not run")?;
        let from = self.edge(cloud).await?;
        let watch = self.database.watch()?;
        let begun = wall_ns();
        ingest::publish(&load.senders, packed).await?;
        wait_for("everything to be stored", INGEST_LIMIT, async || {
            let stored = self.database.count(from.newest)?;
            anyhow::ensure!(stored >= records, "{stored} of {records} records");
            Ok(())
        })
        .await?;
        let usage = Usage::of(cloud)?;
        let to = self.edge(cloud).await?;
        let seen = watch.end().await?;
        let stored = self.database.records(from.newest, to.newest, "")?;
        let last = stored.last().and_then(|record| seen.at(record.row));
        let ended = last.context("the last record was not seen")?;
        let found: u64 = stored.iter().map(|record| record.readings).sum();
        anyhow::ensure!(
            found == readings,
            "{found} of {readings} published readings are stored"
        );
        Ok(IngestRound {
            readings,
            seconds: float(u64::try_from(ended - begun)?) / 1e9,
            cloud_cpu_s: usage.since(&from.usage).cpu_s,
            foreign: to.machine.foreign_since(&from.machine),
        })
    }
}

/// Polls that are missing: a unit that is asked every second leaves no longer gap than a second
/// and a half.
fn skipped(answers: &[AnswerLine]) -> u64 {
    let mut last: HashMap<&str, i64> = HashMap::new();
    let mut skipped = 0;
    for line in answers {
        if let Some(before) = last.insert(&line.device, line.t) {
            let gap = u64::try_from(line.t - before).unwrap_or(0);
            skipped += ((gap + SECOND_NS / 2) / SECOND_NS).saturating_sub(1);
        }
    }
    skipped
}

fn measured(
    from: &Edge,
    to: &Edge,
    answers: &[AnswerLine],
    sent: u64,
    latencies_ms: Vec<f64>,
) -> Measured {
    Measured {
        seconds: to.at.duration_since(from.at).as_secs_f64(),
        used: to.usage.since(&from.usage),
        carried: Carried {
            up: to.carried.up - from.carried.up,
            down: to.carried.down - from.carried.down,
        },
        read: answers.len() as u64 * field::READINGS_PER_ANSWER,
        skipped: skipped(answers),
        sent,
        foreign: to.machine.foreign_since(&from.machine),
        latencies_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_was_left_out_is_noticed_and_a_late_one_is_not() {
        let line = |device: &str, ms: i64| AnswerLine {
            t: ms * 1_000_000,
            gateway: String::new(),
            device: device.to_owned(),
            polls: Vec::new(),
            kind: "answer".to_owned(),
        };
        let even = [
            line("a", 0),
            line("b", 10),
            line("a", 1300),
            line("b", 1400),
        ];
        assert_eq!(skipped(&even), 0);
        let holes = [
            line("a", 0),
            line("b", 10),
            line("a", 2000),
            line("b", 3990),
        ];
        assert_eq!(skipped(&holes), 1 + 3);
    }
}
