//! Finding out how an unknown device must be configured: pure cores behind the `probe` commands.
//!
//! | file | answers |
//! |---|---|
//! | [`decoding`] | which registers, type, order and scale give what the device's display shows |
//! | [`units`] | in which order unit ids are tried |
//! | [`framing`] | how a stream of bytes is cut into frames, and which checksum they carry |
//! | [`rate`] | at which speed and format a line was listened to rightly |
//! | [`volume`] | how many bytes a day a configuration will send |
//!
//! Nothing here waits, opens or prints. What is found is ranked, never claimed: each answer carries why,
//! and the lines for the configuration.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod decoding;
pub mod framing;
pub mod rate;
pub mod units;
pub mod volume;
