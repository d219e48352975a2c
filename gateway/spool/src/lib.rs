//! The spool: what was read stays here until the cloud has settled it.
//!
//! ```text
//! pipeline ─ append ─▶ memory ─ due ─▶ sled (one thread owns it)
//!                        │   ▲            │
//!                        └─ fetch ◀───────┘ ─▶ uplink ─ settle ─▶ forgotten
//! ```
//! Guarantees (design.md C1, C2, C5, section 5):
//! - a record leaves only when the cloud settled it, or behind a claim in the loss ledger that names
//!   it, and that claim is on disk before the record leaves it;
//! - identities are given once, whatever crashes, is copied or restored: an epoch is drawn at each start;
//! - a record settled before it is due for the disk (`commit_interval`, alarms at once) never touches the
//!   flash, and nothing periodic is written while the uplink is healthy;
//! - each lane is sure of its share; when the spool is full it keeps what it has, drops its oldest, or thins:
//!   readings become the first, last, least and largest of longer and longer buckets, in new records that
//!   claim the old ones; what may have been given to the uplink is never thinned;
//! - live bytes, memory, disk, quarantine and write rate are bounded; what happens at each bound is
//!   counted in [`SpoolCounters`] and shown as a [`SpoolAlarm`].
//!
//! Disk: sled's file comes to a halt at up to 2.4 times what is live in it and never shrinks, so a spool holds its
//! quota / 2.5. Where a lane is thinned, records of all ages lie side by side and the file does not come to a
//! halt: then the store moves what is live to a fresh directory before the quota is reached, for which there
//! must be room beside it, and the spool holds its quota / 3.2.
//!
//! Failure: nothing about the spool keeps the gateway from starting or running. Damaged records and
//! whole stores are set aside and claimed; after an unclean stop the crash tail is claimed; a disk that
//! cannot be used leaves the spool in memory until it can. What no program can do: of a process that
//! lived and died while the disk was unusable, nothing remains.
//!
//! Rules stand in `core` (synchronous, takes `now`), the seam to the disk in `store`; only `sled_store`
//! names sled. Fail points: [`failpoint`]. Tools for people: [`offline`].

#![forbid(unsafe_code)]

mod book;
mod claims;
mod config;
mod core;
mod dictionaries;
mod disk;
pub mod failpoint;
mod handle;
mod lanes;
#[cfg(test)]
mod mem_store;
pub mod offline;
mod pace;
pub mod plan;
mod record;
mod report;
mod sled_store;
mod state;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod thin;
mod value;
mod worker;

pub use config::{MIN_DISK_QUOTA_BYTES, SpoolConfig, SpoolConfigError};
pub use handle::{SpoolHandle, SpoolStopped};
pub use lanes::{LaneConfig, LaneConfigs, WhenFull};
pub use record::{Cursor, FetchLimit, SettleOutcome, Settlement, SpooledRecord};
pub use report::{EpochFound, OpenReport};
pub use state::{LaneUse, SpoolAlarm, SpoolCounters, SpoolState};
pub use value::stored_form;
pub use worker::start;
