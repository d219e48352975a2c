//! The role `tasks`: maintenance of the database in small steps, by one process of the installation.
//!
//! Every process with the role is a candidate; the database elects one. A step is one transaction that
//! bears a second one beside it, so a holder that stood still and does not know that its term is over
//! does no harm.

use cloud_store::{Candidate, MaintainReport, MaintainStep, Office, Offices, Store};
use protocols_model::Clock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks for work.
const EVERY: Duration = Duration::from_secs(5);
/// After a failed step.
const RETRY: Duration = Duration::from_secs(15);

/// What the role did, in numbers.
#[derive(Debug, Default)]
pub(crate) struct TaskStats {
    elected: AtomicBool,
    steps: AtomicU64,
    failures: AtomicU64,
    report: Mutex<MaintainReport>,
}

impl TaskStats {
    /// Whether this process is the one.
    pub(crate) fn elected(&self) -> bool {
        self.elected.load(Ordering::Relaxed)
    }

    /// Steps that did something.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Steps that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What the database was spared, as of the last look.
    pub(crate) fn report(&self) -> MaintainReport {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the database small until `stop`, while this process is the elected one.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    offices: Arc<dyn Offices>,
    clock: Arc<dyn Clock>,
    stats: Arc<TaskStats>,
    stop: CancellationToken,
) {
    let mut candidate = Candidate::new(offices, Office::Tasks);
    loop {
        let elected = candidate.holds(&*clock).await;
        if stats.elected.swap(elected, Ordering::Relaxed) != elected {
            tracing::info!(elected, "maintenance");
        }
        let rest = if elected {
            step(&*store, &*clock, &stats).await
        } else {
            cloud_store::offices::ASK_EVERY
        };
        tokio::select! { biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(rest) => {}
        }
    }
    stats.elected.store(false, Ordering::Relaxed);
    candidate.resign().await;
}

/// One step; how long to rest after it.
async fn step(store: &dyn Store, clock: &dyn Clock, stats: &TaskStats) -> Duration {
    match store.maintain(clock.wall()).await {
        Ok(MaintainStep::Worked) => {
            stats.steps.fetch_add(1, Ordering::Relaxed);
            Duration::ZERO
        }
        Ok(MaintainStep::Idle) => {
            if let Ok(report) = store.maintain_report().await {
                *stats.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
            }
            // Within the term, so that it is renewed.
            EVERY
        }
        Err(error) => {
            stats.failures.fetch_add(1, Ordering::Relaxed);
            let error = anyhow::Error::new(error);
            tracing::error!("maintenance failed: {error:#}");
            RETRY
        }
    }
}
