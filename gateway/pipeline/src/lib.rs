//! The pipeline: from the drivers' readings to sealed records in the spool, and what rules do on the way.
//!
//! ```text
//! Sweep ─▶ well formed ─▶ derived points, rules, windows
//!                     └─▶ filters ─▶ privacy ─▶ batch, a column a point ─▶ seal ─▶ spool.append
//! ```
//!
//! | room | holds |
//! |---|---|
//! | [`setup`] | what a pipeline is made of |
//! | [`core`] | the way of a reading, pure, time as an argument |
//! | `logic` | derived points, windows, rules: what is computed from readings |
//! | `batch` | the open batch: columns, counts, sealing |
//! | [`normal`] | what is well formed |
//! | [`latest`] | the latest reading of every point, for people at the site |
//! | [`mod@run`], `act`, [`ask`] | the thin task around it: records, writes, questions |
//! | [`tap`] | raw readings for whoever listens for a while |
//! | [`stats`] | the counters that `/metrics` and `status` show |
//!
//! Guarantee: for every point, readings taken = kept + filtered + held back, and both kept and filtered
//! leave in exactly one record. A batch that is open when the process dies is the pipeline's part of the
//! loss window, with what filters and privacy hold back.

#![forbid(unsafe_code)]

mod act;
pub mod ask;
mod batch;
pub mod core;
pub mod latest;
mod logic;
pub mod normal;
pub mod run;
pub mod setup;
pub mod stats;
pub mod tap;

pub use crate::core::{BatchAge, MAX_BATCH_BYTES, Pipeline, PointCounts};
pub use act::Writable;
pub use ask::{ASK_CAPACITY, Ask, KeptAlarms, RulesNow};
pub use latest::{Latest, Look, Looked, Standing};
pub use run::{Inputs, SWEEP_CAPACITY, run};
pub use setup::{DerivedSetup, PointSetup, Privacy, Setup, SetupError, WindowSetup};
pub use stats::{Stats, Totals};
pub use tap::{Heard, TAP_CAPACITY};
