//! A cluster on this machine does what its guide says, and leaves nothing behind, also when its owner is
//! killed.

use super::stage::{LIMIT, Stage, Told};
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use tests_cluster::{Control, Request, disk, leftovers::Mark};
use tests_deploy::guide;
use tests_harness::wait::wait_for;
use tests_net::leftovers;
use tokio::process::Command;

/// Where the guide is, from the workspace's root.
const GUIDE: &str = "tests/cluster/README.md";
/// What every command of it begins with.
const XTASK: &str = "cargo xtask cluster ";

pub(super) async fn the_guide_of_the_cluster_holds_and_nothing_stays_behind(
    stage: &Stage,
) -> anyhow::Result<Told> {
    if let Err(why) = tests_cluster::can_run() {
        let required = std::env::var_os("FOGLINE_REQUIRE_NET").is_some();
        anyhow::ensure!(!required, "{why:#}");
        return Ok(Told::NotRun(format!("{why:#}")));
    }
    let desk = Desk {
        program: stage.binaries.ours("fogline-cluster"),
        dir: stage.dir.join("cluster"),
    };
    let text = std::fs::read_to_string(GUIDE)
        .with_context(|| format!("reading {GUIDE}; run this from the workspace's root"))?;
    let mut commands = 0;
    for block in guide::of(&text).filter(|block| block.kind == "sh") {
        for line in block.text.lines() {
            let command = line.split('#').next().unwrap_or(line).trim();
            let arguments = command.strip_prefix(XTASK);
            let arguments = arguments.with_context(|| format!("who tests {command:?}?"))?;
            let here = stage.binaries.dir.to_string_lossy();
            desk.run(&arguments.replace("target/debug", &here)).await?;
            commands += 1;
        }
    }
    desk.nothing_is_left(None)?;

    // An owner that is killed cannot take anything away.
    desk.run("up").await?;
    let mark = Mark::read(&desk.dir).context("no mark")?;
    let owner = std::fs::read_to_string(desk.dir.join("owner.pid"))?;
    let owner = Pid::from_raw(owner.trim().parse()?).context("no such process id")?;
    kill_process(owner, Signal::KILL)?;
    let there = Control::there(&desk.dir);
    wait_for("the owner to be gone", LIMIT, async || {
        anyhow::ensure!(there.ask(Request::Status).await.is_err(), "it answers");
        Ok(())
    })
    .await?;
    let left = leftovers::namespaces(mark.tag())?.len();
    anyhow::ensure!(left > 0, "there was nothing to leave behind");
    desk.run("down").await?;
    desk.nothing_is_left(Some(&mark))?;
    Ok(Told::Holds(format!(
        "{commands} commands; {left} hosts of a killed owner removed"
    )))
}

/// Where the commands are given.
struct Desk {
    program: PathBuf,
    dir: PathBuf,
}

impl Desk {
    async fn run(&self, arguments: &str) -> anyhow::Result<String> {
        let said = Command::new(&self.program)
            .arg("--dir")
            .arg(&self.dir)
            .args(arguments.split_whitespace())
            .output()
            .await
            .with_context(|| format!("starting {}", self.program.display()))?;
        let words = String::from_utf8_lossy(&said.stderr);
        anyhow::ensure!(said.status.success(), "cluster {arguments}: {words}");
        Ok(String::from_utf8_lossy(&said.stdout).into_owned())
    }

    fn nothing_is_left(&self, mark: Option<&Mark>) -> anyhow::Result<()> {
        anyhow::ensure!(Mark::read(&self.dir).is_none(), "the mark is there");
        let mounted = disk::mounted_below(&canonical(&self.dir)?)?;
        anyhow::ensure!(mounted.is_empty(), "still mounted: {mounted:?}");
        if let Some(mark) = mark {
            let hosts = leftovers::namespaces(mark.tag())?;
            anyhow::ensure!(hosts.is_empty(), "still there: {hosts:?}");
        }
        Ok(())
    }
}

fn canonical(dir: &Path) -> anyhow::Result<PathBuf> {
    dir.canonicalize()
        .with_context(|| format!("finding {}", dir.display()))
}
