//! Simulated devices: Modbus TCP and RTU on a line that keeps real time, serial devices; values by script,
//! faults on request. For users who rehearse a site and for tests. Shares no code with the drivers.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod event;
pub mod fault;
pub mod line;
pub mod modbus;
pub mod script;
pub mod span;
