//! What is around the adapters: sensors that advertise, and crowds that pass by.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols_model::Instant;

use super::{Timer, World};
use crate::journal::Event;
use crate::names::{Address, Uuid};
use crate::sensor::{Advert, Sensor, Turn};

/// A crowd comes by in portions this far apart.
const CROWD_STEP: Duration = Duration::from_millis(20);

/// A sensor, and the faults it has.
#[derive(Debug)]
pub(super) struct Nearby {
    pub(super) sensor: Sensor,
    pub(super) added: Instant,
    /// Advertisements so far, heard or not.
    adverts: u64,
    /// Values made so far, by service and characteristic.
    pub(super) values: BTreeMap<(usize, usize), u64>,
    /// The adapter it is linked to.
    pub(super) linked_to: Option<String>,
    pub(super) out_of_range: bool,
    pub(super) spoiled: bool,
    pub(super) never_resolves: bool,
    pub(super) refuses_connect: bool,
    pub(super) hangs_connect: bool,
    pub(super) silent_notify: bool,
    pub(super) fails_reads: bool,
    pub(super) hangs_reads: bool,
    pub(super) refuses_writes: bool,
    pub(super) hangs_writes: bool,
}

impl Nearby {
    pub(super) const fn new(now: Instant, sensor: Sensor) -> Self {
        Self {
            sensor,
            added: now,
            adverts: 0,
            values: BTreeMap::new(),
            linked_to: None,
            out_of_range: false,
            spoiled: false,
            never_resolves: false,
            refuses_connect: false,
            hangs_connect: false,
            silent_notify: false,
            fails_reads: false,
            hangs_reads: false,
            refuses_writes: false,
            hangs_writes: false,
        }
    }

    /// Whether its advertisements are on the air.
    fn speaks(&self) -> bool {
        !self.out_of_range && (self.linked_to.is_none() || self.sensor.advertises_while_connected)
    }

    pub(super) fn heard_by(&self, adapter: &str) -> bool {
        self.sensor.heard_by.is_empty() || self.sensor.heard_by.iter().any(|name| name == adapter)
    }

    /// Makes the next value of a characteristic; the one it has when nothing makes them.
    pub(super) fn next_value(
        &mut self,
        now: Instant,
        service: usize,
        characteristic: usize,
    ) -> Vec<u8> {
        let elapsed = now.since(self.added);
        let Some(found) = self
            .sensor
            .services
            .get_mut(service)
            .and_then(|service| service.characteristics.get_mut(characteristic))
        else {
            return Vec::new();
        };
        if let Some(source) = &mut found.source {
            let number = self.values.entry((service, characteristic)).or_default();
            found.value = source(Turn {
                number: *number,
                elapsed,
            });
            *number += 1;
        }
        found.value.clone()
    }
}

/// Devices that pass by, each with an address of its own.
#[derive(Debug)]
pub(super) struct Crowd {
    left: u32,
    per_step: u32,
    /// Distinguishes the addresses of one crowd from those of the next.
    next_address: u32,
}

impl World {
    /// A sensor's own advertisement is due.
    pub(super) fn advert_due(&mut self, now: Instant, due: Instant, address: Address) {
        let Some(nearby) = self.nearby.get_mut(&address) else {
            return;
        };
        let Some(advertising) = &mut nearby.sensor.advertising else {
            return;
        };
        let turn = Turn {
            number: nearby.adverts,
            elapsed: now.since(nearby.added),
        };
        nearby.adverts += 1;
        let advert = (advertising.source)(turn);
        // A sensor that could not speak in time does not speak twice afterwards.
        let interval = advertising.interval.max(Duration::from_millis(1));
        let late = now.since(due);
        let wait = if late < interval {
            interval - late
        } else {
            interval
        };
        self.after(now, wait, Timer::Advert(address));
        self.advertise(now, address, advert);
    }

    /// A sensor says something now. True when a client was told.
    pub(super) fn advertise(&mut self, now: Instant, address: Address, advert: Advert) -> bool {
        let Some(nearby) = self.nearby.get(&address).filter(|nearby| nearby.speaks()) else {
            return false;
        };
        let (rssi, spoiled) = (nearby.sensor.rssi, nearby.spoiled);
        let listeners: Vec<String> = self
            .adapters
            .keys()
            .filter(|name| nearby.heard_by(name))
            .cloned()
            .collect();
        let advert = if spoiled { self.spoil(advert) } else { advert };
        let mut told = false;
        for adapter in listeners {
            if self.hear(now, &adapter, address, rssi, &advert) {
                told = true;
                let event = Event::Advert {
                    advert: advert.clone(),
                    spoiled,
                };
                self.note(&adapter, Some(address), event);
            }
        }
        told
    }

    /// Damage as it comes from a bad sensor, not from the air, whose checksum would not let it through.
    fn spoil(&mut self, mut advert: Advert) -> Advert {
        for data in advert.manufacturer.values_mut() {
            spoil_bytes(&mut self.random, data);
        }
        for data in advert.service_data.values_mut() {
            spoil_bytes(&mut self.random, data);
        }
        advert
    }

    /// A crowd begins to pass.
    pub(super) fn crowd_comes(&mut self, now: Instant, devices: u32, within: Duration) {
        let steps = u32::try_from(within.as_millis() / CROWD_STEP.as_millis())
            .unwrap_or(u32::MAX)
            .max(1);
        let next_address = self.crowd.as_ref().map_or(0, |crowd| crowd.next_address);
        self.crowd = Some(Crowd {
            left: devices,
            per_step: devices.div_ceil(steps),
            next_address,
        });
        self.timers
            .retain(|_, timer| !matches!(timer, Timer::Crowd));
        self.after(now, Duration::ZERO, Timer::Crowd);
    }

    /// What is left of a crowd does not come any more.
    pub(super) fn crowd_goes(&mut self) {
        if let Some(crowd) = &mut self.crowd {
            crowd.left = 0;
        }
    }

    pub(super) fn crowd_due(&mut self, now: Instant) {
        let Some(crowd) = &mut self.crowd else { return };
        let first = crowd.next_address;
        let count = crowd.per_step.min(crowd.left);
        crowd.left -= count;
        crowd.next_address += count;
        let more = crowd.left > 0;
        let names: Vec<String> = self.adapters.keys().cloned().collect();
        for number in first..first + count {
            let [a, b, c, d] = number.to_be_bytes();
            let address = Address([0xFA, 0x11, a, b, c, d]);
            let advert = self.stranger();
            for name in &names {
                if self.hear(now, name, address, -80, &advert) {
                    let event = Event::Advert {
                        advert: advert.clone(),
                        spoiled: false,
                    };
                    self.note(name, Some(address), event);
                }
            }
        }
        if more {
            self.after(now, CROWD_STEP, Timer::Crowd);
        }
    }

    /// What a telephone or tracker that passes by says: noise, or something that looks like a sensor's.
    fn stranger(&mut self) -> Advert {
        let mut data = vec![0; self.random.usize(0..24)];
        self.random.fill(&mut data);
        match self.random.u8(0..4) {
            0 => Advert::manufacturer(0x004C, data),
            1 => Advert::manufacturer(0x0499, data),
            2 => Advert::service(Uuid::short(0xFCD2), data),
            _ => Advert::service(Uuid::short(self.random.u16(..)), data),
        }
    }
}

fn spoil_bytes(random: &mut fastrand::Rng, data: &mut Vec<u8>) {
    match random.u8(0..4) {
        0 => data.truncate(random.usize(0..=data.len().saturating_sub(1))),
        1 => random.fill(data),
        2 => data.extend(std::iter::repeat_with(|| random.u8(..)).take(40)),
        _ => data.clear(),
    }
}
