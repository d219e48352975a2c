//! What is wrong with a bus, all at once, each with its place.

use super::{
    Address, Bus, DataBits, Device, MAX_BITS, MAX_REGISTERS, MAX_SERIAL_UNIT, NamesError, PAUSES,
    RawType, TIMEOUTS, Transport,
};
use protocols_line::DELAYS;
use protocols_model::{DeviceId, PointId};
use std::fmt;
use std::time::Duration;

/// The unit id that all devices of a serial line take writes for, and none answers.
pub const BROADCAST_UNIT: u8 = 0;

impl Device {
    /// Everything that is wrong with the device and its points.
    fn check(&self, serial: bool) -> Vec<(Option<PointId>, Problem)> {
        let mut problems = Vec::new();
        let mut own = |problem| problems.push((None, problem));
        if serial && self.unit > MAX_SERIAL_UNIT {
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
        for pause in [self.quirks.pause, self.quirks.after_connect] {
            if !PAUSES.contains(&pause) {
                own(Problem::Pause(pause));
            }
        }
        if !matches!(self.quirks.bit_align, 1 | 8 | 16) {
            own(Problem::BitAlign(self.quirks.bit_align));
        }
        let broadcast = self.is_broadcast(serial);
        for point in &self.points {
            let mut of_point = point.check();
            if !point.address.space.is_bits() && point.width() > self.limits.max_regs {
                of_point.push(Problem::TooWide(point.width(), self.limits.max_regs));
            }
            if broadcast {
                match point.write {
                    None => of_point.push(Problem::BroadcastRead),
                    Some(write) if write.verify => of_point.push(Problem::VerifyUnread),
                    Some(_) if point.address.bits.is_some() => {
                        of_point.push(Problem::BroadcastBits);
                    }
                    Some(_) => {}
                }
            }
            problems.extend(of_point.into_iter().map(|p| (Some(point.id.clone()), p)));
        }
        problems
    }

    /// Whether writes to this device go to all units of the line at once.
    #[must_use]
    pub const fn is_broadcast(&self, serial: bool) -> bool {
        serial && self.unit == BROADCAST_UNIT
    }
}

impl Bus {
    /// Everything that is wrong with the bus; empty when a driver can be built from it.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let mut own = |problem| {
            errors.push(ConfigError {
                device: None,
                point: None,
                problem,
            });
        };
        if let Some(line) = self.transport.line()
            && line.data_bits != DataBits::Eight
        {
            own(Problem::DataBits);
        }
        if let Transport::Rtu {
            rs485: Some(rs485), ..
        } = &self.transport
        {
            for delay in [rs485.delay_before, rs485.delay_after] {
                if !DELAYS.contains(&delay) || !delay.subsec_nanos().is_multiple_of(1_000_000) {
                    own(Problem::Rs485Delay(delay));
                }
            }
        }
        let serial = self.transport.is_rtu();
        for device in &self.devices {
            let found = device.check(serial).into_iter();
            errors.extend(found.map(|(point, problem)| ConfigError {
                device: Some(device.id.clone()),
                point,
                problem,
            }));
        }
        errors
    }
}

/// One problem of a bus, and where it is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}{problem}", Place(self))]
pub struct ConfigError {
    /// The device; `None` when the problem is the bus's.
    pub device: Option<DeviceId>,
    /// The point, when the problem is a point's.
    pub point: Option<PointId>,
    /// What is wrong, found and allowed.
    pub problem: Problem,
}

struct Place<'a>(&'a ConfigError);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.device, &self.0.point) {
            (Some(device), Some(point)) => write!(f, "device {device}, point {point}: "),
            (Some(device), None) => write!(f, "device {device}: "),
            (None, _) => Ok(()),
        }
    }
}

/// What is wrong with a part of the configuration. Each text names what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
    /// Names on something that has no numbers.
    #[error(
        "type {0} takes no such names; name the values of unscaled integers, bits and bools, and the bits of unsigned integers"
    )]
    NamesOnType(RawType),
    /// The names themselves.
    #[error(transparent)]
    Names(NamesError),
    /// A table that cannot be written.
    #[error("{0} cannot be written; only holding registers (hr) and coils (co) can")]
    WriteOnSpace(Address),
    /// Verified without being readable.
    #[error("a point that is only written cannot be read back; leave out verify")]
    VerifyUnread,
    /// Unit 0 of a serial line.
    #[error(
        "unit 0 of a serial line is the broadcast, which nobody answers; its points need `write = true`"
    )]
    BroadcastRead,
    /// Bits of unit 0.
    #[error("bits of a register cannot be broadcast: what the others are is not known")]
    BroadcastBits,
    /// Period out of bounds.
    #[error("period {0:?} is not allowed; use 10ms to 24h")]
    Period(Duration),
    /// Unit id out of bounds.
    #[error("unit {0} is not allowed on a serial line; use 1 to 247, or 0 to broadcast writes")]
    Unit(u8),
    /// Time-out out of bounds.
    #[error("timeout {0:?} is not allowed; use 10ms to 60s")]
    Timeout(Duration),
    /// Pause out of bounds.
    #[error("pause {0:?} is not allowed; use 0s to 60s")]
    Pause(Duration),
    /// Alignment that is none.
    #[error("bit_align {0} is not allowed; use 1, 8 or 16")]
    BitAlign(u16),
    /// Seven data bits.
    #[error("Modbus RTU needs 8 data bits; write a format such as \"8E1\"")]
    DataBits,
    /// Delay the kernel does not take.
    #[error("RS-485 delay {0:?} is not allowed; use whole milliseconds, 0ms to 100ms")]
    Rs485Delay(Duration),
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
