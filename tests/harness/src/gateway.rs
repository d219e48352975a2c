//! One gateway under test: its folder, its process, its lives, and what it says of itself.
//!
//! What it says is used to know when to look (quiescence) and to show to people; never to judge.

use crate::http;
use crate::process::{Process, Recipe, arm, last_words};
use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_fieldsim::answer_log::wall_ns;
use tests_net::Host;
use tests_oracle::{Ending, Run};

/// How long a gateway may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Where libfaketime reads the offset of the wall clock.
const CLOCK_FILE: &str = "clock-offset";
/// How long its local endpoint may take to answer: a machine that stands still for seconds is no fault
/// of the gateway.
const STATUS_LIMIT: Duration = Duration::from_secs(30);

/// Where a gateway tells how it is.
#[derive(Debug, Clone)]
pub struct Door {
    /// The gateway's id.
    pub id: String,
    /// Where the process writes the address of its endpoint.
    address_file: PathBuf,
    host: Option<Host>,
    log: PathBuf,
}

impl Door {
    /// What it says of itself.
    ///
    /// # Errors
    /// Where it does not answer; the last lines of its log are added.
    pub async fn status(&self) -> anyhow::Result<Status> {
        let asked = tokio::time::timeout(STATUS_LIMIT, self.ask("/status")).await;
        let body = match asked {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => {
                let words = last_words(&self.log);
                return Err(error.context(format!("asking {}; its log ends:\n{words}", self.id)));
            }
            Err(_elapsed) => anyhow::bail!("{} did not answer within {STATUS_LIMIT:?}", self.id),
        };
        serde_json::from_str(&body).with_context(|| format!("status of {}: {body}", self.id))
    }

    async fn ask(&self, path: &str) -> anyhow::Result<String> {
        let file = &self.address_file;
        let address =
            std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        http::get(self.host.as_ref(), address.trim().parse()?, path).await
    }
}

/// A gateway's folder and process.
#[derive(Debug)]
pub struct Gateway {
    /// Its id.
    pub id: String,
    dir: PathBuf,
    process: Process,
    runs: Vec<Run>,
}

/// The part of `/status` that the harness looks at.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// The process that answered.
    pub pid: u32,
    /// Which configuration runs.
    pub config: Configuration,
    /// What the pipeline counted.
    pub pipeline: Pipeline,
    /// What the spool holds.
    pub spool: Spool,
    /// The connection to the broker.
    pub uplink: Option<Uplink>,
}

/// Which configuration runs.
#[derive(Debug, Clone, Deserialize)]
pub struct Configuration {
    /// Digest of its files.
    pub revision: String,
    /// The file cannot be used; the last one that could runs.
    pub last_good: bool,
    /// Why the last reload was refused.
    pub refused: Option<String>,
}

/// What the pipeline counted since the process started.
#[derive(Debug, Clone, Deserialize)]
pub struct Pipeline {
    /// Readings from drivers.
    pub taken: u64,
    /// Readings dropped by rule.
    pub filtered: u64,
    /// Records sealed and handed to the spool.
    pub records: u64,
}

/// What the spool holds.
#[derive(Debug, Clone, Deserialize)]
pub struct Spool {
    /// Records not yet settled.
    pub records: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Bytes that are in memory only.
    pub memory_bytes: u64,
    /// What is wrong now.
    pub alarms: Vec<String>,
    /// Why the disk cannot be used, while it cannot.
    pub disk_trouble: Option<String>,
    /// What happened since the process started.
    pub counters: BTreeMap<String, u64>,
}

/// The connection to the broker.
#[derive(Debug, Clone, Deserialize)]
pub struct Uplink {
    /// Whether there is one.
    pub connected: bool,
    /// Since when it is so, milliseconds UTC.
    pub since: Option<i64>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// The broker takes messages, the cloud settles none.
    pub store_away: bool,
    /// Half of the records are settled within this.
    pub settling_p50_ms: Option<f64>,
    /// 99 of 100 records are.
    pub settling_p99_ms: Option<f64>,
    /// What happened since the process started.
    pub counters: BTreeMap<String, u64>,
}

/// The environment in which the packages start the gateway.
fn as_shipped() -> Vec<(String, String)> {
    let unit = include_str!("../../../deploy/gateway/fogline-gateway.service");
    let lines = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    let pairs = lines.flat_map(str::split_whitespace);
    pairs
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What surrounds a gateway beside its folder.
#[derive(Debug, Default)]
pub struct Around<'a> {
    /// libfaketime: its wall clock follows [`Gateway::step_clock`]; its monotonic clock never does.
    pub faketime: Option<&'a Path>,
    /// More for its environment.
    pub environment: Vec<(String, String)>,
    /// The host it runs on; none for this machine itself.
    pub host: Option<Host>,
}

impl Gateway {
    /// Starts a gateway whose folder holds `gateway.toml` and `identity.toml`.
    ///
    /// # Errors
    /// Where the process cannot be started.
    pub fn start(id: &str, dir: &Path, binary: &Path, logs: &Path) -> anyhow::Result<Self> {
        Self::start_in(id, dir, binary, logs, Around::default())
    }

    /// As [`Self::start`], in surroundings of its own.
    ///
    /// # Errors
    /// Where the process cannot be started.
    pub fn start_in(
        id: &str,
        dir: &Path,
        binary: &Path,
        logs: &Path,
        around: Around<'_>,
    ) -> anyhow::Result<Self> {
        let config = dir.join("gateway.toml");
        let mut recipe = Recipe::new(id, binary, &["run", "--config"], logs);
        recipe.environment = as_shipped();
        recipe.environment.extend(around.environment);
        recipe.host = around.host;
        if let Some(library) = around.faketime {
            let offset = dir.join(CLOCK_FILE);
            std::fs::write(&offset, "+0")?;
            let text = |path: &Path| path.to_string_lossy().into_owned();
            recipe.environment.extend([
                ("LD_PRELOAD".to_owned(), text(library)),
                ("FAKETIME_TIMESTAMP_FILE".to_owned(), text(&offset)),
                ("FAKETIME_CACHE_DURATION".to_owned(), "1".to_owned()),
                ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
            ]);
        }
        recipe.arguments.push(config.to_string_lossy().into_owned());
        let process = Process::start(recipe)?;
        let mut gateway = Self {
            id: id.to_owned(),
            dir: dir.to_owned(),
            process,
            runs: Vec::new(),
        };
        gateway.begin();
        Ok(gateway)
    }

    /// Steps the wall clock to `offset` from the machine's, within a second or so.
    ///
    /// # Errors
    /// Where the offset cannot be written.
    pub fn step_clock(&self, offset_s: i64) -> anyhow::Result<()> {
        std::fs::write(self.dir.join(CLOCK_FILE), format!("{offset_s:+}"))?;
        Ok(())
    }

    /// Arms fail points for the next start, in the form of `FOGLINE_FAILPOINTS`; empty disarms.
    pub fn arm(&mut self, failpoints: &str, log: &Path) {
        arm(self.process.recipe_mut(), failpoints, log);
    }

    fn begin(&mut self) {
        self.runs.push(Run {
            gateway: self.id.clone(),
            started_ns: self.process.started_ns(),
            ended_ns: i64::MAX,
            ending: Ending::Clean,
        });
    }

    /// Notes that what the last life left behind was damaged on purpose.
    pub fn note_damage(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            run.ending = Ending::Damaged;
        }
    }

    fn end(&mut self, at: i64, ending: Ending) {
        if let Some(run) = self.runs.last_mut().filter(|run| run.ended_ns == i64::MAX) {
            run.ended_ns = at;
            run.ending = ending;
        }
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Its process, to change how it is started.
    pub const fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Its lives so far.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Whether it has ended by itself (a fail point, a bug); its life then ended as if killed.
    ///
    /// # Errors
    /// Where the system will not say.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        if self.process.ended()?.is_some() {
            self.end(wall_ns(), Ending::Killed);
        }
        Ok(self.process.id().is_none())
    }

    /// Whether it has ended after it was asked to; its life then ended in order.
    ///
    /// # Errors
    /// Where the system will not say.
    pub fn has_ended_as_asked(&mut self) -> anyhow::Result<bool> {
        if let Some(status) = self.process.ended()? {
            let ending = if status.success() {
                Ending::Clean
            } else {
                Ending::Killed
            };
            self.end(wall_ns(), ending);
        }
        Ok(self.process.id().is_none())
    }

    /// Kills it.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let gone = self.process.kill().await?;
        self.end(gone, Ending::Killed);
        Ok(())
    }

    /// Starts it again.
    ///
    /// # Errors
    /// Where it still runs or cannot be started.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        // The address of the old life must not be asked in the new one.
        let _gone = std::fs::remove_file(self.address_file());
        self.process.restart()?;
        self.begin();
        Ok(())
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// Where it had to be killed.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let stopped = self.process.stop(STOP_LIMIT).await;
        let ending = if stopped.is_ok() {
            Ending::Clean
        } else {
            Ending::Killed
        };
        self.end(wall_ns(), ending);
        stopped
    }

    fn address_file(&self) -> PathBuf {
        self.dir.join("state/http.addr")
    }

    /// Where it tells how it is.
    #[must_use]
    pub fn door(&self) -> Door {
        let recipe = self.process.recipe();
        Door {
            id: self.id.clone(),
            address_file: self.address_file(),
            host: recipe.host.clone(),
            log: recipe.log.clone(),
        }
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// Where it does not answer; the last lines of its log are added.
    pub async fn status(&self) -> anyhow::Result<Status> {
        self.door().status().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_under_test_get_what_the_shipped_unit_sets() {
        let heaps = ("MALLOC_ARENA_MAX".to_owned(), "1".to_owned());
        assert!(as_shipped().contains(&heaps), "{:?}", as_shipped());
    }
}
