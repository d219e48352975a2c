//! One adapter as a task: what it hears, whom it connects to, what is done when it stops.
//!
//! ```text
//! radio ─▶ adverts ─▶ Listener ─▶ Outbox ─▶ sweeps          one worker a connected device:
//!   ▲        └─▶ Strangers ─▶ events                        connect, read, listen, write
//!   └─ Ladder ◀─ health, heartbeat, silence
//! ```
//!
//! The task owns the radio; workers borrow the air from it ([`crate::air`]) and hand their sweeps over by
//! themselves. It always listens: what it hears while the pipeline has no room waits in the outbox, the
//! latest reading of each point. Nothing it awaits is without a time-out.

mod beat;
mod connected;
mod repair;
mod task;
mod worker;

use crate::air::{Air, Budget};
use crate::config::{Bus, ConfigError};
use crate::radio::Radio;
use protocols_driver::{BusStatus, Driver, DriverContext, Stopped};
use protocols_model::{Instant, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// What is under way when the driver is told to stop gets so long to finish.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// How long saying good-bye to a device or the adapter may take at the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// Reads the sensors of one Bluetooth adapter.
pub struct BleDriver {
    bus: Arc<Bus>,
    radio: Arc<dyn Radio>,
    status: Arc<BusStatus>,
}

impl std::fmt::Debug for BleDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BleDriver")
            .field("bus", &self.bus.name)
            .finish_non_exhaustive()
    }
}

impl BleDriver {
    /// A driver for `bus` on the system's Bluetooth service; nothing is opened before it runs.
    ///
    /// # Errors
    /// Everything that [`Bus::check`] finds.
    #[cfg(feature = "radio")]
    pub fn new(bus: impl Into<Arc<Bus>>) -> Result<Self, Vec<ConfigError>> {
        Self::with_radio(bus, Arc::new(crate::radio::BluezRadio))
    }

    /// A driver for `bus` on any radio.
    ///
    /// # Errors
    /// Everything that [`Bus::check`] finds.
    pub fn with_radio(
        bus: impl Into<Arc<Bus>>,
        radio: Arc<dyn Radio>,
    ) -> Result<Self, Vec<ConfigError>> {
        let bus = bus.into();
        let errors = bus.check();
        if !errors.is_empty() {
            return Err(errors);
        }
        let devices = bus.devices.iter().map(|device| device.id.clone());
        let status = Arc::new(BusStatus::new(Arc::clone(&bus.name), devices));
        Ok(Self { bus, radio, status })
    }
}

#[async_trait::async_trait]
impl Driver for BleDriver {
    fn name(&self) -> &str {
        &self.bus.name
    }

    fn status(&self) -> Arc<BusStatus> {
        Arc::clone(&self.status)
    }

    async fn run(self: Box<Self>, mut ctx: DriverContext) {
        // The workers end with the task, whatever it ends by.
        ctx.stop = ctx.stop.child_token();
        let shared = Arc::new(Shared {
            bus: self.bus,
            status: self.status,
            ctx,
            air: tokio::sync::Mutex::new(Air::default()),
            budget: Budget::default(),
            scan_lost: tokio::sync::Notify::new(),
        });
        let mut task = task::Task::new(shared, self.radio);
        let Stopped = task.run().await;
        task.end().await;
    }
}

/// What the task and its workers share.
struct Shared {
    bus: Arc<Bus>,
    status: Arc<BusStatus>,
    ctx: DriverContext,
    air: tokio::sync::Mutex<Air>,
    /// The share of dead devices.
    budget: Budget,
    /// A worker could not begin the scan again after it had paused it.
    scan_lost: tokio::sync::Notify,
}

impl Shared {
    fn now(&self) -> Instant {
        self.ctx.clock.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.ctx.clock.wall()
    }

    /// Tells of the bus as a whole.
    fn tell(&self, text: String) {
        tracing::info!(bus = %self.bus.name, "{text}");
        self.status.tell(self.wall(), &*self.bus.name, text);
    }

    /// Ends [`STOP_GRACE`] after the driver was told to stop.
    async fn grace(&self) {
        self.ctx.stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    }

    /// Hands over what waits, as far as there is room.
    fn flush(&self, outbox: &mut crate::outbox::Outbox) -> Result<(), Stopped> {
        while !outbox.is_empty() {
            let Some(room) = self.ctx.try_room()? else {
                return Ok(());
            };
            let Some(sweep) = outbox.pop() else {
                return Ok(());
            };
            self.status
                .counters
                .readings
                .add(sweep.readings.len() as u64);
            room.send(sweep);
        }
        Ok(())
    }
}

/// Sleeps on tokio's clock until the context's monotonic clock shows `until`; for ever for `None`.
async fn sleep_until(until: Option<Instant>, now: Instant) {
    match until {
        Some(until) => tokio::time::sleep(until.since(now)).await,
        None => std::future::pending().await,
    }
}
