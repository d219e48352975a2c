//! Devices on serial lines that speak a protocol of their own: scales, GPS receivers, instruments.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod checksum;
pub mod config;
mod driver;
pub mod framer;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
pub mod health;
mod link;
pub mod listener;
pub mod message;
pub mod nmea;
pub mod schedule;
mod wire;

pub use driver::SerialDriver;
pub use wire::{Opener, SerialPorts, Wire};
