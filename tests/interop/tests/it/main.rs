//! Our drivers against other people's devices, and other people's clients against our simulators.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end by a panic anywhere, and says why it was left out"
)]

mod ble_decoders;
mod field;
mod lines;
mod modbus_clients;
mod modbus_master;
mod modbus_servers;
mod serial_peers;

use std::path::{Path, PathBuf};

/// Where what is built once is kept: below the target folder.
fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop")
}
