//! A recording through the pipeline of a configuration: what it would have sent, raised and written.
//!
//! ```text
//! Recording ─▶ sweeps by stamp ─▶ Pipeline (the real one, its clock moved by the stamps) ─▶ Ran
//!                                                                      two of them ─▶ Difference
//! ```
//!
//! Nothing is simulated but time: filters, windows, rules and privacy are those that run on the gateway.
//! Writes are noted and taken as done. A recording knows wall time only, so a clock that stepped back
//! while it was made shows as readings in the order of their stamps.
//!
//! | room | holds |
//! |---|---|
//! | [`run`] | one configuration over a recording |
//! | [`error`] | the largest error that filters introduced, reconstructed as their bound says |
//! | [`difference`] | what changes from one configuration to another |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod difference;
pub mod error;
pub mod run;

pub use difference::{Difference, compare, raised};
pub use run::{PointRan, Ran, run};
