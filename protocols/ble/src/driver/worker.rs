//! One connected device: kept connected, read in its periods, listened to, written on order.
//!
//! Invariants: 1. each period or interval of a group gives exactly one reading for each of its points, or
//! is counted as missed while the pipeline has no room; 2. an order goes ahead of reads and is answered
//! exactly once, `Unknown` when it was sent and not confirmed; 3. a subscription belongs to its connection:
//! the next one subscribes anew, and nothing of the last is heard in it; 4. after a failed connection the
//! device waits, longer each time.

mod asked;
mod ordered;

use super::connected::{Connected, Refused, connect};
use super::{FAREWELL, Shared, sleep_until};
use crate::address::Address;
use crate::config::{Gatt, Identity};
use crate::deadlines::Deadlines;
use crate::gatt::{How, Plan};
use crate::outbox::Outbox;
use crate::radio::{Central, RadioError, Said};
use protocols_driver::{Backoff, LinkState, Stopped, Sweep, WriteOrder};
use protocols_model::{DeviceId, Instant, Reading, Reason};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// So many failed reads in a row end a connection that says it is there.
const FAILS: u32 = 2;
/// After so many fruitless connections in a row a device is dead: it gets its share of the bus, no more.
const DEAD_AFTER: u32 = 3;

type Connecting = Pin<Box<dyn Future<Output = Result<Connected, Refused>> + Send>>;
type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Link {
    /// Nothing under way; the next attempt not before this moment.
    Away(Instant),
    /// A connection that was given up is being ended; then as above.
    Leaving(Leaving, Instant),
    Connecting(Connecting),
    Up(Connected),
}

/// See the module.
pub(super) struct Worker {
    shared: Arc<Shared>,
    index: usize,
    device: DeviceId,
    address: Address,
    gatt: Gatt,
    plan: Arc<Plan>,
    orders: mpsc::Receiver<WriteOrder>,
    central: watch::Receiver<Option<Arc<dyn Central>>>,
    link: Link,
    /// Why it is not up, for the readings.
    reason: Reason,
    /// Connections in a row that could not be made, or on which nothing was answered.
    failures: u32,
    backoff: Backoff,
    /// Reads that failed in a row.
    fails: u32,
    due: Deadlines,
    outbox: Outbox,
    /// The group by whose read a device that did not answer has to show that it does now.
    probe: Option<usize>,
}

/// What happened while there was nothing to do.
enum Woken {
    Order(WriteOrder),
    Connected(Result<Connected, Refused>),
    Left,
    Said(Said),
    Central,
    Time,
}

impl Worker {
    /// A worker for the `index`-th device of the bus; `None` without an address, which the check of the
    /// configuration rules out.
    pub(super) fn new(
        shared: Arc<Shared>,
        index: usize,
        gatt: &Gatt,
        orders: mpsc::Receiver<WriteOrder>,
        central: watch::Receiver<Option<Arc<dyn Central>>>,
    ) -> Option<Self> {
        let device = shared.bus.devices.get(index)?;
        let Identity::Address(address) = device.identity else {
            return None;
        };
        let now = shared.now();
        let plan = Plan::new(gatt);
        let mut due = Deadlines::default();
        for (group, span) in plan.groups.iter().map(|group| group.how.span()).enumerate() {
            if let Some(span) = span {
                due.set(group, now.plus(span));
            }
        }
        Some(Self {
            device: device.id.clone(),
            index,
            address,
            gatt: gatt.clone(),
            plan: Arc::new(plan),
            orders,
            central,
            link: Link::Away(now),
            reason: Reason::LinkDown,
            failures: 0,
            backoff: Backoff::new(gatt.backoff_min, gatt.backoff_max),
            fails: 0,
            due,
            outbox: Outbox::default(),
            probe: None,
            shared,
        })
    }

    pub(super) async fn run(mut self) {
        while self.step().await.is_ok() {}
        // Whoever connects next finds the device free.
        let held = !matches!(self.link, Link::Away(_));
        self.link = Link::Away(Instant::default());
        let central = self.central.borrow().clone();
        if let Some(central) = central.filter(|_| held) {
            drop(tokio::time::timeout(FAREWELL, central.disconnect(self.address)).await);
        }
    }

    async fn step(&mut self) -> Result<(), Stopped> {
        let shared = Arc::clone(&self.shared);
        shared.flush(&mut self.outbox)?;
        let now = shared.now();
        self.attempt(now);
        if let Ok(order) = self.orders.try_recv() {
            self.carry_out(order).await;
            return Ok(());
        }
        let probe = self.probe.filter(|_| matches!(self.link, Link::Up(_)));
        let due = probe.is_some() || self.due.next().is_some_and(|due| due <= now);
        if due && let Some(room) = shared.ctx.try_room()? {
            return match probe {
                Some(group) => self.prove(group, room).await,
                None => self.poll(room, now).await,
            };
        }
        match self.wait(now, due).await? {
            Woken::Order(order) => self.carry_out(order).await,
            Woken::Connected(result) => self.connected(result),
            Woken::Said(Said::Value(place, bytes)) => self.told(place, &bytes),
            Woken::Said(Said::Gone) => self.lost(Reason::LinkDown, "the connection is gone"),
            Woken::Central => self.radio_changed(),
            Woken::Left => {
                if let Link::Leaving(_, at) = self.link {
                    self.link = Link::Away(at);
                }
            }
            Woken::Time => {}
        }
        Ok(())
    }

    /// Waits for what comes next. With `due`, a read or a silence waits for room: nothing is asked, but
    /// what the device says by itself is heard, and orders go ahead.
    async fn wait(&mut self, now: Instant, due: bool) -> Result<Woken, Stopped> {
        let shared = Arc::clone(&self.shared);
        let at = match &self.link {
            Link::Away(at) if self.central.borrow().is_some() => Some(*at),
            _ => None,
        };
        let next = self.due.next().filter(|_| !due);
        let until = next.into_iter().chain(at).min();
        let waiting = due || !self.outbox.is_empty();
        let link = async {
            match &mut self.link {
                Link::Connecting(connecting) => Woken::Connected(connecting.await),
                Link::Up(connected) => Woken::Said(connected.peer.next().await),
                Link::Leaving(leaving, _) => {
                    leaving.await;
                    Woken::Left
                }
                Link::Away(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shared.ctx.stop.cancelled() => Err(Stopped),
            Some(order) = self.orders.recv() => Ok(Woken::Order(order)),
            Ok(()) = self.central.changed() => Ok(Woken::Central),
            woken = link => Ok(woken),
            room = shared.ctx.room(), if waiting => {
                drop(room?);
                Ok(Woken::Time)
            }
            () = sleep_until(until, now) => Ok(Woken::Time),
        }
    }

    /// Begins a connection when it is time and there is a radio.
    fn attempt(&mut self, now: Instant) {
        let Link::Away(at) = self.link else { return };
        let Some(central) = self.central.borrow().clone() else {
            return;
        };
        if at > now {
            return;
        }
        let dead = self.failures >= DEAD_AFTER;
        if dead {
            self.shared.status.counters.probes.inc();
        }
        self.link = Link::Connecting(Box::pin(connect(
            Arc::clone(&self.shared),
            central,
            self.address,
            self.gatt.clone(),
            Arc::clone(&self.plan),
            dead,
        )));
    }

    fn connected(&mut self, result: Result<Connected, Refused>) {
        let (now, wall) = (self.shared.now(), self.shared.wall());
        match result {
            Ok(connected) => {
                self.shared.status.counters.connects.inc();
                for missing in &connected.missing {
                    let text = format!("connected, but {missing}");
                    self.shared.status.tell(wall, self.device.as_str(), text);
                }
                self.link = Link::Up(connected);
                self.fails = 0;
                let mut groups = self.plan.groups.iter();
                let read = groups.position(|group| matches!(group.how, How::Read(_)));
                match read {
                    Some(group) if self.failures > 0 => self.probe = Some(group),
                    _ => self.proven(now),
                }
            }
            Err(Refused { error, cost }) => {
                let reason = match error {
                    RadioError::TimedOut | RadioError::NotHeard => Reason::Timeout,
                    RadioError::NoService(_)
                    | RadioError::NoAdapter(..)
                    | RadioError::Failed(_) => Reason::LinkDown,
                    RadioError::Refused(_) => Reason::DeviceError,
                };
                let text = format!("cannot be connected: {error} (after {} s)", cost.as_secs());
                self.failures = self.failures.saturating_add(1);
                self.down(reason, &text);
            }
        }
    }

    /// The connection can be relied on: everything is read at once.
    fn proven(&mut self, now: Instant) {
        self.well();
        for (group, planned) in self.plan.groups.iter().enumerate() {
            if matches!(planned.how, How::Read(_)) {
                self.due.set(group, now);
            }
        }
    }

    /// The device answers: the connection is worth something.
    fn well(&mut self) {
        (self.failures, self.fails) = (0, 0);
        self.backoff.succeeded(self.shared.now());
        let wall = self.shared.wall();
        self.shared.status.set_link(self.index, LinkState::Up, wall);
    }

    /// The connection is over, or there was none: publishes it and waits before the next attempt.
    fn down(&mut self, reason: Reason, text: &str) {
        let (now, wall) = (self.shared.now(), self.shared.wall());
        self.reason = reason;
        self.probe = None;
        let wait = self.backoff.failed(now);
        self.link = Link::Away(now.plus(wait));
        let down = LinkState::Down(reason);
        if self.shared.status.set_link(self.index, down, wall) {
            self.shared.status.tell(wall, self.device.as_str(), text);
            tracing::warn!(bus = %self.shared.bus.name, device = %self.device, "{text}");
        }
    }

    fn lost(&mut self, reason: Reason, text: &str) {
        self.shared.status.counters.disconnects.inc();
        self.down(reason, text);
    }

    fn radio_changed(&mut self) {
        let there = self.central.borrow_and_update().is_some();
        let wall = self.shared.wall();
        if matches!(self.link, Link::Up(_)) {
            self.shared.status.counters.disconnects.inc();
        }
        if !there {
            self.reason = Reason::LinkDown;
            let down = LinkState::Down(Reason::LinkDown);
            self.shared.status.set_link(self.index, down, wall);
        }
        self.probe = None;
        // An attempt over the old radio is over too; the new one is tried at once.
        self.link = Link::Away(self.shared.now());
    }

    fn told(&mut self, place: usize, bytes: &[u8]) {
        let now = self.shared.now();
        let Link::Up(connected) = &self.link else {
            return;
        };
        let groups = self.plan.groups.iter().zip(&connected.places).enumerate();
        let groups = groups
            .filter(|(_, (group, at))| matches!(group.how, How::Notify(_)) && **at == Some(place));
        let groups: Vec<usize> = groups.map(|(index, _)| index).collect();
        self.shared
            .status
            .counters
            .bytes_received
            .add(bytes.len() as u64);
        if !groups.is_empty() {
            self.well();
        }
        for group in groups {
            self.shared.status.counters.answers.inc();
            let readings = self.plan.readings(group, bytes, self.shared.wall());
            self.renew(group, now);
            self.push(readings, now);
        }
    }

    /// The group's span begins anew.
    fn renew(&mut self, group: usize, now: Instant) {
        let span = self.plan.groups.get(group).and_then(|g| g.how.span());
        if let Some(span) = span {
            self.due.set(group, now.plus(span));
        }
    }

    fn push(&mut self, readings: Vec<Reading>, now: Instant) {
        if readings.is_empty() {
            return;
        }
        let sweep = self.sweep(readings, now);
        let overrun = self.outbox.push(sweep);
        self.shared.status.counters.overrun.add(overrun);
    }

    fn sweep(&self, readings: Vec<Reading>, taken: Instant) -> Sweep {
        Sweep {
            bus: Arc::clone(&self.shared.bus.name),
            device: self.device.clone(),
            taken,
            readings,
        }
    }
}
