//! Bluetooth Low Energy sensors: advertisements decoded, GATT characteristics read and written, the radio
//! supervised by progress.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod advert;
pub mod config;
pub mod decode;
