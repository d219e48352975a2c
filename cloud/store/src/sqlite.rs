//! The embedded database: SQLite in WAL mode, synchronous=FULL.

use std::time::Duration;

/// Longest payload kept per quarantined input, in bytes.
pub const QUARANTINE_PAYLOAD_BYTES: usize = 4096;

/// Bounds of the store (design.md P4). The defaults suit thousands of gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most series per gateway; more are refused by name.
    pub series_per_gateway: u64,
    /// Most inputs kept in quarantine per gateway; the oldest go first.
    pub quarantine_per_gateway: u64,
    /// Records older than this (by receive time) are turned into blocks.
    pub compact_after: Duration,
    /// Samples and 1-minute rollups older than this are dropped; stamps older than this are suspect.
    pub retention: Duration,
    /// 1-hour and 1-day rollups, events and ledger entries older than this are dropped.
    pub rollup_retention: Duration,
    /// An epoch that a hello no longer lists is closed when nothing of it came for so long.
    pub epoch_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            series_per_gateway: 100_000,
            quarantine_per_gateway: 1_000,
            compact_after: Duration::from_secs(5 * 60),
            retention: Duration::from_secs(400 * DAY),
            rollup_retention: Duration::from_secs(10 * 365 * DAY),
            epoch_grace: Duration::from_secs(10 * 60),
        }
    }
}

/// How to open the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Bounds.
    pub limits: Limits,
}
