//! The simulated world: adapters, the sensors around them, and bluetoothd between them and its clients.
//!
//! Pure and synchronous. Requests, faults and time go in; answers and signals come out, in the order in
//! which bluetoothd would send them. The D-Bus itself is in `service`. Behaviour, names and texts of errors
//! are those of bluetoothd 5.66 where a client can tell the difference.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocols_model::{Instant, Timestamp};

use crate::journal::{Event, Journal};
use crate::names::Address;
use crate::sensor::Sensor;
use crate::setup::{AdapterSetup, Timing};
use crate::tree::{Change, Interfaces, Tree};
use crate::value::{Props, Value};

mod around;
mod fault;
mod gatt;
mod link;
mod radio;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use radio::{Adapter, Filter};
pub(crate) use request::{Answer, Outcome, Refusal, Request};

use around::{Crowd, Nearby};
use gatt::Attribute;

pub(crate) const ADAPTER: &str = "org.bluez.Adapter1";
pub(crate) const DEVICE: &str = "org.bluez.Device1";
pub(crate) const SERVICE: &str = "org.bluez.GattService1";
pub(crate) const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
pub(crate) const DESCRIPTOR: &str = "org.bluez.GattDescriptor1";

/// Calls that a hanging daemon keeps for later; more are lost, as when its socket is full.
const HELD_CALLS: usize = 4096;

/// The name by which `service` finds the message of a call again.
pub(crate) type CallId = u64;

/// What has to be sent.
#[derive(Debug)]
pub(crate) enum Out {
    Reply(CallId, Result<Answer, Refusal>),
    Signal(Change),
}

/// A call as it came over the bus.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) sender: String,
    pub(crate) path: String,
    pub(crate) request: Request,
}

/// Something due later.
#[derive(Debug, Clone)]
enum Timer {
    /// A sensor's next advertisement.
    Advert(Address),
    /// A characteristic's next notification.
    Notify { path: String },
    /// A link attempt has come to its end.
    Linked {
        adapter: String,
        address: Address,
        attempt: u64,
    },
    /// The services of a linked device are known.
    Resolved {
        adapter: String,
        address: Address,
        attempt: u64,
    },
    /// A device not heard for long is forgotten.
    Forget { adapter: String, address: Address },
    /// The next of a crowd come by.
    Crowd,
}

#[derive(Debug)]
pub(crate) struct World {
    timing: Timing,
    /// bluetoothd runs.
    running: bool,
    /// bluetoothd answers.
    hangs: bool,
    held: VecDeque<Call>,
    tree: Tree,
    adapters: BTreeMap<String, Adapter>,
    nearby: BTreeMap<Address, Nearby>,
    /// What stands behind each path of a service, characteristic or descriptor.
    attributes: BTreeMap<String, Attribute>,
    crowd: Option<Crowd>,
    timers: BTreeMap<(Instant, u64), Timer>,
    /// Counts timers and link attempts; only ever grows.
    counter: u64,
    out: Vec<Out>,
    journal: Journal,
    random: fastrand::Rng,
    /// The wall clock, as told with the last input.
    wall: Timestamp,
}

impl World {
    pub(crate) fn new(
        adapters: &[AdapterSetup],
        timing: Timing,
        seed: u64,
        journal: Journal,
    ) -> Self {
        let mut world = Self {
            timing,
            running: false,
            hangs: false,
            held: VecDeque::new(),
            tree: Tree::default(),
            adapters: adapters
                .iter()
                .map(|a| (a.name.clone(), Adapter::new(a)))
                .collect(),
            nearby: BTreeMap::new(),
            attributes: BTreeMap::new(),
            crowd: None,
            timers: BTreeMap::new(),
            counter: 0,
            out: Vec::new(),
            journal,
            random: fastrand::Rng::with_seed(seed),
            wall: Timestamp::default(),
        };
        world.start_daemon();
        world
    }

    /// Whether the name `org.bluez` is on the bus.
    pub(crate) const fn running(&self) -> bool {
        self.running
    }

    /// Tells the wall clock, for the journal. Nothing is scheduled by it.
    pub(crate) const fn set_wall(&mut self, wall: Timestamp) {
        self.wall = wall;
    }

    pub(crate) fn adapters(&self) -> &BTreeMap<String, Adapter> {
        &self.adapters
    }

    /// What has to be sent since this was last asked.
    pub(crate) fn take_out(&mut self) -> Vec<Out> {
        self.settle();
        std::mem::take(&mut self.out)
    }

    /// Puts the changes made so far before whatever is sent next.
    fn settle(&mut self) {
        self.out
            .extend(self.tree.take_changes().into_iter().map(Out::Signal));
    }

    fn reply(&mut self, call: CallId, result: Result<Answer, Refusal>) {
        self.settle();
        self.out.push(Out::Reply(call, result));
    }

    fn note(&self, adapter: &str, address: Option<Address>, event: Event) {
        self.journal.note(self.wall, adapter, address, event);
    }

    fn after(&mut self, now: Instant, span: Duration, timer: Timer) {
        self.counter += 1;
        self.timers.insert((now.plus(span), self.counter), timer);
    }

    /// When [`World::tick`] is to be called next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(due, _)| *due)
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((&(due, number), _)) = self.timers.first_key_value() {
            if due > now {
                break;
            }
            let Some(timer) = self.timers.remove(&(due, number)) else {
                break;
            };
            match timer {
                Timer::Advert(address) => self.advert_due(now, due, address),
                Timer::Notify { path } => self.notify_due(now, due, &path),
                Timer::Linked {
                    adapter,
                    address,
                    attempt,
                } => {
                    self.link_attempt_ends(now, &adapter, address, attempt);
                }
                Timer::Resolved {
                    adapter,
                    address,
                    attempt,
                } => {
                    self.services_resolved(now, &adapter, address, attempt);
                }
                Timer::Forget { adapter, address } => self.forget_if_silent(now, &adapter, address),
                Timer::Crowd => self.crowd_due(now),
            }
        }
    }

    /// A call has come in.
    pub(crate) fn call(&mut self, now: Instant, call: Call) {
        if !self.running {
            return; // Nobody is there to take it; the bus tells the caller.
        }
        if self.hangs {
            if self.held.len() < HELD_CALLS {
                self.held.push_back(call);
            }
            return;
        }
        let id = call.id;
        match self.request(now, call) {
            Outcome::Done(result) => self.reply(id, result),
            Outcome::Later => {}
        }
    }

    /// A client has left the bus.
    pub(crate) fn client_left(&mut self, now: Instant, client: &str) {
        let names: Vec<String> = self.adapters.keys().cloned().collect();
        for name in names {
            self.end_discovery(&name, client);
        }
        self.end_listening(now, client);
    }

    /// A sensor comes into being. One that has its address already is replaced, with its link.
    pub(crate) fn add_sensor(&mut self, now: Instant, sensor: Sensor) {
        self.remove_sensor(now, sensor.address);
        let address = sensor.address;
        let first = sensor
            .advertising
            .as_ref()
            .map(|advertising| phase(address, advertising.interval));
        self.nearby.insert(address, Nearby::new(now, sensor));
        if let Some(first) = first {
            self.after(now, first, Timer::Advert(address));
        }
    }

    /// A sensor ceases to be: its link breaks, it is not heard any more.
    pub(crate) fn remove_sensor(&mut self, now: Instant, address: Address) {
        if self.nearby.remove(&address).is_some() {
            self.timers
                .retain(|_, timer| !matches!(timer, Timer::Advert(a) if *a == address));
            self.break_links(now, address);
        }
    }

    /// bluetoothd starts: its adapters appear, nobody discovers, no device is known.
    fn start_daemon(&mut self) {
        self.running = true;
        self.tree.add(
            "/org/bluez",
            Interfaces::from([("org.bluez.AgentManager1", Props::new())]),
        );
        let names: Vec<String> = self.adapters.keys().cloned().collect();
        for name in names {
            self.show_adapter(&name);
        }
    }

    /// bluetoothd ends, without a word.
    fn stop_daemon(&mut self, now: Instant) {
        self.running = false;
        self.hangs = false;
        self.held.clear();
        for name in self.adapters.keys().cloned().collect::<Vec<_>>() {
            self.drop_links(now, &name);
            if let Some(adapter) = self.adapters.get_mut(&name) {
                adapter.clients.clear();
                adapter.devices.clear();
            }
        }
        self.attributes.clear();
        self.tree.clear();
        // Answers that were under way go with it.
        self.out.clear();
    }
}

/// Sensors switched on together must not all speak in the same moment.
fn phase(address: Address, interval: Duration) -> Duration {
    let spread = address
        .0
        .iter()
        .fold(7_u64, |sum, byte| (sum * 31 + u64::from(*byte)) % 997);
    interval.mul_f64(f64::from(u32::try_from(spread).unwrap_or(0)) / 997.0)
}

fn one(name: &'static str, value: Value) -> Props {
    Props::from([(name, value)])
}
