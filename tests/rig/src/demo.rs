//! The demo: everything on this machine, for a person to look at, or for the judge.

use crate::screen::{self, Block};
use anyhow::Context as _;
use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests_harness::gateway::Status;
use tests_harness::site::{self, GatewayOptions};
use tests_harness::stack::{Binaries, Stack};
use tokio::signal::unix::{SignalKind, signal};

/// How long data may take to flow after everything was started.
const FLOW_LIMIT: Duration = Duration::from_secs(120);
/// How long everything read may take to be settled.
const QUIESCENCE_LIMIT: Duration = Duration::from_secs(120);

/// What the demo is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Stop the devices after a while, wait for quiescence and judge.
    #[arg(long)]
    check: bool,
    /// Seconds of flowing data before the devices are stopped.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

impl Demo {
    /// Runs to the end.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let dir = tempfile::Builder::new().prefix("fogline-demo-").tempdir()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let started = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::FAILURE),
            _ = terminate.recv() => return Ok(ExitCode::FAILURE),
            started = start(dir.path()) => started,
        };
        let mut stack = match started {
            Ok(stack) => stack,
            Err(error) => {
                let kept = dir.keep();
                return Err(error.context(format!("the logs are in {}/logs", kept.display())));
            }
        };
        let done = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => Ok(ExitCode::SUCCESS),
            done = async {
                if self.check { self.judge(&mut stack).await } else { watch(&stack).await }
            } => done,
        };
        screen::say("stopping");
        let stopped = stack.stop().await;
        if done.is_err() || stopped.is_err() {
            screen::say(&format!("the logs are in {}/logs", dir.keep().display()));
        }
        stopped.context("stopping in order")?;
        done
    }

    async fn judge(&self, stack: &mut Stack) -> anyhow::Result<ExitCode> {
        stack.wait_for_flow(FLOW_LIMIT).await?;
        screen::say(&format!("data flows; devices stop in {} s", self.seconds));
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let (p50, p99) = settling(stack).await?;
        stack.stop_devices().await?;
        screen::say("devices stopped; waiting until everything is settled");
        stack.wait_for_quiescence(QUIESCENCE_LIMIT).await?;
        let evidence = stack.evidence().await?;
        let verdict = tests_oracle::judge(&evidence);
        for note in &verdict.notes {
            screen::say(note);
        }
        let filters_enough = verdict.filtering_points * 5 >= verdict.points;
        screen::result(&format!(
            "gateways={} {verdict} settle_p50_ms={p50:.0} settle_p99_ms={p99:.0}",
            stack.gateways.len()
        ));
        let good = verdict.holds()
            && verdict.deaf == 0
            && filters_enough
            && verdict.read > 0
            && verdict.filtered > 0;
        Ok(if good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Whether the daemon that the simulated adapter lives on is there.
fn has_dbus() -> bool {
    let asked = std::process::Command::new("dbus-daemon")
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// Starts the system in `dir` and tells how to look at it.
async fn start(dir: &Path) -> anyhow::Result<Stack> {
    let radio = has_dbus();
    if !radio {
        screen::say("  no Bluetooth LE: dbus-daemon is not installed (apt-get install dbus)");
    }
    let site = site::all_families(&dir.join("field"), radio);
    let binaries = Binaries::from_environment()?;
    let begun = Instant::now();
    let options = GatewayOptions {
        rules: site::WARM,
        ..GatewayOptions::default()
    };
    let stack = Stack::start(dir, binaries, site, options, |step| {
        screen::say(&format!("  starting {step}"));
    })
    .await?;
    screen::say(&format!(
        "everything runs ({:.1} s)",
        begun.elapsed().as_secs_f64()
    ));
    Ok(stack)
}

/// Settling delays of all gateways: the middle of the medians, the worst of the 99 %.
async fn settling(stack: &Stack) -> anyhow::Result<(f64, f64)> {
    let mut medians = Vec::new();
    let mut worst = 0f64;
    for gateway in &stack.gateways {
        if let Some(uplink) = gateway.status().await?.uplink {
            medians.extend(uplink.settling_p50_ms);
            worst = worst.max(uplink.settling_p99_ms.unwrap_or(0.0));
        }
    }
    medians.sort_by(f64::total_cmp);
    Ok((
        medians.get(medians.len() / 2).copied().unwrap_or(f64::NAN),
        worst,
    ))
}

/// Shows what happens until somebody ends it.
async fn watch(stack: &Stack) -> anyhow::Result<ExitCode> {
    let (name, password) = stack.first_login()?;
    screen::say("");
    screen::say(&format!("  dashboard   {}", screen::bold(&stack.url())));
    screen::say(&format!("  login       {name}"));
    screen::say(&format!(
        "  password    {} (works once)",
        screen::bold(&password)
    ));
    screen::say(&format!("  authority   {}", stack.ca().display()));
    screen::say("              the browser will warn: this authority was made a minute ago");
    screen::say(&format!("  logs        {}", stack.logs().display()));
    screen::say(
        "  an alarm    is raised within half a minute and cleared a minute after the start",
    );
    screen::say("  Ctrl-C stops everything");
    screen::say("");
    let mut block = Block::default();
    let mut before: HashMap<String, (Instant, u64)> = HashMap::new();
    loop {
        let mut lines = vec![format!(
            "{:<10} {:>10} {:>10} {:>12} {:>12} {:>14}",
            "gateway", "readings/s", "read", "in spool", "settled p50", "settled p99"
        )];
        for gateway in &stack.gateways {
            lines.push(match gateway.status().await {
                Ok(status) => line(&gateway.id, &status, &mut before),
                Err(error) => format!("{:<10} does not answer: {error:#}", gateway.id),
            });
        }
        block.show(&lines);
        tokio::time::sleep(Duration::from_secs(block.every_seconds())).await;
    }
}

fn line(id: &str, status: &Status, before: &mut HashMap<String, (Instant, u64)>) -> String {
    let now = (Instant::now(), status.pipeline.taken);
    let rate = before.insert(id.to_owned(), now).map(|(then, taken)| {
        let readings = u32::try_from(now.1.saturating_sub(taken)).unwrap_or(u32::MAX);
        f64::from(readings) / now.0.duration_since(then).as_secs_f64()
    });
    let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
    let uplink = status.uplink.as_ref();
    format!(
        "{id:<10} {:>10} {:>10} {:>12} {:>12} {:>14}",
        rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
        status.pipeline.taken,
        format!("{} records", status.spool.records),
        ms(uplink.and_then(|uplink| uplink.settling_p50_ms)),
        ms(uplink.and_then(|uplink| uplink.settling_p99_ms)),
    )
}
