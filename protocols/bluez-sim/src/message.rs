//! Between D-Bus messages and the words of the world.

use std::collections::HashMap;

use dbus::Message;
use dbus::arg::{Append, PropMap, RefArg, Variant};
use dbus::strings::{ErrorName, Interface, Member};

use crate::tree::{Change, Interfaces};
use crate::value::{path, prop_map};
use crate::world::{
    ADAPTER, Answer, CHARACTERISTIC, Call, CallId, DESCRIPTOR, DEVICE, Filter, Refusal, Request,
};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

/// What a method call asks.
pub(crate) fn call(id: CallId, message: &Message) -> Option<Call> {
    Some(Call {
        id,
        sender: message.sender()?.to_string(),
        path: message.path()?.to_string(),
        request: request(message),
    })
}

fn request(message: &Message) -> Request {
    let interface = message
        .interface()
        .map(|name| name.to_string())
        .unwrap_or_default();
    let member = message
        .member()
        .map(|name| name.to_string())
        .unwrap_or_default();
    let understood = match (interface.as_str(), member.as_str()) {
        ("org.freedesktop.DBus.Introspectable", "Introspect") => Some(Request::Introspect),
        ("org.freedesktop.DBus.Peer", "Ping") => Some(Request::Ping),
        (MANAGER, "GetManagedObjects") => Some(Request::ManagedObjects),
        (PROPERTIES, "Get") => message
            .read2()
            .ok()
            .map(|(interface, name)| Request::Get { interface, name }),
        (PROPERTIES, "GetAll") => message
            .read1()
            .ok()
            .map(|interface| Request::GetAll { interface }),
        (PROPERTIES, "Set") => message
            .read3::<String, String, Variant<Box<dyn RefArg>>>()
            .ok()
            .map(|(interface, name, value)| Request::Set {
                interface,
                name,
                value: dbus::arg::cast::<bool>(&value.0).copied(),
            }),
        (ADAPTER, "SetDiscoveryFilter") => message
            .read1::<PropMap>()
            .ok()
            .map(|map| Request::SetFilter(filter(&map))),
        (ADAPTER, "StartDiscovery") => Some(Request::StartDiscovery),
        (ADAPTER, "StopDiscovery") => Some(Request::StopDiscovery),
        (ADAPTER, "RemoveDevice") => {
            message
                .read1::<dbus::Path<'_>>()
                .ok()
                .map(|path| Request::RemoveDevice {
                    path: path.to_string(),
                })
        }
        (DEVICE, "Connect") => Some(Request::Connect),
        (DEVICE, "Disconnect") => Some(Request::Disconnect),
        (CHARACTERISTIC | DESCRIPTOR, "ReadValue") => {
            message.read1::<PropMap>().ok().map(|map| Request::Read {
                offset: offset(&map),
            })
        }
        (CHARACTERISTIC | DESCRIPTOR, "WriteValue") => message
            .read2::<Vec<u8>, PropMap>()
            .ok()
            .map(|(value, map)| Request::Write {
                value,
                command: dbus::arg::prop_cast::<String>(&map, "type")
                    .is_some_and(|t| t == "command"),
            }),
        (CHARACTERISTIC, "StartNotify") => Some(Request::StartNotify),
        (CHARACTERISTIC, "StopNotify") => Some(Request::StopNotify),
        _ => None,
    };
    understood.unwrap_or_else(|| Request::Unknown(format!("{interface}.{member}")))
}

fn number(map: &PropMap, key: &str) -> Option<i64> {
    map.get(key).and_then(|value| value.0.as_i64())
}

fn offset(map: &PropMap) -> usize {
    number(map, "offset")
        .and_then(|offset| usize::try_from(offset).ok())
        .unwrap_or(0)
}

/// An empty filter is none.
fn filter(map: &PropMap) -> Option<Filter> {
    (!map.is_empty()).then(|| Filter {
        uuids: dbus::arg::prop_cast::<Vec<String>>(map, "UUIDs")
            .map(|uuids| uuids.iter().map(|uuid| uuid.to_lowercase()).collect())
            .unwrap_or_default(),
        rssi: number(map, "RSSI").and_then(|rssi| i16::try_from(rssi).ok()),
        pattern: dbus::arg::prop_cast::<String>(map, "Pattern").cloned(),
        duplicates: dbus::arg::prop_cast::<bool>(map, "DuplicateData")
            .copied()
            .unwrap_or(false),
    })
}

/// The answer to a call.
pub(crate) fn reply(call: &Message, result: Result<Answer, Refusal>) -> Message {
    let answer = match result {
        Ok(answer) => answer,
        Err(refusal) => {
            let name =
                ErrorName::new(refusal.name).expect("invariant: names of errors are written here");
            // Only an inner zero byte cannot be sent; error texts quote what came over D-Bus, which has none.
            let text = std::ffi::CString::new(refusal.text).unwrap_or_default();
            return call.error(&name, &text);
        }
    };
    let message = call.method_return();
    match answer {
        Answer::Nothing => message,
        Answer::Text(text) => message.append1(text),
        Answer::Bytes(bytes) => message.append1(bytes),
        Answer::One(value) => message.append1(value.variant()),
        Answer::All(props) => message.append1(prop_map(&props)),
        Answer::Objects(objects) => message.append1(
            objects
                .iter()
                .map(|(name, interfaces)| (path(name), interface_map(interfaces)))
                .collect::<HashMap<_, _>>(),
        ),
    }
}

/// The answer to a call for which there is no room.
pub(crate) fn overload(call: &Message) -> Message {
    let refusal = Refusal {
        name: "org.freedesktop.DBus.Error.LimitsExceeded",
        text: "too many calls under way".into(),
    };
    reply(call, Err(refusal))
}

fn interface_map(interfaces: &Interfaces) -> HashMap<String, PropMap> {
    interfaces
        .iter()
        .map(|(name, props)| ((*name).to_owned(), prop_map(props)))
        .collect()
}

/// The signal that tells of a change.
pub(crate) fn signal(change: Change) -> Message {
    match change {
        Change::Added {
            path: object,
            interfaces,
        } => from_manager("InterfacesAdded", path(&object), interface_map(&interfaces)),
        Change::Removed {
            path: object,
            interfaces,
        } => from_manager(
            "InterfacesRemoved",
            path(&object),
            interfaces
                .into_iter()
                .map(ToOwned::to_owned)
                .collect::<Vec<String>>(),
        ),
        Change::Changed {
            path: object,
            interface,
            now,
            gone,
        } => {
            let gone: Vec<String> = gone.into_iter().map(ToOwned::to_owned).collect();
            Message::signal(
                &path(&object),
                &fixed_interface(PROPERTIES),
                &fixed_member("PropertiesChanged"),
            )
            .append3(interface, prop_map(&now), gone)
        }
    }
}

fn from_manager(member: &'static str, object: dbus::Path<'static>, what: impl Append) -> Message {
    Message::signal(&path("/"), &fixed_interface(MANAGER), &fixed_member(member))
        .append2(object, what)
}

fn fixed_interface(name: &'static str) -> Interface<'static> {
    Interface::new(name).expect("invariant: names of interfaces are written here")
}

fn fixed_member(name: &'static str) -> Member<'static> {
    Member::new(name).expect("invariant: names of signals are written here")
}
