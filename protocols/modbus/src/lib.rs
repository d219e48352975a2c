//! Reading Modbus TCP and RTU devices: function codes 1 to 4, any width, order and scale.
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | what to read, checked: bus, device, point, and the texts a configuration writes them in |
//! | [`codec`] | pure: registers to values and back |
//! | [`plan`] | pure: points to requests, and how a request after an error is told from its predecessor |
//! | [`schedule`] | pure: which poll group is due |
//! | [`health`] | pure: which units are dead, and when one may be probed |
//! | [`frame`] | pure: the answer to a request among the bytes of a serial line |
//! | `guard`, `link` | the wire: tokio-modbus clients over our own guarded transport |
//! | `driver` | one task a bus |
//!
//! # What happens after an error
//! Plain Modbus RTU has no transaction id, so a late answer looks like the answer to the next
//! request. After any error (time-out, damage, mismatch) the link therefore
//! 1. stays quiet for one response time-out and throws away what arrives (RTU), or drops the
//!    connection (TCP);
//! 2. goes on with a fresh client context;
//! 3. asks that unit next for another number of registers, so that an answer that is later still
//!    fails the length check. A request that cannot be split is made one register longer; if the
//!    device refuses that, it is asked again in its own shape.
//!
//! The limits that remain: a device that answers out of order, a later request before an earlier
//! one; and an answer so late that two more requests to the unit failed in between, the second of
//! them of the same length as the first request. Choose the time-out above what the slowest device
//! needs.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod codec;
mod command;
pub mod config;
pub mod connect;
mod driver;
pub mod frame;
mod guard;
pub mod health;
pub mod learned;
mod link;
pub mod load;
pub mod plan;
pub mod schedule;
mod session;
pub mod timing;

pub use driver::ModbusDriver;
pub use session::{AskError, Session};
