//! The pipeline: from the drivers' readings to sealed records in the spool.
//!
//! ```text
//! Sweep ─▶ well formed? ─▶ keep or filter ─▶ batch, a column a point ─▶ seal ─▶ spool.append
//! ```
//!
//! | room | holds |
//! |---|---|
//! | [`filter`] | the decision about one reading, pure |
//! | [`core`] | batches and counts, pure, time as an argument |
//! | [`mod@run`] | the thin task around it |
//! | [`stats`] | the counters that `/metrics` and `status` show |
//!
//! Guarantee: for every point, readings taken = kept + filtered, and both leave in exactly one
//! record. A batch that is open when the process dies is the pipeline's part of the loss window.

#![forbid(unsafe_code)]

pub mod core;
pub mod filter;
pub mod run;
pub mod stats;

pub use crate::core::{BatchAge, MAX_BATCH_BYTES, Pipeline, SetupError};
pub use run::{Inputs, SWEEP_CAPACITY, run};
pub use stats::{Stats, Totals};
