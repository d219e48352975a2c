//! Chaos: one fault a round, then recovery; at the end quiescence, and the judge.
//!
//! The seed decides which fault comes when and how long things stay broken. Every fault comes once
//! before any comes twice, so fifteen rounds are enough for all of them.

mod damage;
mod fault;

use crate::screen;
use anyhow::Context as _;
use fault::{Fault, Round};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests_harness::site::{self, GatewayOptions};
use tests_harness::stack::{Binaries, Stack};
use tests_harness::wait::wait_for;

/// How long data may take to flow at the start.
const FLOW_LIMIT: Duration = Duration::from_secs(120);
/// How long everything may take to be settled after a fault, and at the end.
const RECOVERY_LIMIT: Duration = Duration::from_secs(120);
/// Signs of life travel through every fault: nothing may count them as readings.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// While devices are read a healthy gateway holds a few records that are on their way.
const RECORDS_UNDER_WAY: u64 = 8;

/// What chaos is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Chaos {
    /// How many faults, one a round.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Same seed, same faults in the same order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Chaos {
    /// Runs all rounds and judges.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let dir = tempfile::Builder::new()
            .prefix("fogline-chaos-")
            .tempdir()?;
        let site = site::demo(&dir.path().join("field"));
        let stack = Stack::start(
            dir.path(),
            Binaries::from_environment()?,
            site,
            options()?,
            |_| {},
        );
        let mut stack = stack.await?;
        let hits = dir.path().join("failpoint-hits");
        let told = self.rounds(&mut stack, &hits).await;
        let judged = match told {
            Ok(worst) => self.judge(&mut stack, &hits, worst).await,
            Err(error) => Err(error),
        };
        let stopped = stack.stop().await;
        if !matches!(judged, Ok(ExitCode::SUCCESS)) || stopped.is_err() {
            screen::say(&format!("everything is kept in {}", dir.keep().display()));
        }
        stopped.context("stopping in order")?;
        judged
    }

    async fn rounds(&self, stack: &mut Stack, hits: &std::path::Path) -> anyhow::Result<Duration> {
        stack.wait_for_flow(FLOW_LIMIT).await?;
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut worst = Duration::ZERO;
        let mut left: Vec<Fault> = Vec::new();
        for number in 1..=self.rounds {
            if left.is_empty() {
                left = Fault::ALL.to_vec();
                random.shuffle(&mut left);
            }
            let Some(fault) = left.pop() else { continue };
            let mut round = Round {
                stack,
                random: &mut random,
                hits,
            };
            let victim = round
                .run(fault)
                .await
                .with_context(|| format!("round {number}: {fault:?}"))?;
            let healed = Instant::now();
            recovered(stack)
                .await
                .with_context(|| format!("after round {number}: {fault:?}"))?;
            let recovery = healed.elapsed();
            worst = worst.max(recovery);
            screen::say(&format!(
                "round {number:>3}  {:<28} {victim:<8} recovered in {:.1} s",
                format!("{fault:?}"),
                recovery.as_secs_f64()
            ));
        }
        Ok(worst)
    }

    async fn judge(
        &self,
        stack: &mut Stack,
        hits: &std::path::Path,
        worst: Duration,
    ) -> anyhow::Result<ExitCode> {
        stack.stop_devices().await?;
        stack.wait_for_quiescence(RECOVERY_LIMIT).await?;
        let evidence = stack.evidence().await?;
        let verdict = tests_oracle::judge(&evidence);
        let table = hit_table(hits);
        screen::say("fail points hit:");
        for (name, count) in &table {
            screen::say(&format!("  {name:<24} {count}"));
        }
        for note in &verdict.notes {
            screen::say(note);
        }
        screen::result(&format!(
            "rounds={} seed={} {verdict} worst_recovery_s={:.1}",
            self.rounds,
            self.seed,
            worst.as_secs_f64()
        ));
        let all_hit = usize::try_from(self.rounds)? < Fault::ALL.len()
            || fault::FAILPOINTS
                .iter()
                .all(|name| table.contains_key(*name));
        if !all_hit {
            screen::say("not every fail point was hit: the run proves less than it says");
        }
        let good = verdict.holds() && all_hit && verdict.read > 0;
        Ok(if good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// A small spool that fills in seconds, short batches, stepping clocks.
fn options() -> anyhow::Result<GatewayOptions> {
    let faketime = std::env::var_os("FOGLINE_LIBFAKETIME").map(PathBuf::from);
    let faketime = faketime.context("libfaketime is missing: apt-get install faketime")?;
    Ok(GatewayOptions {
        batch_live: Duration::from_millis(250),
        batch_offline: Duration::from_secs(1),
        commit: Duration::from_secs(1),
        spool_max: "4MiB".to_owned(),
        rotate_above: "600KiB".to_owned(),
        poll: Duration::from_millis(250),
        keep_alive: Some(KEEP_ALIVE),
        faketime: Some(faketime),
        ..GatewayOptions::default()
    })
}

/// Waits until every gateway is connected and holds no more than what is on its way.
async fn recovered(stack: &Stack) -> anyhow::Result<()> {
    wait_for("recovery", RECOVERY_LIMIT, async || {
        for gateway in &stack.gateways {
            let status = gateway.status().await?;
            let uplink = status.uplink.context("no uplink")?;
            anyhow::ensure!(
                uplink.connected && status.spool.records <= RECORDS_UNDER_WAY,
                "{}: connected {}, store away {}, {} records held",
                gateway.id,
                uplink.connected,
                uplink.store_away,
                status.spool.records
            );
        }
        Ok(())
    })
    .await
}

/// How often each fail point ended a process.
fn hit_table(hits: &std::path::Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(hits).unwrap_or_default();
    let mut table = BTreeMap::new();
    for name in text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        *table.entry(name.to_owned()).or_insert(0) += 1;
    }
    table
}
