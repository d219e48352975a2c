//! The simulated `BlueZ` as a client sees it: everything here goes through the real btleplug, libdbus and a
//! private bus. A test waits for what it expects with a deadline of a minute and never asserts how fast.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end by a panic anywhere, also in its helpers"
)]

mod adverts;
mod faults;
mod gatt;
mod rig;
mod site;
