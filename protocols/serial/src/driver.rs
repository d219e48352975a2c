//! One line as a task: the port, the framer, and what the line is (listened to, or asked).
//!
//! In a turn it does what is due, or waits for the next thing: an order, bytes, the port, a time. While
//! the port is away it goes on reporting: `Bad(LinkDown)` when a poll is due or a span is over.

mod ask;
mod exchange;
mod listen;
mod write;

use crate::config::{Bus, ConfigError};
use crate::framer::{Event, Framer, Lost};
use crate::link::Link;
use crate::listener::Listener;
use crate::schedule::Schedule;
use crate::wire::{Opener, SerialPorts};
use protocols_driver::{
    BusStatus, CancellationToken, Driver, DriverContext, Health, LinkState, Stopped, Sweep,
    WriteOrder,
};
use protocols_model::{Instant, Reading, Reason};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// While the port is being opened polls wait so long before they report the link as down.
const OPEN_GRACE: Duration = Duration::from_millis(500);
/// A transaction under way when the driver is told to stop gets so long to finish; well inside
/// [`protocols_driver::STOP_BOUND`].
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Least time between two commands after opening: instruments need it to take them one by one.
const INIT_GAP: Duration = Duration::from_millis(50);
/// A command that the port does not take within so long (flow control, a hung adapter) is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads and writes the devices of one serial line.
pub struct SerialDriver {
    bus: Arc<Bus>,
    status: Arc<BusStatus>,
    opener: Arc<dyn Opener>,
}

impl SerialDriver {
    /// A driver for `bus`; nothing is opened before it runs.
    ///
    /// # Errors
    /// Everything that [`Bus::check`] finds.
    pub fn new(bus: impl Into<Arc<Bus>>) -> Result<Self, Vec<ConfigError>> {
        Self::with_opener(bus, Arc::new(SerialPorts))
    }

    /// The same on ports that `opener` opens.
    ///
    /// # Errors
    /// Everything that [`Bus::check`] finds.
    pub fn with_opener(
        bus: impl Into<Arc<Bus>>,
        opener: Arc<dyn Opener>,
    ) -> Result<Self, Vec<ConfigError>> {
        let bus = bus.into();
        let errors = bus.check();
        if !errors.is_empty() {
            return Err(errors);
        }
        let devices = bus.devices.iter().map(|device| device.id.clone());
        let status = Arc::new(BusStatus::new(Arc::clone(&bus.name), devices));
        Ok(Self {
            bus,
            status,
            opener,
        })
    }
}

impl fmt::Debug for SerialDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialDriver")
            .field("bus", &self.bus)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Driver for SerialDriver {
    fn name(&self) -> &str {
        &self.bus.name
    }

    fn status(&self) -> Arc<BusStatus> {
        Arc::clone(&self.status)
    }

    async fn run(self: Box<Self>, ctx: DriverContext) {
        let mut task = Task::new(*self, ctx);
        let Stopped = task.run().await;
    }
}

/// What the line is.
enum Mode {
    /// Its devices speak by themselves.
    Listen {
        listener: Box<Listener>,
        /// Heard, and without a place in the channel yet.
        heard: VecDeque<Sweep>,
    },
    /// Its devices answer.
    Ask {
        /// Device and message of each poll group.
        groups: Vec<(usize, usize)>,
        schedule: Schedule,
        health: Health,
    },
}

struct Task {
    bus: Arc<Bus>,
    status: Arc<BusStatus>,
    /// Shared with itself, so that room taken from it does not hold on to the task.
    ctx: Arc<DriverContext>,
    link: Link,
    framer: Framer,
    /// Events of bytes that came together with an answer.
    pending: Vec<Event>,
    mode: Mode,
    /// When the line was last busy with us.
    busy_until: tokio::time::Instant,
    /// Why the port could not be opened the last time: told once, not at each attempt.
    trouble: Option<String>,
}

impl Task {
    fn new(driver: SerialDriver, ctx: DriverContext) -> Self {
        let SerialDriver {
            bus,
            status,
            opener,
        } = driver;
        let now = ctx.clock.monotonic();
        let link = Link::new(
            opener,
            bus.port.clone(),
            Arc::clone(&status),
            Arc::clone(&ctx.clock),
        );
        let mode = if bus.is_asked() {
            let groups = ask::groups(&bus);
            let costs = bus
                .devices
                .iter()
                .map(|device| (device.retry, device.timeout));
            let period = |&(device, message)| ask::message(&bus, device, message).map(|m| m.period);
            Mode::Ask {
                schedule: Schedule::new(groups.iter().filter_map(period), now),
                health: Health::new(costs, now),
                groups,
            }
        } else {
            Mode::Listen {
                listener: Box::new(Listener::new(&bus, now)),
                heard: VecDeque::new(),
            }
        };
        Self {
            framer: Framer::new(&bus, now),
            pending: Vec::new(),
            bus,
            status,
            ctx: Arc::new(ctx),
            link,
            mode,
            busy_until: tokio::time::Instant::now(),
            trouble: None,
        }
    }

    async fn run(&mut self) -> Stopped {
        loop {
            let step = match self.mode {
                Mode::Listen { .. } => self.listen().await,
                Mode::Ask { .. } => self.ask().await,
            };
            if let Err(stopped) = step {
                return stopped;
            }
        }
    }

    fn now(&self) -> Instant {
        self.ctx.clock.monotonic()
    }

    /// An attempt to open the port ended.
    async fn opened(&mut self, result: io::Result<()>) -> Result<(), Stopped> {
        match result {
            Ok(()) => {
                tracing::info!(bus = %self.bus.name, "port opened");
                if self.trouble.take().is_some() {
                    self.tell("the port is open again");
                }
                let stop = self.ctx.stop.clone();
                tokio::select! {
                    biased;
                    () = grace_after(&stop) => Err(Stopped),
                    () = self.greet() => Ok(()),
                }
            }
            Err(error) => {
                self.all_down();
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    tracing::warn!(bus = %self.bus.name, %error, "port cannot be opened; trying on");
                    self.tell(&format!("the port cannot be opened: {text}; trying on"));
                    self.trouble = Some(text);
                }
                Ok(())
            }
        }
    }

    /// First thing on an open port: what the devices are to be told, and on an asked line silence, so
    /// that nothing that is under way is taken for an answer.
    async fn greet(&mut self) {
        let bus = Arc::clone(&self.bus);
        for command in &bus.init {
            let start = bus.framing.start_delimiter();
            // A checked command without a value has nothing that could fail.
            let Ok(bytes) = command.render(None, bus.checksum.as_ref(), start) else {
                continue;
            };
            if self.send(&bytes).await.is_err() {
                return self.lost();
            }
            self.quiet(bus.gap.max(INIT_GAP)).await;
        }
        let now = self.now();
        let asked = matches!(self.mode, Mode::Ask { .. });
        if asked {
            self.quiet(bus.pause).await;
        }
        self.framer.reset(asked, now);
    }

    /// The port is gone: closed at once, published, and opened again.
    fn lost(&mut self) {
        if !self.link.is_up() {
            return;
        }
        self.link.close();
        self.all_down();
        let now = self.now();
        let held = self.framer.reset(false, now);
        self.status.counters.stray_bytes.add(held as u64);
        tracing::warn!(bus = %self.bus.name, "port lost; opening it again");
        self.tell("the port is gone; opening it again");
        self.trouble = Some("the port is gone".to_owned());
    }

    fn all_down(&self) {
        let wall = self.ctx.clock.wall();
        for index in 0..self.bus.devices.len() {
            self.status
                .set_link(index, LinkState::Down(Reason::LinkDown), wall);
        }
    }

    fn tell(&self, text: &str) {
        self.status
            .tell(self.ctx.clock.wall(), &*self.bus.name, text);
    }

    /// Counts bytes that became no frame.
    fn count_lost(&self, bytes: usize, why: Lost) {
        if why == Lost::Checksum {
            self.status.counters.crc_errors.inc();
        }
        self.status.counters.stray_bytes.add(bytes as u64);
    }

    fn sweep(&self, device: usize, taken: Instant, readings: Vec<Reading>) -> Option<Sweep> {
        let device = self.bus.devices.get(device)?;
        self.status.counters.readings.add(readings.len() as u64);
        Some(Sweep {
            bus: Arc::clone(&self.bus.name),
            device: device.id.clone(),
            taken,
            readings,
        })
    }

    /// Cuts bytes into frames; what is none is counted.
    fn frames(&mut self, events: Vec<Event>) -> Vec<crate::framer::Frame> {
        let mut frames = Vec::new();
        for event in events {
            match event {
                Event::Frame(frame) => frames.push(frame),
                Event::Lost { bytes, why } => self.count_lost(bytes, why),
            }
        }
        frames
    }

    /// Carries out an order, unless the driver has to stop before it is through.
    async fn order(&mut self, order: WriteOrder) -> Result<(), Stopped> {
        let stop = self.ctx.stop.clone();
        tokio::select! {
            biased;
            // Dropped unanswered it reads as "unknown", which it is.
            () = grace_after(&stop) => Err(Stopped),
            () = self.write(order) => Ok(()),
        }
    }
}

/// Ends [`STOP_GRACE`] after `stop` was cancelled.
async fn grace_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}
