//! [`Ingest`]: decode on the caller's side, write on a writer's.

use super::SqlStore;
use super::db::Connection;
use super::threads::Worker;
use super::{commit, hello, prepare, read};
use crate::error::StoreError;
use crate::ingest::{HelloState, Incoming, LiveUpdate, QuarantineInput, Settled};
use crate::store::Ingest;
use async_trait::async_trait;
use protocols_model::{GatewayId, Timestamp};
use protocols_wire::Hello;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::broadcast;

#[async_trait]
impl<E: Send + Sync + 'static> Ingest for SqlStore<E> {
    async fn commit(&self, batch: Vec<Incoming>) -> Result<Vec<Settled>, StoreError> {
        self.shared.engine.serving()?;
        let shared = Arc::clone(&self.shared);
        let prepared = tokio::task::spawn_blocking(move || prepare::prepare(&shared, batch))
            .await
            .map_err(|source| StoreError::Database {
                doing: "decoding records",
                source: Box::new(source),
            })?;
        let write = move |worker: &mut Worker| commit::commit(worker, prepared);
        self.writers.call(write).await
    }

    async fn hello(
        &self,
        gateway: &GatewayId,
        hello: Hello,
        received: Timestamp,
        drained: bool,
    ) -> Result<HelloState, StoreError> {
        self.shared.engine.serving()?;
        let gateway = gateway.clone();
        let shared = Arc::clone(&self.shared);
        let note = move |conn: &Connection| {
            hello::hello(conn, &shared, &gateway, &hello, received, drained)
        };
        self.write("noting a hello", note).await
    }

    async fn quarantine(&self, input: QuarantineInput) -> Result<(), StoreError> {
        self.shared.engine.serving()?;
        let most = self.shared.limits.quarantine_per_gateway;
        let write = move |conn: &Connection| {
            let row = match &input.gateway {
                Some(gateway) => read::gateway_row(conn, gateway)?.map(|(row, _)| row),
                None => None,
            };
            read::set_aside(conn, row.unwrap_or(read::NOBODY), &input, most)
        };
        self.write("setting input aside", write).await
    }

    fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Relaxed)
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<LiveUpdate>> {
        self.shared.live.subscribe()
    }
}
