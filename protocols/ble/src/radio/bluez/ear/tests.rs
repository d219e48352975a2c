//! Signals as BlueZ sends them, without a bus.

use super::*;
use dbus::arg::{PropMap, RefArg, Variant};

struct Rig {
    ear: Ear,
    adverts: mpsc::Receiver<Advert>,
    health: watch::Receiver<Health>,
}

fn rig(capacity: usize) -> Rig {
    let (heard, adverts) = mpsc::channel(capacity);
    let (health, told) = watch::channel(Health {
        connected: true,
        service: true,
        adapter: true,
        powered: true,
        scanning: true,
        overrun: 0,
    });
    Rig {
        ear: Ear::new("hci0", heard, Arc::new(health)),
        adverts,
        health: told,
    }
}

fn signal(path: &str, interface: &str, member: &str) -> Message {
    Message::new_signal(path, interface, member).unwrap()
}

fn var(value: impl RefArg + 'static) -> Variant<Box<dyn RefArg>> {
    Variant(Box::new(value))
}

fn changed(path: &str, interface: &str, properties: PropMap) -> Message {
    let signal = signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged");
    signal.append3(interface, properties, Vec::<String>::new())
}

fn spoken() -> PropMap {
    let mut data = HashMap::new();
    data.insert(0x0499u16, var(vec![5u8, 1]));
    let mut service = PropMap::new();
    let uuid = "0000fcd2-0000-1000-8000-00805f9b34fb".to_owned();
    service.insert(uuid, var(vec![0x40u8]));
    let mut properties = PropMap::new();
    properties.insert("RSSI".to_owned(), var(-60i16));
    properties.insert("Name".to_owned(), var("Hall".to_owned()));
    properties.insert("Paired".to_owned(), var(false));
    properties.insert("ManufacturerData".to_owned(), var(data));
    properties.insert("ServiceData".to_owned(), var(service));
    let uuids = vec!["0000181a-0000-1000-8000-00805f9b34fb".to_owned()];
    properties.insert("UUIDs".to_owned(), var(uuids));
    properties
}

const DEVICE_PATH: &str = "/org/bluez/hci0/dev_C0_FF_EE_00_00_01";

fn expected() -> Advert {
    Advert {
        address: "C0:FF:EE:00:00:01".parse().unwrap(),
        rssi: Some(-60),
        name: Some("Hall".into()),
        manufacturer: vec![(0x0499, vec![5, 1])],
        service_data: vec![(Uuid::short(0xfcd2), vec![0x40])],
        services: vec![Uuid::short(0x181a)],
    }
}

#[test]
fn a_new_device_and_a_changed_one_are_advertisements() {
    let mut rig = rig(4);
    rig.ear.hear(&changed(DEVICE_PATH, DEVICE, spoken()));
    assert_eq!(rig.adverts.try_recv(), Ok(expected()));
    let mut interfaces = HashMap::new();
    interfaces.insert("org.freedesktop.DBus.Introspectable", PropMap::new());
    interfaces.insert(DEVICE, spoken());
    let added = signal("/", "org.freedesktop.DBus.ObjectManager", "InterfacesAdded");
    let path = dbus::Path::new(DEVICE_PATH).unwrap();
    rig.ear.hear(&added.append2(path, interfaces));
    assert_eq!(rig.adverts.try_recv(), Ok(expected()));
}

#[test]
fn what_was_not_heard_is_no_advertisement() {
    let mut rig = rig(4);
    let mut properties = PropMap::new();
    properties.insert("ServicesResolved".to_owned(), var(true));
    rig.ear.hear(&changed(DEVICE_PATH, DEVICE, properties));
    let elsewhere = "/org/bluez/hci1/dev_C0_FF_EE_00_00_01";
    rig.ear.hear(&changed(elsewhere, DEVICE, spoken()));
    let below = format!("{DEVICE_PATH}/service0010");
    rig.ear.hear(&changed(&below, DEVICE, spoken()));
    // Not what the interface says.
    let other = signal(
        DEVICE_PATH,
        "org.freedesktop.DBus.Properties",
        "PropertiesChanged",
    );
    rig.ear.hear(&other.append1(7u32));
    assert!(rig.adverts.try_recv().is_err());
}

#[test]
fn what_the_driver_has_no_room_for_is_counted() {
    let mut rig = rig(1);
    for _ in 0..3 {
        rig.ear.hear(&changed(DEVICE_PATH, DEVICE, spoken()));
    }
    assert_eq!(rig.health.borrow().overrun, 2);
}

#[test]
fn health_follows_the_adapter_the_service_and_its_devices() {
    let mut rig = rig(1);
    let address = "C0:FF:EE:00:00:01".parse().unwrap();
    let gone = rig.ear.watch_peer(address);
    let mut properties = PropMap::new();
    properties.insert("Connected".to_owned(), var(false));
    rig.ear.hear(&changed(DEVICE_PATH, DEVICE, properties));
    assert!(*gone.borrow());

    let mut properties = PropMap::new();
    properties.insert("Powered".to_owned(), var(false));
    properties.insert("Discovering".to_owned(), var(false));
    rig.ear.hear(&changed(
        "/org/bluez/hci0",
        "org.bluez.Adapter1",
        properties,
    ));
    let health = *rig.health.borrow();
    assert!(!health.powered && !health.scanning && health.adapter);

    let gone = rig.ear.watch_peer(address);
    let removed = signal(
        "/",
        "org.freedesktop.DBus.ObjectManager",
        "InterfacesRemoved",
    );
    let path = dbus::Path::new("/org/bluez/hci0").unwrap();
    rig.ear
        .hear(&removed.append2(path, vec!["org.bluez.Adapter1"]));
    assert!(!rig.health.borrow().adapter && *gone.borrow());

    let owner = signal(
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "NameOwnerChanged",
    );
    rig.ear.hear(&owner.append3("org.bluez", ":1.5", ""));
    assert!(!rig.health.borrow().service);
}
