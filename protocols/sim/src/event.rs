//! What a simulator tells while it runs: every answer, every frame, every trouble.
//!
//! Guarantee: the hook has returned before the first byte of what it is told of leaves. So a log that the
//! hook keeps is never behind the wire.

use crate::modbus::LineTrouble;
use crate::script::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Called for every event, from the threads that serve; it must be quick.
pub type Hook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// One value that left.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Name of the point.
    pub point: Arc<str>,
    /// How often it had been shown before.
    pub poll: u64,
    /// The value, before it was scaled to registers or text.
    pub value: Value,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Since the simulator's start.
    pub elapsed: Duration,
    /// The bus, or the serial device's own line.
    pub bus: &'a str,
    /// The device, where one is concerned.
    pub device: Option<&'a str>,
    /// What it did.
    pub what: What<'a>,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What<'a> {
    /// A request was answered with values.
    Read {
        /// Function code.
        function: u8,
        /// First address.
        address: u16,
        /// Registers or bits.
        count: u16,
        /// Points that lie wholly in the answer.
        shown: &'a [Shown],
    },
    /// Registers or coils were written.
    Wrote {
        /// Function code.
        function: u8,
        /// First address.
        address: u16,
        /// Registers or bits.
        count: u16,
    },
    /// A request was refused.
    Refused {
        /// Function code of the request.
        function: u8,
        /// Exception code.
        code: u8,
    },
    /// A serial device sent a frame.
    Said {
        /// What it was asked, where it was asked.
        to: Option<&'a [u8]>,
        /// The frame.
        frame: &'a [u8],
        /// The values in it.
        shown: &'a [Shown],
        /// Whether somebody had the port open.
        heard: bool,
    },
    /// Somebody opened the port of a serial device, or closed it.
    Port {
        /// Whether it is open now.
        open: bool,
    },
    /// A fault was at work; nothing of the values left as it should.
    Faulted(&'a str),
    /// Something that arrived was thrown away.
    Trouble(LineTrouble),
    /// Something arrived that the device does not know.
    NotUnderstood(&'a [u8]),
}

/// How often what happened; the sum over everything that a simulator serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that arrived whole.
    pub requests: u64,
    /// Answers and frames that left as they should.
    pub answers: u64,
    /// Writes among them.
    pub writes: u64,
    /// Exceptions, as the device would give them without any fault.
    pub refused: u64,
    /// Answers and frames that a fault took or spoiled.
    pub faulted: u64,
    /// Frames that were thrown away, see [`LineTrouble`].
    pub troubles: u64,
    /// Collisions among them.
    pub collisions: u64,
    /// Requests that the device did not understand.
    pub not_understood: u64,
}

impl Counts {
    /// Enters one event.
    pub fn enter(&mut self, what: &What<'_>) {
        let add = |count: &mut u64| *count += 1;
        match what {
            What::Read { .. } => {
                add(&mut self.requests);
                add(&mut self.answers);
            }
            What::Wrote { .. } => {
                add(&mut self.requests);
                add(&mut self.answers);
                add(&mut self.writes);
            }
            What::Refused { .. } => {
                add(&mut self.requests);
                add(&mut self.refused);
            }
            What::Said { to, .. } => {
                if to.is_some() {
                    add(&mut self.requests);
                }
                add(&mut self.answers);
            }
            What::Port { .. } => {}
            What::Faulted(_) => add(&mut self.faulted),
            What::Trouble(trouble) => {
                add(&mut self.troubles);
                if *trouble == LineTrouble::Collision {
                    add(&mut self.collisions);
                }
            }
            What::NotUnderstood(_) => {
                add(&mut self.requests);
                add(&mut self.not_understood);
            }
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "requests {}, answers {}", self.requests, self.answers)?;
        let more = [
            ("writes", self.writes),
            ("refused", self.refused),
            ("faulted", self.faulted),
            ("not understood", self.not_understood),
            ("thrown away", self.troubles),
            ("collisions", self.collisions),
        ];
        for (name, count) in more.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, ", {name} {count}")?;
        }
        Ok(())
    }
}
