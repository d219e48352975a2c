//! What is on a serial line: the checked configuration a driver is built from.
//!
//! The parts parse themselves from the texts people write, each with an error that says what is
//! allowed; [`Bus::check`] finds everything that only shows when the parts come together. All problems
//! are reported, not the first one. Doc comments name the key, its default and what is allowed.
//!
//! | text | type |
//! |---|---|
//! | `frame = "start:\x02 end:\x03 tail:1"` | [`Framing`] |
//! | `check = "crc16/modbus le"` | [`Checksum`] |
//! | `parse = "regex:…"` with `field = "weight"` | [`Parser`], [`Parser::field`] |
//! | `ask = "W\r\n"`, `write = "SOUR:VOLT {value:.3}\n"` | [`Command`] |
//! | `expect = "OK.*"`, `refused = "ERR.*"` | [`Pattern`] |
//! | `as = "f64"` | [`Kind`] |

mod check;
mod checksum;
mod command;
mod escape;
mod framing;
mod parser;
mod value;

pub use check::{ConfigError, Problem};
pub use checksum::{Checksum, ChecksumError, Form, Place};
pub use command::{Command, CommandError, RenderError};
pub use escape::{Bytes, EscapeError, MAX_BYTES};
pub use framing::{Escape, Framing, FramingError, GAPS, LengthPrefix, MAX_DELIMITER};
pub use parser::{Columns, FieldRef, FieldRefError, MAX_COLUMNS, Parser, ParserError, Pattern};
pub use protocols_driver::Retry;
pub use value::{Kind, KindError, ValueRules};

use protocols_line::PortConfig;
use protocols_model::{DeviceId, PointId, PointKey, ValueType};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Allowed poll periods and expected intervals.
pub const PERIODS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
/// Allowed response time-outs. Below a tenth of a second an adapter alone (16 ms) and a busy machine
/// look like a silent device.
pub const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_mins(1);
/// Allowed silences inside a frame.
pub const PAUSES: RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_mins(1);
/// Allowed bounds of a frame, in bytes.
pub const MAX_FRAMES: RangeInclusive<usize> = 8..=8192;
/// Most commands sent after opening.
pub const MAX_INIT: usize = 32;

/// One serial line with the devices on it: `[bus.NAME] kind = "serial"`.
///
/// A line is either listened to (no point has a question) or asked (all read points have one).
#[derive(Debug, Clone, PartialEq)]
pub struct Bus {
    /// Unique within the gateway.
    pub name: Arc<str>,
    /// Keys `port`, `line`, `flow`, `rs485`, as for every bus on a serial port.
    pub port: PortConfig,
    /// Key `frame`, default `"line"`.
    pub framing: Framing,
    /// Key `check`, default none, for `frame = "nmea"` [`Framing::default_checksum`]; `"none"` turns that
    /// off.
    pub checksum: Option<Checksum>,
    /// Key `max_frame`, in bytes, default 1024, within [`MAX_FRAMES`]. What is longer is no frame.
    pub max_frame: usize,
    /// Key `pause`, default 500 ms, within [`PAUSES`]: a silence of so long inside a frame means that
    /// the rest of it is lost.
    pub pause: Duration,
    /// Key `init`, default none, at most [`MAX_INIT`]: commands without a value, sent in this order
    /// after the port was opened, [`Bus::gap`] apart (at least 50 ms). Answers to them are not looked at.
    pub init: Vec<Command>,
    /// Key `gap`, default 0, at most 10 s: silence before each question.
    pub gap: Duration,
    /// Key `echo`, default false: the line gives back what we send before the answer (a two-wire
    /// RS-485 adapter that hears itself, a device in echo mode); the echo must be exact.
    pub echo: bool,
    /// The devices, in the order of their polls.
    pub devices: Vec<Device>,
}

impl Bus {
    /// A bus with the defaults of its doc comments and no devices.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, port: PortConfig, framing: Framing) -> Self {
        Self {
            name: name.into(),
            port,
            checksum: framing.default_checksum(),
            framing,
            max_frame: 1024,
            pause: Duration::from_millis(500),
            init: Vec::new(),
            gap: Duration::ZERO,
            echo: false,
            devices: Vec::new(),
        }
    }

    /// Whether its devices answer; else they speak by themselves, or are only written.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        let mut messages = self.devices.iter().flat_map(|device| &device.messages);
        messages.any(|message| message.ask.is_some())
    }
}

/// One device on a line: `[device.NAME] bus = "…"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Unique within the gateway.
    pub id: DeviceId,
    /// Key `timeout`, default 1 s, within [`TIMEOUTS`]: how long to wait for an answer, from the last
    /// byte of the question to the last byte of the answer.
    pub timeout: Duration,
    /// Key `retry`, as for Modbus devices; asked devices only.
    pub retry: Retry,
    /// The messages its points are taken from, each once; see [`Device::message`].
    pub messages: Vec<Message>,
    /// Its points.
    pub points: Vec<Point>,
}

impl Device {
    /// A device without points, with the defaults of the doc comments.
    #[must_use]
    pub const fn new(id: DeviceId) -> Self {
        Self {
            id,
            timeout: Duration::from_secs(1),
            retry: Retry::DEFAULT,
            messages: Vec::new(),
            points: Vec::new(),
        }
    }

    /// The place of `message` among the device's messages; it is added when it is new. Points with equal
    /// messages are read from one frame: they form a poll group.
    pub fn message(&mut self, message: Message) -> usize {
        let known = self.messages.iter().position(|held| *held == message);
        known.unwrap_or_else(|| {
            self.messages.push(message);
            self.messages.len() - 1
        })
    }
}

/// Frames of one kind, and how they come. The keys may stand at the bus' defaults, the device or the
/// point; points with equal ones share a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Key `ask`: the question that such a frame answers; without one the device sends by itself.
    pub ask: Option<Command>,
    /// The period of the point's poll group, within [`PERIODS`]. Asked: how often. Listening: the longest
    /// silence to be expected; each one longer is a reading `Bad(Timeout)`.
    pub period: Duration,
    /// Key `parse`, default `"text"`; for `frame = "nmea"` default `"nmea"`.
    pub parser: Parser,
    /// Key `starts`, default empty: bytes that such a frame begins with (an address, a kind).
    pub starts: Bytes,
    /// Key `length`, default any: bytes that such a frame has, without delimiters and checksum.
    pub length: Option<u16>,
}

/// One value of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its handle in the gateway's point table.
    pub key: PointKey,
    /// Unique within the device.
    pub id: PointId,
    /// Where it is read: index of its message, and what it takes from it (key `field`, see
    /// [`Parser::field`]). `None`: it is only written, and has no readings.
    pub read: Option<(usize, FieldRef)>,
    /// Keys `as`, `scale`, `offset`, `comma`, `invalid`, `map`, `range`.
    pub value: ValueRules,
    /// Keys `write`, `expect`, `refused`, `verify`.
    pub write: Option<Write>,
}

/// How a point is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Key `write`: the command, with a place for the value; or without one (tare: whatever is written
    /// sends it).
    pub command: Command,
    /// How the device says that it did.
    pub confirm: Confirm,
}

/// How a device confirms a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Confirm {
    /// By a frame: keys `expect` and `refused`.
    Answer {
        /// The whole frame, as a pattern, when it did.
        expect: Pattern,
        /// When it refused.
        refused: Option<Pattern>,
    },
    /// Key `verify = true`: the point is asked for, and must be what was written within its resolution.
    ReadBack,
    /// Not at all: the outcome of each write is "unknown", because nobody can know.
    None,
}

impl Point {
    /// Type of the point's values.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        if let Some((_, value)) = self.value.map.first() {
            return value.value_type();
        }
        match &self.read {
            Some((_, FieldRef::Bytes(field))) => field.value_type(),
            Some((_, FieldRef::Nmea(field))) if field.value_type() != ValueType::Text => {
                field.value_type()
            }
            _ => self.value.value_type(),
        }
    }
}

impl Framing {
    /// What delimits the beginning of a frame and is not part of what a checksum covers.
    pub(crate) fn start_delimiter(&self) -> &[u8] {
        match self {
            Self::Delimited { start, .. } => start.as_slice(),
            _ => &[],
        }
    }

    /// The checksum that goes with the framing by itself: that of NMEA sentences.
    #[must_use]
    pub fn default_checksum(&self) -> Option<Checksum> {
        (*self == Self::Nmea).then_some(Checksum {
            algorithm: crate::checksum::Algorithm::Xor8,
            form: Form::Hex,
            place: Place::After(b'*'),
            from: 0,
            with_start: false,
            with_end: false,
        })
    }
}

#[cfg(test)]
mod tests;
