//! The dashboard's tests: the real system, a real browser, Node's own test runner.
//!
//! Before the browser comes, one gateway loses its tail in a crash and another is stopped: the page
//! must show a gap, a lost range and stale values as such.

use crate::screen;
use anyhow::Context as _;
use std::process::ExitCode;
use std::time::Duration;
use tests_fieldsim::answer_log::SILENT;
use tests_harness::proxy::Link;
use tests_harness::site::{self, GatewayOptions};
use tests_harness::stack::{Binaries, Stack};
use tests_harness::wait::wait_for;
use tokio::process::Command;

/// How long data may take to flow.
const FLOW_LIMIT: Duration = Duration::from_secs(120);
/// How long readings are lost, and how long the gateway is away: within a batch and a commit.
const LOST_TAIL: Duration = Duration::from_millis(1500);
/// What a gateway needs to notice that a unit is silent: two time-outs, and the bus' turn.
const NOTICED: Duration = Duration::from_secs(4);
/// Where the tests are, from the workspace's root.
const FOLDER: &str = "tests/e2e/dashboard";

/// Runs the tests.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    install().await?;
    let dir = tempfile::Builder::new()
        .prefix("fogline-browser-")
        .tempdir()?;
    let site = site::demo(&dir.path().join("field"));
    let binaries = Binaries::from_environment()?;
    let options = GatewayOptions {
        rules: site::RELAY,
        ..GatewayOptions::default()
    };
    let mut stack = Stack::start(dir.path(), binaries, site, options, |_step| {}).await?;
    stack.wait_for_flow(FLOW_LIMIT).await?;
    lose_a_tail(&mut stack).await?;
    let (user, password) = stack.first_login()?;
    let tests = Command::new("npm")
        .args(["test", "--silent"])
        .current_dir(FOLDER)
        .env("FOGLINE_URL", stack.url())
        .env("FOGLINE_USER", user)
        .env("FOGLINE_PASSWORD", password)
        .env("FOGLINE_REQUIRE", "stale,gap,lost,alarm")
        .status()
        .await
        .context("running the tests with npm")?;
    stack.stop().await?;
    if !tests.success() {
        screen::say(&format!("the logs are in {}/logs", dir.keep().display()));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Kills the first gateway while nothing it reads can be settled, and lets it come back; stops the
/// second.
async fn lose_a_tail(stack: &mut Stack) -> anyhow::Result<()> {
    stack.link.set(Link::Stalled);
    tokio::time::sleep(LOST_TAIL).await;
    if let Some(first) = stack.gateways.first_mut() {
        first.kill().await?;
        tokio::time::sleep(LOST_TAIL).await;
        first.restart()?;
    }
    stack.link.set(Link::Passing);
    stack.wait_for_flow(FLOW_LIMIT).await?;
    stack.wait_for_quiescence(FLOW_LIMIT).await?;
    wait_for("a unit to go silent", FLOW_LIMIT, async || {
        let silent = stack.answers()?.iter().any(|line| line.kind == SILENT);
        anyhow::ensure!(silent, "no unit was silent yet");
        Ok(())
    })
    .await?;
    // Until the gateway has noticed, and the cloud has stored what it noticed.
    tokio::time::sleep(NOTICED).await;
    stack.wait_for_quiescence(FLOW_LIMIT).await?;
    if let Some(second) = stack.gateways.get_mut(1) {
        second.stop().await?;
    }
    Ok(())
}

async fn install() -> anyhow::Result<()> {
    let installed = Command::new("npm")
        .args(["ci", "--no-fund", "--no-audit", "--loglevel=error"])
        .arg("--fetch-retries=5")
        .current_dir(FOLDER)
        .status()
        .await
        .context("starting npm")?;
    anyhow::ensure!(installed.success(), "npm ci in {FOLDER} failed");
    Ok(())
}
