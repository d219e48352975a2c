//! BlueZ' signals as advertisements and health: parsed once, without a question back.
//!
//! Runs in the callback of the D-Bus connection, so it never waits: what the driver has no room for is
//! counted and dropped. Signals name what changed and nothing else; a device's advertisement is therefore
//! what one signal carries. Of the properties that a new device brings along (`InterfacesAdded`) all were
//! just heard, except for a device that BlueZ keeps (paired, connected): those are not announced again.

use super::bus::DEVICE;
use crate::address::{Address, Uuid};
use crate::advert::Advert;
use crate::radio::Health;
use dbus::Message;
use dbus::arg::{ArgType, Iter};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// See the module.
pub(super) struct Ear {
    /// `/org/bluez/hci0`
    adapter: String,
    /// `/org/bluez/hci0/dev_`
    devices: String,
    heard: mpsc::Sender<Advert>,
    health: Arc<watch::Sender<Health>>,
    /// Connected devices, to be told when they are gone.
    peers: HashMap<Address, watch::Sender<bool>>,
}

impl Ear {
    pub(super) fn new(
        name: &str,
        heard: mpsc::Sender<Advert>,
        health: Arc<watch::Sender<Health>>,
    ) -> Self {
        let adapter = format!("/org/bluez/{name}");
        Self {
            devices: format!("{adapter}/dev_"),
            adapter,
            heard,
            health,
            peers: HashMap::new(),
        }
    }

    /// The adapter's state as it was when the signals began.
    pub(super) fn begin(&mut self, powered: bool, scanning: bool) {
        self.health.send_modify(|health| {
            (health.powered, health.scanning) = (powered, scanning);
        });
    }

    /// A device is being connected: true once its connection is gone.
    pub(super) fn watch_peer(&mut self, address: Address) -> watch::Receiver<bool> {
        self.peers.retain(|_, gone| !gone.is_closed());
        let (gone, told) = watch::channel(false);
        self.peers.insert(address, gone);
        told
    }

    pub(super) fn hear(&mut self, message: &Message) {
        let (Some(path), Some(member)) = (message.path(), message.member()) else {
            return;
        };
        let mut arguments = message.iter_init();
        // What is not as the interface says is nobody's signal.
        let _understood = match &*member {
            "PropertiesChanged" => self.changed(&path, &mut arguments),
            "InterfacesAdded" => self.added(&mut arguments),
            "InterfacesRemoved" => self.removed(&mut arguments),
            "NameOwnerChanged" => self.owner(&mut arguments),
            _ => None,
        };
    }

    fn changed(&mut self, path: &str, arguments: &mut Iter<'_>) -> Option<()> {
        let interface: &str = arguments.read().ok()?;
        if interface == DEVICE {
            let address = self.address(path)?;
            return self.device(address, arguments);
        }
        if path != self.adapter {
            return None;
        }
        each(arguments, |key, value| {
            let flag = value.get::<bool>()?;
            self.health.send_if_modified(|health| {
                let known = match key {
                    "Powered" => &mut health.powered,
                    "Discovering" => &mut health.scanning,
                    _ => return false,
                };
                std::mem::replace(known, flag) != flag
            });
            Some(())
        })
    }

    fn address(&self, path: &str) -> Option<Address> {
        let name = path.strip_prefix(self.devices.as_str())?;
        // Services and characteristics stand below their device.
        name.parse().ok()
    }

    fn device(&mut self, address: Address, properties: &mut Iter<'_>) -> Option<()> {
        let mut advert = Advert::new(address);
        let mut gone = false;
        each(properties, |key, value| {
            match key {
                "RSSI" => advert.rssi = value.get::<i16>(),
                "Name" => advert.name = value.get::<&str>().map(Into::into),
                "ManufacturerData" => {
                    let mut all = value.recurse(ArgType::Array)?;
                    while let Some(mut entry) = all.recurse(ArgType::DictEntry) {
                        let company: u16 = entry.read().ok()?;
                        let mut data = entry.recurse(ArgType::Variant)?;
                        let bytes = data.get::<&[u8]>().unwrap_or_default();
                        advert.manufacturer.push((company, bytes.to_vec()));
                        all.next();
                    }
                }
                "ServiceData" => {
                    let mut all = value.recurse(ArgType::Array)?;
                    while let Some(mut entry) = all.recurse(ArgType::DictEntry) {
                        let uuid: &str = entry.read().ok()?;
                        let mut data = entry.recurse(ArgType::Variant)?;
                        let bytes = data.get::<&[u8]>().unwrap_or_default();
                        if let Ok(uuid) = uuid.parse() {
                            advert.service_data.push((uuid, bytes.to_vec()));
                        }
                        all.next();
                    }
                }
                "UUIDs" => {
                    let mut all = value.recurse(ArgType::Array)?;
                    while let Some(uuid) = all.get::<&str>() {
                        advert.services.extend(uuid.parse::<Uuid>());
                        all.next();
                    }
                }
                "Connected" => gone = value.get::<bool>() == Some(false),
                _ => {}
            }
            Some(())
        });
        if gone {
            self.gone(address);
        }
        // A change of something else is nothing heard.
        if advert.rssi.is_some() || advert.has_data() {
            self.tell(advert);
        }
        Some(())
    }

    fn tell(&self, advert: Advert) {
        if self.heard.try_send(advert).is_err() {
            self.health.send_modify(|health| health.overrun += 1);
        }
    }

    fn gone(&mut self, address: Address) {
        if let Some(peer) = self.peers.remove(&address) {
            peer.send_replace(true);
        }
    }

    fn added(&mut self, arguments: &mut Iter<'_>) -> Option<()> {
        let path: dbus::Path<'_> = arguments.read().ok()?;
        if *path == *self.adapter.as_str() {
            // The same name, not the same adapter: it knows nothing of our scan.
            return None;
        }
        let address = self.address(&path)?;
        let mut interfaces = arguments.recurse(ArgType::Array)?;
        while let Some(mut entry) = interfaces.recurse(ArgType::DictEntry) {
            let interface: &str = entry.read().ok()?;
            if interface == DEVICE {
                self.device(address, &mut entry);
            }
            interfaces.next();
        }
        Some(())
    }

    fn removed(&mut self, arguments: &mut Iter<'_>) -> Option<()> {
        let path: dbus::Path<'_> = arguments.read().ok()?;
        if *path == *self.adapter.as_str() {
            let interfaces: Vec<&str> = arguments.read().ok()?;
            if interfaces.contains(&"org.bluez.Adapter1") {
                self.all_gone();
                self.health.send_modify(|health| health.adapter = false);
            }
            return Some(());
        }
        let address = self.address(&path)?;
        self.gone(address);
        Some(())
    }

    /// BlueZ has ended, or another one has taken its place.
    fn owner(&mut self, arguments: &mut Iter<'_>) -> Option<()> {
        let name: &str = arguments.read().ok()?;
        (name == "org.bluez").then_some(())?;
        self.all_gone();
        self.health.send_modify(|health| health.service = false);
        Some(())
    }

    fn all_gone(&mut self) {
        for (_, peer) in self.peers.drain() {
            peer.send_replace(true);
        }
    }
}

/// Calls `take` with each key and value of a dictionary; what `take` cannot read is passed over.
fn each<'a>(
    arguments: &mut Iter<'a>,
    mut take: impl FnMut(&'a str, &mut Iter<'a>) -> Option<()>,
) -> Option<()> {
    let mut all = arguments.recurse(ArgType::Array)?;
    while let Some(mut entry) = all.recurse(ArgType::DictEntry) {
        let key: &str = entry.read().ok()?;
        let mut value = entry.recurse(ArgType::Variant)?;
        take(key, &mut value);
        all.next();
    }
    Some(())
}

#[cfg(test)]
mod tests;
