//! Privacy: what of a point may leave the site, and in what form. Runs after filters and before the spool,
//! so that what must not leave is in no file either.
//!
//! ```text
//! filtered sample ─▶ Guard of its point: round │ place │ time │ pseudonym │ only in aggregates ─▶ spool
//!                                                                └─ dropped: not even named
//! ```
//!
//! Guarantees:
//! 1. A dropped point is in no dictionary: its name does not leave either.
//! 2. A treated value that leaves has the treated form on every way: live, captured, repeated, flushed.
//! 3. Where time is coarsened, a value waits for the end of its bucket: the time of its record tells no
//!    more than its stamp.
//! 4. Pseudonyms are keyed, differ from point group to point group and from period to period, and cannot
//!    be turned back without the key, which stays on the gateway.
//! 5. What a treatment cannot treat does not leave: the reading becomes bad, never raw.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod guard;
mod place;
mod pseudonym;

pub use guard::{Guard, Treatment, TreatmentError};
pub use place::Grid;
pub use pseudonym::{KEY_BYTES, KeyError, PseudonymKey};
