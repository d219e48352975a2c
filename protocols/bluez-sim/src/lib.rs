//! A `BlueZ` that exists only on a private D-Bus: adapters, advertising and connectable sensors, faults on
//! request. Stands in for bluetoothd in tests and in `fogline-gateway sim`. Shares no code with the driver.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bus;
mod rehearsal;

pub use bus::{BUS_VARIABLE, Bus, BusError};
pub use rehearsal::{on_runtime, run_on_private_bus};
