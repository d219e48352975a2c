//! Ports for processes that must be told one and keep it over a restart.
//!
//! Taken from below the range from which the system gives ports to whoever asks for any: else another
//! process, or a connection, could get such a port while its owner is down. None is given twice by one
//! process.

use anyhow::Context as _;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

/// Above what services use, below what Linux gives away by itself (32768 and up).
const RANGE: std::ops::Range<u16> = 12_000..32_000;
/// Attempts; that many ports in use one after the other means something else is wrong.
const ATTEMPTS: usize = 1000;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Ports of loopback that nobody listens on, all different.
///
/// # Errors
/// Where none can be found.
pub fn free<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ports = [0; N];
    for port in &mut ports {
        let mut tries = std::iter::repeat_with(|| fastrand::u16(RANGE)).take(ATTEMPTS);
        let found = tries
            .find(|port| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok());
        *port = found.context("no free port below the system's own range")?;
        given.insert(*port);
    }
    Ok(ports)
}
