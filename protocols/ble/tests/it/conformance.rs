//! The conformance kit over both kinds of devices: those that advertise and those that are connected to.

use crate::fake::{Device as Remote, Fake, Mood as Does};
use crate::rig::{address, bthome, bus, peripheral, point, secs, sensor};
use protocols_ble::BleDriver;
use protocols_ble::config::{Access, Adapter, Bus, Format, Kind};
use protocols_ble::radio::{RadioError, Said};
use protocols_conformance::{Bench, DeviceFacts, Facts, Mood, Seen, Time, check};
use protocols_driver::Driver;
use protocols_model::{PointKey, Reading, Value};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Devices with two points each: 0 and 1, 2 and 3.
fn facts(bus: &Bus, unasked: bool, period: Duration, silence: Duration) -> Facts {
    let device = |(index, device): (u32, &protocols_ble::config::Device)| DeviceFacts {
        device: device.id.clone(),
        points: vec![PointKey(2 * index), PointKey(2 * index + 1)],
    };
    Facts {
        time: Time::Paused,
        devices: (0..).zip(&bus.devices).map(device).collect(),
        period,
        unasked,
        silence,
        patience: secs(120),
    }
}

fn number(mut bus: Bus) -> Bus {
    let mut key = 0..;
    for device in &mut bus.devices {
        match &mut device.kind {
            Kind::Adverts(adverts) => {
                for point in &mut adverts.points {
                    point.key = PointKey(key.next().unwrap());
                }
            }
            Kind::Gatt(gatt) => {
                for point in &mut gatt.points {
                    point.key = PointKey(key.next().unwrap());
                }
            }
        }
    }
    bus
}

fn gone() -> Does {
    Does::Fails(RadioError::NoAdapter(Adapter::default(), "none".to_owned()))
}

/// A sensor that advertises a number once a second and is expected every ten.
struct Heard {
    fake: Fake,
    bus: Bus,
    mood: Arc<Mutex<Mood>>,
    seen: Arc<Mutex<Seen>>,
}

impl Heard {
    fn new() -> Self {
        let device = sensor(1, Format::Bthome, &["count", "battery"]);
        Self {
            fake: Fake::default(),
            bus: number(bus(vec![device])),
            mood: Arc::new(Mutex::new(Mood::Well)),
            seen: Arc::new(Mutex::new(Seen {
                answered: Some(0),
                ..Seen::default()
            })),
        }
    }
}

#[async_trait::async_trait]
impl Bench for Heard {
    fn facts(&self) -> Facts {
        facts(&self.bus, true, secs(10), secs(10))
    }

    async fn start(&mut self) {
        let (fake, mood) = (self.fake.clone(), Arc::clone(&self.mood));
        let seen = Arc::clone(&self.seen);
        tokio::spawn(async move {
            for count in 0u32.. {
                tokio::time::sleep(secs(1)).await;
                let mood = *mood.lock().unwrap();
                let [packet, second, ..] = count.to_le_bytes();
                let said = match mood {
                    Mood::Well => format!("00{packet:02x} 0142 3d{packet:02x}{second:02x}"),
                    Mood::Torn => "0142 3d01".to_owned(),
                    Mood::Garbage => "a5a5a5".to_owned(),
                    _ => continue,
                };
                if fake.advertise(bthome(1, &said)) && mood == Mood::Well {
                    *seen.lock().unwrap().answered.as_mut().unwrap() += 1;
                }
            }
        });
    }

    fn driver(&mut self) -> Box<dyn Driver> {
        let radio = Arc::new(self.fake.clone());
        Box::new(BleDriver::with_radio(self.bus.clone(), radio).unwrap())
    }

    async fn set(&mut self, mood: Mood) -> bool {
        if matches!(mood, Mood::Refusing | Mood::Late) {
            return false;
        }
        *self.mood.lock().unwrap() = mood;
        if mood == Mood::Gone {
            self.fake.world().open = gone();
            self.fake.health(|health| {
                (health.adapter, health.scanning) = (false, false);
            });
        } else {
            self.fake.world().open = Does::Well;
        }
        true
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    fn is_true(&self, reading: &Reading) -> bool {
        match (reading.point.0 % 2, &reading.value) {
            (0, Some(Value::U64(count))) => *count < 1 << 16,
            (_, value) => *value == Some(Value::U64(0x42)),
        }
    }
}

/// Devices that are connected to, with one characteristic for both points.
struct Connected {
    fake: Fake,
    bus: Bus,
}

const PERIOD: Duration = secs(2);
const TIMEOUT: Duration = secs(1);
const SET: u32 = 1;

impl Connected {
    fn new() -> Self {
        let device = |number| {
            let points = vec![
                point("read", 0x2a6e, "u32le@0", Access::Read(PERIOD)),
                point("set", 0x2a6e, "u32le@4", Access::Read(PERIOD)),
            ];
            let mut device = peripheral(number, points);
            if let Kind::Gatt(gatt) = &mut device.kind {
                gatt.timeout = TIMEOUT;
                gatt.connect_timeout = secs(5);
                gatt.backoff_min = secs(1);
                gatt.backoff_max = secs(2);
            }
            device
        };
        let fake = Fake::default();
        fake.world().forgets = true;
        for number in [1, 2] {
            let mut remote = Remote::new(&[0x2a6e]);
            remote.values = [(0, vec![7; 8])].into();
            fake.world().devices.insert(address(number), remote);
        }
        Self {
            fake,
            bus: number(bus((1..=2).map(device).collect())),
        }
    }
}

#[async_trait::async_trait]
impl Bench for Connected {
    fn facts(&self) -> Facts {
        facts(&self.bus, false, PERIOD, TIMEOUT)
    }

    async fn start(&mut self) {}

    fn driver(&mut self) -> Box<dyn Driver> {
        let radio = Arc::new(self.fake.clone());
        Box::new(BleDriver::with_radio(self.bus.clone(), radio).unwrap())
    }

    async fn set(&mut self, mood: Mood) -> bool {
        let refused = || Does::Fails(RadioError::Refused("not permitted".to_owned()));
        let (connect, read, write) = match mood {
            Mood::Well | Mood::Garbage => (Does::Well, Does::Well, Does::Well),
            Mood::Silent => (Does::Well, Does::Hangs, Does::Hangs),
            Mood::Refusing => (Does::Well, refused(), refused()),
            Mood::Gone => (Does::Hangs, Does::Hangs, Does::Hangs),
            Mood::Torn | Mood::Late => return false,
        };
        self.fake.device(address(1), |remote| {
            remote.connect = connect;
            remote.read = read;
            remote.write = write;
            let bytes = if mood == Mood::Garbage { 1 } else { 8 };
            remote.values = [(0, vec![7; bytes])].into();
        });
        if mood == Mood::Gone {
            self.fake.say(address(1), Said::Gone);
        }
        true
    }

    fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        for number in [1, 2] {
            self.fake.device(address(number), |remote| {
                seen.asked.push(remote.reads);
                let written = remote.written.iter().map(|(_, bytes, _)| {
                    let bytes = bytes[4..].try_into().unwrap();
                    Value::U64(u32::from_le_bytes(bytes).into())
                });
                seen.written.extend(written);
            });
        }
        seen
    }

    fn write(&self, number: u32) -> Option<(PointKey, Value)> {
        Some((PointKey(SET), Value::U64(u64::from(number) + 1000)))
    }
}

#[test]
fn a_driver_of_advertised_devices_conforms() {
    check(Heard::new).assert_conforms();
}

#[test]
fn a_driver_of_connected_devices_conforms() {
    check(Connected::new).assert_conforms();
}
