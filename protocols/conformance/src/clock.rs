//! The bench's clock: monotonic time is tokio's (paused or real), wall time is years off the machine's,
//! so that a driver that asks the machine is seen; it can be stepped.

use protocols_model::{Clock, Instant, Timestamp};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Where wall time starts: 2001-09-09 01:46:40 UTC.
pub(crate) const WALL_START: Timestamp = Timestamp(1_000_000_000_000_000_000);

#[derive(Debug)]
pub(crate) struct BenchClock {
    origin: tokio::time::Instant,
    /// What was added to the wall clock, ns.
    stepped: AtomicI64,
}

impl BenchClock {
    pub(crate) fn start() -> Self {
        Self {
            origin: tokio::time::Instant::now(),
            stepped: AtomicI64::new(0),
        }
    }

    /// Steps the wall clock for good.
    pub(crate) fn step(&self, by: Duration, back: bool) {
        let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.stepped
            .fetch_add(if back { -by } else { by }, Ordering::Relaxed);
    }
}

impl Clock for BenchClock {
    fn wall(&self) -> Timestamp {
        let Timestamp(ns) = WALL_START.plus(self.origin.elapsed());
        Timestamp(ns.saturating_add(self.stepped.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Instant {
        Instant(self.origin.elapsed())
    }
}
