//! Bluetooth Low Energy sensors: advertisements decoded, GATT characteristics read and written, the radio
//! supervised by progress.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod advert;
mod air;
pub mod config;
mod deadlines;
pub mod decode;
mod driver;
mod gatt;
pub mod ladder;
pub mod listener;
mod outbox;
pub mod radio;
pub mod scan;
pub mod strangers;

pub use driver::BleDriver;
