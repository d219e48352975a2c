//! Finding out how an unknown device must be configured: every decoding of a register range ranked against
//! what its display shows, units on a bus, framing and rate of a serial line.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
