//! What to read from which bus: the checked configuration a driver is built from.
//!
//! The parts parse themselves from the texts people write (`"ir:40"`, `"CDAB"`, `"19200 8E1"`), each
//! with an error that says what is allowed; [`Bus::check`] finds everything that only shows when the
//! parts come together. All problems are reported, not the first one.

mod address;
mod check;
mod names;
mod order;
mod point;
mod quirks;
mod raw_type;

pub use address::{Address, AddressError, BitRange, Space};
pub use check::{BROADCAST_UNIT, ConfigError, Problem};
pub use names::{MAX_NAME, MAX_NAMES, Names, NamesError};
pub use order::{Order, OrderError};
pub use point::{Point, Write};
pub use protocols_driver::Retry;
pub use protocols_line::{DataBits, LineError, LineSettings, Parity, Rs485};
pub use protocols_model::{Scale, ScaleError};
pub use quirks::{BitWrites, PAUSES, Quirks, WordError, WriteWith};
pub use raw_type::{Fixed, RawType, RawTypeError};

use protocols_model::DeviceId;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Most registers one request may read (Modbus application protocol 1.1b3, 6.3).
pub const MAX_REGISTERS: u16 = 125;
/// Most coils or discrete inputs one request may read (6.1).
pub const MAX_BITS: u16 = 2000;
/// Highest unit id of a device on a serial line; 0 is the broadcast, which nobody answers.
pub const MAX_SERIAL_UNIT: u8 = 247;
/// Allowed poll periods.
pub const PERIODS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
/// Allowed response time-outs.
pub const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);

/// How long a serial line is left alone after a broadcast, so that all units can carry it out (Modbus
/// over serial line 1.02, 2.4.1: 100 to 200 ms).
pub const BROADCAST_PAUSE: Duration = Duration::from_millis(150);

/// One serial line or one TCP endpoint with the devices behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bus {
    /// Unique within the gateway.
    pub name: Arc<str>,
    /// How to get there.
    pub transport: Transport,
    /// Key `gap`. Silence before each request. On a serial line at least 3.5 characters are kept in any
    /// case; zero, the default, is a good value unless a device asks for more.
    pub gap: Duration,
    /// The devices, in the order of their polls.
    pub devices: Vec<Device>,
}

/// How a bus is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Kind `modbus-tcp`: one connection for all devices of the bus.
    Tcp {
        /// Name or address; resolved anew at each connection.
        host: String,
        /// Usually 502.
        port: u16,
    },
    /// Kind `modbus-rtu`: a serial port of this machine.
    Rtu {
        /// Key `port`. A `/dev/serial/by-id/` path survives replugging.
        path: PathBuf,
        /// Key `line`. Speed and character format.
        line: LineSettings,
        /// Key `rs485`. Direction control by the kernel. Default none: most adapters switch themselves.
        rs485: Option<Rs485>,
    },
    /// Kind `modbus-rtu-over-tcp`: a serial line behind a server that passes its bytes on as they are.
    RtuOverTcp {
        /// Name or address; resolved anew at each connection.
        host: String,
        /// Whatever the server was given; many take 4001 or 502.
        port: u16,
        /// Key `line`. Speed and format of the line behind the server, so that its time can be planned.
        line: LineSettings,
    },
}

impl Transport {
    /// Whether frames are those of a serial line: unit, checksum, no transaction number.
    #[must_use]
    pub const fn is_rtu(&self) -> bool {
        matches!(self, Self::Rtu { .. } | Self::RtuOverTcp { .. })
    }

    /// The serial line, here or behind a server.
    #[must_use]
    pub const fn line(&self) -> Option<LineSettings> {
        match self {
            Self::Rtu { line, .. } | Self::RtuOverTcp { line, .. } => Some(*line),
            Self::Tcp { .. } => None,
        }
    }
}

/// One unit on a bus.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Unique within the gateway.
    pub id: DeviceId,
    /// Key `unit`. 1 to 247 on a serial line, or 0 to broadcast writes; 0 to 255 over TCP.
    pub unit: u8,
    /// Key `timeout`. How long to wait for an answer, within [`TIMEOUTS`]. On a serial line the time that
    /// the bytes themselves need is added.
    pub timeout: Duration,
    /// Key `retry`. When to give up for a while.
    pub retry: Retry,
    /// How requests may be put together.
    pub limits: Limits,
    /// What it does otherwise than others.
    pub quirks: Quirks,
    /// What to read; those with one period form a poll group.
    pub points: Vec<Point>,
}

/// How many addresses one request may span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Key `max_gap`. Addresses that nobody asked for and that may be read along to save a request.
    /// `None`, the default: as many as cost less than a request, from speed and measured turnaround.
    /// `Some(0)`: none, for devices that refuse gaps; a device that refuses to read across a hole is
    /// noticed in any case and that hole is not read again.
    pub max_gap: Option<u16>,
    /// Key `max_regs`. Registers in a request, 1 to [`MAX_REGISTERS`]. Default the most.
    pub max_regs: u16,
    /// Key `max_bits`. Coils or discrete inputs in a request, 1 to [`MAX_BITS`]. Default the most.
    pub max_bits: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_gap: None,
            max_regs: MAX_REGISTERS,
            max_bits: MAX_BITS,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
