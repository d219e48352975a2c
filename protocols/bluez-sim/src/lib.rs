//! A `BlueZ` that exists only on a private D-Bus: adapters, advertising and connectable sensors, faults on
//! request. Stands in for bluetoothd in tests and in `fogline-gateway sim`. Shares no code with the driver.
//!
//! ```text
//!  sensor (closures)  ─▶  world (pure: adapters, links, GATT, faults, time)  ◀─▶  service ◀─▶ private D-Bus
//!                              │                                                              ▲
//!                              ▼                                                      gateway (btleplug)
//!                           journal: what really went over the air, for an oracle
//! ```
//! A test reads:
//! ```no_run
//! use protocols_bluez_sim::{Address, Advert, BlueZ, Sensor, Setup, on_private_bus};
//! use std::time::Duration;
//!
//! // #[test]
//! fn beacon_is_heard() {
//!     on_private_bus!(async |address: String| {
//!         let bluez = BlueZ::start(&address, Setup::default()).await.unwrap();
//!         let beacon = Sensor::new(Address([0xC0, 0xFF, 0xEE, 0, 0, 1])).advertising(
//!             Duration::from_secs(1),
//!             |turn| Advert::manufacturer(0xFFFF, turn.number.to_le_bytes().to_vec()),
//!         );
//!         bluez.add(beacon).await;
//!         // … the driver under test finds `hci0` and hears the beacon …
//!     });
//! }
//! ```
//! What is not simulated: pairing, agents, advertising by the gateway, Bluetooth classic, the sockets of
//! `AcquireNotify`/`AcquireWrite`, long writes with an offset.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bluez;
mod bus;
pub mod config;
mod fault;
mod introspect;
mod journal;
mod message;
mod names;
pub mod payload;
mod rehearsal;
mod sensor;
mod serve;
mod service;
mod setup;
mod tree;
mod value;
mod world;

pub use bluez::{AdapterView, BlueZ, SimError};
pub use bus::{BUS_VARIABLE, Bus, BusError};
pub use fault::Fault;
pub use journal::{Event, JOURNAL_CAPACITY, Journal, OnRecord, Record};
pub use names::{Address, NameError, Uuid};
pub use rehearsal::{on_runtime, run_on_private_bus};
pub use sensor::{
    Advert, AdvertSource, Advertising, Characteristic, Flag, Sensor, Service, Turn, ValueSource,
};
pub use serve::{Simulation, serve};
pub use setup::{AdapterSetup, Repeats, Setup, Timing};
