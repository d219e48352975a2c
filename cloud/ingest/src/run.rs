//! Ingest as a whole: its tasks, and the watch over what must exist at the broker.

use crate::hello::Hellos;
use crate::source::IngestSource;
use crate::stats::IngestStats;
use crate::teller::{TOLD_CAPACITY, Teller};
use crate::worker::Worker;
use cloud_store::Ingest;
use protocols_model::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Between two looks at stream and consumers: how long they may be gone before gateways are kept out.
const ENSURE_EVERY: Duration = Duration::from_secs(1);
/// Between two looks while they are gone: how long gateways wait longer than they must.
const RETRY: Duration = Duration::from_millis(200);

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
        teller.run(to_tell)
    );
}

/// Keeps stream and consumers in being and says whether they are. Every role that lets gateways in
/// runs one: without a consumer the broker would acknowledge what nobody keeps.
pub async fn watch_source(
    source: Arc<dyn IngestSource>,
    stats: Arc<IngestStats>,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut alarmed = false;
    let mut told = false;
    let mut rest = Duration::ZERO;
    loop {
        tokio::select! { biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(rest) => {}
        }
        let looked = tokio::select! { biased;
            () = stop.cancelled() => break,
            looked = source.ensure() => looked,
        };
        let is_ready = looked.is_ok();
        match looked {
            Ok(state) => {
                if state.is_alarming() && !alarmed {
                    let (bytes, max_bytes) = (state.bytes, state.max_bytes);
                    tracing::error!(bytes, max_bytes, "the broker's stream is half full");
                }
                alarmed = state.is_alarming();
                stats.set_stream(state);
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                // Said once per outage; then only to those who look closely.
                if told {
                    tracing::debug!(%error, cause, "the broker is not ready");
                } else {
                    tracing::warn!(%error, cause, "the broker is not ready");
                }
            }
        }
        told = !is_ready;
        rest = if is_ready { ENSURE_EVERY } else { RETRY };
        stats.set_source_ready(is_ready);
        if ready.send_replace(is_ready) != is_ready {
            tracing::info!(is_ready, "stream and consumers");
        }
    }
    ready.send_replace(false);
}
