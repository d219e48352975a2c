//! Keeps one bus' driver running: a panicked one is started again with back-off, and counted.
//!
//! A defect in one driver is that bus' trouble; the others, the spool and the uplink do not notice.

use crate::events::Events;
use crate::links::{LinkReporter, told};
use protocols_driver::{Backoff, BusStatus, Counter, Driver, DriverContext};
use protocols_wire::EventKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// Waits between restarts: soon the first time, rarely when it keeps happening.
const RESTART_MIN: Duration = Duration::from_secs(1);
const RESTART_MAX: Duration = Duration::from_secs(60);

/// What is known of a bus, whichever driver serves it at the moment.
#[derive(Debug)]
pub(crate) struct BusSlot {
    status: Mutex<Arc<BusStatus>>,
    /// Times its driver was started again.
    pub(crate) restarts: Counter,
    /// The part of its time that its schedule takes, where that can be computed.
    pub(crate) planned_load: Option<f64>,
}

impl BusSlot {
    pub(crate) fn new(status: Arc<BusStatus>) -> Self {
        Self {
            status: Mutex::new(status),
            restarts: Counter::default(),
            planned_load: None,
        }
    }

    /// The same with what its schedule takes.
    pub(crate) fn planned(self, load: Option<f64>) -> Self {
        Self {
            planned_load: load,
            ..self
        }
    }

    /// The status of the driver that serves the bus now.
    pub(crate) fn status(&self) -> Arc<BusStatus> {
        let slot = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&slot)
    }

    pub(crate) fn name(&self) -> String {
        self.status().bus().to_string()
    }

    fn replace(&self, status: Arc<BusStatus>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// Runs drivers made by `make` until `ctx.stop`, one after the other.
pub(crate) async fn supervise(
    make: impl Fn() -> Box<dyn Driver> + Send,
    slot: Arc<BusSlot>,
    ctx: DriverContext,
    events: Events,
) {
    let mut backoff = Backoff::new(RESTART_MIN, RESTART_MAX);
    let mut reporter = LinkReporter::new();
    loop {
        let driver = make();
        let status = driver.status();
        slot.replace(Arc::clone(&status));
        backoff.succeeded(events.now());
        // A task of its own, so that its panic ends here; aborted when this supervisor is.
        let mut task = AbortOnDropHandle::new(tokio::spawn(driver.run(ctx.clone())));
        let ended = tokio::select! {
            biased;
            ended = &mut task => ended,
            () = reporter.run(Arc::clone(&status), &events) => continue,
        };
        let last_words = told(&status);
        if !last_words.is_empty() {
            events.tell_all(last_words).await;
        }
        if ctx.stop.is_cancelled() || ctx.sweeps.is_closed() {
            return;
        }
        let wait = backoff.failed(events.now());
        slot.restarts.inc();
        let why = match ended {
            Ok(()) => "ended by itself",
            Err(_) => "panicked",
        };
        let name = slot.name();
        tracing::error!(bus = name, ?wait, "the driver {why}");
        let text = format!(
            "the driver {why}; it is started again in {} ms",
            wait.as_millis()
        );
        events.tell(EventKind::DeviceLink, &name, text).await;
        tokio::select! {
            biased;
            () = ctx.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

#[cfg(test)]
mod tests;
