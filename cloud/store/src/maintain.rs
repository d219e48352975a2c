//! What keeps the database small: steps of bounded work, each one transaction.

use std::time::Duration;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaintainStep {
    /// Nothing is due.
    Idle,
    /// Something was done, more may be due: call again.
    Worked,
}

/// Work done since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaintainReport {
    /// Record rows turned into blocks.
    pub compacted_records: u64,
    /// Samples written to blocks.
    pub compacted_samples: u64,
    /// Blocks written.
    pub blocks: u64,
    /// Blocks and records whose times were corrected by a time map.
    pub retimed: u64,
    /// Weeks of samples dropped.
    pub dropped_weeks: u64,
    /// Record rows waiting for the compactor.
    pub record_rows: u64,
    /// Time spent in steps.
    pub busy: Duration,
}
