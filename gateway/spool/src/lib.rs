//! The spool: what was read stays here until the cloud has settled it.
//!
//! Between the pipeline (append) and the uplink (fetch, settle), on sled. One thread owns it.

#![forbid(unsafe_code)]

mod config;
pub mod failpoint;
mod handle;
mod record;
mod state;
#[cfg(test)]
mod tests;
mod worker;

pub use config::{MIN_DISK_QUOTA_BYTES, SpoolConfig, SpoolConfigError};
pub use handle::{SpoolHandle, SpoolStopped};
pub use record::{Cursor, FetchLimit, SettleOutcome, Settlement, SpooledRecord};
pub use state::{SpoolAlarm, SpoolCounters, SpoolState};
pub use worker::{EpochFound, OpenReport, start};
