//! Connected devices on the paused clock: reading, listening, writing, and what happens when they go.

use crate::fake::{Device, Fake, Mood};
use crate::rig::{
    Rig, address, bthome, bus, is_bad, is_good, peripheral, point, secs, sensor, values,
};
use protocols_ble::config::{Access, Format, Gatt, GattPoint, Kind, WriteMode};
use protocols_ble::radio::{RadioError, Said};
use protocols_driver::{LinkState, WriteError, Written};
use protocols_model::{Reason, Value};

const READ: Access = Access::Read(secs(5));
const TOLD: Access = Access::Notify(None);

/// A driver for one device, whose `uuids` are its characteristics 0, 1, 2 …
fn one(points: Vec<GattPoint>, uuids: &[u16]) -> (Rig, Fake) {
    let (rig, fake) = Rig::fake(bus(vec![peripheral(1, points)]));
    fake.world().devices.insert(address(1), Device::new(uuids));
    (rig, fake)
}

async fn up(rig: &mut Rig) {
    rig.eventually("it is connected", |rig| rig.link(0) == LinkState::Up)
        .await;
}

fn set(fake: &Fake, what: impl FnOnce(&mut Device)) {
    fake.device(address(1), what);
}

#[tokio::test(start_paused = true)]
async fn characteristics_are_read_in_their_periods_and_share_a_read() {
    let points = vec![
        point("temperature", 0x2a6e, "i16le@0*0.01", READ),
        point("state", 0x2a6e, "u8@2", READ),
        point("battery", 0x2a19, "u8@0", Access::Read(secs(60))),
    ];
    let (mut rig, fake) = one(points, &[0x2a6e, 0x2a19]);
    set(&fake, |d| {
        d.values = [(0, vec![0x66, 0x08, 7]), (1, vec![55])].into();
    });
    let all = rig.during(secs(120)).await;
    let of = |point: u32| {
        let good = all.iter().filter(|sweep| is_good(sweep));
        good.flat_map(values)
            .filter(|(key, _)| *key == point)
            .collect::<Vec<_>>()
    };
    assert!((24..=25).contains(&of(0).len()), "{}", of(0).len());
    assert_eq!(of(0)[0].1, Value::F64(21.5));
    assert_eq!(of(1)[0].1, Value::U64(7));
    assert!((2..=3).contains(&of(2).len()));
    let reads = fake.device(address(1), |d| d.reads);
    assert_eq!(reads, (of(0).len() + of(2).len()) as u64);
    rig.stop.cancel();
    rig.ended().await;
    assert_eq!(fake.asked(&format!("disconnect {}", address(1))), 1);
}

#[tokio::test(start_paused = true)]
async fn the_scan_pauses_for_a_connection_and_one_is_made_at_a_time() {
    let points = || vec![point("t", 0x2a6e, "u8@0", READ)];
    let mut devices: Vec<_> = (1..=3).map(|n| peripheral(n, points())).collect();
    devices.push(sensor(9, Format::Bthome, &["temperature"]));
    let (mut rig, fake) = Rig::fake(bus(devices));
    for number in 1..=3 {
        let device = Device::new(&[0x2a6e]);
        fake.world().devices.insert(address(number), device);
    }
    rig.eventually("all are connected", |rig| {
        (0..3).all(|index| rig.link(index) == LinkState::Up)
    })
    .await;
    let log = fake.world().log.clone();
    let mut scanning = true;
    let mut connecting = 0;
    for entry in log.iter().skip_while(|entry| *entry != "start").skip(1) {
        match entry.as_str() {
            "stop" => scanning = false,
            "start" => scanning = true,
            text if text.starts_with("connect ") => {
                assert!(!scanning, "{log:#?}");
                connecting += 1;
                assert_eq!(connecting, 1, "{log:#?}");
            }
            text if text.starts_with("connected ") => connecting -= 1,
            _ => {}
        }
    }
    assert!(fake.scanning());
    fake.advertise(bthome(9, "02CA09"));
    rig.until("the sensor is heard", |s| {
        s.device.as_str() == "sensor-9" && is_good(s)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn notifications_are_readings_and_a_new_connection_subscribes_once() {
    let points = vec![
        point("event", 0x2a6e, "u8@0", TOLD),
        point("high", 0x2a6e, "u8@1", TOLD),
    ];
    let (mut rig, fake) = one(points, &[0x2a6e]);
    up(&mut rig).await;
    assert_eq!(fake.device(address(1), |d| d.subscribed.clone()), [0]);
    assert!(fake.say(address(1), Said::Value(0, vec![5, 6])));
    let expected = [(0, Value::U64(5)), (1, Value::U64(6))];
    assert_eq!(values(&rig.next().await), expected);
    // Silence is no fault of something that tells its changes.
    assert_eq!(rig.within(secs(100)).await, None);
    for round in 0..5u8 {
        assert!(fake.say(address(1), Said::Gone));
        rig.eventually("it is lost", |rig| rig.link(0) != LinkState::Up)
            .await;
        up(&mut rig).await;
        assert_eq!(fake.device(address(1), |d| d.subscribed.clone()), [0]);
        assert!(fake.say(address(1), Said::Value(0, vec![round, 0])));
        // Once, not once for each connection there ever was.
        let sweeps = rig.during(secs(2)).await;
        assert_eq!(sweeps.len(), 1);
        assert_eq!(values(&sweeps[0])[0], (0, Value::U64(round.into())));
    }
    assert!(rig.has_told("sensor-1: the connection is gone"));
    assert_eq!(rig.count("disconnects"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_regular_notification_that_stays_away_is_a_bad_reading_an_interval() {
    let points = vec![point(
        "event",
        0x2a6e,
        "u8@0",
        Access::Notify(Some(secs(10))),
    )];
    let (mut rig, fake) = one(points, &[0x2a6e]);
    up(&mut rig).await;
    for round in 0..5u8 {
        assert!(fake.say(address(1), Said::Value(0, vec![round])));
        let sweeps = rig.during(secs(8)).await;
        assert!(sweeps.len() == 1 && is_good(&sweeps[0]), "{sweeps:?}");
    }
    let sweeps = rig.during(secs(50)).await;
    assert_eq!(sweeps.len(), 5);
    assert!(sweeps.iter().all(|sweep| is_bad(sweep, Reason::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn services_that_are_never_found_end_in_a_time_out_a_disconnect_and_longer_waits() {
    let (mut rig, fake) = one(vec![point("t", 0x2a6e, "u8@0", READ)], &[0x2a6e]);
    set(&fake, |d| d.connect = Mood::Hangs);
    let all = rig.during(secs(3600)).await;
    // One bad reading a period, whatever the connection does.
    assert!((715..=721).contains(&all.len()), "{}", all.len());
    assert!(
        all.iter()
            .skip(12)
            .all(|sweep| is_bad(sweep, Reason::Timeout))
    );
    let connects = fake.asked(&format!("connect {}", address(1)));
    let ended = fake.asked(&format!("disconnect {}", address(1)));
    assert!(ended + 1 >= connects && ended <= connects);
    // 45 s each: three in a row, then all dead devices of the bus together have a twentieth of the air.
    assert!((5..=8).contains(&connects), "{connects}");
    assert!(rig.has_told("sensor-1: cannot be connected: no answer in time (after 45 s)"));
    assert_eq!(rig.link(0), LinkState::Down(Reason::Timeout));
    set(&fake, |d| d.connect = Mood::Well);
    rig.during(secs(900)).await;
    up(&mut rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_around_costs_no_air() {
    let (mut rig, fake) = Rig::fake(bus(vec![peripheral(
        1,
        vec![point("t", 0x2a6e, "u8@0", READ)],
    )]));
    rig.during(secs(3600)).await;
    let connects = fake.asked(&format!("connect {}", address(1)));
    assert!((12..=20).contains(&connects), "{connects}");
    assert!(rig.has_told("cannot be connected: the device was not heard"));
}

#[tokio::test(start_paused = true)]
async fn reads_that_hang_are_bad_and_end_the_connection() {
    let (mut rig, fake) = one(vec![point("t", 0x2a6e, "u8@0", READ)], &[0x2a6e]);
    rig.until("it is read", is_good).await;
    set(&fake, |d| d.read = Mood::Hangs);
    rig.until("the read fails", |s| is_bad(s, Reason::Timeout))
        .await;
    rig.eventually("it is given up", |rig| rig.link(0) != LinkState::Up)
        .await;
    let gone = |fake: &Fake| fake.asked(&format!("disconnect {}", address(1)));
    rig.eventually("it is disconnected", |_| gone(&fake) == 1)
        .await;
    set(&fake, |d| d.read = Mood::Well);
    rig.until("it is read again", is_good).await;
    assert_eq!(rig.link(0), LinkState::Up);
    assert!(rig.count("timeouts") >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_read_is_an_answer_and_a_missing_characteristic_is_told() {
    let points = vec![
        point("t", 0x2a6e, "u8@0", READ),
        point("other", 0x2a6f, "u8@0", READ),
    ];
    let (mut rig, fake) = one(points, &[0x2a6e]);
    set(&fake, |d| {
        d.read = Mood::Fails(RadioError::Refused("not permitted".to_owned()));
    });
    for _ in 0..20 {
        rig.next().await;
    }
    assert_eq!(rig.link(0), LinkState::Up);
    let sweeps = rig.during(secs(10)).await;
    assert!(
        sweeps
            .iter()
            .all(|sweep| is_bad(sweep, Reason::DeviceError))
    );
    assert!(rig.count("exceptions") > 5);
    assert!(rig.has_told("sensor-1: connected, but it has no characteristic 2a6f"));
}

#[tokio::test(start_paused = true)]
async fn a_value_is_written_and_read_back_and_the_outcome_told() {
    let mut set_point = point("set", 0x2a6e, "i16le@0*0.1", Access::None);
    set_point.verify = true;
    set_point.range = Some(5.0..=30.0);
    let mut read_only = point("t", 0x2a6f, "u8@0", READ);
    read_only.write = None;
    let mut blind = point("blind", 0x2a70, "u8@0", Access::None);
    blind.write = Some(WriteMode::WithoutResponse);
    let points = vec![set_point, read_only, blind];
    let (mut rig, fake) = one(points, &[0x2a6e, 0x2a6f, 0x2a70]);
    up(&mut rig).await;
    let done = rig.order(0, Value::F64(21.5)).await.unwrap().unwrap();
    assert_eq!(done.read_back, Some(Value::F64(21.5)));
    let written = fake.device(address(1), |d| d.written.clone());
    assert_eq!(written, [(0, vec![0xd7, 0], WriteMode::WithResponse)]);

    assert_eq!(
        rig.order(1, Value::U64(1)).await.unwrap(),
        Err(WriteError::ReadOnly)
    );
    for wrong in [Value::F64(31.0), Value::Text("warm".into())] {
        let outcome = rig.order(0, wrong).await.unwrap();
        assert!(
            matches!(outcome, Err(WriteError::BadValue(_))),
            "{outcome:?}"
        );
    }
    let done = rig.order(2, Value::U64(3)).await.unwrap();
    assert!(matches!(
        done,
        Ok(Written {
            read_back: None,
            ..
        })
    ));

    set(&fake, |d| {
        d.keeps = false;
        d.written.clear();
    });
    let outcome = rig.order(0, Value::F64(22.0)).await.unwrap();
    assert_eq!(outcome, Err(WriteError::NotVerified(Value::F64(21.5))));
    set(&fake, |d| {
        d.write = Mood::Fails(RadioError::Refused("NotPermitted".to_owned()));
    });
    let outcome = rig.order(0, Value::F64(22.5)).await.unwrap();
    assert_eq!(outcome, Err(WriteError::Refused("NotPermitted".to_owned())));

    // Sent, not confirmed: never again.
    set(&fake, |d| d.write = Mood::Hangs);
    let order = rig.order(0, Value::F64(23.0));
    rig.during(secs(60)).await;
    assert_eq!(order.await.unwrap(), Err(WriteError::Unknown));
    set(&fake, |d| d.write = Mood::Well);
    rig.during(secs(120)).await;
    let written = fake.device(address(1), |d| d.written.clone());
    let sent = written.iter().filter(|(_, bytes, _)| *bytes == [0xe6, 0]);
    assert_eq!((sent.count(), written.len()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn an_order_for_a_device_that_is_away_or_too_late_is_never_sent() {
    let (mut rig, fake) = one(vec![point("t", 0x2a6e, "u8@0", READ)], &[0x2a6e]);
    set(&fake, |d| d.connect = Mood::Hangs);
    rig.during(secs(10)).await;
    let outcome = rig.order(0, Value::U64(1)).await.unwrap();
    assert_eq!(outcome, Err(WriteError::Unreachable));
    set(&fake, |d| d.connect = Mood::Well);
    // The share of a device that did not answer is a twentieth of the air.
    rig.during(secs(20 * 45)).await;
    up(&mut rig).await;
    let desk = rig.desk.clone();
    let now = rig.clock.monotonic();
    let key = protocols_model::PointKey(0);
    let outcome = desk.place(key, Value::U64(1), now).await;
    assert_eq!(outcome, Err(WriteError::Expired));
    assert!(fake.device(address(1), |d| d.written.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn while_nobody_takes_sweeps_nothing_is_read_but_orders_go_and_the_latest_is_kept() {
    let points = vec![
        point("t", 0x2a6e, "u8@0", READ),
        point("event", 0x2a6f, "u8@0", TOLD),
    ];
    let fake = Fake::default();
    let device = Device::new(&[0x2a6e, 0x2a6f]);
    fake.world().devices.insert(address(1), device);
    let bus = bus(vec![peripheral(1, points)]);
    let mut rig = Rig::start(bus, std::sync::Arc::new(fake.clone()), 1);
    tokio::time::sleep(secs(20)).await;
    let reads = fake.device(address(1), |d| d.reads);
    tokio::time::sleep(secs(100)).await;
    assert_eq!(fake.device(address(1), |d| d.reads), reads);
    for value in 0..60u8 {
        assert!(fake.say(address(1), Said::Value(1, vec![value])));
        tokio::time::sleep(secs(1)).await;
    }
    assert_eq!(rig.count("overrun"), 59);
    let order = rig.order(0, Value::U64(1));
    assert!(order.await.unwrap().is_ok());
    let sweeps = rig.during(secs(1)).await;
    let told: Vec<_> = sweeps
        .iter()
        .flat_map(values)
        .filter(|(k, _)| *k == 1)
        .collect();
    assert_eq!(told, [(1, Value::U64(59))]);
    rig.until("it is read again", |s| s.readings[0].point.0 == 0)
        .await;
    assert!(rig.count("missed_polls") >= 25);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_told_also_in_the_middle_of_an_operation() {
    for stuck in ["connect", "subscribe", "read", "write"] {
        let points = vec![
            point("t", 0x2a6e, "u8@0", READ),
            point("event", 0x2a6e, "u8@0", TOLD),
        ];
        let (mut rig, fake) = one(points, &[0x2a6e]);
        set(&fake, |d| match stuck {
            "connect" => d.connect = Mood::Hangs,
            "subscribe" => d.subscribe = Mood::Hangs,
            "read" => d.read = Mood::Hangs,
            _ => d.write = Mood::Hangs,
        });
        let order = if stuck == "write" {
            up(&mut rig).await;
            Some(rig.order(0, Value::U64(1)))
        } else {
            None
        };
        rig.during(secs(7)).await;
        rig.stop.cancel();
        rig.ended().await;
        if let Some(order) = order {
            assert_eq!(order.await.unwrap(), Err(WriteError::Unknown));
        }
        assert!(!fake.device(address(1), |d| d.connected()), "{stuck}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebuilt_radio_finds_its_devices_again() {
    let (mut rig, fake) = one(vec![point("event", 0x2a6e, "u8@0", TOLD)], &[0x2a6e]);
    up(&mut rig).await;
    fake.world().open = Mood::Fails(RadioError::NoService("not running".to_owned()));
    fake.health(|health| health.service = false);
    rig.eventually("it is gone with the service", |rig| {
        rig.link(0) == LinkState::Down(Reason::LinkDown)
    })
    .await;
    fake.world().open = Mood::Well;
    up(&mut rig).await;
    assert!(fake.say(address(1), Said::Value(0, vec![9])));
    let sweeps = rig.during(secs(2)).await;
    assert_eq!(sweeps.len(), 1);
    assert_eq!(fake.device(address(1), |d| d.subscribed.clone()), [0]);
    let default = Gatt::default();
    assert!(matches!(peripheral(1, vec![]).kind, Kind::Gatt(gatt) if gatt == default));
}
