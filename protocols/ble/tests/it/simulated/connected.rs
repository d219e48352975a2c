//! Connected devices: read, listened to, written; links that break, services that never come, sensors that
//! refuse or say nothing.

use super::{Air, OFTEN, sim};
use crate::rig::{is_bad, is_good, peripheral, point, secs, sensor, values};
use protocols_ble::config::{Access, Device, Format, Kind};
use protocols_bluez_sim::payload::bthome::{self, Object};
use protocols_bluez_sim::{Characteristic, Event, Fault, Flag, Sensor, Uuid, on_private_bus};
use protocols_driver::{LinkState, WriteError};
use protocols_model::{Reason, Value};
use std::time::Duration;

const READ: u16 = 0x2A6E;
const TOLD: u16 = 0x2A6F;
const ORDER: u16 = 0x2A50;

/// A sensor that counts what is read (0, 1, 2 …) and what it tells (1000, 1001 …), and takes orders.
fn gadget(number: u8) -> Sensor {
    let count = |from: u64| {
        move |turn: protocols_bluez_sim::Turn| {
            u16::try_from(from + turn.number)
                .unwrap()
                .to_le_bytes()
                .to_vec()
        }
    };
    let read = Characteristic::scripted(Uuid::short(READ), &[Flag::Read], count(0));
    let told =
        Characteristic::scripted(Uuid::short(TOLD), &[Flag::Notify], count(1000)).every(OFTEN);
    let order = Characteristic::new(Uuid::short(ORDER), &[Flag::Read, Flag::Write], vec![0, 0]);
    Sensor::new(sim(number))
        .advertising(OFTEN, |turn| {
            bthome::plain(&[(Object::named("count_32").unwrap(), turn.number as f64)])
        })
        .service(Uuid::short(0x181A), vec![read, told])
        .service(Uuid::short(0x1815), vec![order])
}

/// Points 0 (read), 1 (told), 2 (written); quick to try again.
fn device(number: u8) -> Device {
    let points = vec![
        point(
            "read",
            READ,
            "u16le@0",
            Access::Read(Duration::from_millis(300)),
        ),
        point("told", TOLD, "u16le@0", Access::Notify(Some(secs(20)))),
        point("order", ORDER, "u16le@0", Access::None),
    ];
    let mut device = peripheral(number, points);
    let Kind::Gatt(gatt) = &mut device.kind else {
        unreachable!()
    };
    gatt.connect_timeout = secs(15);
    gatt.backoff_min = secs(1);
    gatt.backoff_max = secs(3);
    device
}

async fn up(bus_address: &str) -> Air {
    up_as(bus_address, device(1)).await
}

/// With a device that is quick to give up what is not answered.
async fn up_impatient(bus_address: &str) -> Air {
    let mut device = device(1);
    if let Kind::Gatt(gatt) = &mut device.kind {
        gatt.timeout = secs(3);
    }
    up_as(bus_address, device).await
}

async fn up_as(bus_address: &str, device: Device) -> Air {
    let mut air = Air::new(bus_address, vec![device]).await;
    air.bluez.add(gadget(1)).await;
    air.rig
        .eventually("the device is connected", |rig| {
            rig.link(0) == LinkState::Up
        })
        .await;
    air
}

/// Waits for a good reading of a point that was not said before.
async fn news(air: &mut Air, point: u32, beyond: u64) -> u64 {
    let sweep = air
        .rig
        .until("news", |sweep| {
            values(sweep)
                .iter()
                .any(|(p, value)| *p == point && matches!(value, Value::U64(n) if *n > beyond))
        })
        .await;
    match &values(&sweep)[0].1 {
        Value::U64(n) => *n,
        other => panic!("{other:?}"),
    }
}

fn read_so_far(air: &Air) -> Vec<u64> {
    let number = |value: &[u8]| {
        value
            .try_into()
            .map_or(0, |two| u64::from(u16::from_le_bytes(two)))
    };
    air.bluez.journal().select(|record| match &record.event {
        Event::Read {
            characteristic,
            value,
        } if *characteristic == Uuid::short(READ) => Some(number(value)),
        _ => None,
    })
}

fn written(air: &Air) -> Vec<(Vec<u8>, bool)> {
    air.bluez.journal().select(|record| match &record.event {
        Event::Written {
            value, accepted, ..
        } => Some((value.clone(), *accepted)),
        _ => None,
    })
}

#[test]
fn values_read_are_those_the_sensor_gave_in_order() {
    on_private_bus!(async |bus_address: String| {
        let mut air = up(&bus_address).await;
        let mut read = Vec::new();
        while read.len() < 5 {
            let sweep = air.rig.until("a read", is_good).await;
            read.extend(
                values(&sweep)
                    .into_iter()
                    .filter_map(|(point, value)| match value {
                        Value::U64(n) if point == 0 => Some(n),
                        _ => None,
                    }),
            );
        }
        let given = read_so_far(&air);
        let first = given.iter().position(|n| *n == read[0]).unwrap();
        assert_eq!(read[..], given[first..first + read.len()]);
        air.end().await;
    });
}

#[test]
fn link_that_breaks_amid_notifications_comes_back_and_they_go_on() {
    on_private_bus!(async |bus_address: String| {
        let mut air = up(&bus_address).await;
        let mut last = news(&mut air, 1, 0).await;
        for _ in 0..2 {
            air.bluez.begin(Fault::Disconnect { address: sim(1) }).await;
            air.rig
                .eventually("the loss is noticed", |rig| {
                    matches!(rig.link(0), LinkState::Down(_))
                })
                .await;
            air.rig
                .eventually("it is connected again", |rig| rig.link(0) == LinkState::Up)
                .await;
            last = news(&mut air, 1, last).await;
            news(&mut air, 0, 0).await;
        }
        air.end().await;
    });
}

#[test]
fn services_that_never_resolve_end_the_attempt_and_the_next_succeeds() {
    on_private_bus!(async |bus_address: String| {
        let mut air = Air::new(&bus_address, vec![device(1)]).await;
        let fault = Fault::ServicesNeverResolved { address: sim(1) };
        air.bluez.add(gadget(1)).await;
        assert!(air.bluez.begin(fault.clone()).await);
        // Half a connection is not left behind.
        air.until("the attempt is given up", |bluez| {
            let links = bluez.journal().select(|record| match record.event {
                Event::Connected(on) => Some(on),
                _ => None,
            });
            links.starts_with(&[true, false])
        })
        .await;
        air.rig
            .until("bad readings", |sweep| is_bad(sweep, Reason::Timeout))
            .await;
        air.bluez.remove(sim(1)).await;
        air.bluez.add(gadget(1)).await;
        news(&mut air, 0, 0).await;
        air.end().await;
    });
}

/// A device that cannot be connected for a while: told, tried again, and the others are heard meanwhile.
async fn cannot_be_connected(bus_address: &str, fault: Fault, connect_timeout: Duration) {
    let beacon = sensor(2, Format::Bthome, &["count"]);
    let mut device = device(1);
    if let Kind::Gatt(gatt) = &mut device.kind {
        gatt.connect_timeout = connect_timeout;
    }
    let mut air = Air::new(bus_address, vec![device, beacon]).await;
    air.bluez.add(gadget(1)).await;
    assert!(air.bluez.begin(fault.clone()).await);
    let mut beacon = gadget(2);
    beacon.services.clear();
    air.bluez.add(beacon).await;
    air.until("an attempt", |bluez| {
        bluez
            .journal()
            .count(|record| record.event == Event::ConnectAsked)
            > 0
    })
    .await;
    air.rig
        .eventually("it is told", |rig| {
            rig.has_told("sensor-1: cannot be connected")
        })
        .await;
    air.rig
        .until("the beacon", |sweep| {
            is_good(sweep) && sweep.device.as_str() == "sensor-2"
        })
        .await;
    assert!(air.bluez.end(fault).await);
    news(&mut air, 0, 0).await;
    air.end().await;
}

#[test]
fn sensor_that_refuses_is_tried_again_and_others_are_heard_meanwhile() {
    on_private_bus!(async |bus_address: String| {
        let fault = Fault::ConnectRefused { address: sim(1) };
        cannot_be_connected(&bus_address, fault, secs(15)).await;
    });
}

#[test]
fn sensor_that_hangs_is_tried_again_and_others_are_heard_meanwhile() {
    on_private_bus!(async |bus_address: String| {
        // Dead devices get a twentieth of the air: the next attempt comes 38 s later.
        let fault = Fault::ConnectHangs { address: sim(1) };
        cannot_be_connected(&bus_address, fault, secs(2)).await;
    });
}

#[test]
fn accepted_order_is_written_once_and_confirmed() {
    on_private_bus!(async |bus_address: String| {
        let air = up(&bus_address).await;
        air.rig.order(2, Value::U64(513)).await.unwrap().unwrap();
        assert_eq!(written(&air), [(vec![1, 2], true)]);
        air.end().await;
    });
}

#[test]
fn refused_order_says_so() {
    on_private_bus!(async |bus_address: String| {
        let mut air = up(&bus_address).await;
        air.bluez
            .begin(Fault::WritesRefused { address: sim(1) })
            .await;
        let error = air
            .rig
            .order(2, Value::U64(513))
            .await
            .unwrap()
            .unwrap_err();
        assert!(matches!(error, WriteError::Refused(_)), "{error:?}");
        assert_eq!(written(&air), [(vec![1, 2], false)]);
        // A refusal is an answer: the connection stays.
        let last = read_so_far(&air).last().copied().unwrap_or(0);
        news(&mut air, 0, last).await;
        assert_eq!(air.happened(|event| *event == Event::ConnectAsked), 1);
        air.end().await;
    });
}

#[test]
fn order_without_an_answer_is_unknown_and_never_repeated() {
    on_private_bus!(async |bus_address: String| {
        let mut air = up_impatient(&bus_address).await;
        let fault = Fault::WritesHang { address: sim(1) };
        air.bluez.begin(fault.clone()).await;
        let error = air
            .rig
            .order(2, Value::U64(513))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(error, WriteError::Unknown);
        air.bluez.end(fault).await;
        let last = read_so_far(&air).last().copied().unwrap_or(0);
        news(&mut air, 0, last).await;
        assert_eq!(written(&air), [(vec![1, 2], true)]);
        air.end().await;
    });
}

#[test]
fn reads_that_hang_are_bad_and_the_connection_is_made_anew() {
    on_private_bus!(async |bus_address: String| {
        let mut air = up_impatient(&bus_address).await;
        let fault = Fault::ReadsHang { address: sim(1) };
        air.bluez.begin(fault.clone()).await;
        air.rig
            .until("bad readings", |sweep| is_bad(sweep, Reason::Timeout))
            .await;
        air.until("the connection is ended", |bluez| {
            bluez
                .journal()
                .count(|record| record.event == Event::Connected(false))
                > 0
        })
        .await;
        air.bluez.end(fault).await;
        let last = read_so_far(&air).last().copied().unwrap_or(0);
        news(&mut air, 0, last).await;
        air.end().await;
    });
}

#[test]
fn restarted_service_costs_the_connection_and_nothing_else() {
    on_private_bus!(async |bus_address: String| {
        let mut air = up(&bus_address).await;
        let told = news(&mut air, 1, 0).await;
        air.bluez.begin(Fault::DaemonStopped).await;
        air.rig
            .eventually("the link is down", |rig| {
                rig.link(0) == LinkState::Down(Reason::LinkDown)
            })
            .await;
        air.bluez.end(Fault::DaemonStopped).await;
        news(&mut air, 1, told).await;
        air.end().await;
    });
}
