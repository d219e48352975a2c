//! Faults: how each begins, and how it ends.

use std::time::Duration;

use protocols_model::Instant;

use super::World;
use super::around::Nearby;
use super::radio::adapter_path;
use crate::fault::Fault;
use crate::names::Address;
use crate::names::Uuid;
use crate::sensor::Advert;

impl World {
    /// A fault begins. False when the adapter or sensor it names is not there.
    pub(crate) fn begin(&mut self, now: Instant, fault: &Fault) -> bool {
        self.apply(now, fault, true)
    }

    /// A fault ends. False when the adapter or sensor it names is not there.
    pub(crate) fn end(&mut self, now: Instant, fault: &Fault) -> bool {
        self.apply(now, fault, false)
    }

    fn apply(&mut self, now: Instant, fault: &Fault, on: bool) -> bool {
        match fault {
            Fault::Disconnect { address } => {
                if on {
                    self.break_links(now, *address);
                }
                self.nearby.contains_key(address)
            }
            Fault::OutOfRange { address } => {
                if on {
                    self.break_links(now, *address);
                }
                self.mark(*address, |nearby| nearby.out_of_range = on)
            }
            Fault::ServicesNeverResolved { address } => {
                if !on {
                    self.resolve_now(now, *address);
                }
                self.mark(*address, |nearby| nearby.never_resolves = on)
            }
            Fault::ConnectRefused { address } => self.mark(*address, |n| n.refuses_connect = on),
            Fault::ConnectHangs { address } => self.mark(*address, |n| n.hangs_connect = on),
            Fault::NotificationsStop { address } => self.mark(*address, |n| n.silent_notify = on),
            Fault::ReadsFail { address } => self.mark(*address, |n| n.fails_reads = on),
            Fault::ReadsHang { address } => self.mark(*address, |n| n.hangs_reads = on),
            Fault::WritesRefused { address } => self.mark(*address, |n| n.refuses_writes = on),
            Fault::WritesHang { address } => self.mark(*address, |n| n.hangs_writes = on),
            Fault::Spoiled { address } => self.mark(*address, |n| n.spoiled = on),
            Fault::AdapterRemoved { adapter } => self.plug(now, adapter, !on),
            Fault::AdapterWedged { adapter } => self.wedge(adapter, on),
            Fault::AdvertsStop { adapter } => self
                .adapters
                .get_mut(adapter)
                .map(|adapter| adapter.deaf = on)
                .is_some(),
            Fault::PoweredOff { adapter } => {
                if on {
                    self.power(now, adapter, false);
                }
                self.adapters.contains_key(adapter)
            }
            Fault::PowerBlocked { adapter } => {
                if on {
                    self.power(now, adapter, false);
                }
                self.adapters
                    .get_mut(adapter)
                    .map(|adapter| adapter.blocked = on)
                    .is_some()
            }
            Fault::DaemonStopped => {
                match (on, self.running) {
                    (true, true) => self.stop_daemon(now),
                    (false, false) => self.start_daemon(),
                    _ => {}
                }
                true
            }
            Fault::DaemonHangs => {
                self.hang(now, on);
                true
            }
            Fault::Crowd { devices, within_ms } => {
                if on {
                    self.crowd_comes(now, *devices, Duration::from_millis(u64::from(*within_ms)));
                } else {
                    self.crowd_goes();
                }
                true
            }
        }
    }

    fn mark(&mut self, address: Address, set: impl FnOnce(&mut Nearby)) -> bool {
        self.nearby.get_mut(&address).map(set).is_some()
    }

    fn plug(&mut self, now: Instant, name: &str, present: bool) -> bool {
        let Some(adapter) = self.adapters.get_mut(name) else {
            return false;
        };
        if adapter.present == present {
            return true;
        }
        if present {
            adapter.present = true;
            if self.running {
                self.show_adapter(name);
            }
        } else {
            self.drop_links(now, name);
            if let Some(adapter) = self.adapters.get_mut(name) {
                adapter.present = false;
                // A dongle comes back switched off, and healthy: its firmware has started anew.
                adapter.powered = false;
                adapter.wedged = false;
                adapter.deaf = false;
                adapter.clients.clear();
                adapter.devices.clear();
            }
            let below = format!("{}/", adapter_path(name));
            self.attributes.retain(|path, _| !path.starts_with(&below));
            self.tree.remove(&adapter_path(name));
        }
        true
    }

    fn wedge(&mut self, name: &str, on: bool) -> bool {
        self.adapters
            .get_mut(name)
            .map(|adapter| adapter.wedged = on)
            .is_some()
    }

    fn hang(&mut self, now: Instant, on: bool) {
        self.hangs = on;
        if !on {
            for call in std::mem::take(&mut self.held) {
                self.call(now, call);
            }
        }
    }

    /// A sensor says something now.
    pub(crate) fn sensor_advertises(
        &mut self,
        now: Instant,
        address: Address,
        advert: Advert,
    ) -> bool {
        self.advertise(now, address, advert)
    }

    /// A sensor notifies now.
    pub(crate) fn sensor_notifies(
        &mut self,
        address: Address,
        characteristic: Uuid,
        value: &[u8],
    ) -> bool {
        self.notify(address, characteristic, value)
    }
}
