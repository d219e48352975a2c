//! One bus as a task: schedule, plan, link and codec put together.
//!
//! In a turn: take room for the readings, ask one request, hand its readings over. A poll group's
//! pass goes on request by request, so that a shorter period comes in between. Failures give `Bad`
//! readings once per poll, not once per state change: the pipeline drops the repeats, and a reader of
//! the stream can tell "still dead" from "not polled".

mod ask;
mod unit;

use crate::config::{Bus, ConfigError};
use crate::connect::{Connect, Connecting, Connection, System};
use crate::health::Health;
use crate::link::Link;
use crate::plan::{self, Request, Slot};
use crate::schedule::{Schedule, Turn};
use protocols_driver::{BusStatus, Driver, DriverContext, LinkState, Stopped, Sweep};
use protocols_model::{Instant, Reason};
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
        })
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
        let mut task = BusTask::new(self.bus, self.status, self.connect, ctx);
        let Stopped = task.run().await;
    }
}

/// The points of one device that share a period.
struct Group {
    unit: usize,
    /// As the planner made them.
    planned: Vec<Arc<Request>>,
    /// As the device takes them: those it refused are asked in parts.
    requests: Vec<Arc<Request>>,
    /// The next request of the pass under way.
    cursor: usize,
    /// Whether this pass had an answer.
    answered: bool,
    /// Whether the last pass had none, only refusals: no smaller request will help.
    refusing: bool,
}

impl Group {
    fn new(unit: usize, planned: Vec<Arc<Request>>) -> Self {
        Self {
            unit,
            requests: planned.clone(),
            planned,
            cursor: 0,
            answered: false,
            refusing: false,
        }
    }

    /// All requests of the pass were asked. A device that refused all of them for a while, whatever
    /// their size, gets its plan back.
    fn complete(&mut self) {
        self.refusing = !self.answered;
        if self.refusing {
            self.requests.clone_from(&self.planned);
        }
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
    units: Vec<Unit>,
    groups: Vec<Group>,
    schedule: Schedule,
    health: Health,
    suspects: Suspects,
    link: Link,
    opening: Option<Opening>,
}

impl BusTask {
    fn new(
        bus: Arc<Bus>,
        status: Arc<BusStatus>,
        connect: Arc<dyn Connect>,
        ctx: DriverContext,
    ) -> Self {
        let now = ctx.clock.monotonic();
        let link = Link::new(
            &bus.transport,
            bus.gap,
            Arc::clone(&status),
            Arc::clone(&ctx.clock),
        );
        let costs = bus.devices.iter();
        let costs = costs.map(|d| (d.retry, link.cost_of_silence(d.timeout)));
        let health = Health::new(costs, now);
        let (mut groups, mut periods) = (Vec::new(), Vec::new());
        for (unit, device) in bus.devices.iter().enumerate() {
            for (period, requests) in unit::poll_groups(device) {
                periods.push(period);
                groups.push(Group::new(
                    unit,
                    requests.into_iter().map(Arc::new).collect(),
                ));
            }
        }
        Self {
            units: bus.devices.iter().map(Unit::new).collect(),
            schedule: Schedule::new(&periods, now),
            bus,
            status,
            connect,
            ctx: Arc::new(ctx),
            groups,
            health,
            suspects: Suspects::default(),
            link,
            opening: None,
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
        tokio::select! {
            biased;
            () = self.ctx.stop.cancelled() => Err(Stopped),
            opened = opening => {
                self.opened(opened);
                Ok(())
            }
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    fn opened(&mut self, result: io::Result<Connection>) {
        self.opening = None;
        match result {
            Ok(port) => {
                tracing::info!(bus = %self.bus.name, "bus opened");
                self.link.attach(port);
            }
            Err(error) => {
                self.link.not_opened();
                let now = self.ctx.clock.wall();
                let mut changed = false;
                for index in 0..self.units.len() {
                    let down = LinkState::Down(Reason::LinkDown);
                    changed |= self.status.set_link(index, down, now);
                }
                if changed {
                    tracing::warn!(bus = %self.bus.name, %error, "bus cannot be opened; trying on");
                }
            }
        }
    }

    async fn poll(&mut self, turn: Turn) -> Result<(), Stopped> {
        self.status.counters.missed_polls.add(turn.missed);
        let Some(group) = self.groups.get_mut(turn.group) else {
            return Ok(());
        };
        if turn.begins {
            (group.cursor, group.answered) = (0, false);
        }
        let (unit, again) = (group.unit, !group.refusing);
        let Some(request) = group.requests.get(group.cursor).map(Arc::clone) else {
            self.schedule.finish(turn.group);
            return Ok(());
        };
        if self.health.is_dead(unit) {
            self.status.counters.unasked_polls.inc();
            return self.give_up(turn.group, Reason::NotAsked).await;
        }
        if !self.link.is_up() {
            return self.give_up(turn.group, Reason::LinkDown).await;
        }
        let again = again && (request.has_gap || request.slots.len() > 1);
        let outcome = self.ask(unit, &request, again).await?;
        let Some(group) = self.groups.get_mut(turn.group) else {
            return Ok(());
        };
        match outcome {
            Outcome::Refused if again => {
                // Nothing was handed over yet: asked again in the next turn, in parts.
                let parts = plan::smaller(&request);
                if parts.is_empty() {
                    group.cursor += 1;
                    let slots = request.slots.iter().copied();
                    let sweep = self.bad_sweep(unit, slots, Reason::DeviceError);
                    self.deliver(sweep).await?;
                } else {
                    let parts = parts.into_iter().map(Arc::new);
                    group.requests.splice(group.cursor..=group.cursor, parts);
                    return Ok(());
                }
            }
            Outcome::Answered => {
                group.answered = true;
                group.cursor += 1;
            }
            Outcome::Refused => group.cursor += 1,
            // The pass goes on with this request when the link is up, or is given up with the link.
            Outcome::Postponed => return Ok(()),
            Outcome::Failed(reason) => {
                group.cursor += 1;
                let rest = if reason == Reason::LinkDown {
                    reason
                } else {
                    Reason::NotAsked
                };
                return self.give_up(turn.group, rest).await;
            }
        }
        if let Some(group) = self.groups.get_mut(turn.group)
            && group.cursor >= group.requests.len()
        {
            group.complete();
            self.schedule.finish(turn.group);
        }
        Ok(())
    }

    /// Ends a pass: the points of the requests that were not made get a bad reading.
    async fn give_up(&mut self, index: usize, reason: Reason) -> Result<(), Stopped> {
        self.schedule.finish(index);
        let Some(group) = self.groups.get(index) else {
            return Ok(());
        };
        let rest = group.requests.get(group.cursor..).unwrap_or_default();
        let rest = rest
            .iter()
            .flat_map(|request| request.slots.iter().copied());
        let sweep = self.bad_sweep(group.unit, rest, reason);
        self.deliver(sweep).await
    }

    fn bad_sweep(
        &self,
        unit: usize,
        slots: impl Iterator<Item = Slot>,
        reason: Reason,
    ) -> Option<Sweep> {
        let unit = self.units.get(unit)?;
        let readings = unit.bad(slots, self.ctx.clock.wall(), reason);
        let taken = self.ctx.clock.monotonic();
        Some(unit.sweep(&self.bus.name, taken, readings)).filter(|s| !s.readings.is_empty())
    }

    /// Hands over what no request was made for.
    async fn deliver(&mut self, sweep: Option<Sweep>) -> Result<(), Stopped> {
        if let Some(sweep) = sweep {
            let room = self.ctx.room().await?;
            self.status
                .counters
                .readings
                .add(sweep.readings.len() as u64);
            room.send(sweep);
        }
        Ok(())
    }
}
