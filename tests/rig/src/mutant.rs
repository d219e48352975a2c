//! Quis custodiet: the judge before a cloud that is wrong on purpose.
//!
//! The cloud (a build with fail points) settles before it commits, and ends in between. A judge that
//! finds nothing lost then is worth nothing, and this fails. The other mutants, a seq reused after a
//! kill and a `sync_data` skipped, are tests of the spool.

use crate::screen;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests_harness::process::arm;
use tests_harness::site::{self, GatewayOptions};
use tests_harness::stack::{Binaries, Stack};

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(120);
const MUTANT: &str = "FOGLINE_MUTANT";

/// Runs the wrong cloud and judges.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let dir = tempfile::Builder::new()
        .prefix("fogline-mutant-")
        .tempdir()?;
    let site = site::demo(&dir.path().join("field"));
    let binaries = Binaries::from_environment()?;
    let mut stack = Stack::start(
        dir.path(),
        binaries,
        site,
        GatewayOptions::default(),
        |_step| {},
    )
    .await?;
    stack.wait_for_flow(LIMIT).await?;
    stack.cloud.kill().await?;
    let hits = dir.path().join("hits");
    let recipe = stack.cloud.recipe_mut();
    arm(recipe, "ingest.before_commit=kill:1:4", &hits);
    recipe
        .environment
        .push((MUTANT.to_owned(), "settle-before-commit".to_owned()));
    stack.cloud.restart()?;
    let deadline = Instant::now() + LIMIT;
    while stack.cloud.ended()?.is_none() {
        anyhow::ensure!(
            Instant::now() < deadline,
            "the wrong cloud did not end in {LIMIT:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let recipe = stack.cloud.recipe_mut();
    arm(recipe, "", &hits);
    recipe.environment.retain(|(name, _)| name != MUTANT);
    stack.cloud.restart()?;
    stack.wait_for_flow(LIMIT).await?;
    stack.stop_devices().await?;
    stack.wait_for_quiescence(LIMIT).await?;
    let verdict = tests_oracle::judge(&stack.evidence().await?);
    stack.stop().await?;
    let noticed = verdict.lost > 0;
    screen::result(&format!(
        "mutant=settle-before-commit lost={} noticed={noticed}",
        verdict.lost
    ));
    Ok(if noticed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
