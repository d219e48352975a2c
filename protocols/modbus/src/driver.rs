//! One bus as a task: schedule, plan, link and codec put together.
//!
//! In a turn: carry an order out if there is one; else take room for the readings, ask one request, hand
//! its readings over. A poll group's pass goes on request by request, so that an order or a shorter
//! period comes in between. Failures give `Bad`
//! readings once per poll, not once per state change: the pipeline drops the repeats, and a reader of
//! the stream can tell "still dead" from "not polled".

mod ask;
mod group;
mod orders;
mod poll;
mod remember;
mod unit;

use crate::config::Transport;
use crate::config::{Bus, ConfigError};
use crate::connect::{Connect, Connecting, Connection, System};
use crate::learned::Memory;
use crate::link::Link;
use crate::schedule::Schedule;
use crate::timing::Timing;
use group::Group;
use orders::{Held, Targets};
use protocols_driver::{BusStatus, Driver, DriverContext, Health, LinkState, Stopped};
use protocols_model::{Instant, Reason};
use remember::Remember;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use unit::{Suspects, Unit};

/// While a connection is being made polls wait so long before they report the link as down: a
/// reconnect on a healthy network is no outage.
const OPEN_GRACE: Duration = Duration::from_millis(500);

/// Reads the devices of one Modbus bus.
pub struct ModbusDriver {
    bus: Arc<Bus>,
    status: Arc<BusStatus>,
    connect: Arc<dyn Connect>,
    memory: Option<Arc<dyn Memory>>,
}

impl std::fmt::Debug for ModbusDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModbusDriver")
            .field("bus", &self.bus.name)
            .finish_non_exhaustive()
    }
}

impl ModbusDriver {
    /// A driver for `bus`; nothing is opened before it runs. Whoever may need another one for the same
    /// bus shares it: a large point table is not kept twice.
    ///
    /// # Errors
    /// Everything that [`Bus::check`] finds.
    pub fn new(bus: impl Into<Arc<Bus>>) -> Result<Self, Vec<ConfigError>> {
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
            connect: Arc::new(System),
            memory: None,
        })
    }

    /// Keeps what the devices teach across restarts.
    #[must_use]
    pub fn remembering(mut self, memory: Arc<dyn Memory>) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Opens the bus in another way than the machine's own.
    #[must_use]
    pub fn over(mut self, connect: Arc<dyn Connect>) -> Self {
        self.connect = connect;
        self
    }
}

#[async_trait::async_trait]
impl Driver for ModbusDriver {
    fn name(&self) -> &str {
        &self.bus.name
    }

    fn status(&self) -> Arc<BusStatus> {
        Arc::clone(&self.status)
    }

    async fn run(self: Box<Self>, ctx: DriverContext) {
        let now = ctx.clock.monotonic();
        let remember = Remember::load(self.memory, &self.bus, now).await;
        let mut task = BusTask::new(self.bus, self.status, self.connect, remember, ctx);
        let Stopped = task.run().await;
        task.save().await;
    }
}

/// How a request ended, as far as the pass is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// The device refused, perhaps because of an address.
    Refused,
    Failed(Reason),
    /// The connection was gone before the request went out; it is being made again.
    Postponed,
}

/// What follows when a device refuses a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnRefusal {
    /// Its points get bad readings.
    Report,
    /// The caller asks in parts, and something may be learned.
    Split,
    /// The caller asks as planned: this request reached out further.
    FallBack,
}

/// An attempt to open the bus.
struct Opening {
    future: Connecting,
    began: Instant,
}

struct BusTask {
    bus: Arc<Bus>,
    status: Arc<BusStatus>,
    connect: Arc<dyn Connect>,
    /// Shared with itself, so that room taken from it does not hold on to the task.
    ctx: Arc<DriverContext>,
    timing: Timing,
    units: Vec<Unit>,
    groups: Vec<Group>,
    schedule: Schedule,
    health: Health,
    suspects: Suspects,
    link: Link,
    opening: Option<Opening>,
    /// The port was not there when it was tried last.
    is_missing: bool,
    /// Why it could not be opened, as it was told.
    trouble: Option<String>,
    targets: Targets,
    /// An order that waits for the bus to be opened.
    held: Held,
    remember: Remember,
}

impl BusTask {
    fn new(
        bus: Arc<Bus>,
        status: Arc<BusStatus>,
        connect: Arc<dyn Connect>,
        remember: Remember,
        ctx: DriverContext,
    ) -> Self {
        let now = ctx.clock.monotonic();
        let (timing, is_rtu) = (Timing::of(&bus), bus.transport.is_rtu());
        let link = Link::new(
            &bus.transport,
            bus.gap,
            Arc::clone(&status),
            Arc::clone(&ctx.clock),
        );
        let costs = bus.devices.iter();
        let costs = costs.map(|device| (device.retry, timing.silence(device)));
        let health = Health::new(costs, now);
        let unit = |device| Unit::new(device, remember.snapshot().learned(device));
        let units: Vec<Unit> = bus.devices.iter().map(unit).collect();
        let (mut groups, mut times) = (Vec::new(), Vec::new());
        for (index, (device, unit)) in bus.devices.iter().zip(&units).enumerate() {
            if device.is_broadcast(is_rtu) {
                continue;
            }
            for period in group::periods(device) {
                let group = Group::new(index, period, device, &timing, &unit.learned);
                times.push((period, group.cost(device, &timing)));
                groups.push(group);
            }
        }
        Self {
            schedule: Schedule::staggered(&times, now),
            targets: Targets::new(&bus.devices),
            bus,
            status,
            connect,
            ctx: Arc::new(ctx),
            timing,
            units,
            groups,
            health,
            suspects: Suspects::default(),
            link,
            opening: None,
            is_missing: false,
            trouble: None,
            held: None,
            remember,
        }
    }

    async fn run(&mut self) -> Stopped {
        loop {
            if let Err(stopped) = self.step().await {
                return stopped;
            }
        }
    }

    /// Does what is to be done now, or waits for it.
    async fn step(&mut self) -> Result<(), Stopped> {
        let now = self.ctx.clock.monotonic();
        if !self.link.is_up() && self.opening.is_none() && self.link.reopen_at() <= now {
            self.opening = Some(Opening {
                future: self.connect.connect(&self.bus.transport),
                began: now,
            });
        }
        self.remember(now).await;
        if (self.link.is_up() || self.may_turn(now))
            && let Some(order) = orders::next(&mut self.held, &self.ctx)
        {
            return self.order(order).await;
        }
        if self.may_turn(now) {
            let hurried = self.link.is_up().then(|| self.health.probe(now, false));
            if let Some(unit) = hurried.flatten() {
                return self.probe(unit).await;
            }
            if let Some(turn) = self.schedule.turn(now) {
                return self.poll(turn).await;
            }
            let probe = self.link.is_up().then(|| self.health.probe(now, true));
            if let Some(unit) = probe.flatten() {
                return self.probe(unit).await;
            }
        }
        self.wait(now).await
    }

    /// Polls hold still for a moment while the bus is being opened.
    fn may_turn(&self, now: Instant) -> bool {
        let fresh = |opening: &Opening| now.since(opening.began) < OPEN_GRACE;
        !self.opening.as_ref().is_some_and(fresh)
    }

    async fn wait(&mut self, now: Instant) -> Result<(), Stopped> {
        let due = self.schedule.next_due();
        let until = match &self.opening {
            Some(opening) => {
                let patient = opening.began.plus(OPEN_GRACE);
                due.map(|due| due.max(patient))
            }
            None if self.link.is_up() => due.into_iter().chain(self.health.next_probe()).min(),
            None => due.into_iter().chain([self.link.reopen_at()]).min(),
        };
        let pause = until.map_or(Duration::from_hours(1), |until| until.since(now));
        let opening = async {
            match &mut self.opening {
                Some(opening) => opening.future.as_mut().await,
                None => std::future::pending().await,
            }
        };
        let back = async {
            match &self.bus.transport {
                Transport::Rtu { path, .. } if self.is_missing => {
                    protocols_line::appeared(path).await;
                }
                _ => std::future::pending().await,
            }
        };
        let may_order = self.held.is_none();
        tokio::select! {
            biased;
            () = self.ctx.stop.cancelled() => return Err(Stopped),
            opened = opening => self.opened(opened),
            order = self.ctx.orders.next(), if may_order => return self.order(order).await,
            () = self.link.pulled() => self.pulled(),
            () = back => {
                self.is_missing = false;
                self.link.reopen_now();
            }
            () = tokio::time::sleep(pause) => {}
        }
        Ok(())
    }

    /// The port was pulled while nobody was asked.
    fn pulled(&mut self) {
        tracing::warn!(bus = %self.bus.name, "serial port unplugged; closed");
        self.tell("the serial port was unplugged and is closed; it is opened when it is back");
        self.trouble = Some(String::new());
        self.down();
    }

    /// Publishes that the link is away.
    fn down(&self) {
        let now = self.ctx.clock.wall();
        for index in 0..self.units.len() {
            let down = LinkState::Down(Reason::LinkDown);
            self.status.set_link(index, down, now);
        }
    }

    fn opened(&mut self, result: io::Result<Connection>) {
        self.opening = None;
        match result {
            Ok(port) => {
                tracing::info!(bus = %self.bus.name, "bus opened");
                self.is_missing = false;
                if self.trouble.take().is_some() {
                    self.tell("open again");
                }
                self.link.attach(port);
            }
            Err(error) => {
                self.link.not_opened();
                self.is_missing = error.kind() == io::ErrorKind::NotFound;
                self.down();
                let cause = with_causes(&error);
                if self.trouble.as_ref() != Some(&cause) {
                    tracing::warn!(bus = %self.bus.name, error = cause, "bus cannot be opened; trying on");
                    self.tell(&format!("cannot be opened, trying on: {cause}"));
                    self.trouble = Some(cause);
                }
            }
        }
    }

    /// Tells people about the bus.
    fn tell(&self, text: &str) {
        let (now, bus) = (self.ctx.clock.wall(), self.bus.name.to_string());
        self.status.tell(now, bus, text);
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
