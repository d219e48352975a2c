//! The conformance kit: runs a driver against its device and proves the rules of `protocols_driver`, one by
//! one. Drivers use it as a dev-dependency.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
