//! A full disk takes nothing away that was on it, keeps no gateway from starting, and is over when it
//! is over.

use super::stage::{LIMIT, Stage, Told, brisk, gateway, judge, until};
use anyhow::Context as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests_fieldsim::answer_log::wall_ns;
use tests_harness::proxy::Link;
use tests_harness::site::{HALL_1, HALL_2};
use tests_harness::stack::Stack;
use tests_harness::wait::wait_for;

/// Room for two spools, and not for much more.
const SIZE: &str = "size=48m";
/// Readings that must be taken while the disk is full.
const MORE_READINGS: u64 = 60;

/// A file system of its own, gone with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(at)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "fogline-story"])
            .arg(at)
            .output()
            .context("starting mount")?;
        let words = String::from_utf8_lossy(&mounted.stderr);
        anyhow::ensure!(mounted.status.success(), "{}", words.trim());
        Ok(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is still being killed must not keep it.
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub(super) async fn a_full_disk_costs_no_reading_that_was_stored(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let folder = stage.dir.join("gateways");
    let disk = match SmallDisk::mount(&folder) {
        Ok(disk) => disk,
        Err(why) => {
            return Ok(Told::NotRun(format!(
                "no file system can be mounted: {why:#}"
            )));
        }
    };
    let mut stack = stage.start(stage.demo(), brisk()).await?;
    stack.link.set(Link::Cut);
    for gateway in &stack.gateways {
        let commits = |status: &tests_harness::gateway::Status| {
            status.spool.counters.get("commits").copied().unwrap_or(0)
        };
        let before = commits(&gateway.status().await?);
        until(gateway, "records reach the disk", |status| {
            commits(status) >= before + 2
        })
        .await?;
    }

    let full_at = wall_ns();
    let ballast = folder.join("ballast");
    let bytes = fill(&ballast)?;
    for gateway in &stack.gateways {
        let noticed = until(gateway, "the disk is noticed to be full", |status| {
            status.spool.disk_trouble.is_some()
                && status
                    .spool
                    .alarms
                    .iter()
                    .any(|alarm| alarm == "disk-unusable")
        })
        .await?;
        until(gateway, "reads on", |status| {
            status.pipeline.taken >= noticed.pipeline.taken + MORE_READINGS
        })
        .await?;
    }
    // One lives through it, one is killed and starts on the full disk.
    let victim = gateway(&mut stack, HALL_1)?;
    victim.kill().await?;
    let full_for = wall_ns() - full_at;
    victim.restart()?;
    reads_again(&stack, HALL_1, wall_ns()).await?;

    std::fs::remove_file(&ballast)?;
    for gateway in &stack.gateways {
        until(gateway, "the disk works again", |status| {
            status.spool.disk_trouble.is_none()
        })
        .await?;
    }
    stack.link.set(Link::Passing);
    stack.stop_devices().await?;
    stack.wait_for_quiescence(LIMIT).await?;
    let mut evidence = stack.evidence().await?;
    // What the killed one had read since the disk was full could be nowhere but in its memory.
    evidence.loss_window_ns += full_for;
    let verdict = judge(&evidence)?;
    let of_the_other = evidence.ledger.iter().filter(|row| row.gateway == HALL_2);
    anyhow::ensure!(of_the_other.count() == 0, "{HALL_2} lost something");
    stack.stop().await?;
    drop(disk);
    Ok(Told::Holds(format!(
        "{} MB of ballast; {verdict}",
        bytes >> 20
    )))
}

/// Writes until nothing more fits.
fn fill(path: &Path) -> anyhow::Result<u64> {
    let mut file = File::create(path)?;
    let mut bytes = 0;
    for size in [64 * 1024, 4096, 1] {
        let block = vec![0xa5; size];
        while file.write_all(&block).is_ok() {
            bytes += u64::try_from(size)?;
        }
    }
    anyhow::ensure!(bytes > 0, "nothing could be written");
    Ok(bytes)
}

/// Waits until the devices say that a gateway asks them again. The gateway itself cannot be asked for
/// sure: where it listens stands in a file, and there is no room for one.
async fn reads_again(stack: &Stack, id: &str, since: i64) -> anyhow::Result<()> {
    wait_for(&format!("{id} to read on a full disk"), LIMIT, async || {
        let answers = stack.answers()?;
        let asked = answers
            .iter()
            .any(|line| line.gateway == id && line.t > since);
        anyhow::ensure!(asked, "no device was asked");
        Ok(())
    })
    .await
}
