//! What a start found and did.

use protocols_model::{Epoch, Lane};
use std::path::PathBuf;

/// What [`crate::start`] found and did; for the log and for an event record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Records found on disk.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Epochs of earlier processes that are still open.
    pub epochs: Vec<EpochFound>,
    /// A damaged store was set aside here; what it held is claimed.
    pub quarantined: Option<PathBuf>,
    /// The disk cannot be used: the spool runs in memory and tries again.
    pub disk_unusable: Option<String>,
    /// What had to be repaired on the way, for people.
    pub notes: Vec<String>,
}

/// An epoch of an earlier process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochFound {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether it ended with a clean stop.
    pub clean: bool,
    /// Records found of it.
    pub records: u64,
    /// Lanes of which something was claimed at this start.
    pub claimed: Vec<Lane>,
}
