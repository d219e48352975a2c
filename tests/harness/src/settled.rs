//! What a healthy system comes to: data flows, and, once the devices are silent, nothing is held any more.

use crate::gateway::Door;
use crate::wait::wait_for;
use anyhow::Context as _;
use std::time::Duration;
use tokio::time::Instant;

/// How late a batch may be sealed on a busy machine.
const SEAL_SLACK: Duration = Duration::from_secs(1);

/// Waits until every gateway is connected, has read something and has had something settled; `words`
/// explain, where it does not come to that.
///
/// # Errors
/// What is missing after `limit`.
pub async fn wait_for_flow(
    gateways: &[Door],
    limit: Duration,
    words: impl Fn() -> String,
) -> anyhow::Result<()> {
    wait_for("data to flow", limit, async || {
        for gateway in gateways {
            let status = gateway.status().await?;
            let uplink = status.uplink.context("no uplink")?;
            anyhow::ensure!(
                uplink.connected && uplink.settling_p50_ms.is_some(),
                "{}: connected {}, settled {}; {}",
                gateway.id,
                uplink.connected,
                uplink.settling_p50_ms.is_some(),
                words()
            );
            anyhow::ensure!(status.pipeline.taken > 0, "{} has read nothing", gateway.id);
        }
        Ok(())
    })
    .await
}

/// Waits until no gateway holds a reading any more. With the devices stopped the gateways still report
/// their absence; what counts is that everything held for longer than a `batch` is settled. A spool that is
/// empty sooner proves nothing: the last readings may still wait in a batch. So each gateway must first have
/// sealed one; devices that were stopped are bad readings, filtered ones, and those are counted in a record
/// too.
///
/// # Errors
/// What is still held after `limit`.
pub async fn wait_for_quiescence(
    gateways: &[Door],
    batch: Duration,
    limit: Duration,
) -> anyhow::Result<()> {
    let sealed = Instant::now() + batch + SEAL_SLACK;
    let mut sealing: Vec<Sealing> = gateways.iter().map(|_| Sealing::default()).collect();
    wait_for("quiescence", limit, async || {
        anyhow::ensure!(Instant::now() >= sealed, "a batch may still be open");
        for (gateway, sealing) in gateways.iter().zip(&mut sealing) {
            let status = gateway.status().await?;
            let sealed = sealing.look(status.pipeline.records);
            anyhow::ensure!(sealed, "{} has sealed no batch since", gateway.id);
            let connected = status
                .uplink
                .as_ref()
                .is_some_and(|uplink| uplink.connected);
            anyhow::ensure!(connected, "{} is not connected", gateway.id);
            anyhow::ensure!(
                status.spool.records == 0,
                "{} holds {} records ({} bytes)",
                gateway.id,
                status.spool.records,
                status.spool.live_bytes
            );
        }
        Ok(())
    })
    .await
}

/// Notices that a batch was sealed and is in the spool, from the count of sealed records at each look:
/// a record that is counted is about to be appended, and the one after it comes only then.
#[derive(Debug, Default)]
struct Sealing {
    seen: Option<u64>,
    rises: u32,
}

impl Sealing {
    fn look(&mut self, records: u64) -> bool {
        let before = self.seen.replace(records);
        self.rises += u32::from(before.is_some_and(|before| before != records));
        self.rises >= 2
    }
}
