//! What the API tells of the process around it: metrics, readiness, refused connections.

use crate::metrics;
use cloud_api::{Refusal, Surroundings};
use cloud_auth::AuthStats;
use cloud_ingest::IngestStats;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// The roles of this process, seen from outside.
pub(crate) struct Process {
    pub(crate) ingest: Arc<IngestStats>,
    pub(crate) auth: Arc<AuthStats>,
    /// Whether this process ingests or lets gateways in: only then the broker is its business.
    pub(crate) needs_broker: bool,
    registry: Registry,
}

impl Process {
    pub(crate) fn new(ingest: Arc<IngestStats>, auth: Arc<AuthStats>, needs_broker: bool) -> Self {
        let registry = metrics::registry(Arc::clone(&ingest), Arc::clone(&auth));
        Self {
            ingest,
            auth,
            needs_broker,
            registry,
        }
    }
}

impl Surroundings for Process {
    fn metrics(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }

    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.needs_broker && !self.ingest.source_ready() {
            reasons.push("the broker's stream and consumers are not there".to_owned());
        }
        if !self.ingest.store_ready() {
            reasons.push("the database takes no commits".to_owned());
        }
        reasons
    }

    fn refusals(&self) -> Vec<Refusal> {
        let all = self.auth.recent_refusals().into_iter();
        all.map(|refused| Refusal {
            at: refused.at,
            client: refused.client,
            peer: refused.peer,
            reason: refused.reason,
            times: refused.times,
        })
        .collect()
    }
}
