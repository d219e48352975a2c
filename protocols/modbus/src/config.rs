//! What to read from which bus: the checked configuration a driver is built from.
//!
//! The parts parse themselves from the texts people write (`"ir:40"`, `"CDAB"`, `"19200 8E1"`), each
//! with an error that says what is allowed; [`Bus::check`] finds everything that only shows when the
//! parts come together. All problems are reported, not the first one.

mod address;
mod line;
mod order;
mod raw_type;
mod scale;

pub use address::{Address, AddressError, BitRange, Space};
pub use line::{LineError, LineSettings, Parity};
pub use order::{Order, OrderError};
pub use raw_type::{RawType, RawTypeError};
pub use scale::{Scale, ScaleError};

use protocols_model::{DeviceId, PointId, PointKey, ValueType};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Most registers one request may read (Modbus application protocol 1.1b3, 6.3).
pub const MAX_REGISTERS: u16 = 125;
/// Most coils or discrete inputs one request may read (6.1).
pub const MAX_BITS: u16 = 2000;
/// Highest unit id of a device on a serial line; 0 is the broadcast, which never answers.
pub const MAX_SERIAL_UNIT: u8 = 247;
/// Allowed poll periods.
pub const PERIODS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
/// Allowed response time-outs.
pub const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);

/// One serial line or one TCP endpoint with the devices behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bus {
    /// Unique within the gateway.
    pub name: Arc<str>,
    /// How to get there.
    pub transport: Transport,
    /// Silence before each request. On a serial line at least 3.5 characters are kept in any case;
    /// zero is a good value unless a device asks for more.
    pub gap: Duration,
    /// The devices, in the order of their polls.
    pub devices: Vec<Device>,
}

/// How a bus is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Modbus TCP, one connection for all devices of the bus.
    Tcp {
        /// Name or address; resolved anew at each connection.
        host: String,
        /// Usually 502.
        port: u16,
    },
    /// Modbus RTU on a serial port.
    Rtu {
        /// The port; a `/dev/serial/by-id/` path survives replugging.
        path: PathBuf,
        /// Speed and character format.
        line: LineSettings,
    },
}

/// One unit on a bus.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Unique within the gateway.
    pub id: DeviceId,
    /// Unit id: 1 to 247 on a serial line, 0 to 255 over TCP.
    pub unit: u8,
    /// How long to wait for an answer, within [`TIMEOUTS`]. On a serial line the time that the bytes
    /// themselves need is added.
    pub timeout: Duration,
    /// When to give up for a while.
    pub retry: Retry,
    /// How requests may be put together.
    pub limits: Limits,
    /// What to read; those with one period form a poll group.
    pub points: Vec<Point>,
}

/// When a silent device counts as dead, and how often it is probed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Failed requests in a row, at least 1.
    pub fails: u32,
    /// First wait before a probe.
    pub backoff_min: Duration,
    /// Longest wait before a probe.
    pub backoff_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            fails: 2,
            backoff_min: Duration::from_secs(5),
            backoff_max: Duration::from_mins(1),
        }
    }
}

/// How many addresses one request may span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Addresses that nobody asked for and that may be read along to save a request. A device that
    /// refuses to read across a hole is noticed and asked without gaps from then on.
    pub max_gap: u16,
    /// Registers in a request, 1 to [`MAX_REGISTERS`].
    pub max_regs: u16,
    /// Coils or discrete inputs in a request, 1 to [`MAX_BITS`].
    pub max_bits: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_gap: 8,
            max_regs: MAX_REGISTERS,
            max_bits: MAX_BITS,
        }
    }
}

/// One value of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its handle in the gateway's point table.
    pub key: PointKey,
    /// Unique within the device.
    pub id: PointId,
    /// Where it stands.
    pub address: Address,
    /// What stands there.
    pub raw: RawType,
    /// How its bytes are ordered.
    pub order: Order,
    /// From the raw number to the value.
    pub scale: Scale,
    /// How often it is read, within [`PERIODS`].
    pub period: Duration,
    /// Values outside are `Bad(OutOfRange)`; in engineering units.
    pub range: Option<RangeInclusive<f64>>,
}

impl Point {
    /// Registers, or bits for coils and discrete inputs, that the point occupies.
    #[must_use]
    pub fn width(&self) -> u16 {
        if self.address.space.is_bits() {
            1
        } else {
            self.raw.registers()
        }
    }

    /// Type of the point's values. Unscaled integers stay integers; scaled ones and floats are
    /// `f64`; single bits are `bool`; bit ranges are `u64`.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self.raw {
            RawType::Bool => ValueType::Bool,
            RawType::Bits => ValueType::U64,
            RawType::Text { .. } => ValueType::Text,
            RawType::F32 | RawType::F64 => ValueType::F64,
            _ if !self.scale.is_identity() => ValueType::F64,
            RawType::I16 | RawType::I32 | RawType::I64 => ValueType::I64,
            RawType::U16 | RawType::U32 | RawType::U64 => ValueType::U64,
        }
    }

    /// Everything that is wrong with the point by itself.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let address = &self.address;
        let fits = match (address.space.is_bits(), address.bits.map(BitRange::len)) {
            (true, _) | (false, Some(1)) => self.raw == RawType::Bool,
            (false, Some(_)) => self.raw == RawType::Bits,
            (false, None) => !matches!(self.raw, RawType::Bool | RawType::Bits),
        };
        if !fits {
            problems.push(Problem::TypeAtAddress(self.raw, *address));
        }
        if u32::from(address.register) + u32::from(self.width()) > 1 << 16 {
            problems.push(Problem::PastEnd(*address, self.width()));
        }
        let numeric = !matches!(
            self.raw,
            RawType::Bool | RawType::Bits | RawType::Text { .. }
        );
        if !numeric && !self.scale.is_identity() {
            problems.push(Problem::ScaleOnType(self.raw));
        }
        if let Some(range) = &self.range {
            if self.value_type() == ValueType::Text || self.value_type() == ValueType::Bool {
                problems.push(Problem::RangeOnType(self.raw));
            }
            // Also catches NaN.
            if !matches!(
                range.start().partial_cmp(range.end()),
                Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
            ) {
                problems.push(Problem::EmptyRange(*range.start(), *range.end()));
            }
        }
        if !PERIODS.contains(&self.period) {
            problems.push(Problem::Period(self.period));
        }
        problems
    }
}

impl Device {
    /// Everything that is wrong with the device and its points.
    fn check(&self, serial: bool) -> Vec<(Option<PointId>, Problem)> {
        let mut problems = Vec::new();
        let mut own = |problem| problems.push((None, problem));
        if serial && !(1..=MAX_SERIAL_UNIT).contains(&self.unit) {
            own(Problem::Unit(self.unit));
        }
        if !TIMEOUTS.contains(&self.timeout) {
            own(Problem::Timeout(self.timeout));
        }
        if self.retry.fails == 0 {
            own(Problem::Fails);
        }
        if self.retry.backoff_min.is_zero() || self.retry.backoff_min > self.retry.backoff_max {
            own(Problem::Backoff(
                self.retry.backoff_min,
                self.retry.backoff_max,
            ));
        }
        if !(1..=MAX_REGISTERS).contains(&self.limits.max_regs) {
            own(Problem::MaxRegs(self.limits.max_regs));
        }
        if !(1..=MAX_BITS).contains(&self.limits.max_bits) {
            own(Problem::MaxBits(self.limits.max_bits));
        }
        for point in &self.points {
            let mut of_point = point.check();
            if !point.address.space.is_bits() && point.width() > self.limits.max_regs {
                of_point.push(Problem::TooWide(point.width(), self.limits.max_regs));
            }
            problems.extend(of_point.into_iter().map(|p| (Some(point.id.clone()), p)));
        }
        problems
    }
}

impl Bus {
    /// Everything that is wrong with the bus; empty when a driver can be built from it.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigError> {
        let serial = matches!(self.transport, Transport::Rtu { .. });
        let of_device = |device: &Device| {
            let id = device.id.clone();
            let errors = device.check(serial).into_iter();
            errors.map(move |(point, problem)| ConfigError {
                device: id.clone(),
                point,
                problem,
            })
        };
        self.devices.iter().flat_map(of_device).collect()
    }
}

/// One problem of a bus, and where it is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("device {device}{}: {problem}", PointSuffix(.point.as_ref()))]
pub struct ConfigError {
    /// The device.
    pub device: DeviceId,
    /// The point, when the problem is a point's.
    pub point: Option<PointId>,
    /// What is wrong, found and allowed.
    pub problem: Problem,
}

struct PointSuffix<'a>(Option<&'a PointId>);

impl fmt::Display for PointSuffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |point| write!(f, ", point {point}"))
    }
}

/// What is wrong with a part of the configuration. Each text names what was found and what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The type does not go with the address.
    #[error(
        "type {0} does not fit address {1}; coils, discrete inputs and single bits (\"hr:10.4\") are \"bool\", bit ranges (\"hr:10.4..7\") are \"bits\", whole registers are numbers or strings"
    )]
    TypeAtAddress(RawType, Address),
    /// The point reaches past address 65535.
    #[error("{1} registers from {0} reach past address 65535")]
    PastEnd(Address, u16),
    /// Scale on something that is no number.
    #[error("type {0} cannot be scaled; leave out scale and offset")]
    ScaleOnType(RawType),
    /// Range on something that has none.
    #[error("type {0} has no range; leave it out")]
    RangeOnType(RawType),
    /// A range that nothing lies in.
    #[error("range [{0}, {1}] is empty; write the lower bound first")]
    EmptyRange(f64, f64),
    /// Period out of bounds.
    #[error("period {0:?} is not allowed; use 10ms to 24h")]
    Period(Duration),
    /// Unit id out of bounds.
    #[error("unit {0} is not allowed on a serial line; use 1 to 247")]
    Unit(u8),
    /// Time-out out of bounds.
    #[error("timeout {0:?} is not allowed; use 10ms to 60s")]
    Timeout(Duration),
    /// A device that is dead before it was asked.
    #[error("retry.fails is 0; use at least 1")]
    Fails,
    /// Back-off bounds that make no sense.
    #[error("back-off {0:?} to {1:?} is not a span; write the shorter wait first, above zero")]
    Backoff(Duration, Duration),
    /// Limit out of bounds.
    #[error("max_regs {0} is not allowed; use 1 to 125")]
    MaxRegs(u16),
    /// Limit out of bounds.
    #[error("max_bits {0} is not allowed; use 1 to 2000")]
    MaxBits(u16),
    /// A point that no request can hold.
    #[error(
        "the point has {0} registers, but max_regs of the device is {1}; a point is never read in two requests"
    )]
    TooWide(u16, u16),
}

#[cfg(test)]
mod tests;
