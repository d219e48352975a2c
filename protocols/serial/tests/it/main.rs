//! The driver from outside: each row of the crate's table of faults, conformance, damaged streams.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests stand outside of test functions"
)]

mod conform;
mod examples;
mod faults;
mod mutations;
mod rig;
mod terminal;
mod writes;
