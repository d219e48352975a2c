//! Devices on serial lines that speak a protocol of their own: scales, GPS receivers, instruments.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod checksum;
pub mod config;
pub mod nmea;
