//! The spool: what was read stays here until the cloud has settled it.
//!
//! Between the pipeline (append) and the uplink (fetch, settle), on sled. One thread owns it.

#![forbid(unsafe_code)]

mod book;
mod claims;
mod config;
mod core;
mod dictionaries;
mod disk;
pub mod failpoint;
mod handle;
#[cfg(test)]
mod mem_store;
pub mod offline;
mod pace;
mod record;
mod report;
mod sled_store;
mod state;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod value;
mod worker;

pub use config::{MIN_DISK_QUOTA_BYTES, SpoolConfig, SpoolConfigError};
pub use handle::{SpoolHandle, SpoolStopped};
pub use record::{Cursor, FetchLimit, SettleOutcome, Settlement, SpooledRecord};
pub use report::{EpochFound, OpenReport};
pub use state::{SpoolAlarm, SpoolCounters, SpoolState};
pub use worker::start;
