//! The world without a bus: time is given, nothing waits.

use super::*;
use crate::fault::Fault;
use crate::names::Uuid;
use crate::sensor::{Advert, Characteristic, Flag};

const SENSOR: Address = Address([1, 2, 3, 4, 5, 6]);
const DEVICE_PATH: &str = "/org/bluez/hci0/dev_01_02_03_04_05_06";
const TEMPERATURE: Uuid = Uuid::short(0x2A6E);

fn at(millis: u64) -> Instant {
    Instant(Duration::from_millis(millis))
}

struct Bench {
    world: World,
    journal: Journal,
    calls: u64,
}

impl Bench {
    fn new() -> Self {
        let journal = Journal::default();
        let world = World::new(
            &[AdapterSetup::number(0)],
            Timing::default(),
            1,
            journal.clone(),
        );
        Self {
            world,
            journal,
            calls: 0,
        }
    }

    /// Calls, and returns what was answered at once.
    fn call(
        &mut self,
        now: Instant,
        path: &str,
        request: Request,
    ) -> Option<Result<Answer, Refusal>> {
        self.calls += 1;
        let id = self.calls;
        self.world.call(
            now,
            Call {
                id,
                sender: ":1.1".into(),
                path: path.into(),
                request,
            },
        );
        self.answer(id)
    }

    fn answer(&mut self, id: CallId) -> Option<Result<Answer, Refusal>> {
        self.world.take_out().into_iter().find_map(|out| match out {
            Out::Reply(found, answer) if found == id => Some(answer),
            _ => None,
        })
    }

    fn discover(&mut self) {
        let filter = Filter {
            duplicates: true,
            ..Filter::default()
        };
        let adapter = "/org/bluez/hci0";
        self.call(at(0), adapter, Request::SetFilter(Some(filter)))
            .unwrap()
            .unwrap();
        self.call(at(0), adapter, Request::StartDiscovery)
            .unwrap()
            .unwrap();
    }

    /// Lets time pass, each timer in its own moment.
    fn run_to(&mut self, end: Instant) {
        while let Some(due) = self.world.next_due().filter(|due| *due <= end) {
            self.world.tick(due);
        }
    }

    fn adverts(&self) -> usize {
        self.journal
            .count(|record| matches!(record.event, Event::Advert { .. }))
    }
}

fn beacon() -> Sensor {
    Sensor::new(SENSOR).advertising(Duration::from_millis(100), |turn| {
        Advert::manufacturer(1, turn.number.to_le_bytes().to_vec())
    })
}

fn thermometer() -> Sensor {
    let temperature = Characteristic::scripted(TEMPERATURE, &[Flag::Read, Flag::Notify], |turn| {
        vec![turn.number.to_le_bytes()[0]]
    })
    .every(Duration::from_millis(100));
    Sensor::new(SENSOR).service(Uuid::short(0x181A), vec![temperature])
}

#[test]
fn sensor_advertises_at_its_interval_and_does_not_catch_up_after_a_stall() {
    let mut bench = Bench::new();
    bench.discover();
    bench.world.add_sensor(at(0), beacon());
    bench.run_to(at(1000));
    let before = bench.adverts();
    assert!((9..=11).contains(&before), "{before} in a second");
    // Everything stands still for ten seconds.
    bench.world.tick(at(11_000));
    assert_eq!(bench.adverts(), before + 1);
}

#[test]
fn device_is_forgotten_half_a_minute_after_it_was_last_heard() {
    let mut bench = Bench::new();
    bench.discover();
    bench.world.add_sensor(at(0), Sensor::new(SENSOR));
    for second in [0, 20, 40] {
        bench.run_to(at(second * 1000));
        assert!(bench.world.sensor_advertises(
            at(second * 1000),
            SENSOR,
            Advert::manufacturer(1, vec![1])
        ));
    }
    bench.run_to(at(69_900));
    assert!(bench.world.adapters()["hci0"].devices.contains_key(&SENSOR));
    bench.run_to(at(70_100));
    assert!(bench.world.adapters()["hci0"].devices.is_empty());
    let gone =
        bench.world.take_out().into_iter().any(
            |out| matches!(out, Out::Signal(Change::Removed { path, .. }) if path == DEVICE_PATH),
        );
    assert!(gone);
}

#[test]
fn connecting_is_answered_when_the_link_is_up_and_services_follow() {
    let mut bench = Bench::new();
    bench.discover();
    bench.world.add_sensor(at(0), thermometer());
    bench
        .world
        .sensor_advertises(at(0), SENSOR, Advert::manufacturer(1, vec![1]));
    assert!(bench.call(at(0), DEVICE_PATH, Request::Connect).is_none());
    let id = bench.calls;
    bench.run_to(at(40));
    assert_eq!(bench.answer(id), Some(Ok(Answer::Nothing)));
    assert!(bench.world.tree.children(DEVICE_PATH).is_empty());
    bench.run_to(at(100));
    assert_eq!(bench.world.tree.children(DEVICE_PATH), ["service0011"]);
    let mut order = Vec::new();
    for out in bench.world.take_out() {
        match out {
            Out::Signal(Change::Added { path, .. }) => order.push(path),
            Out::Signal(Change::Changed { now, .. }) if now.contains_key("ServicesResolved") => {
                order.push("resolved".into());
            }
            _ => {}
        }
    }
    // A client may ask for the services as soon as it hears that they are resolved.
    assert_eq!(order.last().map(String::as_str), Some("resolved"));
    assert_eq!(order.len(), 3);
}

#[test]
fn connecting_to_one_who_left_fails_at_the_limit() {
    let mut bench = Bench::new();
    bench.discover();
    bench.world.add_sensor(at(0), thermometer());
    bench
        .world
        .sensor_advertises(at(0), SENSOR, Advert::manufacturer(1, vec![1]));
    bench
        .world
        .begin(at(0), &Fault::OutOfRange { address: SENSOR });
    assert!(bench.call(at(0), DEVICE_PATH, Request::Connect).is_none());
    let id = bench.calls;
    bench.run_to(at(19_999));
    assert_eq!(bench.answer(id), None);
    bench.run_to(at(20_000));
    let refusal = bench.answer(id).unwrap().unwrap_err();
    assert_eq!(refusal.text, "le-connection-abort-by-local");
    // The device was wanted once: it is kept although it is silent.
    bench.run_to(at(100_000));
    assert!(bench.world.adapters()["hci0"].devices.contains_key(&SENSOR));
}

#[test]
fn link_that_breaks_ends_notifications_and_an_old_attempt_ends_nothing_new() {
    let mut bench = Bench::new();
    bench.discover();
    bench.world.add_sensor(at(0), thermometer());
    bench
        .world
        .sensor_advertises(at(0), SENSOR, Advert::manufacturer(1, vec![1]));
    bench.call(at(0), DEVICE_PATH, Request::Connect);
    bench.run_to(at(100));
    let path = format!("{DEVICE_PATH}/service0011/char0012");
    assert_eq!(
        bench.call(at(100), &path, Request::StartNotify),
        Some(Ok(Answer::Nothing))
    );
    bench.run_to(at(550));
    let notified = |bench: &Bench| {
        bench
            .journal
            .count(|r| matches!(r.event, Event::Notified { .. }))
    };
    assert_eq!(notified(&bench), 4);
    bench
        .world
        .begin(at(550), &Fault::Disconnect { address: SENSOR });
    bench.run_to(at(2000));
    assert_eq!(notified(&bench), 4);
    bench.call(at(2000), DEVICE_PATH, Request::Connect);
    bench.run_to(at(2350));
    assert_eq!(
        notified(&bench),
        6,
        "the subscription goes on after the next link"
    );
}

#[test]
fn answers_under_way_die_with_the_daemon() {
    let mut bench = Bench::new();
    bench.discover();
    bench.world.add_sensor(at(0), thermometer());
    bench
        .world
        .sensor_advertises(at(0), SENSOR, Advert::manufacturer(1, vec![1]));
    bench.call(at(0), DEVICE_PATH, Request::Connect);
    bench.world.begin(at(10), &Fault::DaemonStopped);
    assert!(bench.world.take_out().is_empty());
    bench.run_to(at(100_000));
    assert!(bench.world.take_out().is_empty());
    bench.world.end(at(100_000), &Fault::DaemonStopped);
    assert!(!bench.world.adapters()["hci0"].discovering());
    assert_eq!(bench.world.tree.children("/org/bluez"), ["hci0"]);
}

#[test]
fn signal_strength_is_taken_back_when_nobody_discovers() {
    let mut bench = Bench::new();
    bench.discover();
    bench.world.add_sensor(at(0), Sensor::new(SENSOR));
    bench
        .world
        .sensor_advertises(at(0), SENSOR, Advert::manufacturer(1, vec![1]));
    assert_eq!(
        bench.world.tree.value(DEVICE_PATH, DEVICE, "RSSI"),
        Some(&Value::I16(-60))
    );
    bench
        .call(at(1), "/org/bluez/hci0", Request::StopDiscovery)
        .unwrap()
        .unwrap();
    assert_eq!(bench.world.tree.value(DEVICE_PATH, DEVICE, "RSSI"), None);
}

#[test]
fn without_duplicates_only_news_are_told() {
    let mut bench = Bench::new();
    bench
        .call(at(0), "/org/bluez/hci0", Request::StartDiscovery)
        .unwrap()
        .unwrap();
    bench.world.add_sensor(at(0), Sensor::new(SENSOR));
    let advert = |n| Advert::manufacturer(1, vec![n]);
    assert!(bench.world.sensor_advertises(at(0), SENSOR, advert(1)));
    assert!(!bench.world.sensor_advertises(at(1), SENSOR, advert(1)));
    assert!(bench.world.sensor_advertises(at(2), SENSOR, advert(2)));
}

#[test]
fn removed_sensor_leaves_no_timer_behind() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        bench.world.add_sensor(at(0), beacon());
    }
    assert_eq!(bench.world.timers.len(), 1);
    bench.world.remove_sensor(at(0), SENSOR);
    assert!(bench.world.timers.is_empty());
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let mut bench = Bench::new();
    for (path, request) in [
        ("/nowhere", Request::StartDiscovery),
        ("/org/bluez/hci0", Request::Connect),
        ("/org/bluez/hci0", Request::Unknown("Explode".into())),
        (
            "/org/bluez/hci0",
            Request::Set {
                interface: ADAPTER.into(),
                name: "Powered".into(),
                value: None,
            },
        ),
        (
            "/org/bluez/hci0",
            Request::Set {
                interface: ADAPTER.into(),
                name: "Address".into(),
                value: Some(true),
            },
        ),
        (
            "/org/bluez/hci0",
            Request::RemoveDevice {
                path: "/org/bluez/hci0/dev_nonsense".into(),
            },
        ),
        (
            "/org/bluez/hci0",
            Request::Get {
                interface: ADAPTER.into(),
                name: "Nothing".into(),
            },
        ),
        ("/org/bluez", Request::StartDiscovery),
        (
            "/",
            Request::GetAll {
                interface: ADAPTER.into(),
            },
        ),
    ] {
        let answer = bench.call(at(0), path, request.clone());
        assert!(answer.is_some_and(|answer| answer.is_err()), "{request:?}");
    }
    assert!(bench.world.adapters()["hci0"].powered);
}
