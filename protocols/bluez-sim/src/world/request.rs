//! What clients ask of bluetoothd, and who answers it.

use protocols_model::Instant;

use super::radio::{Filter, adapter_path};
use super::{ADAPTER, CHARACTERISTIC, Call, DESCRIPTOR, DEVICE, World};
use crate::introspect;
use crate::names::Address;
use crate::tree::Interfaces;
use crate::value::{Props, Value};

/// A call, understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Introspect,
    ManagedObjects,
    Get {
        interface: String,
        name: String,
    },
    GetAll {
        interface: String,
    },
    /// Only booleans are ever set by our clients; another type is refused as bluetoothd refuses it.
    Set {
        interface: String,
        name: String,
        value: Option<bool>,
    },
    SetFilter(Option<Filter>),
    StartDiscovery,
    StopDiscovery,
    RemoveDevice {
        path: String,
    },
    Connect,
    Disconnect,
    Read {
        offset: usize,
    },
    Write {
        value: Vec<u8>,
        command: bool,
    },
    StartNotify,
    StopNotify,
    Ping,
    /// A method or arguments that nobody has.
    Unknown(String),
}

/// What a call is answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Nothing,
    Text(String),
    Bytes(Vec<u8>),
    One(Value),
    All(Props),
    Objects(Vec<(String, Interfaces)>),
}

/// When a call is answered.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// At once.
    Done(Result<Answer, Refusal>),
    /// When something else has happened; or never.
    Later,
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Done(Err(refusal))
    }
}

impl Refusal {
    fn new(name: &'static str, text: &str) -> Self {
        Self {
            name,
            text: text.to_owned(),
        }
    }
    pub(super) fn failed(text: &str) -> Self {
        Self::new("org.bluez.Error.Failed", text)
    }
    pub(super) fn not_ready() -> Self {
        Self::new("org.bluez.Error.NotReady", "Resource Not Ready")
    }
    pub(super) fn in_progress() -> Self {
        Self::new(
            "org.bluez.Error.InProgress",
            "Operation already in progress",
        )
    }
    pub(super) fn in_progress_short() -> Self {
        Self::new("org.bluez.Error.InProgress", "In Progress")
    }
    pub(super) fn blocked() -> Self {
        Self::new("org.bluez.Error.Blocked", "Blocked through rfkill")
    }
    pub(super) fn not_connected() -> Self {
        Self::new("org.bluez.Error.NotConnected", "Not Connected")
    }
    pub(super) fn not_supported() -> Self {
        Self::new("org.bluez.Error.NotSupported", "Operation is not supported")
    }
    pub(super) fn not_permitted(text: &str) -> Self {
        Self::new("org.bluez.Error.NotPermitted", text)
    }
    pub(super) fn invalid_offset() -> Self {
        Self::new("org.bluez.Error.InvalidOffset", "Invalid offset")
    }
    pub(super) fn invalid_length() -> Self {
        Self::new("org.bluez.Error.InvalidValueLength", "Invalid Length")
    }
    fn does_not_exist() -> Self {
        Self::new("org.bluez.Error.DoesNotExist", "Does Not Exist")
    }
    fn invalid_arguments() -> Self {
        Self::new(
            "org.bluez.Error.InvalidArguments",
            "Invalid arguments in method call",
        )
    }
    pub(super) fn no_object() -> Self {
        Self::new(
            "org.freedesktop.DBus.Error.UnknownObject",
            "there is no such object",
        )
    }
    fn unknown_method(method: &str) -> Self {
        Self::new(
            "org.freedesktop.DBus.Error.UnknownMethod",
            &format!("{method} is not known here"),
        )
    }
    fn no_property(name: &str) -> Self {
        Self::new(
            "org.freedesktop.DBus.Error.InvalidArgs",
            &format!("no such property {name}"),
        )
    }
    fn read_only(name: &str) -> Self {
        Self::new(
            "org.freedesktop.DBus.Error.PropertyReadOnly",
            &format!("{name} cannot be set"),
        )
    }
}

impl World {
    pub(super) fn request(&mut self, now: Instant, call: Call) -> Outcome {
        let path = call.path.as_str();
        match &call.request {
            Request::Introspect => Outcome::Done(
                introspect::xml(&self.tree, path)
                    .map(Answer::Text)
                    .ok_or_else(Refusal::no_object),
            ),
            Request::ManagedObjects if path == "/" => Outcome::Done(Ok(Answer::Objects(
                self.tree
                    .all()
                    .iter()
                    .map(|(path, interfaces)| (path.clone(), interfaces.clone()))
                    .collect(),
            ))),
            Request::Ping => Outcome::Done(Ok(Answer::Nothing)),
            Request::Get { interface, name } => Outcome::Done(
                self.tree
                    .value(path, interface, name)
                    .cloned()
                    .map(Answer::One)
                    .ok_or_else(|| Refusal::no_property(name)),
            ),
            Request::GetAll { interface } => Outcome::Done(
                self.tree
                    .interfaces(path)
                    .and_then(|interfaces| interfaces.get(interface.as_str()))
                    .cloned()
                    .map(Answer::All)
                    .ok_or_else(Refusal::no_object),
            ),
            _ => self.order(now, call),
        }
    }

    /// Requests that have to go through the adapter, and hang when it does.
    fn order(&mut self, now: Instant, call: Call) -> Outcome {
        let Call {
            id,
            sender,
            path,
            request,
        } = call;
        let Some(interfaces) = self.tree.interfaces(&path) else {
            return Refusal::no_object().into();
        };
        let Some(interface) = interfaces.keys().next().copied() else {
            return Refusal::no_object().into();
        };
        let name = adapter_of(&path).to_owned();
        if self
            .adapters
            .get(&name)
            .is_some_and(|adapter| adapter.wedged)
        {
            return Outcome::Later;
        }
        let device = address_of(&path);
        match (interface, request) {
            (
                ADAPTER,
                Request::Set {
                    interface,
                    name: property,
                    value,
                },
            ) if interface == ADAPTER => match (property.as_str(), value) {
                ("Powered", Some(on)) => Outcome::Done(self.set_powered(now, &name, on)),
                ("Discoverable" | "Pairable", Some(_)) => Outcome::Done(Ok(Answer::Nothing)),
                ("Powered" | "Discoverable" | "Pairable", None) => {
                    Refusal::invalid_arguments().into()
                }
                (other, _) => Refusal::read_only(other).into(),
            },
            (ADAPTER, Request::SetFilter(filter)) => {
                Outcome::Done(self.set_filter(&name, &sender, filter))
            }
            (ADAPTER, Request::StartDiscovery) => {
                Outcome::Done(self.start_discovery(&name, &sender))
            }
            (ADAPTER, Request::StopDiscovery) => Outcome::Done(self.stop_discovery(&name, &sender)),
            (ADAPTER, Request::RemoveDevice { path }) => self.remove_by_path(now, &name, &path),
            (DEVICE, Request::Connect) => match device {
                Some(address) => self.connect(now, &name, address, id),
                None => Refusal::no_object().into(),
            },
            (DEVICE, Request::Disconnect) => match device {
                Some(address) => self.disconnect(now, &name, address),
                None => Refusal::no_object().into(),
            },
            (CHARACTERISTIC | DESCRIPTOR, Request::Read { offset }) => {
                self.read(now, &path, offset)
            }
            (CHARACTERISTIC | DESCRIPTOR, Request::Write { value, command }) => {
                self.write(&path, value, command)
            }
            (CHARACTERISTIC, Request::StartNotify) => self.start_notify(now, &path, &sender),
            (CHARACTERISTIC, Request::StopNotify) => self.stop_notify(&path, &sender),
            (_, Request::Set { name, .. }) => Refusal::read_only(&name).into(),
            (_, Request::Unknown(method)) => Refusal::unknown_method(&method).into(),
            (_, other) => Refusal::unknown_method(&format!("{other:?}")).into(),
        }
    }

    fn remove_by_path(&mut self, now: Instant, name: &str, path: &str) -> Outcome {
        let below = format!("{}/", adapter_path(name));
        let Some(address) = path.starts_with(&below).then(|| address_of(path)).flatten() else {
            return Refusal::invalid_arguments().into();
        };
        if !self
            .adapters
            .get(name)
            .is_some_and(|adapter| adapter.devices.contains_key(&address))
        {
            return Refusal::does_not_exist().into();
        }
        self.drop_link(now, name, address);
        self.remove_device(name, address);
        Outcome::Done(Ok(Answer::Nothing))
    }
}

/// `hci0` of `/org/bluez/hci0/…`.
fn adapter_of(path: &str) -> &str {
    path.strip_prefix("/org/bluez/")
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default()
}

/// The device a path belongs to.
fn address_of(path: &str) -> Option<Address> {
    let device = path.strip_prefix("/org/bluez/")?.split('/').nth(1)?;
    device.strip_prefix("dev_")?.replace('_', ":").parse().ok()
}
