//! Devices on serial lines that speak a protocol of their own: scales, GPS receivers, instruments.
//!
//! ```text
//! bytes ─▶ framing (+ checksum) ─▶ frame ─▶ parsing ─▶ values by field ─▶ readings
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]
