//! What the author of a driver provides: a simulated device, and facts about it.

use protocols_driver::Driver;
use protocols_model::{DeviceId, PointKey, Reading, Value};
use std::time::Duration;

/// What a simulated device does from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It answers (or speaks) as it should; each good value is one that [`Bench::is_true`] accepts.
    Well,
    /// It takes requests, and writes, and says nothing.
    Silent,
    /// It begins each answer and stops in the middle.
    Torn,
    /// Each answer is rubbish that no driver may accept.
    Garbage,
    /// It refuses each request in the words of its protocol.
    Refusing,
    /// It gives each answer only after the driver's time-out, still complete; [`Bench::is_true`] then
    /// accepts only what answers the latest request. Asked for on the paused clock alone: on a slow
    /// machine nothing is late for sure.
    Late,
    /// It is not there: connections are refused, the port is unplugged, the radio is off.
    Gone,
}

/// How time passes on the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Tokio's paused clock: for devices in memory. Driver and device use tokio's timers and the
    /// context's clock alone.
    Paused,
    /// Real time: for sockets, terminals, files and threads.
    Real,
}

/// One device of the bench's bus.
#[derive(Debug, Clone)]
pub struct DeviceFacts {
    /// Its id, as in the sweeps.
    pub device: DeviceId,
    /// All its points; they are read together.
    pub points: Vec<PointKey>,
}

/// What the kit has to know of a bench. It stays the same for every bench that one maker makes.
#[derive(Debug, Clone)]
pub struct Facts {
    /// How time passes.
    pub time: Time,
    /// The devices of the bus, at least one. Moods are those of the first; [`Mood::Gone`] may take all.
    pub devices: Vec<DeviceFacts>,
    /// Period of every point; of a device that speaks unasked the span in which silence becomes a
    /// reading. The device then speaks several times in a span.
    pub period: Duration,
    /// Whether the devices speak unasked.
    pub unasked: bool,
    /// What one request that nobody answers costs the bus at most: the time-out and what follows it.
    pub silence: Duration,
    /// At the latest so long after a change of the mood all readings show it (time-outs, waits before
    /// a new connection and the probe of a dead device included).
    pub patience: Duration,
}

/// What the device saw, since it was started.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Requests to read, per device in the order of [`Facts::devices`]; empty when it speaks unasked or
    /// cannot know.
    pub asked: Vec<u64>,
    /// Complete, right answers it gave (late ones too), counted before they are sent; of one that
    /// speaks unasked the messages that should become a sweep. `None` where it cannot know, as a file
    /// does not know that it was read.
    pub answered: Option<u64>,
    /// Values it was told to write, in order, also while it was silent.
    pub written: Vec<Value>,
}

/// A simulated device and the driver for it. Each trial gets a new one. It shares the thread with the driver
/// and must not keep it either.
#[async_trait::async_trait]
pub trait Bench: Send {
    /// The facts.
    fn facts(&self) -> Facts;

    /// Starts the device, well. Called once, in the runtime that the driver will run on.
    async fn start(&mut self);

    /// A new driver for the same bus. Called again after the one before ended.
    fn driver(&mut self) -> Box<dyn Driver>;

    /// Changes the mood. `false`: this device has no such mood, and the trial is left out.
    async fn set(&mut self, mood: Mood) -> bool;

    /// What the device saw.
    fn seen(&self) -> Seen;

    /// Whether the device did say this value.
    fn is_true(&self, reading: &Reading) -> bool {
        let _ = reading;
        true
    }

    /// Where to write, and the `number`-th of several different values; `None` when nothing of this
    /// bus can be written.
    fn write(&self, number: u32) -> Option<(PointKey, Value)> {
        let _ = number;
        None
    }
}
