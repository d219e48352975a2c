//! What is heard becomes readings: whose advertisement it is, whether it is new, when a device is silent.
//!
//! Pure: advertisements and time go in, [`Heard`] comes out. Rules:
//! 1. a measurement heard several times is one reading: equal counters are a duplicate for one interval,
//!    then the sensor insists and it is a reading again;
//! 2. an encrypted advertisement whose counter is not newer is a replay and never a reading. The last
//!    counter lives in memory: the first one after a start is taken as it comes;
//! 3. each interval without anything understood gives one bad reading for every point of the device;
//! 4. what cannot be decoded changes nothing but a count: the interval runs on.

use crate::address::Address;
use crate::advert::Advert;
use crate::config::{AdvertPoint, Bus, Identity, Kind};
use crate::deadlines::Deadlines;
use crate::decode::{
    Beacon, Cipher, Counter, DecodeError, FieldRef, Format, PRESENT, Packet, RSSI, Uid, Values,
};
use protocols_model::{Instant, PointKey, Reading, Reason, Timestamp, Value};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What became of an advertisement for one device.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// New values, all with the same time. Empty when none of the device's points was in it.
    Readings(Vec<Reading>),
    /// The same measurement again: the device is there, there is no reading.
    Duplicate,
    /// Its counter is not newer than one heard before.
    Replay,
    /// It claims to be in the device's format and is not, or cannot be trusted.
    Refused(DecodeError),
}

/// See the module.
#[derive(Debug)]
pub struct Listener {
    devices: Vec<Listened>,
    by_address: HashMap<Address, usize>,
    /// Devices that are recognised by what they say.
    by_content: Vec<usize>,
    silence: Deadlines,
    values: Values,
}

#[derive(Debug)]
struct Listened {
    /// Its place in the bus' list.
    device: usize,
    identity: Identity,
    format: Format,
    cipher: Option<Cipher>,
    interval: Duration,
    points: Vec<Point>,
    last: Option<(Counter, Instant)>,
    /// Where the UID frame of an Eddystone beacon came from.
    address: Option<Address>,
}

#[derive(Debug)]
struct Point {
    key: PointKey,
    field: FieldRef,
    range: Option<RangeInclusive<f64>>,
}

impl Point {
    fn new(format: Format, point: &AdvertPoint) -> Option<Self> {
        Some(Self {
            key: point.key,
            field: format.resolve(&point.field)?,
            range: point.range.clone(),
        })
    }
}

impl Listener {
    /// A listener for the devices of `bus` that advertise; their intervals begin now.
    #[must_use]
    pub fn new(bus: &Bus, now: Instant) -> Self {
        let mut listener = Self {
            devices: Vec::new(),
            by_address: HashMap::new(),
            by_content: Vec::new(),
            silence: Deadlines::default(),
            values: Values::new(),
        };
        for (device, config) in bus.devices.iter().enumerate() {
            let Kind::Adverts(adverts) = &config.kind else {
                continue;
            };
            let place = listener.devices.len();
            match config.identity {
                Identity::Address(address) => {
                    listener.by_address.insert(address, place);
                }
                _ => listener.by_content.push(place),
            }
            let points = adverts.points.iter();
            listener.devices.push(Listened {
                device,
                identity: config.identity,
                format: adverts.format,
                cipher: adverts.key.as_ref().map(Cipher::new),
                interval: adverts.interval,
                points: points
                    .filter_map(|point| Point::new(adverts.format, point))
                    .collect(),
                last: None,
                address: None,
            });
            listener.silence.set(place, now.plus(adverts.interval));
        }
        listener
    }

    /// Takes an advertisement. For each device it is of (usually one, or none): its place in the bus'
    /// list, and what became of it.
    pub fn hear(
        &mut self,
        advert: &Advert,
        now: Instant,
        wall: Timestamp,
        mut each: impl FnMut(usize, Heard),
    ) -> bool {
        let mut known = false;
        let direct = self.by_address.get(&advert.address).copied();
        let content = self.by_content.iter().copied();
        for place in direct.into_iter().chain(content) {
            let Some(listened) = self.devices.get_mut(place) else {
                continue;
            };
            if !listened.is_meant(advert) {
                continue;
            }
            known = true;
            let Some(heard) = listened.hear(advert, now, wall, &mut self.values) else {
                continue;
            };
            if matches!(heard, Heard::Readings(_) | Heard::Duplicate) {
                self.silence.set(place, now.plus(listened.interval));
            }
            each(listened.device, heard);
        }
        known
    }

    /// When the next device will have been silent for its interval.
    #[must_use]
    pub fn next_silence(&self) -> Option<Instant> {
        self.silence.next()
    }

    /// Takes a device whose interval passed in silence: its place in the bus' list and a reading for each
    /// point, bad for `reason`. A device that is silent although the radio hears is not [`PRESENT`].
    pub fn take_silent(
        &mut self,
        now: Instant,
        wall: Timestamp,
        reason: Reason,
    ) -> Option<(usize, Vec<Reading>)> {
        let place = self.silence.take_due(now)?;
        let listened = self.devices.get(place)?;
        self.silence.set(place, now.plus(listened.interval));
        let readings = listened.points.iter().map(|point| {
            if point.field.name == PRESENT && reason == Reason::Timeout {
                Reading::good(point.key, wall, Value::Bool(false))
            } else {
                Reading::bad(point.key, wall, reason)
            }
        });
        Some((listened.device, readings.collect()))
    }
}

impl Listened {
    /// Whether the advertisement is this device's.
    fn is_meant(&mut self, advert: &Advert) -> bool {
        match self.identity {
            Identity::Address(address) => advert.address == address,
            Identity::Ibeacon { uuid, major, minor } => match Beacon::read(advert) {
                Some(Ok(beacon)) => {
                    beacon.uuid == uuid
                        && major.is_none_or(|major| major == beacon.major)
                        && minor.is_none_or(|minor| minor == beacon.minor)
                }
                _ => false,
            },
            Identity::Eddystone {
                namespace,
                instance,
            } => match Uid::read(advert) {
                Some(uid) => {
                    let meant = uid.namespace == namespace
                        && instance.is_none_or(|instance| instance == uid.instance);
                    if meant {
                        self.address = Some(advert.address);
                    } else if self.address == Some(advert.address) {
                        self.address = None;
                    }
                    meant
                }
                None => self.address == Some(advert.address),
            },
        }
    }

    fn hear(
        &mut self,
        advert: &Advert,
        now: Instant,
        wall: Timestamp,
        values: &mut Values,
    ) -> Option<Heard> {
        let packet = match self.format.decode(advert, self.cipher.as_ref(), values)? {
            Ok(packet) => packet,
            Err(error) => return Some(Heard::Refused(error)),
        };
        if let Some(known) = self.known(&packet, now) {
            return Some(known);
        }
        let reading = |point: &Point| {
            let value = match point.field.name {
                PRESENT => Ok(Value::Bool(true)),
                RSSI => Ok(Value::I64(advert.rssi?.into())),
                _ => values.get(point.field)?.clone(),
            };
            Some(match value {
                Ok(value) if in_range(&value, point.range.as_ref()) => {
                    Reading::good(point.key, wall, value)
                }
                Ok(_) => Reading::bad(point.key, wall, Reason::OutOfRange),
                Err(reason) => Reading::bad(point.key, wall, reason),
            })
        };
        Some(Heard::Readings(
            self.points.iter().filter_map(reading).collect(),
        ))
    }

    /// Rules 1 and 2: what the counter says about the advertisement.
    fn known(&mut self, packet: &Packet, now: Instant) -> Option<Heard> {
        let counter = packet.counter?;
        if let Some((last, at)) = self.last {
            if last == counter && now.since(at) < self.interval {
                return Some(Heard::Duplicate);
            }
            if let (Counter::Growing(last), Counter::Growing(new)) = (last, counter) {
                // The counter wraps at 2^32: newer is what lies in the half before it.
                let ahead = new.wrapping_sub(last);
                // Equal for longer than an interval: the sensor says nothing new, or somebody repeats it.
                if ahead == 0 || ahead >= 1 << 31 {
                    return Some(Heard::Replay);
                }
            }
        }
        self.last = Some((counter, now));
        None
    }
}

/// Whether a number lies in the point's range; whatever is no number, does.
pub(crate) fn in_range(value: &Value, range: Option<&RangeInclusive<f64>>) -> bool {
    match (range, value.as_f64()) {
        (Some(range), Some(number)) => range.contains(&number),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
