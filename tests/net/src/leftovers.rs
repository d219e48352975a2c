//! Hosts whose owner was killed: found by how their names begin, and removed with what runs on them.

use crate::hosts::ip;
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long killed processes may take to be gone: one that writes to a slow disk takes its time.
const DEATH_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Namespaces whose names begin with `tag`.
///
/// # Errors
/// What `ip` says.
pub fn namespaces(tag: &str) -> anyhow::Result<Vec<String>> {
    let list = said(&["netns", "list"])?;
    let names = list.lines().filter_map(|line| line.split(' ').next());
    Ok(names
        .filter(|name| name.starts_with(tag))
        .map(str::to_owned)
        .collect())
}

/// What runs in a namespace.
///
/// # Errors
/// What `ip` says.
pub fn processes(namespace: &str) -> anyhow::Result<Vec<Pid>> {
    let list = said(&["netns", "pids", namespace])?;
    let pids = list.lines().filter_map(|line| line.trim().parse().ok());
    Ok(pids.filter_map(Pid::from_raw).collect())
}

/// Kills everything in a namespace, whoever started it, and waits until it is gone.
///
/// # Errors
/// What `ip` says, and where something does not die.
pub fn kill_all(namespace: &str) -> anyhow::Result<()> {
    let until = Instant::now() + DEATH_LIMIT;
    loop {
        // A dead process whose parent has not noticed yet is not listed.
        let left = processes(namespace)?;
        if left.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until, "{left:?} in {namespace} do not die");
        for pid in left {
            // It may have ended by itself meanwhile.
            let _gone = kill_process(pid, Signal::KILL);
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Removes a namespace, with whatever still runs in it. Its devices go with it.
///
/// # Errors
/// What `ip` says.
pub fn remove(namespace: &str) -> anyhow::Result<()> {
    kill_all(namespace)?;
    ip(&["netns", "del", namespace])
}

fn said(arguments: &[&str]) -> anyhow::Result<String> {
    let said = Command::new("ip").args(arguments).output();
    let said = said.context("running `ip` (Debian: apt-get install iproute2)")?;
    let error = String::from_utf8_lossy(&said.stderr);
    anyhow::ensure!(
        said.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        error.trim()
    );
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}
