//! Adapters: power, discovery with its clients and filters, and what becomes of an advertisement heard.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols_model::Instant;

use super::link::Link;
use super::request::{Answer, Refusal};
use super::{ADAPTER, DEVICE, Timer, World, one};
use crate::journal::Event;
use crate::names::{Address, Uuid};
use crate::sensor::Advert;
use crate::setup::{AdapterSetup, Repeats};
use crate::tree::Interfaces;
use crate::value::{Props, Value};

/// Without a filter set by a client, a change of signal strength is told from this on, dB.
const RSSI_STEP: u16 = 8;

/// One adapter.
#[derive(Debug)]
pub(crate) struct Adapter {
    pub(crate) address: Address,
    /// Plugged in.
    pub(crate) present: bool,
    pub(crate) powered: bool,
    /// rfkill holds it off.
    pub(crate) blocked: bool,
    /// Its firmware hangs.
    pub(crate) wedged: bool,
    /// It hears nothing, until discovery is started again.
    pub(crate) deaf: bool,
    /// Who discovers, or has set a filter, by unique bus name.
    pub(crate) clients: BTreeMap<String, Client>,
    pub(crate) devices: BTreeMap<Address, Device>,
}

/// A client's discovery session.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) discovering: bool,
    pub(crate) filter: Option<Filter>,
}

/// What a client wants to hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Lower case, 36 characters.
    pub(crate) uuids: Vec<String>,
    pub(crate) rssi: Option<i16>,
    pub(crate) pattern: Option<String>,
    pub(crate) duplicates: bool,
}

/// What bluetoothd knows of a device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) last_heard: Instant,
    /// The last advertisement that was reported, and when.
    reported: Option<(Instant, Advert)>,
    rssi: Option<i16>,
    manufacturer: BTreeMap<u16, Vec<u8>>,
    service_data: BTreeMap<Uuid, Vec<u8>>,
    pub(crate) uuids: Vec<Uuid>,
    name: Option<String>,
    pub(crate) link: Link,
    /// Never connected: forgotten when it falls silent.
    pub(crate) temporary: bool,
    /// Its services are shown; they stay when the link breaks.
    pub(crate) services_shown: bool,
}

impl Adapter {
    pub(crate) fn new(setup: &AdapterSetup) -> Self {
        Self {
            address: setup.address,
            present: true,
            powered: setup.powered,
            blocked: false,
            wedged: false,
            deaf: false,
            clients: BTreeMap::new(),
            devices: BTreeMap::new(),
        }
    }

    pub(crate) fn discovering(&self) -> bool {
        self.clients.values().any(|client| client.discovering)
    }

    /// The filters of those who discover; `None` for one who wants everything.
    fn filters(&self) -> impl Iterator<Item = Option<&Filter>> {
        self.clients
            .values()
            .filter(|c| c.discovering)
            .map(|c| c.filter.as_ref())
    }

    /// Whether anyone wants to hear of this.
    fn wanted(&self, address: Address, rssi: i16, advert: &Advert) -> bool {
        self.filters().any(|filter| {
            filter.is_none_or(|filter| {
                // Only the list of UUIDs counts here, service data does not.
                let by_uuid = filter.uuids.is_empty()
                    || advert
                        .uuids
                        .iter()
                        .any(|uuid| filter.uuids.contains(&uuid.to_string()));
                let by_rssi = filter.rssi.is_none_or(|least| rssi >= least);
                let by_name = filter.pattern.as_ref().is_none_or(|pattern| {
                    address.to_string().starts_with(pattern)
                        || advert
                            .name
                            .as_ref()
                            .is_some_and(|name| name.starts_with(pattern))
                });
                by_uuid && by_rssi && by_name
            })
        })
    }

    /// Whether advertisements reach bluetoothd.
    pub(crate) fn hears(&self) -> bool {
        self.present && self.powered && !self.wedged && !self.deaf && self.discovering()
    }
}

pub(crate) fn adapter_path(name: &str) -> String {
    format!("/org/bluez/{name}")
}

pub(crate) fn device_path(adapter: &str, address: Address) -> String {
    format!("/org/bluez/{adapter}/{}", address.object())
}

impl World {
    /// Makes an adapter's object appear, as after a start or after plugging in.
    pub(super) fn show_adapter(&mut self, name: &str) {
        let Some(adapter) = self.adapters.get(name).filter(|adapter| adapter.present) else {
            return;
        };
        let props = Props::from([
            ("Address", Value::text(adapter.address)),
            ("AddressType", Value::text("public")),
            ("Name", Value::text("simulated")),
            ("Alias", Value::text("simulated")),
            ("Powered", Value::Bool(adapter.powered)),
            ("Discoverable", Value::Bool(false)),
            ("Pairable", Value::Bool(false)),
            ("Discovering", Value::Bool(false)),
            (
                "UUIDs",
                Value::uuids(&[Uuid::short(0x1800), Uuid::short(0x1801)]),
            ),
            ("Modalias", Value::text("usb:v1D6Bp0246d0542")),
        ]);
        self.tree
            .add(&adapter_path(name), Interfaces::from([(ADAPTER, props)]));
    }

    /// A client switches the adapter on or off.
    pub(super) fn set_powered(
        &mut self,
        now: Instant,
        name: &str,
        on: bool,
    ) -> Result<Answer, Refusal> {
        let adapter = self.adapters.get(name).ok_or_else(Refusal::no_object)?;
        self.note(name, None, Event::Power(on));
        if on && adapter.blocked {
            return Err(Refusal::blocked());
        }
        self.power(now, name, on);
        Ok(Answer::Nothing)
    }

    /// The adapter is on or off from now on.
    pub(super) fn power(&mut self, now: Instant, name: &str, on: bool) {
        let Some(adapter) = self.adapters.get_mut(name) else {
            return;
        };
        if adapter.powered == on {
            return;
        }
        adapter.powered = on;
        if !on {
            let discovered = adapter.discovering();
            adapter.clients.clear();
            self.drop_links(now, name);
            if discovered {
                self.discovery_is_over(name);
            }
        }
        self.tree.set(
            &adapter_path(name),
            ADAPTER,
            one("Powered", Value::Bool(on)),
        );
    }

    pub(super) fn set_filter(
        &mut self,
        name: &str,
        sender: &str,
        filter: Option<Filter>,
    ) -> Result<Answer, Refusal> {
        let adapter = self.powered_adapter(name)?;
        adapter.clients.entry(sender.to_owned()).or_default().filter = filter;
        adapter
            .clients
            .retain(|_, client| client.discovering || client.filter.is_some());
        Ok(Answer::Nothing)
    }

    pub(super) fn start_discovery(&mut self, name: &str, sender: &str) -> Result<Answer, Refusal> {
        let adapter = self.powered_adapter(name)?;
        let client = adapter.clients.entry(sender.to_owned()).or_default();
        if client.discovering {
            return Err(Refusal::in_progress());
        }
        client.discovering = true;
        adapter.deaf = false;
        self.note(name, None, Event::Discovery(true));
        let path = adapter_path(name);
        if self.tree.value(&path, ADAPTER, "Discovering") != Some(&Value::Bool(true)) {
            self.tree
                .set(&path, ADAPTER, one("Discovering", Value::Bool(true)));
        }
        Ok(Answer::Nothing)
    }

    pub(super) fn stop_discovery(&mut self, name: &str, sender: &str) -> Result<Answer, Refusal> {
        let adapter = self.powered_adapter(name)?;
        if !adapter
            .clients
            .get(sender)
            .is_some_and(|client| client.discovering)
        {
            return Err(Refusal::failed("No discovery started"));
        }
        self.end_discovery(name, sender);
        Ok(Answer::Nothing)
    }

    /// A client's session ends, by its own wish or because it left.
    pub(super) fn end_discovery(&mut self, name: &str, sender: &str) {
        let Some(adapter) = self.adapters.get_mut(name) else {
            return;
        };
        let Some(client) = adapter.clients.remove(sender) else {
            return;
        };
        let last = !adapter.discovering();
        if client.discovering {
            self.note(name, None, Event::Discovery(false));
            if last {
                self.discovery_is_over(name);
            }
        }
    }

    /// Nobody discovers any more: the signal strengths, which nothing renews, are taken back.
    fn discovery_is_over(&mut self, name: &str) {
        if let Some(adapter) = self.adapters.get_mut(name) {
            for (address, device) in &mut adapter.devices {
                if device.rssi.take().is_some() {
                    self.tree
                        .unset(&device_path(name, *address), DEVICE, &["RSSI", "TxPower"]);
                }
            }
        }
        self.tree.set(
            &adapter_path(name),
            ADAPTER,
            one("Discovering", Value::Bool(false)),
        );
    }

    fn powered_adapter(&mut self, name: &str) -> Result<&mut Adapter, Refusal> {
        let adapter = self.adapters.get_mut(name).ok_or_else(Refusal::no_object)?;
        if adapter.powered {
            Ok(adapter)
        } else {
            Err(Refusal::not_ready())
        }
    }

    /// An advertisement reaches an adapter. True when a client was told of its content.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        name: &str,
        address: Address,
        rssi: i16,
        advert: &Advert,
    ) -> bool {
        let repeats = self.timing.repeats;
        let Some(adapter) = self.adapters.get_mut(name) else {
            return false;
        };
        if !self.running || !adapter.hears() || !adapter.wanted(address, rssi, advert) {
            return false;
        }
        let duplicates = adapter.filters().any(|f| f.is_some_and(|f| f.duplicates));
        let filtered = adapter
            .clients
            .values()
            .any(|client| client.filter.is_some());
        let Some(device) = adapter.devices.get_mut(&address) else {
            self.discover(now, name, address, rssi, advert);
            return true;
        };
        device.last_heard = now;
        if let Repeats::OneIn(span) = repeats
            && let Some((then, last)) = &device.reported
            && last.same_payload(advert)
            && now.since(*then) < span
        {
            return false;
        }
        device.reported = Some((now, advert.clone()));
        let (changed, content) = device.take_up(rssi, advert, duplicates, filtered);
        self.tree.set(&device_path(name, address), DEVICE, changed);
        content
    }

    /// A device is heard for the first time: its object appears, with all it said.
    fn discover(&mut self, now: Instant, name: &str, address: Address, rssi: i16, advert: &Advert) {
        let random = self
            .nearby
            .get(&address)
            .is_none_or(|nearby| nearby.sensor.random_address);
        let mut device = Device {
            last_heard: now,
            reported: Some((now, advert.clone())),
            rssi: None,
            manufacturer: BTreeMap::new(),
            service_data: BTreeMap::new(),
            uuids: Vec::new(),
            name: None,
            link: Link::Down,
            temporary: true,
            services_shown: false,
        };
        let mut props = Props::from([
            ("Address", Value::text(address)),
            (
                "AddressType",
                Value::text(if random { "random" } else { "public" }),
            ),
            ("Alias", Value::text(address.to_string().replace(':', "-"))),
            ("Paired", Value::Bool(false)),
            ("Bonded", Value::Bool(false)),
            ("Trusted", Value::Bool(false)),
            ("Blocked", Value::Bool(false)),
            ("LegacyPairing", Value::Bool(false)),
            ("Connected", Value::Bool(false)),
            ("ServicesResolved", Value::Bool(false)),
            ("UUIDs", Value::Texts(Vec::new())),
            ("Adapter", Value::Path(adapter_path(name))),
        ]);
        props.extend(device.take_up(rssi, advert, true, true).0);
        if let Some(adapter) = self.adapters.get_mut(name) {
            adapter.devices.insert(address, device);
        }
        self.tree.add(
            &device_path(name, address),
            Interfaces::from([(DEVICE, props)]),
        );
        let timer = Timer::Forget {
            adapter: name.to_owned(),
            address,
        };
        self.after(now, self.timing.forget, timer);
    }

    /// A device not heard for long, and never connected, is removed.
    pub(super) fn forget_if_silent(&mut self, now: Instant, name: &str, address: Address) {
        let limit = self.timing.forget;
        let Some(device) = self
            .adapters
            .get(name)
            .and_then(|a| a.devices.get(&address))
        else {
            return;
        };
        if !device.temporary {
            return;
        }
        let silent = now.since(device.last_heard);
        if silent < limit {
            let timer = Timer::Forget {
                adapter: name.to_owned(),
                address,
            };
            // Never zero: a timer due now would be looked at again at once.
            self.after(now, (limit - silent).max(Duration::from_millis(1)), timer);
        } else {
            self.remove_device(name, address);
        }
    }

    /// A device's object goes, with its services.
    pub(super) fn remove_device(&mut self, name: &str, address: Address) {
        let Some(adapter) = self.adapters.get_mut(name) else {
            return;
        };
        if adapter.devices.remove(&address).is_some() {
            let path = device_path(name, address);
            let below = format!("{path}/");
            self.attributes
                .retain(|attribute, _| !attribute.starts_with(&below));
            self.tree.remove(&path);
        }
    }
}

impl Device {
    /// Takes over what an advertisement says. Returns the properties to tell of, and whether its content,
    /// and not only its strength, is among them.
    fn take_up(
        &mut self,
        rssi: i16,
        advert: &Advert,
        duplicates: bool,
        filtered: bool,
    ) -> (Props, bool) {
        let mut props = Props::new();
        let rssi = advert.rssi.unwrap_or(rssi);
        if filtered || self.rssi.is_none_or(|old| old.abs_diff(rssi) >= RSSI_STEP) {
            self.rssi = Some(rssi);
            props.insert("RSSI", Value::I16(rssi));
        }
        if let Some(power) = advert.tx_power {
            props.insert("TxPower", Value::I16(power));
        }
        if let Some(name) = advert
            .name
            .as_ref()
            .filter(|name| self.name.as_ref() != Some(name))
        {
            self.name = Some(name.clone());
            props.insert("Name", Value::text(name));
            props.insert("Alias", Value::text(name));
        }
        let new: Vec<_> = advert
            .uuids
            .iter()
            .filter(|u| !self.uuids.contains(u))
            .copied()
            .collect();
        if !new.is_empty() {
            self.uuids.extend(new);
            props.insert("UUIDs", Value::uuids(&self.uuids));
        }
        let mut content = false;
        if merge(&mut self.manufacturer, &advert.manufacturer, duplicates) {
            props.insert(
                "ManufacturerData",
                Value::ByCompany(self.manufacturer.clone()),
            );
            content = true;
        }
        if merge(&mut self.service_data, &advert.service_data, duplicates) {
            props.insert("ServiceData", Value::ByUuid(self.service_data.clone()));
            content = true;
        }
        (props, content)
    }
}

/// With duplicates wanted, what was known is replaced and always told; else entries are added and only
/// what differs is told.
fn merge<K: Ord + Copy>(
    known: &mut BTreeMap<K, Vec<u8>>,
    heard: &BTreeMap<K, Vec<u8>>,
    duplicates: bool,
) -> bool {
    if heard.is_empty() {
        return false;
    }
    if duplicates {
        known.clone_from(heard);
        return true;
    }
    let mut changed = false;
    for (key, data) in heard {
        if known.get(key) != Some(data) {
            known.insert(*key, data.clone());
            changed = true;
        }
    }
    changed
}
