//! The committed set of signals: 100 Modbus TCP units of 100 registers, each register a point.
//!
//! | registers of a unit | move as |
//! |---|---|
//! | 0 | the probe: counts its own polls, so that each answer can be found again in the database |
//! | 1–20 | quantities at the same level in all units (mains voltage): 3 of 10 polls move by up to 3 steps, around a slow sine |
//! | 21–70 | quantities at a level of their own in each unit (power, temperature): the same movement |
//! | 71–80 | counters that stand anywhere, rising at every poll by 1 to 40 with irregular steps |
//! | 81–94 | constants: set points, states, limits |
//! | 95–99 | noise: 4 to 64 values, new with every poll |
//!
//! Beside them, for the other families: a scale that sends twice a second, an instrument that is asked each
//! second, and where Bluetooth LE is wanted 200 sensors that advertise each second.
//!
//! All are closed forms of the poll number (`tests_fieldsim::signal`): the same bytes everywhere.

use std::path::Path;
use tests_fieldsim::{BusKind, BusSite, PointSite, Shape, Site, Space, UnitSite, WordKind, signal};

/// Units, each on an address of its own.
pub(crate) const UNITS: u16 = 100;
/// Registers of a unit, each a point.
pub(crate) const REGISTERS: u16 = 100;
/// Readings that one answer brings.
pub(crate) const READINGS_PER_ANSWER: u64 = REGISTERS as u64;
/// The probe's name.
pub(crate) const PROBE: &str = "probe";

/// Bluetooth LE sensors.
pub(crate) const SENSORS: u8 = 200;
/// What each of them measures.
pub(crate) const FIELDS: [&str; 2] = ["temperature", "humidity"];
/// Names of sensors begin so.
pub(crate) const SENSOR: &str = "air-";
/// The serial devices, each on a line of its own: name, point, speed.
pub(crate) const SCALE: (&str, &str, u32) = ("scale", "weight", 9600);
pub(crate) const INSTRUMENT: (&str, &str, u32) = ("multimeter", "volt", 19_200);
/// Between two frames of the scale.
const SCALE_EVERY_MS: u32 = 500;

/// All devices, polled by `gateway`; lines appear in `lines`, sensors where `radio` is wanted.
pub(crate) fn site(gateway: &str, lines: &Path, radio: bool) -> Site {
    let bus = |name: &str, kind, units| BusSite {
        name: name.to_owned(),
        gateway: gateway.to_owned(),
        kind,
        units,
    };
    let meter = |number| {
        bus(
            &bus_name(number),
            BusKind::Tcp { port: 0 },
            vec![unit(number)],
        )
    };
    let mut buses: Vec<BusSite> = (1..=UNITS).map(meter).collect();
    let link = |name: &str| lines.join(name).to_string_lossy().into_owned();
    let (name, point, baud) = SCALE;
    let kind = BusKind::Scale {
        link: link(name),
        baud,
        every_ms: SCALE_EVERY_MS,
    };
    buses.push(bus(
        name,
        kind,
        vec![other(1, name, &[point], WordKind::I32)],
    ));
    let (name, point, baud) = INSTRUMENT;
    let kind = BusKind::Scpi {
        link: link(name),
        baud,
    };
    buses.push(bus(
        name,
        kind,
        vec![other(1, name, &[point], WordKind::I64)],
    ));
    if radio {
        let sensor = |n| other(n, &sensor_name(n), &FIELDS, WordKind::Centi);
        let sensors = (1..=SENSORS).map(sensor).collect();
        buses.push(bus("air", BusKind::Radio { every_ms: 1000 }, sensors));
    }
    Site { buses }
}

/// Name of a sensor's device.
pub(crate) fn sensor_name(number: u8) -> String {
    format!("{SENSOR}{number:03}")
}

/// A device that is no Modbus unit.
fn other(unit: u8, device: &str, points: &[&str], kind: WordKind) -> UnitSite {
    let point = |&id: &&str| PointSite {
        id: id.to_owned(),
        space: Space::Input,
        address: 0,
        kind,
        shape: Shape::Sine {
            base: 20.0,
            amplitude: 5.0,
            period: 60.0 + f64::from(unit),
        },
        unit: String::new(),
        deadband: 0.0,
        beat_s: 0,
    };
    UnitSite {
        unit,
        device: device.to_owned(),
        points: points.iter().map(point).collect(),
        silent_every_s: 0,
        silent_s: 0,
    }
}

/// The 100 units.
pub(crate) fn units() -> Vec<UnitSite> {
    (1..=UNITS).map(unit).collect()
}

/// Name of a unit's bus.
pub(crate) fn bus_name(number: u16) -> String {
    format!("net-{number:03}")
}

/// Name of a unit's device.
pub(crate) fn device_name(number: u16) -> String {
    format!("meter-{number:03}")
}

/// Name of the point at a register.
pub(crate) fn point_name(register: u16) -> String {
    if register == 0 {
        PROBE.to_owned()
    } else {
        format!("r{register:02}")
    }
}

fn unit(number: u16) -> UnitSite {
    let point = |register| PointSite {
        id: point_name(register),
        space: Space::Input,
        address: register,
        kind: WordKind::U16,
        shape: shape(number, register),
        unit: String::new(),
        deadband: 0.0,
        beat_s: 0,
    };
    UnitSite {
        unit: 1,
        device: device_name(number),
        points: (0..REGISTERS).map(point).collect(),
        silent_every_s: 0,
        silent_s: 0,
    }
}

fn shape(unit: u16, register: u16) -> Shape {
    let seed = u64::from(unit) << 16 | u64::from(register);
    match register {
        0 => Shape::Count,
        1..=70 => Shape::Walk {
            base: if register <= 20 {
                1000.0 + 100.0 * f64::from(register) + f64::from(anywhere(seed) % 64)
            } else {
                1000.0 + f64::from(anywhere(seed) % 60_000)
            },
            amplitude: 20.0,
            period: 1800.0 + 10.0 * f64::from(register),
            seed,
        },
        71..=80 => Shape::Total {
            step: u64::from(register % 10) * 2 + 2,
            seed,
        },
        81..=94 => Shape::Constant {
            value: anywhere(seed).into(),
        },
        _ => Shape::Noise {
            base: 2000,
            spread: 4 << (register - 95),
            seed,
        },
    }
}

/// A level that has nothing to do with those of other points.
const fn anywhere(seed: u64) -> u16 {
    let [high, low, ..] = signal::scattered(seed, 0).to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_third_of_the_set_moves_from_one_second_to_the_next() {
        let units = units();
        let points = units.iter().flat_map(|unit| &unit.points);
        let (mut moved, mut all) = (0, 0);
        for point in points {
            for n in 100..110 {
                moved += i32::from(signal::raw_at(point, n) != signal::raw_at(point, n + 1));
                all += 1;
            }
        }
        let share = f64::from(moved) / f64::from(all);
        assert!((0.28..0.42).contains(&share), "{share}");
    }

    #[test]
    fn every_answer_of_a_unit_can_be_told_from_the_others() {
        let unit = unit(7);
        let probe = &unit.points[0];
        let values: HashSet<i64> = (0..5000).map(|n| signal::raw_at(probe, n)).collect();
        assert_eq!(values.len(), 5000);
    }
}
