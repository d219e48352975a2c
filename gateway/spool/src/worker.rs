//! The spool's thread.

use crate::config::SpoolConfig;
use crate::handle::SpoolHandle;
use protocols_model::{BootId, Clock, Epoch, Lane};
use std::path::PathBuf;
use std::sync::Arc;

/// What [`start`] found and did; for the log and for an event record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Records found on disk.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Older epochs that are still open.
    pub epochs: Vec<EpochFound>,
    /// A damaged store was set aside here, what it held is claimed.
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
    /// Lanes whose crash tail was claimed.
    pub claimed: Vec<Lane>,
}

/// Opens the spool and starts its thread. Never fails: at worst a damaged store is set aside and
/// claimed, or the spool runs in memory until the disk can be used; the report says so.
///
/// Blocks for as long as opening takes (about a second per gigabyte on a fast machine).
pub fn start(
    _config: SpoolConfig,
    _clock: Arc<dyn Clock>,
    _boot: BootId,
) -> (SpoolHandle, OpenReport) {
    todo!()
}
