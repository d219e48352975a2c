//! What only shows when the parts of a configuration come together.

use super::{
    Bus, Checksum, Columns, Confirm, Device, FieldRef, Framing, MAX_FRAMES, MAX_INIT, Message,
    PAUSES, PERIODS, Parser, Place, Point, TIMEOUTS,
};
use protocols_model::{DeviceId, PointId, ValueType};
use std::fmt;
use std::time::Duration;

/// Longest pause before a question.
const MAX_GAP: Duration = Duration::from_secs(10);

/// One problem of a bus, and where it is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}{problem}", Place_(.device.as_ref(), .point.as_ref()))]
pub struct ConfigError {
    /// The device; `None` when the problem is the bus' own.
    pub device: Option<DeviceId>,
    /// The point, when the problem is a point's.
    pub point: Option<PointId>,
    /// What is wrong, found and allowed.
    pub problem: Problem,
}

struct Place_<'a>(Option<&'a DeviceId>, Option<&'a PointId>);

impl fmt::Display for Place_<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (None, _) => Ok(()),
            (Some(device), None) => write!(f, "device {device}: "),
            (Some(device), Some(point)) => write!(f, "device {device}, point {point}: "),
        }
    }
}

/// What is wrong with a part of the configuration. Each text names what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Bound of a frame out of bounds.
    #[error("max_frame {0} is not allowed; use 8 to 8192 bytes, and no less than a frame has")]
    MaxFrame(usize),
    /// Pause out of bounds.
    #[error("pause {0:?} is not allowed; use 5ms to 1min")]
    Pause(Duration),
    /// Gap out of bounds.
    #[error("gap {0:?} is not allowed; use 0ms to 10s")]
    Gap(Duration),
    /// Too many commands after opening, or one with a value.
    #[error("{0} commands in init; at most {MAX_INIT} are allowed")]
    Init(usize),
    /// A value where there is none to put in.
    #[error("{0} holds a place for a value, which only the command of write can have")]
    NoValue(&'static str),
    /// A place for a checksum that is not configured.
    #[error("{0} holds {{check}}, but the bus has no checksum; add check = \"…\" to the bus")]
    NoCheck(&'static str),
    /// A checksum behind the end, without room there.
    #[error("the checksum has {len} bytes, but the framing has tail:{tail}; they must be equal")]
    Tail {
        /// Bytes of the checksum.
        len: usize,
        /// Bytes behind the end.
        tail: u8,
    },
    /// Bytes behind the end that nothing is done with.
    #[error(
        "the framing has a tail, but no checksum stands there; add check = \"…\" or leave out tail"
    )]
    EmptyTail,
    /// `with:start` or `with:end` without such a delimiter.
    #[error("the checksum covers {0}, which the framing does not have")]
    Covers(&'static str),
    /// A frame that can be found by nothing.
    #[error(
        "frames of {0} without a start, a gap or a checksum cannot be told from their neighbours; add start:B or gap:T to frame, or check = \"…\""
    )]
    NoAnchor(&'static str),
    /// Questions on a line that is listened to.
    #[error(
        "some points of the bus are asked and others come by themselves; a line is either asked or listened to: give all read points an ask, or none"
    )]
    Mixed,
    /// The read-back of a point that is not asked.
    #[error("verify reads the point back, but it has no ask; use expect = \"…\"")]
    Verify,
    /// Time-out out of bounds.
    #[error("timeout {0:?} is not allowed; use 20ms to 60s")]
    Timeout(Duration),
    /// A time-out in which no frame can end.
    #[error("timeout {timeout:?} must be longer than the gap that ends a frame, {gap:?}")]
    ShortTimeout {
        /// The time-out.
        timeout: Duration,
        /// The gap.
        gap: Duration,
    },
    /// Period out of bounds.
    #[error("period {0:?} is not allowed; use 10ms to 24h")]
    Period(Duration),
    /// A device that is dead before it was asked.
    #[error("retry.fails is 0; use at least 1")]
    Fails,
    /// Back-off bounds that make no sense.
    #[error("back-off {0:?} to {1:?} is not a span; write the shorter wait first, above zero")]
    Backoff(Duration, Duration),
    /// A point that is neither read nor written.
    #[error("the point is neither read nor written; add field or write")]
    Idle,
    /// A point of a message that is not there.
    #[error("the point's message does not exist")]
    Message,
    /// Frames that could be anything.
    #[error("without a checksum a frame must match fully: {0}; or add check = \"…\" to the bus")]
    Vague(&'static str),
    /// A sentence parser on other frames.
    #[error("parse = \"nmea\" needs frame = \"nmea\"")]
    NmeaFrames,
    /// A scale on something that is no number.
    #[error("a {} value cannot be scaled; leave out scale and offset", .0.as_str())]
    Scale(ValueType),
    /// A range on something that has none.
    #[error("a {} value has no range; leave it out", .0.as_str())]
    Range(ValueType),
    /// A range that nothing lies in.
    #[error("range [{0}, {1}] is empty; write the lower bound first")]
    EmptyRange(f64, f64),
    /// Values of several types, or the same text twice.
    #[error("map: every text stands for one value, and all values are of one type")]
    Map,
}

/// Problems gathered, with the place they are found at.
struct Found(Vec<ConfigError>, Option<DeviceId>, Option<PointId>);

impl Found {
    fn add(&mut self, problem: Problem) {
        self.0.push(ConfigError {
            device: self.1.clone(),
            point: self.2.clone(),
            problem,
        });
    }

    fn add_if(&mut self, wrong: bool, problem: Problem) {
        if wrong {
            self.add(problem);
        }
    }
}

impl Bus {
    /// Everything that is wrong with the bus; empty when a driver can be built from it.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigError> {
        let mut found = Found(Vec::new(), None, None);
        let least = self.framing.least().max(*MAX_FRAMES.start());
        let fits = (least..=*MAX_FRAMES.end()).contains(&self.max_frame);
        found.add_if(!fits, Problem::MaxFrame(self.max_frame));
        found.add_if(!PAUSES.contains(&self.pause), Problem::Pause(self.pause));
        found.add_if(self.gap > MAX_GAP, Problem::Gap(self.gap));
        found.add_if(self.init.len() > MAX_INIT, Problem::Init(self.init.len()));
        for command in &self.init {
            found.add_if(command.has_value(), Problem::NoValue("init"));
            found.add_if(
                command.has_check() && self.checksum.is_none(),
                Problem::NoCheck("init"),
            );
        }
        self.check_frame(&mut found);
        let messages = || self.devices.iter().flat_map(|device| &device.messages);
        let asked = messages().filter(|message| message.ask.is_some()).count();
        found.add_if(asked != 0 && asked != messages().count(), Problem::Mixed);
        for device in &self.devices {
            found.1 = Some(device.id.clone());
            self.check_device(device, &mut found);
        }
        found.0
    }

    fn check_frame(&self, found: &mut Found) {
        let (start, tail) = match &self.framing {
            Framing::Delimited { start, tail, .. } => (!start.is_empty(), *tail),
            Framing::Fixed { start, .. } | Framing::Length { start, .. } => (!start.is_empty(), 0),
            Framing::Nmea => (true, 0),
            Framing::Line | Framing::Gap(_) | Framing::Slip | Framing::Cobs => (false, 0),
        };
        let anchor = match &self.framing {
            Framing::Fixed { gap, .. } if !start && gap.is_none() => Some("fixed length"),
            Framing::Length { gap, .. } if !start && gap.is_none() => Some("a length prefix"),
            _ => None,
        };
        let Some(checksum) = &self.checksum else {
            found.add_if(tail > 0, Problem::EmptyTail);
            if let Some(frames) = anchor {
                found.add(Problem::NoAnchor(frames));
            }
            return;
        };
        let Checksum {
            place,
            with_start,
            with_end,
            ..
        } = checksum;
        let wrong = tail > 0 && (usize::from(tail) != checksum.len() || *place != Place::End);
        let len = checksum.len();
        found.add_if(wrong, Problem::Tail { len, tail });
        found.add_if(
            *with_start && !start,
            Problem::Covers("the start delimiter"),
        );
        found.add_if(
            *with_end && tail == 0,
            Problem::Covers("the end delimiter in front of it"),
        );
    }

    fn check_device(&self, device: &Device, found: &mut Found) {
        let timeout = device.timeout;
        found.add_if(!TIMEOUTS.contains(&timeout), Problem::Timeout(timeout));
        if let Some(gap) = self.framing.gap() {
            found.add_if(gap >= timeout, Problem::ShortTimeout { timeout, gap });
        }
        let retry = device.retry;
        found.add_if(retry.fails == 0, Problem::Fails);
        let span = !retry.backoff_min.is_zero() && retry.backoff_min <= retry.backoff_max;
        found.add_if(
            !span,
            Problem::Backoff(retry.backoff_min, retry.backoff_max),
        );
        for message in &device.messages {
            self.check_message(message, found);
        }
        for point in &device.points {
            found.2 = Some(point.id.clone());
            self.check_point(point, device, found);
        }
        found.2 = None;
    }

    fn check_message(&self, message: &Message, found: &mut Found) {
        found.add_if(
            !PERIODS.contains(&message.period),
            Problem::Period(message.period),
        );
        if let Some(ask) = &message.ask {
            found.add_if(ask.has_value(), Problem::NoValue("ask"));
            found.add_if(
                ask.has_check() && self.checksum.is_none(),
                Problem::NoCheck("ask"),
            );
        }
        let nmea = message.parser == Parser::Nmea;
        found.add_if(nmea && self.framing != Framing::Nmea, Problem::NmeaFrames);
        if self.checksum.is_none() {
            let fixed = matches!(self.framing, Framing::Fixed { .. }) || message.length.is_some();
            match &message.parser {
                Parser::Binary if !fixed => {
                    found.add(Problem::Vague("say how many bytes it has, length = 9"));
                }
                Parser::Csv {
                    columns: Columns::Any,
                    ..
                } => found.add(Problem::Vague(
                    "say how many columns it has, parse = \"csv:, *5\", or name them",
                )),
                _ => {}
            }
        }
    }

    fn check_point(&self, point: &Point, device: &Device, found: &mut Found) {
        found.add_if(point.read.is_none() && point.write.is_none(), Problem::Idle);
        let message = point
            .read
            .as_ref()
            .map(|(index, _)| device.messages.get(*index));
        found.add_if(message == Some(None), Problem::Message);
        if let Some(write) = &point.write {
            let asked = message
                .flatten()
                .is_some_and(|message| message.ask.is_some());
            found.add_if(
                write.confirm == Confirm::ReadBack && !asked,
                Problem::Verify,
            );
            found.add_if(
                write.command.has_check() && self.checksum.is_none(),
                Problem::NoCheck("write"),
            );
        }
        let of = point.value_type();
        let rules = &point.value;
        if !rules.scale.is_identity() {
            // A binary place carries its scale itself.
            let scaled = match &point.read {
                Some((_, FieldRef::Bytes(_))) => false,
                Some((_, FieldRef::Nmea(field))) => field.value_type() == ValueType::Text,
                _ => rules.map.is_empty() && of == ValueType::F64,
            };
            found.add_if(!scaled, Problem::Scale(of));
        }
        if let Some(range) = &rules.range {
            let numeric = matches!(of, ValueType::F64 | ValueType::I64 | ValueType::U64);
            found.add_if(!numeric, Problem::Range(of));
            // Also catches NaN.
            let ordered = range.start() <= range.end();
            found.add_if(!ordered, Problem::EmptyRange(*range.start(), *range.end()));
        }
        let alike = rules.map.iter().enumerate().all(|(i, (text, value))| {
            value.value_type() == of && rules.map.iter().take(i).all(|(other, _)| other != text)
        });
        found.add_if(!alike, Problem::Map);
    }
}

impl Framing {
    /// Bytes of the shortest frame there can be.
    fn least(&self) -> usize {
        match self {
            Self::Fixed { len, .. } => usize::from(*len),
            Self::Length { prefix, .. } => usize::from(prefix.at) + usize::from(prefix.width),
            Self::Delimited {
                start, end, tail, ..
            } => start.len() + end.len() + usize::from(*tail) + 1,
            Self::Line | Self::Nmea | Self::Gap(_) | Self::Slip | Self::Cobs => 1,
        }
    }

    /// The silence that ends a frame, if frames end by silence.
    pub(crate) const fn gap(&self) -> Option<Duration> {
        match self {
            Self::Gap(gap) => Some(*gap),
            Self::Fixed { gap, .. } | Self::Length { gap, .. } => *gap,
            _ => None,
        }
    }
}
