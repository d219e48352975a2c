//! What a gateway kept while it was offline survives its sudden end.

use super::stage::{LIMIT, Stage, Told, brisk, judged, until};
use anyhow::Context as _;
use tests_harness::proxy::Link;

/// Records that must lie in the spool before the kill, some of them on disk.
const KEPT: u64 = 10;

pub(super) async fn what_a_killed_gateway_kept_offline_arrives_after_its_restart(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let mut stack = stage.start(stage.demo(), brisk()).await?;
    stack.link.set(Link::Cut);
    for gateway in &stack.gateways {
        until(gateway, "keeps what it reads", |status| {
            status.spool.records >= KEPT && status.spool.live_bytes > status.spool.memory_bytes
        })
        .await?;
    }
    let mut found = Vec::new();
    for gateway in &mut stack.gateways {
        gateway.kill().await?;
        gateway.restart()?;
    }
    for gateway in &stack.gateways {
        let status = until(gateway, "has its spool back", |status| {
            status.spool.records > 0
        })
        .await?;
        let uplink = status.uplink.context("no uplink")?;
        anyhow::ensure!(!uplink.connected, "{} is connected to nobody", gateway.id);
        found.push(status.spool.records);
    }
    // What was on disk before the kill must arrive: the judge allows no more than the tail to be missing.
    stack.link.set(Link::Passing);
    stack.wait_for_flow(LIMIT).await?;
    let kept = format!("{found:?} records after the kill");
    Ok(Told::Holds(format!("{kept}; {}", judged(stack).await?)))
}
