//! Counters of the pipeline, shared with `/metrics` and `status`: `taken = kept + filtered`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Running totals since the process started; they survive a reload of the configuration.
#[derive(Debug, Default)]
pub struct Stats {
    pub(crate) taken: AtomicU64,
    pub(crate) kept: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) not_good: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) unsealable: AtomicU64,
}

/// The totals at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Readings that came from drivers.
    pub taken: u64,
    /// Readings put into batches.
    pub kept: u64,
    /// Readings filtered out by rule.
    pub filtered: u64,
    /// Readings that were not good, whether kept or filtered.
    pub not_good: u64,
    /// Records handed to the spool.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Kept readings that no record could carry; a defect when not zero.
    pub unsealable: u64,
}

impl Stats {
    /// The totals now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            taken: get(&self.taken),
            kept: get(&self.kept),
            filtered: get(&self.filtered),
            not_good: get(&self.not_good),
            records: get(&self.records),
            bytes: get(&self.bytes),
            unsealable: get(&self.unsealable),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
