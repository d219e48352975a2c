//! What a simulated sensor is: an address, what it advertises, what it offers when connected.
//!
//! A sensor knows nothing of D-Bus. Its values come from closures that are told which turn it is, so a test
//! can say exactly what the n-th advertisement or notification carried.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::names::{Address, Uuid};

/// Which value is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// How many came before: 0 for the first.
    pub number: u64,
    /// Since the sensor was added.
    pub elapsed: Duration,
}

/// The content of one advertisement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advert {
    /// Overrides the sensor's signal strength, dBm.
    pub rssi: Option<i16>,
    /// The local name.
    pub name: Option<String>,
    /// Service UUIDs, the list that discovery filters look at.
    pub uuids: Vec<Uuid>,
    /// Manufacturer specific data by company identifier.
    pub manufacturer: BTreeMap<u16, Vec<u8>>,
    /// Service data by service UUID.
    pub service_data: BTreeMap<Uuid, Vec<u8>>,
    /// Transmit power, dBm.
    pub tx_power: Option<i16>,
}

impl Advert {
    /// One with manufacturer specific data alone.
    #[must_use]
    pub fn manufacturer(company: u16, data: Vec<u8>) -> Self {
        Self {
            manufacturer: BTreeMap::from([(company, data)]),
            ..Self::default()
        }
    }

    /// One with service data alone.
    #[must_use]
    pub fn service(uuid: Uuid, data: Vec<u8>) -> Self {
        Self {
            service_data: BTreeMap::from([(uuid, data)]),
            ..Self::default()
        }
    }

    /// The bytes that carry values, to tell a repeat from news.
    pub(crate) fn same_payload(&self, other: &Self) -> bool {
        self.manufacturer == other.manufacturer && self.service_data == other.service_data
    }
}

/// Makes the advertisement of a turn.
pub type AdvertSource = Box<dyn FnMut(Turn) -> Advert + Send>;
/// Makes the value of a turn.
pub type ValueSource = Box<dyn FnMut(Turn) -> Vec<u8> + Send>;

/// When a sensor advertises, and what.
pub struct Advertising {
    /// From one advertisement to the next; not zero.
    pub interval: Duration,
    /// What they carry.
    pub source: AdvertSource,
}

impl fmt::Debug for Advertising {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advertising")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// A simulated sensor.
#[derive(Debug)]
pub struct Sensor {
    /// Its address.
    pub address: Address,
    /// Whether the address is of the random type, as most sensors' are.
    pub random_address: bool,
    /// Signal strength at the adapters, dBm.
    pub rssi: i16,
    /// The adapters that hear it; empty: all.
    pub heard_by: Vec<String>,
    /// What it advertises by itself; `None`: only what [`BlueZ::advertise`](crate::BlueZ::advertise) sends.
    pub advertising: Option<Advertising>,
    /// Whether it goes on advertising while connected; most do not.
    pub advertises_while_connected: bool,
    /// What it offers when connected; empty: it cannot be connected.
    pub services: Vec<Service>,
}

impl Sensor {
    /// A sensor that does nothing yet, heard by all adapters at -60 dBm.
    #[must_use]
    pub const fn new(address: Address) -> Self {
        Self {
            address,
            random_address: true,
            rssi: -60,
            heard_by: Vec::new(),
            advertising: None,
            advertises_while_connected: false,
            services: Vec::new(),
        }
    }

    /// Advertises what `source` makes, every `interval`.
    #[must_use]
    pub fn advertising(
        mut self,
        interval: Duration,
        source: impl FnMut(Turn) -> Advert + Send + 'static,
    ) -> Self {
        self.advertising = Some(Advertising {
            interval,
            source: Box::new(source),
        });
        self
    }

    /// Offers one more service.
    #[must_use]
    pub fn service(mut self, uuid: Uuid, characteristics: Vec<Characteristic>) -> Self {
        self.services.push(Service {
            uuid,
            characteristics,
        });
        self
    }
}

/// A GATT service.
#[derive(Debug)]
pub struct Service {
    /// What it is.
    pub uuid: Uuid,
    /// What is in it.
    pub characteristics: Vec<Characteristic>,
}

/// What may be done with a characteristic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// Its value may be read.
    Read,
    /// It may be written, and the sensor answers.
    Write,
    /// It may be written without an answer.
    WriteWithoutResponse,
    /// It sends values by itself.
    Notify,
    /// It sends values by itself and wants each confirmed.
    Indicate,
}

impl Flag {
    /// As `BlueZ` spells it.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::WriteWithoutResponse => "write-without-response",
            Self::Notify => "notify",
            Self::Indicate => "indicate",
        }
    }
}

/// A GATT characteristic.
pub struct Characteristic {
    /// What it is.
    pub uuid: Uuid,
    /// What may be done with it.
    pub flags: Vec<Flag>,
    /// Its value: the last written, unless `source` makes it.
    pub value: Vec<u8>,
    /// Makes the value of each read and each notification.
    pub source: Option<ValueSource>,
    /// While someone listens, a notification this often; needs `source`.
    pub notify_every: Option<Duration>,
    /// Its descriptors, with their values.
    pub descriptors: Vec<(Uuid, Vec<u8>)>,
}

impl fmt::Debug for Characteristic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Characteristic")
            .field("uuid", &self.uuid)
            .field("flags", &self.flags)
            .field("value", &self.value)
            .field("notify_every", &self.notify_every)
            .finish_non_exhaustive()
    }
}

impl Characteristic {
    /// One with a constant value.
    #[must_use]
    pub fn new(uuid: Uuid, flags: &[Flag], value: Vec<u8>) -> Self {
        Self {
            uuid,
            flags: flags.to_vec(),
            value,
            source: None,
            notify_every: None,
            descriptors: Vec::new(),
        }
    }

    /// One whose values `source` makes.
    #[must_use]
    pub fn scripted(
        uuid: Uuid,
        flags: &[Flag],
        source: impl FnMut(Turn) -> Vec<u8> + Send + 'static,
    ) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..Self::new(uuid, flags, Vec::new())
        }
    }

    /// Notifies this often while someone listens.
    #[must_use]
    pub const fn every(mut self, interval: Duration) -> Self {
        self.notify_every = Some(interval);
        self
    }

    pub(crate) fn may(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    pub(crate) fn notifies(&self) -> bool {
        self.may(Flag::Notify) || self.may(Flag::Indicate)
    }
}
