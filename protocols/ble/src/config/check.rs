//! Everything that can be wrong with a bus, found at once, each with what is allowed.

use super::{
    Access, AdvertPoint, Adverts, Bus, Device, Format, Gatt, GattPoint, INTERVALS, Identity, Kind,
    PERIODS, RSSI, SILENCES, TABLE, TIMEOUTS,
};
use protocols_model::{DeviceId, PointId, ValueType};
use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// One problem of a bus, and where it is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}{problem}", Place(.device.as_ref(), .point.as_ref()))]
pub struct ConfigError {
    /// The device; `None`: the bus itself.
    pub device: Option<DeviceId>,
    /// The point, when the problem is a point's.
    pub point: Option<PointId>,
    /// What is wrong, found and allowed.
    pub problem: Problem,
}

struct Place<'a>(Option<&'a DeviceId>, Option<&'a PointId>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
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
    /// Signal strength out of bounds.
    #[error("min_rssi {0} is not allowed; use -127 to 20 (dBm)")]
    Rssi(i16),
    /// Table size out of bounds.
    #[error("max_strangers {0} is not allowed; use 16 to 65536")]
    Table(usize),
    /// Silence out of bounds.
    #[error("silence {0:?} is not allowed; use 5s to 24h")]
    Silence(Duration),
    /// Interval out of bounds.
    #[error("interval {0:?} is not allowed; use 100ms to 24h")]
    Interval(Duration),
    /// Period out of bounds.
    #[error("period {0:?} is not allowed; use 100ms to 24h")]
    Period(Duration),
    /// Time-out out of bounds.
    #[error("time-out {0:?} is not allowed; use 1s to 60s")]
    Timeout(Duration),
    /// Back-off bounds that make no sense.
    #[error("back-off {0:?} to {1:?} is not a span; write the shorter wait first, above zero")]
    Backoff(Duration, Duration),
    /// Two devices that one advertisement would be for.
    #[error("it is recognised by the same address, UUID or namespace as device {0}")]
    SameIdentity(DeviceId),
    /// An identity that the format cannot show.
    #[error("advertisements in format {0} do not carry {1}; recognise the device by its address")]
    IdentityOfFormat(Format, &'static str),
    /// Connections go to addresses.
    #[error("a device that is connected to is recognised by its address alone")]
    IdentityOfGatt,
    /// A key for a format without encryption.
    #[error("format {0} has no encryption; leave out the key")]
    KeyOfFormat(Format),
    /// An unknown field.
    #[error("format {format} has no field {found:?}; it has {allowed}")]
    Field {
        /// The format.
        format: Format,
        /// What was written.
        found: String,
        /// All names, for people.
        allowed: String,
    },
    /// Range on something that has none.
    #[error("a value of type {} has no range; leave it out", .0.as_str())]
    RangeOnType(ValueType),
    /// A range that nothing lies in.
    #[error("range [{0}, {1}] is empty; write the lower bound first")]
    EmptyRange(f64, f64),
    /// A point that is neither read, told nor written.
    #[error("the point is neither read nor told nor written; give period, notify or write")]
    Useless,
    /// Verify without write.
    #[error("verify needs write = true")]
    VerifyWithoutWrite,
    /// A write whose bytes are not known.
    #[error(
        "a written value needs a field that begins at a byte counted from the start and does not reach to the end"
    )]
    WriteOpen,
}

impl Bus {
    /// Everything that is wrong with the bus; empty when a driver can be built from it.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigError> {
        let mut own = Vec::new();
        if let Some(rssi) = self.min_rssi.filter(|rssi| !RSSI.contains(rssi)) {
            own.push(Problem::Rssi(rssi));
        }
        if !TABLE.contains(&self.max_strangers) {
            own.push(Problem::Table(self.max_strangers));
        }
        if let Some(silence) = self.silence.filter(|silence| !SILENCES.contains(silence)) {
            own.push(Problem::Silence(silence));
        }
        let own = own.into_iter().map(|problem| ConfigError {
            device: None,
            point: None,
            problem,
        });
        let mut errors: Vec<_> = own.collect();
        let mut seen: HashMap<Identity, &Device> = HashMap::new();
        for device in &self.devices {
            let mut problems = device.check();
            if let Some(first) = seen.get(&device.identity) {
                problems.push((None, Problem::SameIdentity(first.id.clone())));
            }
            seen.entry(device.identity).or_insert(device);
            errors.extend(problems.into_iter().map(|(point, problem)| ConfigError {
                device: Some(device.id.clone()),
                point,
                problem,
            }));
        }
        errors
    }
}

type Found = Vec<(Option<PointId>, Problem)>;

impl Device {
    fn check(&self) -> Found {
        match &self.kind {
            Kind::Adverts(adverts) => adverts.check(&self.identity),
            Kind::Gatt(gatt) => gatt.check(&self.identity),
        }
    }
}

impl Adverts {
    fn check(&self, identity: &Identity) -> Found {
        let mut problems = Vec::new();
        let mut own = |problem| problems.push((None, problem));
        if !INTERVALS.contains(&self.interval) {
            own(Problem::Interval(self.interval));
        }
        if self.key.is_some() && self.format != Format::Bthome {
            own(Problem::KeyOfFormat(self.format));
        }
        match identity {
            Identity::Ibeacon { .. } if self.format != Format::Ibeacon => {
                own(Problem::IdentityOfFormat(
                    self.format,
                    "the UUID of an iBeacon",
                ));
            }
            Identity::Eddystone { .. } if self.format != Format::Eddystone => {
                own(Problem::IdentityOfFormat(self.format, "a namespace"));
            }
            _ => {}
        }
        for point in &self.points {
            let of_point = point.check(self.format).into_iter();
            problems.extend(of_point.map(|p| (Some(point.id.clone()), p)));
        }
        problems
    }
}

impl AdvertPoint {
    fn check(&self, format: Format) -> Vec<Problem> {
        let Some(field) = format.field(&self.field) else {
            let names = format.fields().map(|field| field.name);
            return vec![Problem::Field {
                format,
                found: self.field.clone(),
                allowed: names.collect::<Vec<_>>().join(", "),
            }];
        };
        check_range(self.range.as_ref(), field.value_type)
    }
}

impl Gatt {
    fn check(&self, identity: &Identity) -> Found {
        let mut problems = Vec::new();
        let mut own = |problem| problems.push((None, problem));
        if !matches!(identity, Identity::Address(_)) {
            own(Problem::IdentityOfGatt);
        }
        for timeout in [self.timeout, self.connect_timeout] {
            if !TIMEOUTS.contains(&timeout) {
                own(Problem::Timeout(timeout));
            }
        }
        if self.backoff_min.is_zero() || self.backoff_min > self.backoff_max {
            own(Problem::Backoff(self.backoff_min, self.backoff_max));
        }
        for point in &self.points {
            let of_point = point.check().into_iter();
            problems.extend(of_point.map(|p| (Some(point.id.clone()), p)));
        }
        problems
    }
}

impl GattPoint {
    fn check(&self) -> Vec<Problem> {
        let mut problems = check_range(self.range.as_ref(), self.value_type());
        match self.access {
            Access::Read(period) if !PERIODS.contains(&period) => {
                problems.push(Problem::Period(period));
            }
            Access::Notify(Some(interval)) if !INTERVALS.contains(&interval) => {
                problems.push(Problem::Interval(interval));
            }
            Access::None if self.write.is_none() => problems.push(Problem::Useless),
            _ => {}
        }
        if self.verify && self.write.is_none() {
            problems.push(Problem::VerifyWithoutWrite);
        }
        let open = matches!(self.value.offset(), protocols_layout::Offset::End(_))
            || self.value.encoding().len().is_none();
        if self.write.is_some() && open {
            problems.push(Problem::WriteOpen);
        }
        problems
    }
}

fn check_range(range: Option<&RangeInclusive<f64>>, value_type: ValueType) -> Vec<Problem> {
    let Some(range) = range else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if matches!(
        value_type,
        ValueType::Bool | ValueType::Text | ValueType::Bytes
    ) {
        problems.push(Problem::RangeOnType(value_type));
    }
    // Also catches NaN.
    if !matches!(
        range.start().partial_cmp(range.end()),
        Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
    ) {
        problems.push(Problem::EmptyRange(*range.start(), *range.end()));
    }
    problems
}
