//! What the whole fleet did so far, in numbers that every gateway's task adds to.

use crate::sender::Heard;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Numbers of the fleet since the start.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Sessions that stand now.
    pub(crate) sessions: Count,
    /// Sessions made: TCP, TLS, CONNECT and SUBSCRIBE.
    pub(crate) handshakes: Count,
    /// Attempts that failed.
    pub(crate) failed: Count,
    /// Sessions that ended without having been told to.
    pub(crate) lost: Count,
    /// Gateways whose first hello was answered.
    pub(crate) greeted: Count,
    /// Batches sealed and sent.
    pub(crate) batches: Count,
    /// Envelopes that the broker acknowledged.
    pub(crate) taken: Count,
    /// Batches sent again.
    pub(crate) again: Count,
    /// Batches settled.
    pub(crate) settled: Count,
    /// Gateways whose every batch is settled and confirmed.
    pub(crate) confirmed: Count,
    /// Settlements of what was never sent.
    pub(crate) foreign: Count,
    /// Records refused.
    pub(crate) refused: Count,
    /// Messages that could not be read.
    pub(crate) unreadable: Count,
    delays_ms: Mutex<Vec<f64>>,
    complaint: Mutex<String>,
}

/// A number.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more.
    pub(crate) fn up(&self) {
        self.add(1);
    }

    /// One less.
    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// So many more.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

impl Meter {
    /// Adds what a gateway heard.
    pub(crate) fn heard(&self, heard: &Heard) {
        self.settled.add(heard.delays.len() as u64);
        self.foreign.add(heard.foreign);
        self.refused.add(heard.refused);
        self.unreadable.add(u64::from(heard.unreadable));
        if !heard.delays.is_empty() {
            let ms = |delay: &Duration| delay.as_secs_f64() * 1000.0;
            let mut all = self
                .delays_ms
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            all.extend(heard.delays.iter().map(ms));
        }
    }

    /// The delays of acknowledgements since the last call, milliseconds.
    pub(crate) fn take_delays(&self) -> Vec<f64> {
        let mut delays = self
            .delays_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut delays)
    }

    /// Notes why a connection failed or ended; the last one is shown.
    pub(crate) fn complain(&self, error: &anyhow::Error) {
        let mut complaint = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *complaint = format!("{error:#}");
    }

    /// The last complaint.
    pub(crate) fn complaint(&self) -> String {
        let complaint = self.complaint.lock();
        complaint.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
