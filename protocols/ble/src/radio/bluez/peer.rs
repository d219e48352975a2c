//! One connected device: btleplug's peripheral, and what it says by itself.

use super::error::from_btleplug;
use super::thread::{RadioThread, Work};
use crate::address::Uuid;
use crate::config::WriteMode;
use crate::radio::{Characteristic, Peer, RadioError, Said};
use btleplug::api::{CharPropFlags, Peripheral as _, ValueNotification, WriteType};
use btleplug::platform::Peripheral;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Notifications that may wait for the worker: it is behind by one read at most.
const SAID_CAPACITY: usize = 256;

type Notifications = Pin<Box<dyn Stream<Item = ValueNotification> + Send>>;

/// See the module.
pub(super) struct BluezPeer {
    peripheral: Peripheral,
    native: Vec<btleplug::api::Characteristic>,
    found: Vec<Characteristic>,
    said: mpsc::Receiver<Said>,
    /// Passes on what the device says; ends with this.
    _listening: Work<()>,
    thread: Arc<RadioThread>,
}

impl BluezPeer {
    pub(super) fn new(
        thread: Arc<RadioThread>,
        peripheral: Peripheral,
        notifications: Notifications,
        gone: watch::Receiver<bool>,
    ) -> Self {
        let native: Vec<_> = peripheral.characteristics().into_iter().collect();
        let found: Vec<_> = native.iter().map(characteristic).collect();
        let (tell, said) = mpsc::channel(SAID_CAPACITY);
        let listening = thread.spawn(listen(notifications, gone, found.clone(), tell));
        Self {
            peripheral,
            native,
            found,
            said,
            _listening: listening,
            thread,
        }
    }

    fn native(&self, place: usize) -> Result<btleplug::api::Characteristic, RadioError> {
        let found = self.native.get(place).cloned();
        found.ok_or_else(|| RadioError::Failed("there is no such characteristic".to_owned()))
    }
}

fn characteristic(native: &btleplug::api::Characteristic) -> Characteristic {
    let may = |flag| native.properties.contains(flag);
    Characteristic {
        service: Uuid(native.service_uuid.as_u128()),
        uuid: Uuid(native.uuid.as_u128()),
        read: may(CharPropFlags::READ),
        write: may(CharPropFlags::WRITE),
        write_without_response: may(CharPropFlags::WRITE_WITHOUT_RESPONSE),
        notify: may(CharPropFlags::NOTIFY) || may(CharPropFlags::INDICATE),
    }
}

async fn listen(
    mut notifications: Notifications,
    mut gone: watch::Receiver<bool>,
    found: Vec<Characteristic>,
    tell: mpsc::Sender<Said>,
) {
    loop {
        let told = tokio::select! {
            biased;
            // The watched end goes away with the connection to BlueZ, which is the same.
            _ = gone.wait_for(|gone| *gone) => None,
            told = notifications.next() => told,
        };
        let Some(told) = told else {
            // The receiver is only gone when nobody wants to know.
            drop(tell.send(Said::Gone).await);
            return;
        };
        let (service, uuid) = (Uuid(told.service_uuid.as_u128()), Uuid(told.uuid.as_u128()));
        let place = found
            .iter()
            .position(|known| known.uuid == uuid && known.service == service);
        let Some(place) = place else { continue };
        if tell.send(Said::Value(place, told.value)).await.is_err() {
            return;
        }
    }
}

#[async_trait::async_trait]
impl Peer for BluezPeer {
    fn characteristics(&self) -> &[Characteristic] {
        &self.found
    }

    async fn read(&self, place: usize) -> Result<Vec<u8>, RadioError> {
        let (peripheral, native) = (self.peripheral.clone(), self.native(place)?);
        let read = async move {
            let read = peripheral.read(&native).await;
            read.map_err(|error| from_btleplug(&error))
        };
        self.thread.run(read).await
    }

    async fn write(&self, place: usize, value: &[u8], mode: WriteMode) -> Result<(), RadioError> {
        let (peripheral, native) = (self.peripheral.clone(), self.native(place)?);
        let value = value.to_vec();
        let mode = match mode {
            WriteMode::WithResponse => WriteType::WithResponse,
            WriteMode::WithoutResponse => WriteType::WithoutResponse,
        };
        let write = async move {
            let written = peripheral.write(&native, &value, mode).await;
            written.map_err(|error| from_btleplug(&error))
        };
        self.thread.run(write).await
    }

    async fn subscribe(&self, place: usize) -> Result<(), RadioError> {
        let (peripheral, native) = (self.peripheral.clone(), self.native(place)?);
        let subscribe = async move {
            let subscribed = peripheral.subscribe(&native).await;
            match subscribed.map_err(|error| from_btleplug(&error)) {
                // BlueZ keeps the subscription of a connection that broke and refuses a second one.
                // Whether the device still knows of it is not sure: ended and begun anew, it does.
                Err(RadioError::Failed(_)) => {
                    let ended = peripheral.unsubscribe(&native).await;
                    ended.map_err(|error| from_btleplug(&error))?;
                    let subscribed = peripheral.subscribe(&native).await;
                    subscribed.map_err(|error| from_btleplug(&error))
                }
                subscribed => subscribed,
            }
        };
        self.thread.run(subscribe).await
    }

    async fn next(&mut self) -> Said {
        self.said.recv().await.unwrap_or(Said::Gone)
    }
}
