//! The real radio: BlueZ, by btleplug and, where that does not reach, by D-Bus directly.
//!
//! | done by | what | why |
//! |---|---|---|
//! | btleplug | adapters, connecting, finding services, reading, writing, notifications | |
//! | D-Bus, our own connection | hearing advertisements | btleplug's event stream asks BlueZ for all properties of a device with every advertisement (two questions for one that carries data), without a bound on what waits; the signal has everything. 200 sensors at 1 Hz: 1.9 % of a core and 400 answers a second of BlueZ' with the stream, 0.6 % and none with the signal, readings included (`examples/cpu.rs`) |
//! | | starting and stopping the scan | btleplug scans in mode "auto", in which most adapters spend half of the time on Bluetooth Classic; here it is "le" |
//! | | power, health | btleplug cannot switch an adapter off, and reports an adapter that does not answer as off |
//! | | noticing that BlueZ, the adapter or the bus went away | `Manager::new` throws away what would tell |
//!
//! Everything lives on a thread of its own with a small runtime ([`thread`]): connecting to the bus
//! blocks, btleplug's tasks end only with their runtime, and some of its values may only be dropped inside
//! one. Dropping [`Opened`] ends the thread and closes both connections: a rebuilt radio leaves nothing
//! behind.

mod bus;
mod central;
mod ear;
mod error;
mod peer;
mod thread;

use crate::config::Adapter;
use crate::radio::{ADVERT_CAPACITY, Health, Opened, Radio, RadioError};
use btleplug::api::{Central as _, Manager as _};
use bus::AdapterBus;
use central::BluezCentral;
use ear::Ear;
use error::from_btleplug;
use std::sync::Arc;
use thread::RadioThread;
use tokio::sync::{mpsc, watch};

/// The Bluetooth service of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct BluezRadio;

#[async_trait::async_trait]
impl Radio for BluezRadio {
    async fn open(&self, adapter: &Adapter) -> Result<Opened, RadioError> {
        let thread = RadioThread::start()?;
        let wanted = adapter.clone();
        let (found, bus, adverts, health) = thread.run(async move { find(wanted).await }).await?;
        let central = BluezCentral::new(thread, found, bus);
        Ok(Opened {
            central: Arc::new(central),
            adverts,
            health,
        })
    }
}

type Found = (
    btleplug::platform::Adapter,
    Arc<AdapterBus>,
    mpsc::Receiver<crate::advert::Advert>,
    watch::Receiver<Health>,
);

/// Finds the adapter and begins to hear it. Runs on the radio's thread.
async fn find(wanted: Adapter) -> Result<Found, RadioError> {
    let (health, told) = watch::channel(Health {
        connected: true,
        service: true,
        adapter: true,
        powered: true,
        scanning: false,
        overrun: 0,
    });
    let health = Arc::new(health);
    let connection = bus::connect(Arc::clone(&health))?;
    let manager = btleplug::platform::Manager::new().await;
    let manager = manager.map_err(|error| from_btleplug(&error))?;
    let adapters = manager.adapters().await;
    let adapters = adapters.map_err(|error| from_btleplug(&error))?;
    let mut names = Vec::new();
    for adapter in adapters {
        // "hci0 (usb:v1D6Bp0246d0542)"
        let info = adapter.adapter_info().await;
        let info = info.map_err(|error| from_btleplug(&error))?;
        let name = info.split(' ').next().unwrap_or_default().to_owned();
        let matches = match &wanted {
            Adapter::Name(wanted) => *wanted == name,
            Adapter::Address(address) => adapter
                .adapter_address()
                .await
                .is_ok_and(|found| found.is_some_and(|found| found.into_inner() == address.0)),
        };
        if !matches {
            names.push(name);
            continue;
        }
        let (heard, adverts) = mpsc::channel(ADVERT_CAPACITY);
        let ear = Ear::new(&name, heard, Arc::clone(&health));
        let bus = AdapterBus::open(connection, &name, ear).await?;
        return Ok((adapter, Arc::new(bus), adverts, told));
    }
    names.sort_unstable();
    let there = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    Err(RadioError::NoAdapter(wanted, there))
}
