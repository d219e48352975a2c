//! A peer that runs: what it says line by line, under a deadline; ended by its own id.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that may wait; a peer that says more waits itself.
const LINES: usize = 4096;

/// Nothing here takes so long, on a machine that stands still for a while either.
#[must_use]
pub const fn patience() -> Duration {
    Duration::from_secs(120)
}

/// A child process with its output.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts it; `arguments` as they are.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let name = program.display().to_string();
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let output = child
            .stdout
            .take()
            .context("a child has its output piped")?;
        let (sender, lines) = sync_channel(LINES);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name, child, lines })
    }

    /// The next line.
    ///
    /// # Errors
    /// None came in time, or it ended.
    pub fn line(&mut self) -> Result<String> {
        match self.lines.recv_timeout(patience()) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} said nothing for {:?}", self.name, patience())
            }
            Err(RecvTimeoutError::Disconnected) => {
                bail!("{} ended: {:?}", self.name, self.child.wait())
            }
        }
    }

    /// What follows `mark` in the first line that has it.
    ///
    /// # Errors
    /// As [`Running::line`].
    pub fn after(&mut self, mark: &str) -> Result<String> {
        let end = Instant::now() + patience();
        while Instant::now() < end {
            let line = self.line()?;
            if let Some((_, rest)) = line.split_once(mark) {
                return Ok(rest.trim().to_owned());
            }
        }
        bail!("{} never said {mark:?}", self.name)
    }

    /// Everything it says until it ends, which must be well.
    ///
    /// # Errors
    /// It does not end in time, or not well.
    pub fn output(mut self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        let end = Instant::now() + patience();
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => all.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("{} does not end: {all:?}", self.name),
            }
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{} ended with {status}: {all:?}", self.name);
        }
        Ok(all)
    }

    /// Lines that are there.
    pub fn said(&mut self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already waited for, it is gone and so is its id.
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), i32::try_from(self.child.id()).ok())
        {
            let pid = Pid::from_raw(pid);
            let _gone = pid.map(|pid| kill_process(pid, Signal::KILL));
            let _status = self.child.wait();
        }
    }
}
