//! A child process of the system under test: started, killed, stopped, restarted, always by its id;
//! its output goes to a file that outlives it.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tests_fieldsim::answer_log::wall_ns;
use tests_net::Host;
use tokio::process::{Child, Command};

/// How to start a process, so that it can be started again.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// For messages and the log file's name.
    pub name: String,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// Where its output is appended.
    pub log: PathBuf,
    /// The host it runs on; none for this machine itself.
    pub host: Option<Host>,
}

impl Recipe {
    /// A recipe without extra environment, logging to `<logs>/<name>.log`.
    #[must_use]
    pub fn new(name: &str, program: &Path, arguments: &[&str], logs: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            environment: Vec::new(),
            log: logs.join(format!("{name}.log")),
            host: None,
        }
    }

    /// The same on a host.
    #[must_use]
    pub fn on(self, host: &Host) -> Self {
        Self {
            host: Some(host.clone()),
            ..self
        }
    }
}

/// Arms fail points for the next start, in the form of `FOGLINE_FAILPOINTS`; empty disarms. Each
/// hit leaves a line in `log`.
pub fn arm(recipe: &mut Recipe, failpoints: &str, log: &Path) {
    recipe
        .environment
        .retain(|(name, _)| !name.starts_with("FOGLINE_FAILPOINT"));
    if !failpoints.is_empty() {
        let log = log.to_string_lossy().into_owned();
        recipe
            .environment
            .push(("FOGLINE_FAILPOINTS".to_owned(), failpoints.to_owned()));
        recipe
            .environment
            .push(("FOGLINE_FAILPOINT_LOG".to_owned(), log));
    }
}

/// A process that was started from a recipe.
#[derive(Debug)]
pub struct Process {
    recipe: Recipe,
    child: Option<Child>,
    started_ns: i64,
}

impl Process {
    /// Starts the process.
    ///
    /// # Errors
    /// Where the binary cannot be started or its log not be opened.
    pub fn start(recipe: Recipe) -> anyhow::Result<Self> {
        let mut process = Self {
            recipe,
            child: None,
            started_ns: 0,
        };
        process.restart()?;
        Ok(process)
    }

    /// The recipe; a change takes effect at the next start.
    pub const fn recipe_mut(&mut self) -> &mut Recipe {
        &mut self.recipe
    }

    /// How it is started.
    #[must_use]
    pub const fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The process' name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.recipe.name
    }

    /// When the process was last started, nanoseconds UTC.
    #[must_use]
    pub const fn started_ns(&self) -> i64 {
        self.started_ns
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Starts the process again; it must have ended.
    ///
    /// # Errors
    /// Where it still runs or cannot be started.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.child.is_none(), "{} still runs", self.recipe.name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.recipe.log)
            .with_context(|| format!("opening {}", self.recipe.log.display()))?;
        self.started_ns = wall_ns();
        let mut command = match &self.recipe.host {
            Some(host) => host.command(&self.recipe.program).into(),
            None => Command::new(&self.recipe.program),
        };
        let child = command
            .args(&self.recipe.arguments)
            .envs(self.recipe.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A process group of its own: Ctrl-C reaches us alone, and we stop the rest in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!(
                    "starting {} ({})",
                    self.recipe.name,
                    self.recipe.program.display()
                )
            })?;
        self.child = Some(child);
        Ok(())
    }

    /// Whether the process has ended by itself; then it counts as ended from now on.
    ///
    /// # Errors
    /// Where the system will not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Kills the process at once and waits until it is gone. Returns when it was gone, ns UTC.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn kill(&mut self) -> anyhow::Result<i64> {
        let mut child = self
            .child
            .take()
            .with_context(|| format!("{} is down", self.recipe.name))?;
        child.kill().await?;
        Ok(wall_ns())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self
            .id()
            .with_context(|| format!("{} is down", self.recipe.name))?;
        let pid = Pid::from_raw(i32::try_from(id)?).context("no such process id")?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.recipe.name))
    }

    /// Asks the process to end and waits; kills it after `limit`, which is an error.
    ///
    /// # Errors
    /// Where it had to be killed. A process that does not run is fine.
    pub async fn stop(&mut self, limit: Duration) -> anyhow::Result<()> {
        if self.id().is_none() {
            self.child = None;
            return Ok(());
        }
        self.signal(Signal::TERM)?;
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        match tokio::time::timeout(limit, child.wait()).await {
            Ok(status) => status.map(drop).map_err(Into::into),
            Err(_elapsed) => {
                child.kill().await?;
                anyhow::bail!("{} did not stop within {limit:?}", self.recipe.name)
            }
        }
    }

    /// The last lines of the process' log, for error messages.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_words(&self.recipe.log)
    }
}

/// The last lines of a log, for error messages.
#[must_use]
pub fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(15)..)
        .unwrap_or_default()
        .join("\n")
}
