//! A broken configuration file never stops a gateway: not while it runs, not when it starts.

use super::stage::{Stage, Told, brisk, gateway, judged, until};
use anyhow::Context as _;
use std::path::Path;
use tests_harness::gateway::Gateway;
use tests_harness::site::HALL_1;
use tests_harness::stack::Stack;
use tokio::process::Command;

/// Exit codes of `fogline-gateway`, as `--help` tells them.
const CONFIG_REFUSED: i32 = 3;
const NOT_HEALTHY: i32 = 4;

pub(super) async fn a_broken_configuration_file_leaves_the_gateway_running_the_last_good_one(
    stage: &Stage,
) -> anyhow::Result<Told> {
    // A reload begins the filters anew; without filters the judge need not know of it.
    let mut site = stage.demo();
    for bus in &mut site.buses {
        for unit in &mut bus.units {
            unit.points
                .iter_mut()
                .for_each(|point| point.deadband = 0.0);
        }
    }
    let mut stack = stage.start(site, brisk()).await?;
    let file = gateway(&mut stack, HALL_1)?.dir().join("gateway.toml");
    let good = std::fs::read_to_string(&file)?;
    let before = gateway(&mut stack, HALL_1)?.status().await?;

    // While it runs: refused, named, and the old one goes on.
    std::fs::write(
        &file,
        good.replacen("scale =", "skale =", 1) + "\n[bus.half\n",
    )?;
    reload(&mut stack)?;
    let refused = until(
        gateway(&mut stack, HALL_1)?,
        "the reload is refused",
        |status| status.config.refused.is_some(),
    )
    .await?;
    anyhow::ensure!(
        refused.config.revision == before.config.revision,
        "{refused:?}"
    );
    anyhow::ensure!(refused.pid == before.pid, "another process");
    let (told, code) = command(stage, &["check", &path(&file)]).await?;
    anyhow::ensure!(
        code == Some(CONFIG_REFUSED),
        "check ends with {code:?}:\n{told}"
    );
    still_reads(&mut stack).await?;

    // When it starts: the last good one runs, and it says so.
    let own = gateway(&mut stack, HALL_1)?;
    own.stop().await?;
    own.restart()?;
    let started = until(own, "the last good one runs", |status| {
        status.config.last_good
    })
    .await?;
    anyhow::ensure!(
        started.config.revision == before.config.revision,
        "{started:?}"
    );
    let (told, code) = command(stage, &["status", "--config", &path(&file)]).await?;
    anyhow::ensure!(
        code == Some(NOT_HEALTHY),
        "status ends with {code:?}:\n{told}"
    );
    let says_so = told.contains("the configuration file has errors; the last good one runs");
    anyhow::ensure!(says_so && told.contains("(last good)"), "{told}");
    still_reads(&mut stack).await?;

    // Put right: taken up without a restart.
    std::fs::write(&file, format!("{good}\n# put right\n"))?;
    reload(&mut stack)?;
    let own = gateway(&mut stack, HALL_1)?;
    let mended = until(own, "the mended file runs", |status| {
        !status.config.last_good && status.config.refused.is_none()
    })
    .await?;
    anyhow::ensure!(
        mended.config.revision != before.config.revision,
        "{mended:?}"
    );
    let (told, code) = command(stage, &["status", "--config", &path(&file)]).await?;
    anyhow::ensure!(code == Some(0), "status ends with {code:?}:\n{told}");
    Ok(Told::Holds(judged(stack).await?))
}

fn path(file: &Path) -> String {
    file.to_string_lossy().into_owned()
}

fn reload(stack: &mut Stack) -> anyhow::Result<()> {
    let process = gateway(stack, HALL_1)?.process_mut();
    process.signal(rustix::process::Signal::HUP)
}

async fn still_reads(stack: &mut Stack) -> anyhow::Result<()> {
    let own: &Gateway = gateway(stack, HALL_1)?;
    let now = own.status().await?.pipeline.taken;
    until(own, "reads on", |status| status.pipeline.taken > now).await?;
    Ok(())
}

/// What a command of the gateway prints, and its exit code.
async fn command(stage: &Stage, arguments: &[&str]) -> anyhow::Result<(String, Option<i32>)> {
    let program = stage.binaries.ours("fogline-gateway");
    let output = Command::new(&program).args(arguments).output().await;
    let output = output.with_context(|| format!("starting {}", program.display()))?;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    Ok((told, output.status.code()))
}
