//! The driver against devices that misbehave on the wire: real TCP loopback, real ptys, raw bytes.
//!
//! Each register of the simulator holds a number made of its unit and address, so that a value in
//! the wrong place is seen at once; [`rig::Rig`] checks that for every good reading it receives.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end by a panic anywhere, also in its helpers"
)]

mod conformance;
mod faults;
mod learning;
mod line;
mod links;
mod orders;
mod rig;
mod sharing;
mod sim;

/// The conformance kit counts what a driver keeps.
#[global_allocator]
static ALLOCATOR: protocols_conformance::Counting = protocols_conformance::Counting;
