//! A serial device: its values, what it says and answers, its faults. Times come from the terminal.

use super::frame::{Frame, FrameError};
use crate::event::{Event, Hook, Shown, What};
use crate::fault::{Board, Fault, FaultError, Kind};
use crate::script::{Moment, Signal, Value, scattered};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A frame that is sent by itself.
#[derive(Debug, Clone)]
pub struct Say {
    /// How often.
    pub every: Duration,
    /// What.
    pub frame: Frame,
}

/// A frame that answers something.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request, without its end.
    pub to: Vec<u8>,
    /// Time until the answer begins.
    pub after: Duration,
    /// The answer.
    pub frame: Frame,
}

/// A device as it is built from a site.
#[derive(Debug, Clone)]
pub struct DeviceSetup {
    /// Its name.
    pub name: Arc<str>,
    /// Its values, by name.
    pub values: BTreeMap<Arc<str>, Signal>,
    /// What it says by itself.
    pub says: Vec<Say>,
    /// What it answers.
    pub answers: Vec<Answer>,
    /// Byte that ends a request; a carriage return before it does not count.
    pub end: u8,
    /// Its faults from the start on.
    pub faults: Board,
}

impl DeviceSetup {
    /// Whether every frame finds its values.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), FrameError> {
        let says = self.says.iter().map(|say| &say.frame);
        let mut frames = says.chain(self.answers.iter().map(|answer| &answer.frame));
        frames.try_for_each(|frame| frame.check(|name| self.values.contains_key(name)))
    }
}

/// A running device, shared by its terminal and whoever switches its faults.
pub struct Device {
    setup: DeviceSetup,
    state: Mutex<State>,
    hook: Hook,
    started: Instant,
    /// UTC at `started`, since 1970.
    utc: Duration,
}

#[derive(Debug)]
struct State {
    frames: u64,
    polls: BTreeMap<Arc<str>, u64>,
    held: BTreeMap<Arc<str>, Value>,
    faults: Board,
}

/// A frame on its way, and what happens to it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sending {
    pub(super) after: Duration,
    /// Two parts where it pauses in between.
    pub(super) parts: Vec<Vec<u8>>,
    pub(super) pause: Duration,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.setup.name)
            .finish_non_exhaustive()
    }
}

impl Device {
    /// A device that begins at `started`, when it is `utc` since 1970.
    #[must_use]
    pub fn new(setup: DeviceSetup, hook: Hook, started: Instant, utc: Duration) -> Self {
        let state = State {
            frames: 0,
            polls: BTreeMap::new(),
            held: BTreeMap::new(),
            faults: setup.faults.clone(),
        };
        Self {
            setup,
            state: Mutex::new(state),
            hook,
            started,
            utc,
        }
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.setup.name
    }

    /// Its frames and values.
    #[must_use]
    pub const fn setup(&self) -> &DeviceSetup {
        &self.setup
    }

    /// Arms a fault.
    ///
    /// # Errors
    /// Where there are too many.
    pub fn arm(&self, fault: Fault) -> Result<(), FaultError> {
        self.lock().faults.arm(fault, self.started.elapsed())
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Faults that are at work or will be.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let state = self.lock();
        state
            .faults
            .armed(self.started.elapsed())
            .copied()
            .collect()
    }

    /// Holds a value, or lets it follow its script again. Whether there is such a value.
    pub fn set(&self, name: &str, value: Option<Value>) -> bool {
        let Some((name, _)) = self.setup.values.get_key_value(name) else {
            return false;
        };
        let mut state = self.lock();
        match value {
            Some(value) => state.held.insert(Arc::clone(name), value),
            None => state.held.remove(name),
        };
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody opened its port, or closed it.
    pub(super) fn port(&self, open: bool, elapsed: Duration) {
        self.tell(elapsed, What::Port { open });
    }

    /// The frame that it says by itself now; `None` while it is silent.
    pub(super) fn say(&self, say: &Say, elapsed: Duration, heard: bool) -> Option<Sending> {
        self.send(&say.frame, None, Duration::ZERO, elapsed, heard)
    }

    /// What it answers to a request.
    pub(super) fn ask(&self, request: &[u8], elapsed: Duration) -> Option<Sending> {
        let mut answers = self.setup.answers.iter();
        let Some(answer) = answers.find(|answer| answer.to == request) else {
            self.tell(elapsed, What::NotUnderstood(request));
            return None;
        };
        self.send(&answer.frame, Some(request), answer.after, elapsed, true)
    }

    fn send(
        &self,
        frame: &Frame,
        to: Option<&[u8]>,
        after: Duration,
        elapsed: Duration,
        heard: bool,
    ) -> Option<Sending> {
        let mut state = self.lock();
        let number = state.frames;
        state.frames += 1;
        let faults: Vec<Kind> = state.faults.active(elapsed, number).collect();
        let mut sending = Sending {
            after,
            parts: Vec::new(),
            pause: Duration::ZERO,
        };
        let has = |kind: Kind| faults.contains(&kind);
        if has(Kind::Silent) {
            self.tell(elapsed, What::Faulted("silent"));
            return None;
        }
        let mut shown = Vec::new();
        let value = |name: &str| self.value(&mut state, &mut shown, name, elapsed);
        let mut bytes = frame.render(number, self.utc + elapsed, value, has(Kind::WrongCrc));
        let whole = bytes.clone();
        let mut spoilt_by = None;
        for fault in faults {
            match fault {
                Kind::Late(by) => sending.after += by,
                Kind::Stall(pause) => sending.pause += pause,
                Kind::Cut => bytes.truncate(bytes.len() / 2),
                Kind::Garbage => {
                    for (place, byte) in (0u64..).zip(&mut bytes) {
                        let [drawn, ..] = scattered(number, place).to_be_bytes();
                        *byte = drawn;
                    }
                }
                Kind::WrongCrc => {}
                // Refused when the fault was armed: they mean nothing here.
                _ => continue,
            }
            spoilt_by = Some(fault.to_string());
        }
        match &spoilt_by {
            Some(fault) => self.tell(elapsed, What::Faulted(fault)),
            None => self.tell(
                elapsed,
                What::Said {
                    to,
                    frame: &whole,
                    shown: &shown,
                    heard,
                },
            ),
        }
        // Told first: whoever arms a fault now knows that all before it were told.
        drop(state);
        sending.parts = if sending.pause.is_zero() {
            vec![bytes]
        } else {
            let rest = bytes.split_off(bytes.len() / 2);
            vec![bytes, rest]
        };
        Some(sending)
    }

    fn value(
        &self,
        state: &mut State,
        shown: &mut Vec<Shown>,
        name: &str,
        elapsed: Duration,
    ) -> Value {
        let Some((name, signal)) = self.setup.values.get_key_value(name) else {
            return Value::Int(0);
        };
        let poll = state.polls.entry(Arc::clone(name)).or_insert(0);
        let moment = Moment {
            elapsed,
            poll: *poll,
        };
        let held = state.held.get(name).cloned();
        let value = held.unwrap_or_else(|| signal.at(moment));
        shown.push(Shown {
            point: Arc::clone(name),
            poll: *poll,
            value: value.clone(),
        });
        *poll += 1;
        value
    }

    fn tell(&self, elapsed: Duration, what: What<'_>) {
        (self.hook)(&Event {
            elapsed,
            bus: &self.setup.name,
            device: Some(&self.setup.name),
            what,
        });
    }
}
