//! What to hear and ask through which adapter: the checked configuration a driver is built from.
//!
//! A [`Bus`] is one adapter; a [`Device`] is one sensor, heard by its advertisements or connected to.
//! The parts parse themselves from the texts people write; [`Bus::check`] finds what only shows when the
//! parts come together, all of it at once. Where the doc comment of a field names a key, that is its key
//! in the configuration file, with unit, default and range.

mod check;
mod secret;

pub use crate::address::{Address, NameError, Pattern, Uuid};
pub use crate::decode::{FieldInfo, Format};
pub use check::{ConfigError, Problem};
pub use protocols_layout::Field;
pub use secret::BindKey;

use protocols_model::{DeviceId, PointId, PointKey, ValueType};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Allowed expected intervals between advertisements of a device.
pub const INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_hours(24);
/// Allowed poll periods of characteristics.
pub const PERIODS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);
/// Allowed time-outs of one operation on a connected device.
pub const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);
/// Allowed silence of a whole adapter before it is repaired.
pub const SILENCES: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_hours(24);
/// Allowed minimum signal strengths, in dBm.
pub const RSSI: RangeInclusive<i16> = -127..=20;
/// Allowed sizes of the table of strangers.
pub const TABLE: RangeInclusive<usize> = 16..=65_536;

/// One adapter with the sensors it hears: `[bus.NAME]`, `kind = "ble"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Bus {
    /// Unique within the gateway.
    pub name: Arc<str>,
    /// Key `adapter`; default `"hci0"`: BlueZ' name of the adapter, or its address, which survives
    /// another order of USB adapters at start.
    pub adapter: Adapter,
    /// Key `min_rssi`, in dBm; default none; -127 to 20. Weaker advertisements are ignored, whoever
    /// sends them.
    pub min_rssi: Option<i16>,
    /// Key `allow`, a list; default empty: whoever is heard. Which devices without a configuration are
    /// kept in the table and reported. Configured devices are always allowed.
    pub allow: Vec<Pattern>,
    /// Key `max_strangers`; default [`Bus::MAX_STRANGERS`]; 16 to 65536. How many devices without a
    /// configuration are remembered; the one heard longest ago makes room.
    pub max_strangers: usize,
    /// Key `report_strangers`; default false. Whether an allowed device without a configuration is
    /// reported when it is first heard (an event, at most one in [`Bus::REPORT_PAUSE`]).
    pub report_strangers: bool,
    /// Key `silence`; default: three times the shortest `interval` of its devices, at least 60 s;
    /// 5 s to 24 h. After so long without a single advertisement the adapter is repaired.
    pub silence: Option<Duration>,
    /// The devices.
    pub devices: Vec<Device>,
}

impl Bus {
    /// Default of `max_strangers`.
    pub const MAX_STRANGERS: usize = 512;
    /// Shortest pause between two reports of strangers.
    pub const REPORT_PAUSE: Duration = Duration::from_mins(1);
    /// Shortest default of `silence`.
    pub const MIN_SILENCE: Duration = Duration::from_mins(1);

    /// A bus with every default.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, adapter: Adapter, devices: Vec<Device>) -> Self {
        Self {
            name: name.into(),
            adapter,
            min_rssi: None,
            allow: Vec::new(),
            max_strangers: Self::MAX_STRANGERS,
            report_strangers: false,
            silence: None,
            devices,
        }
    }

    /// After how long without any advertisement the adapter counts as stuck; `None` when no device of
    /// the bus is expected to advertise.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        let intervals = self.devices.iter().filter_map(|device| match &device.kind {
            Kind::Adverts(adverts) => Some(adverts.interval),
            Kind::Gatt(_) => None,
        });
        let shortest = intervals.min()?.saturating_mul(3);
        Some(self.silence.unwrap_or(shortest.max(Self::MIN_SILENCE)))
    }
}

/// Which adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adapter {
    /// By BlueZ' name: `"hci0"`.
    Name(String),
    /// By its own address: `"00:1A:7D:DA:71:13"`.
    Address(Address),
}

impl Default for Adapter {
    fn default() -> Self {
        Self::Name("hci0".to_owned())
    }
}

/// A text that is neither the name nor the address of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an adapter; write \"hci0\" or the adapter's address \"00:1A:7D:DA:71:13\"")]
pub struct AdapterError;

impl FromStr for Adapter {
    type Err = AdapterError;
    fn from_str(text: &str) -> Result<Self, AdapterError> {
        let number = text.strip_prefix("hci");
        if number.is_some_and(|n| n.parse::<u16>().is_ok()) {
            return Ok(Self::Name(text.to_owned()));
        }
        text.parse().map(Self::Address).map_err(|_| AdapterError)
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// One sensor: `[device.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Unique within the gateway.
    pub id: DeviceId,
    /// How it is recognised.
    pub identity: Identity,
    /// What is done with it.
    pub kind: Kind,
}

/// How a device is recognised in the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Key `address`: by its address. Devices that change theirs (phones, some beacons) are recognised
    /// by what they say instead.
    Address(Address),
    /// Keys `uuid`, `major`, `minor`: an iBeacon; without `major` or `minor` any of them.
    Ibeacon {
        /// The proximity UUID.
        uuid: Uuid,
        /// Its group, 0 to 65535.
        major: Option<u16>,
        /// Its number, 0 to 65535.
        minor: Option<u16>,
    },
    /// Keys `namespace`, `instance`: an Eddystone-UID beacon; without `instance` any of them. Telemetry
    /// frames do not name their beacon: once its UID frame was heard, those of the same address count.
    Eddystone {
        /// Ten bytes, in hexadecimal.
        namespace: [u8; 10],
        /// Six bytes, in hexadecimal.
        instance: Option<[u8; 6]>,
    },
}

/// What is done with a device.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Key `decode`: its advertisements are decoded.
    Adverts(Adverts),
    /// Key `connect = true`: it is connected to, and its characteristics are read, subscribed, written.
    Gatt(Gatt),
}

/// A device that is heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Adverts {
    /// Key `decode`: the format of its advertisements.
    pub format: Format,
    /// Key `key = "file:…"`: the key of encrypted BTHome. With a key, advertisements that are not
    /// encrypted are refused.
    pub key: Option<BindKey>,
    /// Key `interval`; default [`Adverts::INTERVAL`]; 100 ms to 24 h. The span within which the device
    /// speaks: each such span of silence is a reading `Bad(Timeout)`. Advertisements are lost in the air
    /// all the time, so choose three times what the sensor is set to, or more.
    pub interval: Duration,
    /// What to take from them.
    pub points: Vec<AdvertPoint>,
}

impl Adverts {
    /// Default of `interval`.
    pub const INTERVAL: Duration = Duration::from_secs(30);
}

/// One value in the advertisements of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct AdvertPoint {
    /// Its handle in the gateway's point table.
    pub key: PointKey,
    /// Unique within the device.
    pub id: PointId,
    /// Key `field`; default: the point's id. Name of the field, see [`Format::field`].
    pub field: String,
    /// Key `range`, in the field's unit. Values outside are `Bad(OutOfRange)`.
    pub range: Option<RangeInclusive<f64>>,
}

/// A device that is connected to.
#[derive(Debug, Clone, PartialEq)]
pub struct Gatt {
    /// Key `timeout`; default 10 s; 1 s to 60 s. How long one read, write or subscription may take.
    pub timeout: Duration,
    /// Key `connect_timeout`; default 45 s; 1 s to 60 s. How long connecting may take, finding its
    /// services included (for which BlueZ itself gives up after 30 s).
    pub connect_timeout: Duration,
    /// Key `backoff`; default 5 s. First wait after a failed connection.
    pub backoff_min: Duration,
    /// Key `backoff`; default 5 min. Longest wait after failed connections.
    pub backoff_max: Duration,
    /// Its points.
    pub points: Vec<GattPoint>,
}

impl Default for Gatt {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(45),
            backoff_min: Duration::from_secs(5),
            backoff_max: Duration::from_mins(5),
            points: Vec::new(),
        }
    }
}

/// One value of a connected device.
#[derive(Debug, Clone, PartialEq)]
pub struct GattPoint {
    /// Its handle in the gateway's point table.
    pub key: PointKey,
    /// Unique within the device.
    pub id: PointId,
    /// Key `characteristic`: its UUID, `"2a6e"` or in full.
    pub characteristic: Uuid,
    /// Key `service`; default: whichever has the characteristic. Tells two of the same UUID apart.
    pub service: Option<Uuid>,
    /// Keys `period` (read) or `notify = true`; neither: the point is only written.
    pub access: Access,
    /// Key `value`: where the value stands in the bytes of the characteristic and what it means, as in
    /// `"i16le@0*0.01"`. Points of one characteristic share its reads and notifications.
    pub value: Field,
    /// Key `range`, in engineering units. Values read outside are `Bad(OutOfRange)`; values to write
    /// outside are refused.
    pub range: Option<RangeInclusive<f64>>,
    /// Key `write = true`: whether and how it may be written.
    pub write: Option<WriteMode>,
    /// Key `verify`; default false. Whether a written value is read back and compared.
    pub verify: bool,
}

impl GattPoint {
    /// Type of the point's values.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        self.value.value_type()
    }
}

/// How the values of a characteristic come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is read in this period.
    Read(Duration),
    /// The device tells. Key `interval`: when it tells regularly, each such span of silence is a reading
    /// `Bad(Timeout)`; without it silence is no fault while the connection holds.
    Notify(Option<Duration>),
    /// Not at all: the point is only written.
    None,
}

/// How a characteristic is written. The bytes written are those of the point's field alone, from byte 0
/// of the characteristic to the end of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// The device confirms (the default).
    WithResponse,
    /// Key `response = false`. The device does not confirm: the outcome is only known with `verify`;
    /// without it a write that was sent counts as written.
    WithoutResponse,
}

#[cfg(test)]
mod tests;
