//! What the judge is given: from files that the processes wrote, and the cloud's raw export.

use crate::devices;
use crate::pulse::Pulse;
use crate::site::GatewayOptions;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_net::Host;
use tests_oracle::{Evidence, Pause, Run};
use tokio::process::Command;

/// Where the lives of the gateways are written down for the judge.
const LIVES: &str = "runs.json";
/// What a crash may take beyond batch age and commit interval: the judge's own clock, a busy disk,
/// a busy machine. Times in which the machine stood still come on top.
pub const LOSS_SLACK: Duration = Duration::from_secs(2);

/// What only the harness knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Lives {
    runs: Vec<Run>,
    loss_window_ns: i64,
    pauses: Vec<Pause>,
}

impl Lives {
    /// When the gateways ran, and what each may lose beyond batch age and commit interval.
    ///
    /// # Errors
    /// Where no clock counts so far.
    pub fn new(
        runs: Vec<Run>,
        options: &GatewayOptions,
        slack: Duration,
        pulse: &Pulse,
    ) -> anyhow::Result<Self> {
        let window = options.longest_batch() + options.commit + slack;
        Ok(Self {
            runs,
            loss_window_ns: i64::try_from(window.as_nanos())?,
            pauses: pulse.pauses(),
        })
    }

    /// Writes it down beside the other evidence, so that a verdict can be looked into, and repeated,
    /// afterwards.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn keep(&self, dir: &Path) -> anyhow::Result<()> {
        std::fs::write(dir.join(LIVES), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

/// How commands of `fogline-cloud` are run beside the running one.
#[derive(Debug, Clone)]
pub struct CloudCommands {
    /// `fogline-cloud`.
    pub program: PathBuf,
    /// `cloud.toml`.
    pub config: PathBuf,
    /// Where they run; none for this machine itself.
    pub host: Option<Host>,
}

impl CloudCommands {
    /// Runs one; gives what it prints.
    ///
    /// # Errors
    /// Where it fails, with its words.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let config = self.config.to_string_lossy();
        self.run_bare(&[arguments, &["--config", &config]].concat())
            .await
    }

    /// Runs one without the configuration: the one that makes it.
    ///
    /// # Errors
    /// Where it fails, with its words.
    pub async fn run_bare(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command: Command = match &self.host {
            Some(host) => host.command(&self.program).into(),
            None => Command::new(&self.program),
        };
        let output = command.args(arguments).output().await;
        let output = output.with_context(|| format!("starting {}", self.program.display()))?;
        let words = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(
            output.status.success(),
            "{} {arguments:?}: {words}",
            self.program.display()
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The evidence that lies in a folder and in the cloud's database.
///
/// # Errors
/// Where a file or an export cannot be read.
pub async fn gather(dir: &Path, cloud: &CloudCommands) -> anyhow::Result<Evidence> {
    let site = std::fs::read(dir.join("field/site.json")).context("reading the site")?;
    let lives = std::fs::read(dir.join(LIVES)).context("reading the gateways' lives")?;
    let lives: Lives = serde_json::from_slice(&lives)?;
    let stored = cloud.run(&["export", "--readings"]).await?;
    let ledger = cloud.run(&["export", "--ledger"]).await?;
    Ok(Evidence {
        site: serde_json::from_slice(&site)?,
        answers: devices::answers(dir)?,
        stored: Evidence::read_lines(&stored).context("the export of readings")?,
        ledger: Evidence::read_lines(&ledger).context("the export of the ledger")?,
        runs: lives.runs,
        loss_window_ns: lives.loss_window_ns,
        pauses: lives.pauses,
    })
}
