//! What this process tells of itself: readiness, metrics, refused connections. For the API and for the
//! health listener.

use crate::metrics;
use crate::roles::Roles;
use crate::tasks::TaskStats;
use cloud_api::{Refusal, Surroundings};
use cloud_auth::AuthStats;
use cloud_ingest::IngestStats;
use cloud_store::Registry;
use prometheus_client::registry::Registry as Metrics;
use protocols_model::GatewayId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two questions to the database, and how long an answer may take: a database that is slower
/// keeps gateways and pages waiting.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What the roles of this process count and note.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) roles: Roles,
    pub(crate) ingest: Arc<IngestStats>,
    pub(crate) auth: Arc<AuthStats>,
    pub(crate) tasks: Arc<TaskStats>,
    /// Whether the database answered when it was last asked.
    pub(crate) database: AtomicBool,
    pub(crate) stop: CancellationToken,
}

impl Numbers {
    pub(crate) fn new(roles: Roles, stop: CancellationToken) -> Self {
        Self {
            roles,
            ingest: Arc::default(),
            auth: Arc::default(),
            tasks: Arc::default(),
            database: AtomicBool::new(true),
            stop,
        }
    }

    /// Why roles of this process cannot do their work now, one reason each.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        if self.stop.is_cancelled() {
            return vec!["the process is stopping".to_owned()];
        }
        let mut reasons = Vec::new();
        let mut reason = |role: &str, why: &str| reasons.push(format!("{role}: {why}"));
        if !self.database.load(Ordering::Relaxed) {
            for role in self.roles.names() {
                reason(role, "the database does not answer");
            }
        }
        if let Some(trouble) = self.ingest.source_trouble() {
            for (has, role) in [(self.roles.ingest, "ingest"), (self.roles.auth, "auth")] {
                if has {
                    reason(role, &trouble);
                }
            }
        }
        if self.roles.ingest && !self.ingest.store_ready() {
            reason("ingest", "the database takes no commits");
        }
        reasons
    }

    /// Asks the database until the process stops.
    pub(crate) async fn watch_database(&self, registry: &dyn Registry) {
        // Any id will do: an answer is an answer, also that there is none.
        let Ok(anybody) = GatewayId::try_new("readiness") else {
            return;
        };
        loop {
            let asked = tokio::time::timeout(ANSWER_WITHIN, registry.gateway(&anybody)).await;
            let answers = matches!(asked, Ok(Ok(_)));
            if self.database.swap(answers, Ordering::Relaxed) != answers {
                if answers {
                    tracing::info!("the database answers again");
                } else {
                    tracing::error!("the database does not answer");
                }
            }
            tokio::select! { biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
        }
    }
}

/// The process, seen from outside.
pub(crate) struct Process {
    numbers: Arc<Numbers>,
    metrics: Metrics,
}

impl Process {
    pub(crate) fn new(numbers: Arc<Numbers>) -> Self {
        Self {
            metrics: metrics::registry(Arc::clone(&numbers)),
            numbers,
        }
    }
}

impl Surroundings for Process {
    fn metrics(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.metrics) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }

    fn not_ready(&self) -> Vec<String> {
        self.numbers.not_ready()
    }

    fn refusals(&self) -> Vec<Refusal> {
        let all = self.numbers.auth.recent_refusals().into_iter();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Role;

    fn numbers(roles: &[Role]) -> Numbers {
        Numbers::new(Roles::of(roles), CancellationToken::new())
    }

    #[test]
    fn each_role_is_unready_for_its_own_reasons_only() {
        let api = numbers(&[Role::Api]);
        assert!(api.not_ready().is_empty(), "the broker is not its business");
        let auth = numbers(&[Role::Auth]);
        assert_eq!(
            auth.not_ready(),
            ["auth: the broker was not asked yet"],
            "nobody is let in before the broker was looked at"
        );
        let both = numbers(&[Role::Api, Role::Tasks]);
        both.database.store(false, Ordering::Relaxed);
        assert_eq!(
            both.not_ready(),
            [
                "api: the database does not answer",
                "tasks: the database does not answer"
            ]
        );
    }

    #[test]
    fn a_process_that_stops_is_not_ready() {
        let api = numbers(&[Role::Api]);
        api.stop.cancel();
        assert_eq!(api.not_ready(), ["the process is stopping"]);
    }
}
