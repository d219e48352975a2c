//! The broker takes messages, the database takes none: nothing is settled, nothing leaves a spool,
//! and it is said.

use super::stage::{Stage, Told, brisk, judged, until};
use anyhow::Context as _;
use rusqlite::Connection;
use std::time::Duration;
use tests_harness::gateway::Status;
use tokio::time::Instant;

/// How long the database stays locked after it was noticed.
const LOCKED: Duration = Duration::from_secs(5);

pub(super) async fn a_locked_database_settles_nothing_and_recovers(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let stack = stage.start(stage.demo(), brisk()).await?;
    let file = stack.cloud_dir().join("data/fogline.db");
    let lock = Connection::open(&file).with_context(|| format!("opening {}", file.display()))?;
    lock.busy_timeout(Duration::from_secs(30))?;
    lock.execute_batch("BEGIN IMMEDIATE")?;
    let locked = Instant::now();
    let mut noticed = Vec::new();
    for gateway in &stack.gateways {
        let status = until(gateway, "the store is away", |status| {
            status
                .uplink
                .as_ref()
                .is_some_and(|uplink| uplink.store_away)
        })
        .await?;
        noticed.push((settled(&status), status.spool.records));
    }
    let after = locked.elapsed();
    tokio::time::sleep(LOCKED).await;
    for (gateway, (settled_then, held_then)) in stack.gateways.iter().zip(&noticed) {
        let status = until(gateway, "more is held", |status| {
            status.spool.records > *held_then
        })
        .await?;
        let uplink = status.uplink.as_ref().context("no uplink")?;
        anyhow::ensure!(uplink.store_away && uplink.connected, "{uplink:?}");
        anyhow::ensure!(settled(&status) == *settled_then, "{}: settled", gateway.id);
    }
    lock.execute_batch("ROLLBACK")?;
    let healed = Instant::now();
    for gateway in &stack.gateways {
        until(gateway, "the store is back", |status| {
            let uplink = status.uplink.as_ref();
            uplink.is_some_and(|uplink| !uplink.store_away) && status.spool.records < 4
        })
        .await?;
    }
    let recovered = healed.elapsed();
    Ok(Told::Holds(format!(
        "noticed after {:.1} s, recovered in {:.1} s; {}",
        after.as_secs_f64(),
        recovered.as_secs_f64(),
        judged(stack).await?
    )))
}

fn settled(status: &Status) -> Option<u64> {
    status.spool.counters.get("settled_records").copied()
}
