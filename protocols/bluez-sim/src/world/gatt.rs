//! Services, characteristics and descriptors: shown once they are resolved, read, written, listened to.

use std::collections::BTreeSet;
use std::time::Duration;

use protocols_model::Instant;

use super::radio::device_path;
use super::request::{Answer, Outcome, Refusal};
use super::{CHARACTERISTIC, DESCRIPTOR, SERVICE, Timer, World, one};
use crate::journal::Event;
use crate::names::{Address, Uuid};
use crate::sensor::Flag;
use crate::tree::Interfaces;
use crate::value::{Props, Value};

/// The largest attribute value (Core Specification, Vol 3 Part F 3.2.9), bytes.
const LONGEST_VALUE: usize = 512;
/// The MTU that sensors agree to, bytes.
const MTU: u16 = 247;

/// What stands behind a path.
#[derive(Debug, Clone)]
pub(super) struct Attribute {
    adapter: String,
    address: Address,
    uuid: Uuid,
    service: usize,
    characteristic: usize,
    descriptor: Option<usize>,
    /// Who listens, by unique bus name. Outlives the link, as in bluetoothd.
    listeners: BTreeSet<String>,
}

impl World {
    /// Makes the objects of a device's services appear.
    pub(super) fn show_services(&mut self, adapter: &str, address: Address) {
        let Some(nearby) = self.nearby.get(&address) else {
            return;
        };
        let device = device_path(adapter, address);
        let mut handle = 0x0010_u16;
        let mut next = |step: u16| {
            handle += step;
            handle
        };
        for (s, service) in nearby.sensor.services.iter().enumerate() {
            let service_path = format!("{device}/service{:04x}", next(1));
            let props = Props::from([
                ("UUID", Value::text(service.uuid)),
                ("Device", Value::Path(device.clone())),
                ("Primary", Value::Bool(true)),
                ("Includes", Value::Paths(Vec::new())),
            ]);
            self.tree
                .add(&service_path, Interfaces::from([(SERVICE, props)]));
            for (c, characteristic) in service.characteristics.iter().enumerate() {
                let path = format!("{service_path}/char{:04x}", next(1));
                // The value itself has a handle too.
                next(1);
                let mut props = Props::from([
                    ("UUID", Value::text(characteristic.uuid)),
                    ("Service", Value::Path(service_path.clone())),
                    ("Value", Value::Bytes(Vec::new())),
                    (
                        "Flags",
                        Value::Texts(
                            characteristic
                                .flags
                                .iter()
                                .map(|f| f.text().to_owned())
                                .collect(),
                        ),
                    ),
                    ("MTU", Value::U16(MTU)),
                ]);
                if characteristic.notifies() {
                    props.insert("Notifying", Value::Bool(false));
                }
                self.tree
                    .add(&path, Interfaces::from([(CHARACTERISTIC, props)]));
                let attribute = Attribute {
                    adapter: adapter.to_owned(),
                    address,
                    uuid: characteristic.uuid,
                    service: s,
                    characteristic: c,
                    descriptor: None,
                    listeners: BTreeSet::new(),
                };
                for (d, (uuid, value)) in characteristic.descriptors.iter().enumerate() {
                    let descriptor_path = format!("{path}/desc{:04x}", next(1));
                    let props = Props::from([
                        ("UUID", Value::text(uuid)),
                        ("Characteristic", Value::Path(path.clone())),
                        ("Value", Value::Bytes(value.clone())),
                    ]);
                    self.tree
                        .add(&descriptor_path, Interfaces::from([(DESCRIPTOR, props)]));
                    let attribute = Attribute {
                        descriptor: Some(d),
                        uuid: *uuid,
                        ..attribute.clone()
                    };
                    self.attributes.insert(descriptor_path, attribute);
                }
                self.attributes.insert(path, attribute);
            }
        }
    }

    /// Whether the device of an attribute is linked.
    fn linked(&self, attribute: &Attribute) -> bool {
        self.adapters
            .get(&attribute.adapter)
            .and_then(|adapter| adapter.devices.get(&attribute.address))
            .is_some_and(|device| device.link.is_up())
    }

    fn linked_attribute(&self, path: &str) -> Result<Attribute, Refusal> {
        let attribute = self.attributes.get(path).ok_or_else(Refusal::no_object)?;
        if self.linked(attribute) {
            Ok(attribute.clone())
        } else {
            Err(Refusal::failed("Not connected"))
        }
    }

    pub(super) fn read(&mut self, now: Instant, path: &str, offset: usize) -> Outcome {
        let attribute = match self.linked_attribute(path) {
            Ok(attribute) => attribute,
            Err(refusal) => return refusal.into(),
        };
        let Some(nearby) = self.nearby.get_mut(&attribute.address) else {
            return Refusal::failed("Not connected").into();
        };
        if nearby.hangs_reads {
            return Outcome::Later;
        }
        if nearby.fails_reads {
            return Refusal::failed("Operation failed with ATT error: 0x0e").into();
        }
        let (s, c) = (attribute.service, attribute.characteristic);
        let Some(characteristic) = nearby
            .sensor
            .services
            .get(s)
            .and_then(|service| service.characteristics.get(c))
        else {
            return Refusal::no_object().into();
        };
        let (value, interface) = if let Some(d) = attribute.descriptor {
            let value = characteristic
                .descriptors
                .get(d)
                .map(|(_, value)| value.clone());
            (value.unwrap_or_default(), DESCRIPTOR)
        } else {
            if !characteristic.may(Flag::Read) {
                return Refusal::not_permitted("Read not permitted").into();
            }
            (nearby.next_value(now, s, c), CHARACTERISTIC)
        };
        if offset > value.len() {
            return Refusal::invalid_offset().into();
        }
        if attribute.descriptor.is_none() {
            let event = Event::Read {
                characteristic: attribute.uuid,
                value: value.clone(),
            };
            self.note(&attribute.adapter, Some(attribute.address), event);
        }
        // bluetoothd tells of a value read as it does of one notified; clients have to expect that.
        self.tree
            .set(path, interface, one("Value", Value::Bytes(value.clone())));
        Outcome::Done(Ok(Answer::Bytes(
            value.get(offset..).unwrap_or_default().to_vec(),
        )))
    }

    pub(super) fn write(&mut self, path: &str, value: Vec<u8>, command: bool) -> Outcome {
        let attribute = match self.linked_attribute(path) {
            Ok(attribute) => attribute,
            Err(refusal) => return refusal.into(),
        };
        let Some(nearby) = self.nearby.get_mut(&attribute.address) else {
            return Refusal::failed("Not connected").into();
        };
        if value.len() > LONGEST_VALUE {
            return Refusal::invalid_length().into();
        }
        let (refused, hangs) = (nearby.refuses_writes, nearby.hangs_writes);
        let Some(characteristic) = nearby
            .sensor
            .services
            .get_mut(attribute.service)
            .and_then(|service| service.characteristics.get_mut(attribute.characteristic))
        else {
            return Refusal::no_object().into();
        };
        if let Some(d) = attribute.descriptor {
            if let Some((_, stored)) = characteristic.descriptors.get_mut(d) {
                *stored = value;
            }
            return Outcome::Done(Ok(Answer::Nothing));
        }
        let with = characteristic.may(Flag::Write);
        let without = characteristic.may(Flag::WriteWithoutResponse);
        let possible = if command { without } else { with || without };
        if !possible {
            return Refusal::not_supported().into();
        }
        if !refused {
            characteristic.value.clone_from(&value);
        }
        let event = Event::Written {
            characteristic: attribute.uuid,
            value,
            accepted: !refused,
        };
        self.note(&attribute.adapter, Some(attribute.address), event);
        // A command is sent without waiting for anything: neither refusal nor silence can be told.
        if command || (!refused && !hangs) {
            Outcome::Done(Ok(Answer::Nothing))
        } else if refused {
            Refusal::not_permitted("Write not permitted").into()
        } else {
            Outcome::Later
        }
    }

    pub(super) fn start_notify(&mut self, now: Instant, path: &str, sender: &str) -> Outcome {
        let Some(attribute) = self.attributes.get(path).filter(|a| a.descriptor.is_none()) else {
            return Refusal::no_object().into();
        };
        let (linked, uuid) = (self.linked(attribute), attribute.uuid);
        let (adapter, address) = (attribute.adapter.clone(), attribute.address);
        if !self.notifies(path) {
            return Refusal::not_supported().into();
        }
        let Some(attribute) = self.attributes.get_mut(path) else {
            return Refusal::no_object().into();
        };
        if !attribute.listeners.insert(sender.to_owned()) {
            // A session outlives the link: this is also what a client gets that starts again after one broke.
            return if linked {
                Refusal::failed("Already notifying")
            } else {
                Refusal::in_progress_short()
            }
            .into();
        }
        self.note(
            &adapter,
            Some(address),
            Event::Listening {
                characteristic: uuid,
                on: true,
            },
        );
        if linked {
            self.begin_notifying(now, path);
        }
        Outcome::Done(Ok(Answer::Nothing))
    }

    pub(super) fn stop_notify(&mut self, path: &str, sender: &str) -> Outcome {
        if self.stop_listening(path, sender) {
            Outcome::Done(Ok(Answer::Nothing))
        } else {
            Refusal::failed("No notify session started").into()
        }
    }

    fn stop_listening(&mut self, path: &str, sender: &str) -> bool {
        let Some(attribute) = self.attributes.get_mut(path) else {
            return false;
        };
        if !attribute.listeners.remove(sender) {
            return false;
        }
        let last = attribute.listeners.is_empty();
        let (adapter, address, uuid) =
            (attribute.adapter.clone(), attribute.address, attribute.uuid);
        self.note(
            &adapter,
            Some(address),
            Event::Listening {
                characteristic: uuid,
                on: false,
            },
        );
        if last {
            self.tree
                .set(path, CHARACTERISTIC, one("Notifying", Value::Bool(false)));
        }
        true
    }

    /// A client left the bus: its sessions end.
    pub(super) fn end_listening(&mut self, _now: Instant, sender: &str) {
        let paths: Vec<String> = self
            .attributes
            .iter()
            .filter(|(_, attribute)| attribute.listeners.contains(sender))
            .map(|(path, _)| path.clone())
            .collect();
        for path in paths {
            self.stop_listening(&path, sender);
        }
    }

    /// After a link came up again, sessions that outlived the last one go on.
    pub(super) fn listen_again(&mut self, now: Instant, adapter: &str, address: Address) {
        let paths: Vec<String> = self.listened(adapter, address);
        for path in paths {
            self.begin_notifying(now, &path);
        }
    }

    /// The link broke: nothing notifies any more, the sessions stay.
    pub(super) fn fall_silent(&mut self, adapter: &str, address: Address) {
        for path in self.listened(adapter, address) {
            self.tree
                .set(&path, CHARACTERISTIC, one("Notifying", Value::Bool(false)));
        }
    }

    fn listened(&self, adapter: &str, address: Address) -> Vec<String> {
        let below = format!("{}/", device_path(adapter, address));
        self.attributes
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(&below))
            .filter(|(_, attribute)| !attribute.listeners.is_empty())
            .map(|(path, _)| path.clone())
            .collect()
    }

    fn begin_notifying(&mut self, now: Instant, path: &str) {
        if self.tree.value(path, CHARACTERISTIC, "Notifying") == Some(&Value::Bool(true)) {
            return;
        }
        self.tree
            .set(path, CHARACTERISTIC, one("Notifying", Value::Bool(true)));
        if let Some(interval) = self.notify_interval(path) {
            self.timers
                .retain(|_, timer| !matches!(timer, Timer::Notify { path: p } if p == path));
            self.after(
                now,
                interval,
                Timer::Notify {
                    path: path.to_owned(),
                },
            );
        }
    }

    fn characteristic(&self, path: &str) -> Option<&crate::sensor::Characteristic> {
        let attribute = self.attributes.get(path)?;
        let sensor = &self.nearby.get(&attribute.address)?.sensor;
        sensor
            .services
            .get(attribute.service)?
            .characteristics
            .get(attribute.characteristic)
    }

    fn notifies(&self, path: &str) -> bool {
        self.characteristic(path)
            .is_some_and(crate::sensor::Characteristic::notifies)
    }

    fn notify_interval(&self, path: &str) -> Option<Duration> {
        let characteristic = self.characteristic(path)?;
        characteristic.source.as_ref()?;
        Some(characteristic.notify_every?.max(Duration::from_millis(1)))
    }

    /// A notification that a characteristic sends by itself is due.
    pub(super) fn notify_due(&mut self, now: Instant, due: Instant, path: &str) {
        if self.tree.value(path, CHARACTERISTIC, "Notifying") != Some(&Value::Bool(true)) {
            return;
        }
        let (Some(interval), Some(attribute)) =
            (self.notify_interval(path), self.attributes.get(path))
        else {
            return;
        };
        let (address, s, c) = (
            attribute.address,
            attribute.service,
            attribute.characteristic,
        );
        let late = now.since(due);
        let wait = if late < interval {
            interval - late
        } else {
            interval
        };
        self.after(
            now,
            wait,
            Timer::Notify {
                path: path.to_owned(),
            },
        );
        if let Some(nearby) = self.nearby.get_mut(&address) {
            let value = nearby.next_value(now, s, c);
            self.hand_out(path, value);
        }
    }

    /// A sensor notifies now, of every characteristic with this UUID that is listened to. True when a client
    /// was told.
    pub(super) fn notify(&mut self, address: Address, characteristic: Uuid, value: &[u8]) -> bool {
        let paths: Vec<String> = self
            .attributes
            .iter()
            .filter(|(_, a)| {
                a.address == address && a.uuid == characteristic && a.descriptor.is_none()
            })
            .map(|(path, _)| path.clone())
            .collect();
        let mut told = false;
        for path in paths {
            told |= self.hand_out(&path, value.to_vec());
        }
        told
    }

    fn hand_out(&mut self, path: &str, value: Vec<u8>) -> bool {
        let Some(attribute) = self.attributes.get(path) else {
            return false;
        };
        let (adapter, address, uuid) =
            (attribute.adapter.clone(), attribute.address, attribute.uuid);
        let notifying =
            self.tree.value(path, CHARACTERISTIC, "Notifying") == Some(&Value::Bool(true));
        let silent = self
            .nearby
            .get(&address)
            .is_none_or(|nearby| nearby.silent_notify)
            || self
                .adapters
                .get(&adapter)
                .is_none_or(|adapter| adapter.wedged);
        if !notifying || silent || !self.running {
            return false;
        }
        let event = Event::Notified {
            characteristic: uuid,
            value: value.clone(),
        };
        self.note(&adapter, Some(address), event);
        self.tree
            .set(path, CHARACTERISTIC, one("Value", Value::Bytes(value)));
        true
    }
}
