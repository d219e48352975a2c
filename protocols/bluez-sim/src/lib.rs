//! A `BlueZ` that exists only on a private D-Bus: adapters, advertising and connectable sensors, faults on
//! request. Stands in for bluetoothd in tests and in `fogline-gateway sim`. Shares no code with the driver.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
