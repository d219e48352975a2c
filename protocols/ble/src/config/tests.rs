//! What a bus may be, and that every problem is found at once.

use super::*;

fn address(text: &str) -> Identity {
    Identity::Address(text.parse().unwrap())
}

fn point(field: &str) -> AdvertPoint {
    AdvertPoint {
        key: PointKey(0),
        id: PointId::try_new("p").unwrap(),
        field: field.to_owned(),
        range: None,
    }
}

fn heard(id: &str, identity: Identity, format: Format, points: Vec<AdvertPoint>) -> Device {
    Device {
        id: DeviceId::try_new(id).unwrap(),
        identity,
        kind: Kind::Adverts(Adverts {
            format,
            key: None,
            interval: Adverts::INTERVAL,
            points,
        }),
    }
}

fn characteristic(value: &str, access: Access) -> GattPoint {
    GattPoint {
        key: PointKey(0),
        id: PointId::try_new("p").unwrap(),
        characteristic: Uuid::short(0x2a6e),
        service: None,
        access,
        value: value.parse().unwrap(),
        range: None,
        write: None,
        verify: false,
    }
}

fn connected(id: &str, identity: Identity, points: Vec<GattPoint>) -> Device {
    Device {
        id: DeviceId::try_new(id).unwrap(),
        identity,
        kind: Kind::Gatt(Gatt {
            points,
            ..Gatt::default()
        }),
    }
}

fn bus(devices: Vec<Device>) -> Bus {
    Bus::new("radio", Adapter::default(), devices)
}

fn problems(bus: &Bus) -> Vec<String> {
    bus.check().iter().map(ToString::to_string).collect()
}

#[test]
fn a_sound_bus_has_no_problems() {
    let beacon = Identity::Ibeacon {
        uuid: Uuid(7),
        major: Some(1),
        minor: None,
    };
    let bus = bus(vec![
        heard(
            "cellar",
            address("A4:C1:38:01:02:03"),
            Format::Bthome,
            vec![point("temperature"), point("temperature_2"), point("rssi")],
        ),
        heard("cart", beacon, Format::Ibeacon, vec![point("present")]),
        connected(
            "valve",
            address("C0:FF:EE:00:00:01"),
            vec![characteristic("i16le@0*0.01", Access::Notify(None))],
        ),
    ]);
    assert_eq!(problems(&bus), Vec::<String>::new());
    assert_eq!(bus.silence(), Some(Duration::from_secs(90)));
}

#[test]
fn every_problem_is_told_with_its_place_and_what_is_allowed() {
    let mut cellar = heard(
        "cellar",
        address("A4:C1:38:01:02:03"),
        Format::Atc,
        vec![point("pressure"), point("temperature_2")],
    );
    if let Kind::Adverts(adverts) = &mut cellar.kind {
        adverts.key = Some(BindKey::new([0; 16]));
        adverts.interval = Duration::ZERO;
        adverts.points[0].range = Some(0.0..=1.0);
    }
    let namespace = Identity::Eddystone {
        namespace: [1; 10],
        instance: None,
    };
    let mut valve = connected(
        "valve",
        address("A4:C1:38:01:02:03"),
        vec![
            characteristic("text@0", Access::None),
            characteristic("u8@0", Access::Read(Duration::from_millis(1))),
        ],
    );
    if let Kind::Gatt(gatt) = &mut valve.kind {
        gatt.timeout = Duration::from_mins(2);
        gatt.backoff_min = Duration::from_hours(1);
        gatt.points[0].write = Some(WriteMode::WithResponse);
        gatt.points[1].verify = true;
        gatt.points[1].range = Some(2.0..=1.0);
    }
    let mut bus = bus(vec![
        cellar,
        heard("cart", namespace, Format::Ruuvi, vec![]),
        valve,
        connected("door", namespace, vec![]),
    ]);
    bus.min_rssi = Some(-200);
    bus.max_strangers = 3;
    bus.silence = Some(Duration::from_millis(1));
    let found = problems(&bus);
    for expected in [
        "min_rssi -200 is not allowed; use -127 to 20 (dBm)",
        "max_strangers 3 is not allowed",
        "silence 1ms is not allowed",
        "device cellar: interval 0ns is not allowed",
        "device cellar: format atc has no encryption",
        "device cellar, point p: format atc has no field \"pressure\"; it has temperature, humidity, battery, voltage, packet_id, rssi, present",
        "device cellar, point p: format atc has no field \"temperature_2\"",
        "device cart: advertisements in format ruuvi do not carry a namespace",
        "device valve: it is recognised by the same address, UUID or namespace as device cellar",
        "device valve: time-out 120s is not allowed",
        "device valve: back-off 3600s to 300s is not a span",
        "device valve, point p: a written value needs a field that begins",
        "device valve, point p: period 1ms is not allowed",
        "device valve, point p: verify needs write = true",
        "device valve, point p: range [2, 1] is empty",
        "device door: a device that is connected to is recognised by its address alone",
        "device door: it is recognised by the same address, UUID or namespace as device cart",
    ] {
        let told = found.iter().any(|problem| problem.starts_with(expected));
        assert!(told, "missing: {expected}\n{found:#?}");
    }
    assert_eq!(found.len(), 17);
}

#[test]
fn a_key_is_read_from_text_and_never_printed() {
    let text = "231d39c1d7cc1ab1aee224cd096db932";
    let key: BindKey = format!("  {text}\n").parse().unwrap();
    let shown = format!("{key:?} {:?}", Some(&key));
    assert!(!shown.contains("23") && !shown.contains("35"), "{shown}");
    assert_eq!(key.bytes()[..2], [0x23, 0x1d]);
    assert_eq!("231d".parse::<BindKey>(), Err(NameError::Key));
}

#[test]
fn adapters_go_by_name_or_address() {
    assert_eq!("hci1".parse(), Ok(Adapter::Name("hci1".to_owned())));
    let address: Adapter = "00:1a:7d:da:71:13".parse().unwrap();
    assert_eq!(address.to_string(), "00:1A:7D:DA:71:13");
    for text in ["", "hci", "hcix", "eth0", "00:1a"] {
        assert_eq!(text.parse::<Adapter>(), Err(AdapterError), "{text}");
    }
}
