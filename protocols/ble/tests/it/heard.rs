//! Advertisements on the paused clock: what is heard, what is silent, what makes way.

use crate::fake::{Fake, Mood};
use crate::rig::{Rig, address, bthome, bus, is_bad, is_good, secs, sensor, values};
use protocols_ble::advert::Advert;
use protocols_ble::config::{Address, Format};
use protocols_ble::radio::RadioError;
use protocols_driver::{LinkState, WriteError};
use protocols_model::{Reason, Value};
use std::sync::Arc;
use std::time::Duration;

async fn listening(rig: &mut Rig, fake: &Fake) {
    let fake = fake.clone();
    rig.eventually("it listens", |_| fake.scanning()).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_heard_is_a_reading_and_what_is_heard_again_is_not() {
    let fields = ["temperature", "battery", "rssi"];
    let (mut rig, fake) = Rig::fake(bus(vec![sensor(1, Format::Bthome, &fields)]));
    listening(&mut rig, &fake).await;
    fake.advertise(bthome(1, "0001 02CA09"));
    let expected = [(0, Value::F64(25.06)), (2, Value::I64(-60))];
    assert_eq!(values(&rig.next().await), expected);
    assert_eq!(rig.link(0), LinkState::Up);
    for _ in 0..5 {
        fake.advertise(bthome(1, "0001 02CA09"));
    }
    assert_eq!(rig.within(secs(5)).await, None);
    fake.advertise(bthome(1, "0002 0161 02CA09"));
    assert_eq!(rig.next().await.readings.len(), 3);
    assert_eq!(rig.count("answers"), 2);
    assert_eq!(rig.count("readings"), 5);
    rig.stop.cancel();
    rig.ended().await;
    assert!(!fake.scanning());
}

#[tokio::test(start_paused = true)]
async fn each_interval_of_silence_is_one_bad_reading_a_point() {
    let devices = vec![
        sensor(1, Format::Bthome, &["temperature", "humidity"]),
        sensor(2, Format::Bthome, &["temperature"]),
    ];
    let (mut rig, fake) = Rig::fake(bus(devices));
    listening(&mut rig, &fake).await;
    let mut silent = 0;
    for _ in 0..60 {
        assert!(fake.advertise(bthome(2, "02CA09")));
        for sweep in rig.during(secs(1)).await {
            if sweep.device.as_str() == "sensor-1" {
                assert!(is_bad(&sweep, Reason::Timeout));
                assert_eq!(sweep.readings.len(), 2);
                silent += 1;
            } else {
                assert!(is_good(&sweep));
            }
        }
    }
    assert!((5..=6).contains(&silent), "{silent}");
    assert_eq!(rig.link(0), LinkState::Down(Reason::Timeout));
    assert_eq!(rig.link(1), LinkState::Up);
    fake.advertise(bthome(1, "02CA09"));
    rig.until("it is heard again", |s| {
        s.device.as_str() == "sensor-1" && is_good(s)
    })
    .await;
    assert_eq!(rig.link(0), LinkState::Up);
}

#[tokio::test(start_paused = true)]
async fn without_room_the_latest_reading_of_each_point_waits() {
    let devices = vec![
        sensor(1, Format::Bthome, &["temperature"]),
        sensor(2, Format::Bthome, &["temperature"]),
    ];
    let fake = Fake::default();
    let mut rig = Rig::start(bus(devices), Arc::new(fake.clone()), 1);
    while !fake.scanning() {
        tokio::time::sleep(secs(1)).await;
    }
    for number in 0..100u8 {
        // 0.01 °C a count.
        fake.advertise(bthome(1, &format!("00{number:02x} 02{number:02x}00")));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fake.advertise(bthome(2, "02CA09"));
    tokio::time::sleep(secs(1)).await;
    assert_eq!(rig.count("overrun"), 98);
    let all = rig.during(secs(2)).await;
    let all: Vec<_> = all.iter().map(|sweep| values(sweep)[0].clone()).collect();
    let expected = [
        (0, Value::F64(0.0)),
        (0, Value::F64(0.99)),
        (1, Value::F64(25.06)),
    ];
    assert_eq!(all, expected);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_advertisement_is_counted_told_once_and_changes_nothing() {
    let (mut rig, fake) = Rig::fake(bus(vec![sensor(1, Format::Bthome, &["temperature"])]));
    listening(&mut rig, &fake).await;
    for _ in 0..3 {
        fake.advertise(bthome(1, "02CA"));
    }
    assert_eq!(rig.within(secs(5)).await, None);
    assert_eq!(rig.count("bad_answers"), 3);
    let told = "sensor-1: an advertisement was refused: object 0x02 is cut or not known";
    let told = rig.events().iter().filter(|text| *text == told).count();
    assert_eq!(told, 1);
    assert!(is_bad(&rig.next().await, Reason::Timeout));
}

#[tokio::test(start_paused = true)]
async fn the_weak_are_ignored_and_strangers_are_told_and_bounded() {
    let mut bus = bus(vec![sensor(1, Format::Bthome, &["temperature"])]);
    bus.min_rssi = Some(-80);
    bus.report_strangers = true;
    bus.max_strangers = 16;
    let (mut rig, fake) = Rig::fake(bus);
    listening(&mut rig, &fake).await;
    let mut weak = bthome(1, "02CA09");
    weak.rssi = Some(-81);
    fake.advertise(weak);
    assert_eq!(rig.within(secs(1)).await, None);
    let mut handed = 0;
    for number in 0..10_000u32 {
        let [_, b, c, d] = number.to_be_bytes();
        let mut stranger = Advert::new(Address([0x40, 0, 0, b, c, d]));
        stranger.rssi = Some(-70);
        handed += u32::from(fake.advertise(stranger));
        if number % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(handed, 10_000);
    fake.advertise(bthome(1, "02CA09"));
    assert!(is_good(&rig.next().await));
    assert!(rig.has_told("radio: heard 40:00:00:00:00:00 without a configuration, -70 dBm"));
    assert_eq!(rig.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_told_whatever_it_waits_for_and_when_nobody_listens() {
    let moods = [Mood::Well, Mood::Hangs, Mood::Fails(RadioError::TimedOut)];
    for mood in moods {
        let (rig, fake) = Rig::fake(bus(vec![sensor(1, Format::Bthome, &["temperature"])]));
        fake.world().open = mood.clone();
        tokio::time::sleep(secs(5)).await;
        rig.stop.cancel();
        rig.ended().await;

        let (rig, fake) = Rig::fake(bus(vec![sensor(1, Format::Bthome, &["temperature"])]));
        fake.world().start = mood;
        tokio::time::sleep(secs(5)).await;
        rig.stop.cancel();
        rig.ended().await;
    }
    let (mut rig, fake) = Rig::fake(bus(vec![sensor(1, Format::Bthome, &["temperature"])]));
    listening(&mut rig, &fake).await;
    rig.hang_up();
    fake.advertise(bthome(1, "02CA09"));
    rig.ended().await;
}

#[tokio::test(start_paused = true)]
async fn an_advertised_value_cannot_be_written() {
    let (mut rig, fake) = Rig::fake(bus(vec![sensor(1, Format::Bthome, &["temperature"])]));
    listening(&mut rig, &fake).await;
    let order = rig.order(0, Value::F64(1.0));
    assert_eq!(order.await.unwrap(), Err(WriteError::ReadOnly));
    let order = rig.order(77, Value::F64(1.0));
    assert_eq!(order.await.unwrap(), Err(WriteError::UnknownPoint));
    assert_eq!(address(1).to_string(), "C0:FF:EE:00:00:01");
}

#[tokio::test(start_paused = true)]
async fn a_scan_shows_what_is_heard_and_ends_when_told_or_when_the_adapter_goes() {
    use protocols_ble::config::Adapter;
    use protocols_ble::scan::scan;
    use std::collections::HashMap;
    let fake = Fake::default();
    let mut named = bthome(1, "02CA09");
    named.name = Some("Hall".into());
    let adverts = [named, bthome(1, "02CB09"), bthome(2, "0161")];
    let speak = async {
        while !fake.scanning() {
            tokio::time::sleep(secs(1)).await;
        }
        for advert in adverts {
            assert!(fake.advertise(advert));
            tokio::time::sleep(secs(1)).await;
        }
    };
    let mut seen = Vec::new();
    let (adapter, keys) = (Adapter::default(), HashMap::new());
    let scanned = scan(&fake, &adapter, &keys, speak, |sighting| {
        seen.push((sighting.address, sighting.name, sighting.said[0].format));
    });
    assert_eq!(scanned.await, Ok(()));
    let hall: Option<Arc<str>> = Some("Hall".into());
    let expected = [
        (address(1), hall.clone(), Format::Bthome),
        (address(1), hall, Format::Bthome),
        (address(2), None, Format::Bthome),
    ];
    assert_eq!(seen, expected);
    assert!(!fake.scanning());

    let unplug = async {
        tokio::time::sleep(secs(5)).await;
        fake.health(|health| health.adapter = false);
        std::future::pending::<()>().await;
    };
    let scanned = scan(&fake, &adapter, &keys, unplug, |_| {}).await;
    assert!(matches!(scanned, Err(RadioError::Failed(_))));
    fake.world().open = Mood::Hangs;
    let never = std::future::pending();
    let scanned = scan(&fake, &adapter, &keys, never, |_| {}).await;
    assert_eq!(scanned, Err(RadioError::TimedOut));
}

/// The two encrypted advertisements that bthome.io and its receiver publish.
#[tokio::test(start_paused = true)]
async fn a_replay_is_counted_and_told_once() {
    use protocols_ble::config::{Identity, Kind};
    let device: Address = "54:48:E6:8F:80:A5".parse().unwrap();
    let mut config = sensor(1, Format::Bthome, &["temperature"]);
    config.identity = Identity::Address(device);
    if let Kind::Adverts(adverts) = &mut config.kind {
        adverts.key = Some("231d39c1d7cc1ab1aee224cd096db932".parse().unwrap());
    }
    let (mut rig, fake) = Rig::fake(bus(vec![config]));
    listening(&mut rig, &fake).await;
    let say = |counter: &str| {
        let mut advert = bthome(1, counter);
        advert.address = device;
        advert.service_data[0].1[0] = 0x41;
        fake.advertise(advert)
    };
    let (older, newer) = (
        "e445f3c9962b 33221100 6c7c4519",
        "a47266c95f73 00112233 78237214",
    );
    for counter in [older, newer] {
        assert!(say(counter));
        assert_eq!(values(&rig.next().await), [(0, Value::F64(25.06))]);
    }
    for _ in 0..3 {
        assert!(say(older));
    }
    assert_eq!(rig.within(secs(5)).await, None);
    assert_eq!(rig.count("late_answers"), 3);
    assert_eq!(rig.events().len(), 1);
    assert!(rig.has_told("sensor-1: an advertisement was refused: its counter is not newer"));
}
