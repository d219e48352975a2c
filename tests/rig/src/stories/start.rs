//! Reading devices never waits for anybody: no broker, no network, no name that resolves.

use super::stage::{LIMIT, Stage, Told, brisk, gateway, judged, until};
use anyhow::Context as _;
use std::path::Path;
use tests_harness::proxy::Link;
use tests_harness::site::HALL_2;

/// Readings that must be taken and kept while nobody can be reached.
const KEPT_READINGS: u64 = 100;
/// A name that no resolver knows (RFC 2606).
const NOWHERE: &str = "mqtts://broker.invalid:8883";

pub(super) async fn a_gateway_polls_and_keeps_readings_when_it_starts_without_broker_or_network(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let mut stack = stage.start(stage.demo(), brisk()).await?;
    for gateway in &mut stack.gateways {
        gateway.stop().await?;
    }
    stack.broker.kill().await?;
    stack.link.set(Link::Cut);
    let identity = gateway(&mut stack, HALL_2)?.dir().join("identity.toml");
    let good = rename_server(&identity, NOWHERE)?;

    let mut waiting = Vec::new();
    for gateway in &mut stack.gateways {
        gateway.restart()?;
    }
    for gateway in &stack.gateways {
        let status = until(gateway, "reads and keeps without a cloud", |status| {
            status.pipeline.taken >= KEPT_READINGS && status.spool.records > 0
        })
        .await?;
        let uplink = status.uplink.context("no uplink")?;
        anyhow::ensure!(!uplink.connected, "{} is connected to nobody", gateway.id);
        let settled = status.spool.counters.get("settled_records");
        anyhow::ensure!(settled == Some(&0), "settled by nobody: {settled:?}");
        waiting.push(status.spool.records);
    }

    // The network comes back: for one at once, for the other when its file is put right.
    stack.broker.restart()?;
    stack.link.set(Link::Passing);
    std::fs::write(&identity, good)?;
    stack.wait_for_flow(LIMIT).await?;
    let kept = format!("{waiting:?} records waited");
    Ok(Told::Holds(format!("{kept}; {}", judged(stack).await?)))
}

/// Names another server in an identity file; gives what the file held.
fn rename_server(identity: &Path, server: &str) -> anyhow::Result<String> {
    let good = std::fs::read_to_string(identity)?;
    let mut table: toml::Table = good.parse()?;
    let servers = toml::Value::Array(vec![server.into()]);
    table.insert("servers".to_owned(), servers);
    std::fs::write(identity, toml::to_string(&table)?)?;
    Ok(good)
}
