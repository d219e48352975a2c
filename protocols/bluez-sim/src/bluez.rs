//! The handle of a simulated `BlueZ`: start it, put sensors around it, break it, ask what it has seen.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::fault::Fault;
use crate::journal::Journal;
use crate::names::{Address, Uuid};
use crate::sensor::{Advert, Sensor};
use crate::service::{self, Command};
use crate::setup::Setup;
use crate::world::World;

/// Commands that may wait for the world.
const COMMAND_CAPACITY: usize = 64;

/// The simulated `BlueZ` could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The bus is not there, or broke.
    #[error("the D-Bus at {address} cannot be used")]
    Bus {
        /// Which bus.
        address: String,
        /// What libdbus said.
        #[source]
        source: dbus::Error,
    },
    /// A bluetoothd, real or simulated, is on that bus already.
    #[error("org.bluez is taken on the bus at {address}: use a bus of your own")]
    NameTaken {
        /// Which bus.
        address: String,
    },
    /// The thread or its runtime could not be made.
    #[error("starting the simulator's thread")]
    Thread(#[source] std::io::Error),
    /// It ended before it was ready.
    #[error("the simulator ended while it started")]
    Ended,
}

/// What an adapter is seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdapterView {
    /// Plugged in.
    pub present: bool,
    /// Switched on.
    pub powered: bool,
    /// At least one client discovers.
    pub discovering: bool,
    /// How many clients discover.
    pub discoverers: usize,
    /// How many devices it knows.
    pub devices: usize,
}

/// A simulated `BlueZ`. It lives on a thread of its own, so that a program under test that blocks does not
/// stop it; dropping it ends it, and the name leaves the bus.
#[derive(Debug)]
pub struct BlueZ {
    commands: Option<mpsc::Sender<Command>>,
    journal: Journal,
    thread: Option<JoinHandle<()>>,
}

impl BlueZ {
    /// Starts on the bus at `address`; ready when this returns.
    ///
    /// # Errors
    /// When the bus cannot be reached or already has a `BlueZ`.
    pub async fn start(address: &str, setup: Setup) -> Result<Self, SimError> {
        let journal = Journal::new(setup.on_record.clone());
        let world = World::new(&setup.adapters, setup.timing, setup.seed, journal.clone());
        let (commands, received) = mpsc::channel(COMMAND_CAPACITY);
        let (ready, came_up) = oneshot::channel();
        let address = address.to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SimError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("simulated-bluez".into())
            .spawn(move || runtime.block_on(service::serve(&address, world, received, ready)))
            .map_err(SimError::Thread)?;
        let bluez = Self {
            commands: Some(commands),
            journal,
            thread: Some(thread),
        };
        came_up.await.map_err(|_| SimError::Ended)??;
        Ok(bluez)
    }

    /// What happened so far, and goes on to be written.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Puts a sensor around the adapters; one with the same address is replaced.
    pub async fn add(&self, sensor: Sensor) {
        self.ask(move |world, now| world.add_sensor(now, sensor))
            .await;
    }

    /// Takes a sensor away.
    pub async fn remove(&self, address: Address) {
        self.ask(move |world, now| world.remove_sensor(now, address))
            .await;
    }

    /// Lets a sensor say something now. True when a client was told of it.
    pub async fn advertise(&self, address: Address, advert: Advert) -> bool {
        self.ask(move |world, now| world.sensor_advertises(now, address, advert))
            .await
            .unwrap_or(false)
    }

    /// Lets a sensor notify now. True when a client was told of it.
    pub async fn notify(&self, address: Address, characteristic: Uuid, value: Vec<u8>) -> bool {
        self.ask(move |world, _| world.sensor_notifies(address, characteristic, &value))
            .await
            .unwrap_or(false)
    }

    /// A fault begins. False when the sensor or adapter it names is not there.
    pub async fn begin(&self, fault: Fault) -> bool {
        self.ask(move |world, now| world.begin(now, &fault))
            .await
            .unwrap_or(false)
    }

    /// A fault ends. False when the sensor or adapter it names is not there.
    pub async fn end(&self, fault: Fault) -> bool {
        self.ask(move |world, now| world.end(now, &fault))
            .await
            .unwrap_or(false)
    }

    /// What an adapter is seen to do; `None` when there never was one of that name.
    pub async fn adapter(&self, name: &str) -> Option<AdapterView> {
        let name = name.to_owned();
        self.ask(move |world, _| {
            world.adapters().get(&name).map(|adapter| AdapterView {
                present: adapter.present,
                powered: adapter.powered,
                discovering: adapter.discovering(),
                discoverers: adapter
                    .clients
                    .values()
                    .filter(|client| client.discovering)
                    .count(),
                devices: adapter.devices.len(),
            })
        })
        .await
        .flatten()
    }

    /// Does something to the world and returns what came of it; `None` when the world has ended, which it
    /// does only when its bus is gone.
    async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut World, protocols_model::Instant) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |world, now| {
            // Nobody waits any more when the caller was cancelled; the deed is done anyway.
            answer.send(what(world, now)).ok();
        });
        self.commands.as_ref()?.send(command).await.ok()?;
        answered.await.ok()
    }
}

impl Drop for BlueZ {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // A panic on its thread has been printed there.
            drop(thread.join());
        }
    }
}
