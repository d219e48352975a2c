//! Ingest as a whole: its tasks.

use crate::hello::Hellos;
use crate::peers;
use crate::source::IngestSource;
use crate::stats::IngestStats;
use crate::teller::{TOLD_CAPACITY, Teller};
use crate::worker::Worker;
use cloud_store::Ingest;
use protocols_model::Clock;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What ingest works with.
#[derive(Clone)]
pub struct IngestParts {
    /// Where messages come from.
    pub source: Arc<dyn IngestSource>,
    /// Where they go.
    pub store: Arc<dyn Ingest>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What it did.
    pub stats: Arc<IngestStats>,
}

impl std::fmt::Debug for IngestParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestParts").finish_non_exhaustive()
    }
}

/// Ingests until `stop`; what was committed by then is told and settled before it returns.
pub async fn run(parts: IngestParts, stop: CancellationToken) {
    let IngestParts {
        source,
        store,
        clock,
        stats,
    } = parts;
    let (told, to_tell) = mpsc::channel(TOLD_CAPACITY);
    let teller = Teller {
        source: Arc::clone(&source),
        clock: Arc::clone(&clock),
        stats: Arc::clone(&stats),
        generation: store.generation(),
    };
    let hellos = Hellos {
        source: Arc::clone(&source),
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        stats: Arc::clone(&stats),
    };
    let peers = peers::run(
        Arc::clone(&source),
        Arc::clone(&clock),
        Arc::clone(&stats),
        stop.clone(),
    );
    let worker = Worker {
        source,
        store,
        clock,
        stats,
        told,
    };
    // The teller ends when the worker, its only sender, has.
    tokio::join!(
        worker.run(stop.clone()),
        hellos.run(stop),
        peers,
        teller.run(to_tell)
    );
}
