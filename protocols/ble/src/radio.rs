//! The seam to the hardware: what a driver asks of a Bluetooth adapter, and what it hears from it.
//!
//! ```text
//! driver ─▶ Radio::open ─▶ Opened { Central, adverts, health }
//!                             └─▶ Central::connect ─▶ Peer: read, write, subscribe, next
//! ```
//!
//! Rules about time, order and loss are the driver's and are tested with an in-memory radio; the real one
//! is [`BluezRadio`] (feature `radio`). No call has a time-out of its own that the driver relies on:
//! whoever calls sets one, and a call may be dropped at any await.

#[cfg(feature = "radio")]
mod bluez;

#[cfg(feature = "radio")]
pub use bluez::BluezRadio;

use crate::address::{Address, Uuid};
use crate::advert::Advert;
use crate::config::{Adapter, WriteMode};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Advertisements that may wait for the driver: half a second of the busiest hall. More are counted as
/// overrun and dropped; each device will speak again.
pub const ADVERT_CAPACITY: usize = 1024;

/// What can be opened: the system's Bluetooth service.
#[async_trait::async_trait]
pub trait Radio: Send + Sync + 'static {
    /// Makes a fresh connection to the service and finds the adapter.
    ///
    /// # Errors
    /// [`RadioError`].
    async fn open(&self, adapter: &Adapter) -> Result<Opened, RadioError>;
}

/// An adapter that was found.
pub struct Opened {
    /// To ask.
    pub central: Arc<dyn Central>,
    /// What is heard, [`ADVERT_CAPACITY`] at most.
    pub adverts: mpsc::Receiver<Advert>,
    /// How the adapter does; changes as soon as it is noticed.
    pub health: watch::Receiver<Health>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// What the system says of an adapter without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The connection to the system's message bus holds.
    pub connected: bool,
    /// The Bluetooth service runs, and it is the one that was opened.
    pub service: bool,
    /// The adapter is plugged in.
    pub adapter: bool,
    /// It is switched on.
    pub powered: bool,
    /// It scans.
    pub scanning: bool,
    /// Advertisements dropped because the driver did not take them.
    pub overrun: u64,
}

/// One adapter.
#[async_trait::async_trait]
pub trait Central: Send + Sync {
    /// Begins to listen; switches the adapter on if it is off. An error when it listens already.
    async fn start_scan(&self) -> Result<(), RadioError>;
    /// Ends listening.
    async fn stop_scan(&self) -> Result<(), RadioError>;
    /// Asks the adapter for a sign of life: whether it is switched on.
    async fn is_powered(&self) -> Result<bool, RadioError>;
    /// Switches it on or off.
    async fn set_powered(&self, on: bool) -> Result<(), RadioError>;
    /// Connects to a device and finds its services. Whoever gives up calls [`Central::disconnect`].
    async fn connect(&self, address: Address) -> Result<Box<dyn Peer>, RadioError>;
    /// Ends a connection or an attempt at one.
    async fn disconnect(&self, address: Address) -> Result<(), RadioError>;
}

/// A characteristic of a connected device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Characteristic {
    /// The service it belongs to.
    pub service: Uuid,
    /// What it is.
    pub uuid: Uuid,
    /// May be read.
    pub read: bool,
    /// May be written with confirmation.
    pub write: bool,
    /// May be written without.
    pub write_without_response: bool,
    /// Tells its changes.
    pub notify: bool,
}

/// A connected device. Its characteristics go by their place in [`Peer::characteristics`].
#[async_trait::async_trait]
pub trait Peer: Send + Sync {
    /// What it has.
    fn characteristics(&self) -> &[Characteristic];
    /// Reads one.
    async fn read(&self, place: usize) -> Result<Vec<u8>, RadioError>;
    /// Writes one.
    async fn write(&self, place: usize, value: &[u8], mode: WriteMode) -> Result<(), RadioError>;
    /// Asks to be told its changes.
    async fn subscribe(&self, place: usize) -> Result<(), RadioError>;
    /// The next thing it says. Cancel-safe: nothing is lost when the future is dropped.
    async fn next(&mut self) -> Said;
}

/// What a connected device says by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A characteristic has this value now.
    Value(usize, Vec<u8>),
    /// The connection is gone.
    Gone,
}

/// Why the radio did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RadioError {
    /// The system has no Bluetooth service, or it cannot be reached.
    #[error(
        "the Bluetooth service cannot be reached: {0} (is bluetoothd running, may this user talk to it?)"
    )]
    NoService(String),
    /// The adapter is not there.
    #[error("there is no adapter {0}; there is {1}")]
    NoAdapter(Adapter, String),
    /// The device is not known: not heard since the adapter began to listen.
    #[error("the device was not heard")]
    NotHeard,
    /// It did not answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The device or the service refused.
    #[error("refused: {0}")]
    Refused(String),
    /// Anything else, as the service says it.
    #[error("{0}")]
    Failed(String),
}
