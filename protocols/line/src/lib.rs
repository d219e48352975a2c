//! Serial ports: opened exclusively, named stably, closed at once when the adapter is unplugged.
//!
//! Every driver on a serial line stands on this crate: it knows speed and character format, the lock and
//! who holds it, RS-485 direction control, and when a port that went away is back.

#![deny(unsafe_code)]
#![warn(missing_docs)]
