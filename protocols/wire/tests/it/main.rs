//! The wire format as a contract: what was written reads back, what is damaged is named, what is
//! hostile is bounded, and what was released decodes for ever.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "a test may end where it fails"
)]

mod any;
mod damage;
mod golden;
mod round_trip;
mod seeds;
