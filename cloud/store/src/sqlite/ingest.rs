//! [`Ingest`] on SQLite: decode on the caller's side, write on the writer's.

use super::SqliteStore;
use super::{commit, hello, prepare, read, row::failed};
use crate::error::StoreError;
use crate::ingest::{HelloState, Incoming, LiveUpdate, QuarantineInput, Settled};
use crate::store::Ingest;
use async_trait::async_trait;
use protocols_model::{GatewayId, Timestamp};
use protocols_wire::Hello;
use std::sync::Arc;
use tokio::sync::broadcast;

#[async_trait]
impl Ingest for SqliteStore {
    async fn commit(&self, batch: Vec<Incoming>) -> Result<Vec<Settled>, StoreError> {
        self.serving()?;
        let shared = Arc::clone(&self.shared);
        let prepared = tokio::task::spawn_blocking(move || prepare::prepare(&shared, batch))
            .await
            .map_err(|source| StoreError::Database {
                doing: "decoding records",
                source: Box::new(source),
            })?;
        let write = move |state: &mut _| commit::commit(state, prepared);
        self.writer.call(write).await
    }

    async fn hello(
        &self,
        gateway: &GatewayId,
        hello: Hello,
        received: Timestamp,
        drained: bool,
    ) -> Result<HelloState, StoreError> {
        self.serving()?;
        let gateway = gateway.clone();
        let write = move |state: &mut _| hello::hello(state, &gateway, &hello, received, drained);
        self.writer.call(write).await
    }

    async fn quarantine(&self, input: QuarantineInput) -> Result<(), StoreError> {
        self.serving()?;
        let write = move |state: &mut super::threads::WriterState| {
            let row = match &input.gateway {
                Some(gateway) => read::gateway_row(&state.conn, gateway)?.map(|(row, _)| row),
                None => None,
            };
            let most = state.shared.limits.quarantine_per_gateway;
            let tx = state
                .conn
                .transaction()
                .map_err(failed("beginning to quarantine"))?;
            read::set_aside(&tx, row.unwrap_or(read::NOBODY), &input, most)?;
            tx.commit().map_err(failed("setting input aside"))
        };
        self.writer.call(write).await
    }

    fn generation(&self) -> u64 {
        SqliteStore::generation(self)
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<LiveUpdate>> {
        self.shared.live.subscribe()
    }
}
