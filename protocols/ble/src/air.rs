//! Who may use the air: connecting and listening exclude each other, and dead devices get a small share.
//!
//! While a connection is being made most adapters hear nothing, so the scan is stopped for it and begun
//! again after it, and one connection is made at a time. Attempts on devices that did not answer the last
//! time cost everybody else their advertisements: all of them together get [`PROBE_SHARE`] of the time.

use crate::radio::{Central, RadioError};
use protocols_driver::PROBE_SHARE;
use protocols_model::Instant;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long starting and stopping a scan may take.
pub(crate) const SCAN_TIMEOUT: Duration = Duration::from_secs(10);

/// What whoever holds the air knows of it.
#[derive(Debug, Default)]
pub(crate) struct Air {
    /// The driver listens, or wants to.
    pub(crate) scanning: bool,
}

/// When the next attempt on a dead device may begin.
#[derive(Debug, Default)]
pub(crate) struct Budget(Mutex<Instant>);

impl Budget {
    fn free(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long an attempt on a dead device has to wait at `now`.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.free().since(now)
    }

    /// An attempt failed at `now` after `cost`.
    pub(crate) fn spent(&self, cost: Duration, now: Instant) {
        let pause = cost.saturating_mul(PROBE_SHARE - 1);
        let mut free = self.free();
        *free = free.max(now.plus(pause));
    }
}

impl Air {
    /// Stops listening for a connection. That it was not listening is no trouble.
    pub(crate) async fn pause(&self, central: &dyn Central) {
        if self.scanning {
            // Whatever the answer: if it goes on listening, connecting is only harder.
            let stopped = limited(central.stop_scan()).await;
            if let Err(error) = stopped {
                tracing::debug!(%error, "the scan could not be paused");
            }
        }
    }

    /// Goes on listening, if somebody was.
    pub(crate) async fn resume(&self, central: &dyn Central) -> Result<(), RadioError> {
        if self.scanning {
            limited(central.start_scan()).await?;
        }
        Ok(())
    }
}

/// Starts listening from whatever state the adapter is in: starting twice is an error there.
pub(crate) async fn restart_scan(central: &dyn Central) -> Result<(), RadioError> {
    // Not having listened is refused, and all the same here.
    if let Err(RadioError::TimedOut) = limited(central.stop_scan()).await {
        return Err(RadioError::TimedOut);
    }
    limited(central.start_scan()).await
}

pub(crate) async fn limited<T>(
    call: impl Future<Output = Result<T, RadioError>>,
) -> Result<T, RadioError> {
    tokio::time::timeout(SCAN_TIMEOUT, call)
        .await
        .unwrap_or(Err(RadioError::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_on_the_dead_take_a_twentieth_of_the_time() {
        let at = |s| Instant(Duration::from_secs(s));
        let budget = Budget::default();
        let (mut now, mut spent) = (0, 0);
        while now < 100_000 {
            now += budget.wait(at(now)).as_secs();
            let cost = 30;
            now += cost;
            spent += cost;
            budget.spent(Duration::from_secs(cost), at(now));
        }
        assert!(spent <= now / 20 + 30, "{spent} of {now} s");
        assert!(spent >= now / 25);
    }
}
