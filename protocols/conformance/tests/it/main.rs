//! The kit against drivers that are good and drivers that are bad, and the page "write a driver".
//!
//! A kit that finds nothing proves nothing: each bad driver breaks one rule, and the kit has to name it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may end by a panic anywhere, also in its helpers"
)]

mod bad;
mod echo;
mod echo_device;
mod file_bench;
mod file_driver;
mod page;

#[global_allocator]
static ALLOCATOR: protocols_conformance::Counting = protocols_conformance::Counting;
