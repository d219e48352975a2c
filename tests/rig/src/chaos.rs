//! Chaos: a fault, then recovery, round after round; at the end quiescence, and the judge.
//!
//! The seed decides which fault comes when and how long things stay broken. Every fault comes once before
//! any comes twice.

mod cluster;
mod deck;
mod single;

use crate::screen;
use anyhow::Context as _;
use std::process::ExitCode;
use std::time::Duration;
use tests_harness::gateway::Door;
use tests_harness::wait::wait_for;
use tests_oracle::Evidence;

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
    /// How many rounds: one fault each, or two where a cluster has more faults than rounds.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Same seed, same faults in the same order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Over a cluster of three brokers instead of one machine.
    #[arg(long)]
    cluster: bool,
    /// Only these faults of the cluster, by name, in turn.
    #[arg(long, requires = "cluster", value_name = "FAULT")]
    fault: Vec<String>,
}

impl Chaos {
    /// Runs all rounds and judges.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        if self.cluster {
            cluster::run(&self).await
        } else {
            single::run(&self).await
        }
    }
}

/// Waits until every gateway is connected and holds no more than what is on its way.
async fn recovered(gateways: &[Door]) -> anyhow::Result<()> {
    wait_for("recovery", RECOVERY_LIMIT, async || {
        for gateway in gateways {
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

/// Lets the judge speak: whether everything is accounted for, and the verdict in one line.
fn judge(evidence: &Evidence) -> (bool, tests_oracle::Verdict) {
    let verdict = tests_oracle::judge(evidence);
    for note in &verdict.notes {
        screen::say(note);
    }
    (verdict.holds() && verdict.read > 0, verdict)
}
