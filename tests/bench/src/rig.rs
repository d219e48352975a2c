//! The running system, and the moments between which something is measured on it.
//!
//! A moment lies where nothing is under way (no byte on the link for [`QUIET`]), so that the bytes
//! counted belong to the readings counted.

use crate::database::Database;
use crate::field;
use crate::machine::Machine;
use crate::measure::Usage;
use crate::report::say;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tests_fieldsim::answer_log::{AnswerLine, wall_ns};
use tests_harness::proxy::{Carried, Link};
use tests_harness::site::GatewayOptions;
use tests_harness::stack::{Binaries, Stack};
use tokio::time::{Instant, sleep};

/// The measured gateway.
pub(crate) const GATEWAY: &str = "bench";
/// The yardstick's identity.
pub(crate) const YARDSTICK: &str = "yardstick";
/// How long data may take to flow after a start.
pub(crate) const FLOW_LIMIT: Duration = Duration::from_secs(120);
/// A link without a byte for so long has nothing under way.
pub(crate) const QUIET: Duration = Duration::from_millis(150);
/// How long to wait for such a moment.
const QUIET_LIMIT: Duration = Duration::from_secs(30);
/// How long a process may take to stop.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(30);

/// One moment between rounds.
#[derive(Debug)]
pub(crate) struct Edge {
    /// When, on the monotonic clock.
    pub at: Instant,
    /// When, nanoseconds UTC.
    pub wall_ns: i64,
    /// What the measured process had used.
    pub usage: Usage,
    /// What the link had carried.
    pub carried: Carried,
    /// The youngest row of the database.
    pub newest: i64,
    /// How busy the machine had been.
    pub machine: Machine,
}

/// The running system.
pub(crate) struct Rig {
    /// Everything lies here.
    pub dir: TempDir,
    /// All processes but the yardstick.
    pub stack: Stack,
    /// Where serial lines are.
    pub lines: PathBuf,
    /// Where each bus listens.
    pub ports: BTreeMap<String, u16>,
    /// Whether there are sensors.
    pub radio: bool,
    /// The cloud's.
    pub database: Database,
}

impl Rig {
    /// Starts everything, with sensors where `radio` is wanted, and leaves the gateway stopped.
    pub(crate) async fn start(keep: bool, radio: bool) -> anyhow::Result<Self> {
        let binaries = Binaries::from_environment()?;
        // Beside the binaries and not in the system's temporary folder: that may lie in memory, and
        // a disk that costs nothing would flatter both database and spool.
        let beside = binaries.dir.parent().context("no folder beside")?;
        let mut dir = tempfile::Builder::new()
            .prefix("fogline-bench-")
            .tempdir_in(beside)?;
        dir.disable_cleanup(keep);
        let lines = dir.path().join("lines");
        std::fs::create_dir_all(&lines)?;
        let site = field::site(GATEWAY, &lines, radio);
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
            lines,
            radio,
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

    /// The link passes and no gateway runs, whatever a part that failed has left.
    pub(crate) async fn mend(&mut self) -> anyhow::Result<()> {
        self.stack.link.set(Link::Passing);
        for gateway in &mut self.stack.gateways {
            gateway.stop().await?;
        }
        Ok(())
    }

    /// Enters a gateway in the registry; gives its identity file.
    pub(crate) async fn enter(&self, id: &str) -> anyhow::Result<PathBuf> {
        let file = self.dir.path().join(format!("{id}.toml"));
        let server = format!("mqtts://{}", self.stack.link.address());
        let out = file.to_string_lossy();
        let command = ["gateway", "add", id, "--out", &out, "--server", &server];
        self.stack.cloud_command(&command).await?;
        Ok(file)
    }

    /// A moment at which nothing is under way.
    pub(crate) async fn edge(&self, pid: u32) -> anyhow::Result<Edge> {
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
        self.now(pid)
    }

    /// This moment, whatever is under way.
    pub(crate) fn now(&self, pid: u32) -> anyhow::Result<Edge> {
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
            carried: self.stack.link.carried(),
            newest: self.database.newest()?,
            machine: Machine::look(&ours)?,
        })
    }

    /// What the devices answered between two edges.
    pub(crate) fn answers(&self, from: &Edge, to: &Edge) -> anyhow::Result<Vec<AnswerLine>> {
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
}
