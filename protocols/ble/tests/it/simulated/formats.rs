//! Advertisements: every format from the simulator's encoder to a reading, and none lost on the way.

use super::{Air, OFTEN, sim};
use crate::rig::{bus, is_good, secs, sensor, values};
use protocols_ble::config::{BindKey, Device, Format, Kind};
use protocols_bluez_sim::payload::bthome::Object;
use protocols_bluez_sim::payload::{
    RuuviTag, Thermometer, Tlm, atc, bthome, eddystone_tlm, eddystone_uid, ibeacon, pvvx, ruuvi_3,
    ruuvi_5,
};
use protocols_bluez_sim::{Advert, Event, Fault, Sensor, Setup, on_private_bus};
use protocols_model::Value;
use std::collections::BTreeMap;

const KEY: [u8; 16] = [7; 16];

fn object(name: &str) -> Object {
    Object::named(name).unwrap()
}

fn encrypted(number: u8) -> Device {
    let mut device = sensor(number, Format::Bthome, &["temperature", "humidity"]);
    let Kind::Adverts(adverts) = &mut device.kind else {
        unreachable!()
    };
    adverts.key = Some(BindKey::new(KEY));
    device
}

/// Says the same on every turn, but numbered where the format has a number.
fn saying(number: u8, mut advert: impl FnMut(u64) -> Advert + Send + 'static) -> Sensor {
    Sensor::new(sim(number)).advertising(OFTEN, move |turn| advert(turn.number))
}

fn low(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table: a sensor, its payload, its values"
)]
fn each_format_gives_what_its_sensor_measured() {
    on_private_bus!(async |bus_address: String| {
        let devices = vec![
            sensor(
                1,
                Format::Bthome,
                &["temperature", "humidity", "battery", "voltage"],
            ),
            encrypted(2),
            sensor(
                3,
                Format::Ruuvi,
                &[
                    "temperature",
                    "humidity",
                    "pressure",
                    "acceleration_z",
                    "voltage",
                ],
            ),
            sensor(
                4,
                Format::Ruuvi,
                &["temperature", "humidity", "pressure", "voltage"],
            ),
            sensor(5, Format::Ibeacon, &["major", "minor", "measured_power"]),
            sensor(6, Format::Eddystone, &["namespace", "instance"]),
            sensor(7, Format::Eddystone, &["voltage", "temperature"]),
            sensor(
                8,
                Format::Atc,
                &["temperature", "humidity", "battery", "voltage"],
            ),
            sensor(
                9,
                Format::Pvvx,
                &["temperature", "humidity", "battery", "voltage"],
            ),
        ];
        let float = Value::F64;
        let expected: [Vec<Value>; 9] = [
            vec![float(-12.34), float(56.78), Value::U64(91), float(2.987)],
            vec![float(-12.34), float(56.78)],
            vec![
                float(-12.34),
                float(56.78),
                Value::U64(100_044),
                float(1.036),
                float(2.987),
            ],
            vec![
                float(-12.34),
                float(56.5),
                Value::U64(100_044),
                float(2.987),
            ],
            vec![Value::U64(258), Value::U64(65_535), Value::I64(-59)],
            vec![
                Value::Text("0102030405060708090a".into()),
                Value::Text("a1a2a3a4a5a6".into()),
            ],
            vec![float(2.987), float(-12.5)],
            vec![float(-12.3), Value::U64(57), Value::U64(91), float(2.987)],
            vec![float(-12.34), float(56.78), Value::U64(91), float(2.987)],
        ];
        let mut air = Air::new(&bus_address, devices).await;
        let tag = RuuviTag {
            temperature: -12.34,
            humidity: 56.78,
            pressure: 100_044.0,
            acceleration: [0.0, 0.0, 1.036],
            voltage: 2.987,
            ..RuuviTag::default()
        };
        let measured = Thermometer {
            temperature: -12.34,
            humidity: 56.78,
            voltage: 2.987,
            battery: 91.0,
        };
        let rounder = Thermometer {
            temperature: -12.3,
            humidity: 57.0,
            ..measured
        };
        let climate = [(object("temperature"), -12.34), (object("humidity"), 56.78)];
        let powered = [
            climate[0],
            climate[1],
            (object("battery"), 91.0),
            (object("voltage"), 2.987),
        ];
        let counted = |n: u64| u32::try_from(n).unwrap() + 1;
        for sensor in [
            saying(1, move |n| {
                let packet = (object("packet"), f64::from(low(n)));
                bthome::plain(&[packet, powered[0], powered[1], powered[2], powered[3]])
            }),
            saying(2, move |n| {
                bthome::encrypted(&climate, &KEY, sim(2), counted(n))
            }),
            saying(3, move |n| ruuvi_5(&tag, u16::from(low(n)), sim(3))),
            saying(4, move |_| {
                ruuvi_3(&RuuviTag {
                    humidity: 56.5,
                    ..tag
                })
            }),
            saying(5, move |_| ibeacon(1, 258, 65_535, -59)),
            saying(6, move |_| {
                eddystone_uid(
                    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
                    [0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6],
                    -20,
                )
            }),
            saying(7, move |n| {
                let adverts = counted(n);
                eddystone_tlm(&Tlm {
                    voltage: 2.987,
                    temperature: -12.5,
                    adverts,
                    tenths: adverts,
                })
            }),
            saying(8, move |n| atc(&rounder, low(n), sim(8))),
            saying(9, move |n| pvvx(&measured, low(n), sim(9))),
        ] {
            air.bluez.add(sensor).await;
        }
        let mut key = 0;
        let mut points = Vec::new();
        for values in &expected {
            for value in values {
                points.push((key, value.clone()));
                key += 1;
            }
        }
        let mut heard: BTreeMap<u32, Value> = BTreeMap::new();
        while heard.len() < points.len() {
            let sweep = air.rig.next().await;
            if !is_good(&sweep) {
                continue;
            }
            for (point, value) in values(&sweep) {
                let meant = &points[usize::try_from(point).unwrap()].1;
                assert!(
                    same(meant, &value),
                    "{}: {value:?} instead of {meant:?}",
                    sweep.device
                );
                heard.insert(point, value);
            }
        }
        air.end().await;
    });
}

/// As near as the arithmetic of two programs comes.
fn same(meant: &Value, read: &Value) -> bool {
    match (meant, read) {
        (Value::F64(meant), Value::F64(read)) => (meant - read).abs() < 1e-6,
        (meant, read) => meant == read,
    }
}

#[test]
fn everything_handed_out_is_read_in_order_or_counted() {
    on_private_bus!(async |bus_address: String| {
        const SENSORS: u8 = 20;
        let devices = (0..SENSORS)
            .map(|n| sensor(n, Format::Bthome, &["count"]))
            .collect();
        let mut air = Air::new(&bus_address, devices).await;
        air.listening().await;
        for number in 0..SENSORS {
            let sensor = saying(number, |n| bthome::plain(&[(object("count_32"), n as f64)]));
            air.bluez.add(sensor).await;
        }
        let handed = |air: &Air, number: u8| {
            air.bluez.journal().select(|record| match &record.event {
                Event::Advert { advert, .. } if record.address == Some(sim(number)) => {
                    let data = advert.service_data.values().next()?;
                    Some(u64::from(u32::from_le_bytes(data[2..6].try_into().ok()?)))
                }
                _ => None,
            })
        };
        let mut read: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        let take = |read: &mut BTreeMap<u8, Vec<u64>>, point: u32, value: &Value| {
            let Value::U64(count) = value else {
                panic!("{value:?}")
            };
            let point = u8::try_from(point).unwrap();
            read.entry(point).or_default().push(*count);
        };
        while air.happened(|event| matches!(event, Event::Advert { .. })) < 400 {
            let sweep = air.rig.next().await;
            for (point, value) in values(&sweep) {
                take(&mut read, point, &value);
            }
        }
        for number in 0..SENSORS {
            air.bluez.remove(sim(number)).await;
        }
        // What was handed out until now arrives, or is counted.
        let end = tokio::time::Instant::now() + secs(60);
        loop {
            let missing: usize = (0..SENSORS)
                .map(|n| handed(&air, n).len() - read.get(&n).map_or(0, Vec::len))
                .sum();
            if missing as u64 <= air.rig.count("overrun") {
                break;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "{missing} are missing and not counted"
            );
            for sweep in air.rig.during(OFTEN).await {
                for (point, value) in values(&sweep) {
                    take(&mut read, point, &value);
                }
            }
        }
        for number in 0..SENSORS {
            let handed = handed(&air, number);
            let read = &read[&number];
            let mut rest = handed.iter();
            assert!(
                read.iter().all(|n| rest.any(|h| h == n)),
                "{number}: {read:?} of {handed:?}"
            );
        }
        air.end().await;
    });
}

#[test]
fn replayed_and_spoiled_encrypted_adverts_never_become_values() {
    on_private_bus!(async |bus_address: String| {
        let mut configured = bus(vec![encrypted(1)]);
        configured.silence = Some(secs(3600));
        let mut air = Air::with(&bus_address, Setup::default(), configured).await;
        air.listening().await;
        air.bluez.add(Sensor::new(sim(1))).await;
        let climate = |t: f64| [(object("temperature"), t), (object("humidity"), 50.0)];
        let advert = |t: f64, counter: u32| bthome::encrypted(&climate(t), &KEY, sim(1), counter);
        let good = |t: f64| move |value: &Value| same(&Value::F64(t), value);
        assert!(air.bluez.advertise(sim(1), advert(21.0, 1000)).await);
        let first = air.rig.until("the first", is_good).await;
        assert!(good(21.0)(&values(&first)[0].1));

        // Recorded before, sent again with another content in front of it: no value, but counted.
        assert!(air.bluez.advertise(sim(1), advert(99.0, 500)).await);
        air.bluez.begin(Fault::Spoiled { address: sim(1) }).await;
        for counter in 0..50 {
            assert!(
                air.bluez
                    .advertise(sim(1), advert(77.0, 2000 + counter))
                    .await
            );
        }
        air.bluez.end(Fault::Spoiled { address: sim(1) }).await;
        assert!(air.bluez.advertise(sim(1), advert(22.0, 3000)).await);
        let next = air.rig.until("the next good one", is_good).await;
        assert!(good(22.0)(&values(&next)[0].1), "{next:?}");
        assert!(air.rig.count("bad_answers") > 0);
        air.end().await;
    });
}
