//! The dashboard's tests: the real system, a real browser, Node's own test runner.

use crate::screen;
use anyhow::Context as _;
use std::process::ExitCode;
use std::time::Duration;
use tests_harness::site::{self, GatewayOptions};
use tests_harness::stack::{Binaries, Stack};
use tokio::process::Command;

/// How long data may take to flow.
const FLOW_LIMIT: Duration = Duration::from_secs(120);
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
    let stack = Stack::start(
        dir.path(),
        binaries,
        site,
        GatewayOptions::default(),
        |_step| {},
    )
    .await?;
    stack.wait_for_flow(FLOW_LIMIT).await?;
    let (user, password) = stack.first_login()?;
    let tests = Command::new("npm")
        .args(["test", "--silent"])
        .current_dir(FOLDER)
        .env("FOGLINE_URL", stack.url())
        .env("FOGLINE_USER", user)
        .env("FOGLINE_PASSWORD", password)
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

async fn install() -> anyhow::Result<()> {
    let installed = Command::new("npm")
        .args(["ci", "--no-fund", "--no-audit", "--loglevel=error"])
        .current_dir(FOLDER)
        .status()
        .await
        .context("starting npm")?;
    anyhow::ensure!(installed.success(), "npm ci in {FOLDER} failed");
    Ok(())
}
