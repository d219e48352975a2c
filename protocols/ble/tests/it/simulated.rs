//! The driver with its real radio: btleplug, libdbus and a private bus, on which a simulated `BlueZ` shows
//! sensors and faults. What went over the air stands in its journal; readings are held against that.
//!
//! Sensors are written by the simulator's encoders, which share nothing with the driver's decoders. Time is
//! real here: a test waits for what must come, and how long repairs take is the in-memory tests' matter.

mod connected;
mod formats;
mod repairs;

use crate::rig::{Rig, address, bus};
use protocols_ble::config::{Bus, Device};
use protocols_ble::radio::BluezRadio;
use protocols_bluez_sim::{Address, BlueZ, Event, Setup};
use std::sync::Arc;
use std::time::Duration;

/// Sweeps that may wait: nothing is to be lost for want of room here.
const ROOM: usize = 4096;

pub(crate) const HCI0: &str = "hci0";

/// The `number`-th sensor of a test, as the simulator names it.
pub(crate) const fn sim(number: u8) -> Address {
    Address(address(number).0)
}

/// Another name for "often": quick enough for a test, slow enough for a busy machine.
pub(crate) const OFTEN: Duration = Duration::from_millis(100);

pub(crate) struct Air {
    pub(crate) bluez: BlueZ,
    pub(crate) rig: Rig,
}

impl Air {
    /// A simulated `BlueZ` on this bus and a driver on it.
    pub(crate) async fn with(bus_address: &str, setup: Setup, configured: Bus) -> Self {
        let bluez = BlueZ::start(bus_address, setup).await.unwrap();
        let rig = Rig::start(configured, Arc::new(BluezRadio), ROOM);
        Self { bluez, rig }
    }

    pub(crate) async fn new(bus_address: &str, devices: Vec<Device>) -> Self {
        Self::with(bus_address, Setup::default(), bus(devices)).await
    }

    /// How often this happened.
    pub(crate) fn happened(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.bluez.journal().count(|record| wanted(&record.event))
    }

    /// Waits until the simulator has seen something, taking sweeps meanwhile.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&BlueZ) -> bool) {
        let bluez = &self.bluez;
        self.rig.eventually(what, |_| wanted(bluez)).await;
    }

    /// Waits until the driver listens.
    pub(crate) async fn listening(&mut self) {
        self.until("the driver listens", |bluez| {
            bluez
                .journal()
                .count(|record| record.event == Event::Discovery(true))
                > 0
        })
        .await;
    }

    pub(crate) async fn end(self) {
        self.rig.stopped().await;
    }
}
