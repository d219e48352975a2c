//! Devices on serial lines that speak a protocol of their own: scales, GPS receivers, instruments.
//!
//! ```text
//! port ─▶ link ─▶ framer (+ checksum) ─▶ frame ─▶ message (parser) ─▶ values by point ─▶ readings
//!   ◀───── command ◀── question of a poll group, order                └ listener: what speaks by itself
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | what is on the line, checked, and the texts a configuration writes it in |
//! | [`framer`] | pure: bytes to frames |
//! | [`checksum`] | pure: xor, sums, CRCs by parameters |
//! | [`message`], [`nmea`] | pure: a frame to what it says of points |
//! | [`listener`] | pure: what lines that speak by themselves say, and when they should have |
//! | [`schedule`] | pure: which poll group is due |
//! | `link` | the port over time; [`Opener`] is the seam to it |
//! | `driver` | one task a line |
//!
//! # What can go wrong on the wire
//!
//! | on the wire | you will see | the gateway |
//! |---|---|---|
//! | a broken checksum | `crc_errors`; asked: `bad-answer` | drops the frame; without a start delimiter also the next one, whose beginning is not sure then |
//! | merged frames | `crc_errors` or `bad_answers` | drops both: the whole must fit the pattern |
//! | a frame cut by silence or by the start of the next | `stray_bytes`; asked: `bad-answer` | drops the part, and what comes after it up to the next sure beginning |
//! | noise between frames | `stray_bytes` | drops it |
//! | wrong speed | `bad-answer`, `stray_bytes`, link down | goes on; nothing of it fits |
//! | a frame without an end | `stray_bytes`; asked: `bad-answer` | drops it at `max_frame`; an answer ends with the time-out in any case |
//! | silence | `timeout` once a span or poll, then link down | asked: probes the device with back-off, at most 5 % of the line's time, `not-asked` meanwhile |
//! | an adapter unplugged | `link-down` once a span or poll, an event | closes at once, opens again when it is back |
//! | a port that somebody holds | `link-down`, an event with the holder | tries again with back-off |
//! | an answer later than its time-out | `timeout`, `late_answers` | is quiet for one time-out, drops what comes, and again what waits before the next question |
//! | two answers to one question | `bad-answer`, `late_answers` | takes neither |
//! | an echo of the question | nothing; with `echo` and a wrong one `bad-answer` | drops it |
//! | a character with wrong parity | a zero byte in a text, which no pattern lets pass; `bad_answers` | drops the frame |
//! | a device that reports an error | `device-error`, `undecodable` | hands that over |
//! | a write that nobody confirms | outcome "unknown" | never repeats it; is quiet for one time-out |
//! | a channel that nobody empties | listening: `overrun`; asked: `missed_polls` | listening keeps the latest 64 sweeps; asked does not ask; orders go through |
//!
//! # The limits that remain
//! An answer later than two time-outs can be taken for the answer to the next question if it fits it:
//! choose the time-out above what the slowest device needs. Without a checksum digits lost inside a text
//! cannot be seen. A checksum of 8 bits lets one damaged frame in 256 pass. Parity errors in binary frames
//! without a checksum are not visible: the kernel hands a zero over.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod checksum;
pub mod config;
mod driver;
pub mod framer;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod link;
pub mod listener;
pub mod message;
pub mod nmea;
pub mod schedule;
mod wire;

pub use driver::SerialDriver;
pub use wire::{Opener, SerialPorts, Wire};
