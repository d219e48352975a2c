//! Bluetooth LE sensors around an adapter that exists only on a private D-Bus.
//!
//! The unit number of a sensor says what it is: its address ends in it, odd ones advertise `BTHome`, even
//! ones Ruuvi's format 5. Logged is what a listening gateway was told; the air promises nothing, so the
//! judge counts an advertisement only if it was taken, and then exactly once and rightly.

use crate::answer_log::{ANSWER, AnswerLine, AnswerLog, PolledPoint, wall_ns};
use crate::signal;
use crate::site::{BusKind, BusSite, PointSite, UnitSite};
use anyhow::Context as _;
use protocols_bluez_sim::payload::{RuuviTag, bthome};
use protocols_bluez_sim::{
    Address, Advert, BlueZ, Bus, Event, Record, Sensor, Setup, Turn, payload,
};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What each sensor carries right now, and whose it is.
type Carried = Arc<Mutex<HashMap<Address, AnswerLine>>>;

/// The sensors and the bus on which a gateway finds them; gone when dropped.
#[derive(Debug)]
pub struct Radio {
    bluez: BlueZ,
    _bus: Bus,
    sensors: Vec<Address>,
    stopped: Arc<AtomicBool>,
}

/// The address of the sensor with this unit number, as a configuration writes it.
#[must_use]
pub fn address(unit: u8) -> String {
    at(unit).to_string()
}

const fn at(unit: u8) -> Address {
    Address([0xa4, 0xc1, 0x38, 0, 0, unit])
}

/// What a gateway decodes its advertisements as.
#[must_use]
pub const fn format(unit: u8) -> &'static str {
    if unit % 2 == 1 { "bthome" } else { "ruuvi" }
}

/// What a gateway must have in `DBUS_SYSTEM_BUS_ADDRESS` to find the sensors of a simulator whose site
/// file lies in `folder`.
#[must_use]
pub fn bus_address(folder: &Path) -> String {
    format!("unix:path={}", folder.join("bus.sock").display())
}

impl Radio {
    /// Starts the private bus in `folder` and the sensors of `buses`.
    ///
    /// # Errors
    /// Where the bus cannot be started.
    pub async fn start(
        folder: &Path,
        buses: &[&BusSite],
        log: &Arc<AnswerLog>,
    ) -> anyhow::Result<Self> {
        let bus = Bus::start_in(folder).context("starting a D-Bus for the simulated adapter")?;
        let (carried, stopped) = (Carried::default(), Arc::new(AtomicBool::new(false)));
        let setup = Setup {
            on_record: Some(Arc::new(told(&carried, log, &stopped))),
            ..Setup::default()
        };
        let bluez = BlueZ::start(bus.address(), setup).await?;
        let mut sensors = Vec::new();
        for bus in buses {
            let BusKind::Radio { every_ms } = bus.kind else {
                continue;
            };
            let every = Duration::from_millis(u64::from(every_ms));
            for unit in &bus.units {
                sensors.push(at(unit.unit));
                let source = source(&bus.gateway, unit, &carried);
                let sensor = Sensor::new(at(unit.unit)).advertising(every, source);
                bluez.add(sensor).await;
            }
        }
        Ok(Self {
            bluez,
            _bus: bus,
            sensors,
            stopped,
        })
    }

    /// From now on nothing is advertised, and nothing is logged.
    pub async fn fall_silent(&self) {
        for sensor in &self.sensors {
            self.bluez.remove(*sensor).await;
        }
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Logs what a gateway was told; runs where the advertisement was made, right after it was.
fn told(
    carried: &Carried,
    log: &Arc<AnswerLog>,
    stopped: &Arc<AtomicBool>,
) -> impl Fn(&Record) + Send + Sync + 'static {
    let (carried, log, stopped) = (Arc::clone(carried), Arc::clone(log), Arc::clone(stopped));
    move |record| {
        let is_advert = matches!(record.event, Event::Advert { .. });
        let Some(address) = record.address.filter(|_| is_advert) else {
            return;
        };
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let carried = carried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = carried.get(&address) {
            let t = wall_ns();
            log.write_or_end(&AnswerLine { t, ..line.clone() });
        }
    }
}

fn source(
    gateway: &str,
    unit: &UnitSite,
    carried: &Carried,
) -> impl FnMut(Turn) -> Advert + Send + 'static {
    let (gateway, unit, carried) = (gateway.to_owned(), unit.clone(), Arc::clone(carried));
    move |turn| {
        let poll = |point: &PointSite| PolledPoint {
            point: point.id.clone(),
            n: turn.number,
            raw: signal::raw_at(point, turn.number),
        };
        let polls: Vec<PolledPoint> = unit.points.iter().map(poll).collect();
        let line = AnswerLine {
            t: 0,
            gateway: gateway.clone(),
            device: unit.device.clone(),
            polls,
            kind: ANSWER.to_owned(),
        };
        let mut carried = carried.lock().unwrap_or_else(PoisonError::into_inner);
        carried.insert(at(unit.unit), line);
        drop(carried);
        advert(&unit, turn.number)
    }
}

/// The advertisement that carries every point's value under the point's name.
fn advert(unit: &UnitSite, n: u64) -> Advert {
    let value = |point: &PointSite| signal::value(point.kind, signal::raw_at(point, n));
    if format(unit.unit) == "bthome" {
        let object = |point: &PointSite| Some((bthome::Object::named(&point.id)?, value(point)));
        let numbered = bthome::Object::named("packet").map(|packet| (packet, low(n, 0xff)));
        let values: Vec<_> = unit
            .points
            .iter()
            .filter_map(object)
            .chain(numbered)
            .collect();
        return bthome::plain(&values);
    }
    let of = |name: &str| unit.points.iter().find(|point| point.id == name).map(value);
    let tag = RuuviTag {
        temperature: of("temperature").unwrap_or(0.0),
        humidity: of("humidity").unwrap_or(0.0),
        pressure: 100_000.0,
        voltage: 2.9,
        ..RuuviTag::default()
    };
    let number = u16::try_from(n & 0xffff).unwrap_or(0);
    payload::ruuvi_5(&tag, number, at(unit.unit))
}

#[expect(clippy::cast_precision_loss, reason = "a few low bits")]
const fn low(n: u64, mask: u64) -> f64 {
    (n & mask) as f64
}
