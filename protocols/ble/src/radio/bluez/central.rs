//! One adapter: what the driver asks of it, carried out on the radio's thread.

use super::bus::AdapterBus;
use super::error::from_btleplug;
use super::peer::BluezPeer;
use super::thread::RadioThread;
use crate::address::Address;
use crate::radio::{Central, Peer, RadioError};
use btleplug::api::{Central as _, Peripheral as _};
use btleplug::platform::{Adapter, Peripheral};
use std::sync::Arc;

/// See the module.
pub(super) struct BluezCentral {
    adapter: Adapter,
    bus: Arc<AdapterBus>,
    /// Last, so that everything else is dropped while it lives.
    thread: Arc<RadioThread>,
}

impl BluezCentral {
    pub(super) fn new(thread: RadioThread, adapter: Adapter, bus: Arc<AdapterBus>) -> Self {
        Self {
            adapter,
            bus,
            thread: Arc::new(thread),
        }
    }
}

#[async_trait::async_trait]
impl Central for BluezCentral {
    async fn start_scan(&self) -> Result<(), RadioError> {
        let bus = Arc::clone(&self.bus);
        self.thread.run(async move { bus.start_scan().await }).await
    }

    async fn stop_scan(&self) -> Result<(), RadioError> {
        let bus = Arc::clone(&self.bus);
        self.thread.run(async move { bus.stop_scan().await }).await
    }

    async fn is_powered(&self) -> Result<bool, RadioError> {
        let bus = Arc::clone(&self.bus);
        self.thread.run(async move { bus.is_powered().await }).await
    }

    async fn set_powered(&self, on: bool) -> Result<(), RadioError> {
        let bus = Arc::clone(&self.bus);
        self.thread
            .run(async move { bus.set_powered(on).await })
            .await
    }

    async fn connect(&self, address: Address) -> Result<Box<dyn Peer>, RadioError> {
        let (bus, adapter) = (Arc::clone(&self.bus), self.adapter.clone());
        let connected = self
            .thread
            .run(async move {
                bus.knows(address).await?;
                let peripheral = find(&adapter, address).await?;
                let gone = bus.watch_peer(address);
                let connected = peripheral.connect().await;
                connected.map_err(|error| from_btleplug(&error))?;
                let found = peripheral.discover_services().await;
                found.map_err(|error| from_btleplug(&error))?;
                // Listened to before anything is subscribed: nothing told is missed.
                let said = peripheral.notifications().await;
                let said = said.map_err(|error| from_btleplug(&error))?;
                Ok((peripheral, said, gone))
            })
            .await;
        let (peripheral, said, gone) = connected?;
        let thread = Arc::clone(&self.thread);
        Ok(Box::new(BluezPeer::new(thread, peripheral, said, gone)))
    }

    async fn disconnect(&self, address: Address) -> Result<(), RadioError> {
        let bus = Arc::clone(&self.bus);
        self.thread
            .run(async move { bus.disconnect(address).await })
            .await
    }
}

async fn find(adapter: &Adapter, address: Address) -> Result<Peripheral, RadioError> {
    let all = adapter.peripherals().await;
    let all = all.map_err(|error| from_btleplug(&error))?;
    let found = all
        .into_iter()
        .find(|peripheral| peripheral.address().into_inner() == address.0);
    found.ok_or(RadioError::NotHeard)
}
