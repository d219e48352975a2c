//! What the callout decided, in numbers: for `/metrics` and the status page.

use crate::decide::Refusal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters since the process started.
#[derive(Debug, Default)]
pub struct AuthStats {
    granted: AtomicU64,
    cut: AtomicU64,
    unreadable: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl AuthStats {
    /// Connections let in.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Live sessions cut.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Questions that could not be read; not ours, or forged.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Connections kept out, by reason ([`Refusal::as_str`]).
    #[must_use]
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        let refused = self.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count_granted(&self) {
        self.granted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_cut(&self, sessions: u64) {
        self.cut.fetch_add(sessions, Ordering::Relaxed);
    }

    pub(crate) fn count_unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self, refusal: &Refusal) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let count = refused.entry(refusal.as_str()).or_default();
        *count = count.saturating_add(1);
    }
}
