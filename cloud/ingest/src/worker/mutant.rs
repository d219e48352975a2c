//! A wrong ingest, made on purpose: it settles before it commits. Compiled only into builds with fail
//! points, on only where `FOGLINE_MUTANT` says so; a test proves that the oracle notices it.

use super::{Job, Stopped, Worker};
use crate::teller::Told;
use cloud_store::Incoming;
use protocols_model::SeqSet;
use protocols_wire::AckItem;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Long enough for the acknowledgement to have reached the gateway before the commit, also on a slow
/// machine.
const TOLD_FIRST: Duration = Duration::from_secs(2);

pub(super) fn settles_before_commit() -> bool {
    std::env::var("FOGLINE_MUTANT").is_ok_and(|mutant| mutant == "settle-before-commit")
}

pub(super) async fn settle_then_commit(
    worker: &Worker,
    jobs: Vec<Job>,
    stop: &CancellationToken,
) -> Result<(), Stopped> {
    let mut batch = Vec::new();
    for Job {
        receipt, decoded, ..
    } in jobs
    {
        let told = Told {
            gateway: decoded
                .commit
                .as_ref()
                .map(|incoming| incoming.gateway.clone()),
            items: decoded.commit.as_ref().map(everything).unwrap_or_default(),
            receipt,
        };
        batch.extend(decoded.commit);
        worker.told.send(told).await.map_err(|_| Stopped)?;
    }
    tokio::time::sleep(TOLD_FIRST).await;
    worker.commit(batch, stop).await.map(drop)
}

fn everything(incoming: &Incoming) -> Vec<AckItem> {
    let item = |key: &protocols_model::RecordKey| {
        let mut stored = SeqSet::new();
        stored.insert_one(key.seq);
        AckItem {
            epoch: key.epoch,
            lane: key.lane,
            stored,
            refused: Vec::new(),
            retry: Vec::new(),
        }
    };
    incoming
        .records
        .iter()
        .map(|record| item(&record.key))
        .collect()
}
