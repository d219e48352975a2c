//! The driver against radios: an in-memory one on tokio's paused clock, where the rules of time, order and
//! loss are tested exactly, and the real btleplug over a simulated BlueZ on a private D-Bus.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end by a panic anywhere, also in its helpers"
)]

mod conformance;
mod fake;
mod gatt;
mod heard;
mod real;
mod repair;
mod rig;
mod simulated;

#[global_allocator]
static ALLOCATOR: protocols_conformance::Counting = protocols_conformance::Counting;
