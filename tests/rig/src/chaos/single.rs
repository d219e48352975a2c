//! Chaos on one machine: gateways, the broker and the cloud killed, links broken, spools damaged and filled,
//! clocks stepped, and every fail point that the product has.

mod damage;
mod fault;

use super::deck::{Deck, table};
use super::{Chaos, FLOW_LIMIT, KEEP_ALIVE, RECOVERY_LIMIT, judge, recovered};
use crate::screen;
use anyhow::Context as _;
use fault::{Fault, Round};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests_harness::site::{self, GatewayOptions};
use tests_harness::stack::{Binaries, Stack};

/// Runs all rounds and judges.
pub(super) async fn run(chaos: &Chaos) -> anyhow::Result<ExitCode> {
    let dir = tempfile::Builder::new()
        .prefix("fogline-chaos-")
        .tempdir()?;
    let site = site::demo(&dir.path().join("field"));
    let binaries = Binaries::from_environment()?;
    let stack = Stack::start(dir.path(), binaries, site, options()?, |_| {});
    let mut stack = stack.await?;
    let hits = dir.path().join("failpoint-hits");
    let told = rounds(chaos, &mut stack, &hits).await;
    let judged = match told {
        Ok(worst) => end(chaos, &mut stack, &hits, worst).await,
        Err(error) => Err(error),
    };
    let stopped = stack.stop().await;
    if !matches!(judged, Ok(ExitCode::SUCCESS)) || stopped.is_err() {
        screen::say(&format!("everything is kept in {}", dir.keep().display()));
    }
    stopped.context("stopping in order")?;
    judged
}

async fn rounds(chaos: &Chaos, stack: &mut Stack, hits: &Path) -> anyhow::Result<Duration> {
    stack.wait_for_flow(FLOW_LIMIT).await?;
    let mut random = fastrand::Rng::with_seed(chaos.seed);
    let mut worst = Duration::ZERO;
    let mut deck = Deck::new(&Fault::ALL);
    for number in 1..=chaos.rounds {
        let Some(fault) = deck.draw(&mut random) else {
            continue;
        };
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
        recovered(&stack.doors())
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

async fn end(
    chaos: &Chaos,
    stack: &mut Stack,
    hits: &Path,
    worst: Duration,
) -> anyhow::Result<ExitCode> {
    stack.stop_devices().await?;
    stack.wait_for_quiescence(RECOVERY_LIMIT).await?;
    let (good, verdict) = judge(&stack.evidence().await?);
    let hit = hit_table(hits);
    screen::say("fail points hit:");
    table(&hit).iter().for_each(|line| screen::say(line));
    screen::result(&format!(
        "rounds={} seed={} {verdict} worst_recovery_s={:.1}",
        chaos.rounds,
        chaos.seed,
        worst.as_secs_f64()
    ));
    let all_hit = usize::try_from(chaos.rounds)? < Fault::ALL.len()
        || fault::FAILPOINTS.iter().all(|name| hit.contains_key(*name));
    if !all_hit {
        screen::say("not every fail point was hit: the run proves less than it says");
    }
    Ok(if good && all_hit {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

/// How often each fail point ended a process.
fn hit_table(hits: &Path) -> BTreeMap<String, u64> {
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
