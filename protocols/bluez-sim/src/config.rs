//! A site of Bluetooth sensors as people write it: adapters, sensors with their formats and scripts, faults.
//!
//! ```toml
//! [[adapters]]                     # none: one, hci0
//! name = "hci0"
//! faults = ["adverts-stop 30s every 10m"]
//!
//! [[sensors]]
//! name = "Kitchen"
//! address = "54:48:E6:8F:80:A5"
//! rssi = -67                       # dBm; -60 when left out
//! interval = "1s"                  # between advertisements
//! format = "bthome"                # bthome, ruuvi, ruuvi-3, ibeacon, eddystone-uid, -url, -tlm, atc, pvvx, raw
//! key = "231d39c1d7cc1ab1aee224cd096db932"
//! values = { temperature = { sine = { mean = 21, amplitude = 3 } }, humidity = 45 }
//! faults = ["out-of-range 20s every 5m", "spoiled 5s every 1m"]
//!
//! [[sensors]]
//! address = "C0:FF:EE:00:00:02"
//! [[sensors.characteristics]]
//! service = "181a"
//! uuid = "2a6e"
//! flags = ["read", "notify"]
//! every = "1s"
//! fields = [{ type = "i16", scale = 0.01, value = { ramp = { from = 15, to = 30, over = "5m" } } }]
//! ```
//! Flow: [`Site`] (as written) → [`Site::prepare`] (everything checked, all problems at once) →
//! [`Prepared`], which [`serve`](crate::serve) plays.

mod fields;
mod format;
mod plan;

pub use fields::{Field, FieldType};
pub use format::Format;
pub use plan::{Plan, PlanError, Scope, WORDS, Word};

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use protocols_sim::script::Script;
use protocols_sim::span::Time;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::names::{Address, Uuid};
use crate::sensor::{Characteristic, Flag, Sensor, Service};
use crate::setup::{AdapterSetup, Repeats, Setup, Timing};

/// Shortest pause between two advertisements or notifications; the standard's is 20 ms.
const SHORTEST: Duration = Duration::from_millis(20);
/// Most sensors of a site.
const MOST_SENSORS: usize = 10_000;

/// A site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// The adapters; none written: one, `hci0`.
    pub adapters: Vec<Adapter>,
    /// The sensors around them.
    pub sensors: Vec<SensorEntry>,
    /// Faults of bluetoothd itself, and crowds: `"stopped 5s every 10m"`, `"crowd 10000 1m every 1h"`.
    pub faults: Vec<Plan>,
    /// When set, an advertisement with the content of the one before is reported only once in this time, as
    /// by controllers that filter.
    pub repeats: Option<Time>,
    /// Another seed gives other noise.
    pub seed: u64,
}

/// An adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// `hci0`, `hci1` …
    pub name: String,
    /// Its own address; made from its place in the list when left out.
    #[serde(default)]
    pub address: Option<Address>,
    /// Whether it is switched on at the start.
    #[serde(default = "yes")]
    pub powered: bool,
    /// Its faults.
    #[serde(default)]
    pub faults: Vec<Plan>,
}

/// A sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorEntry {
    /// The name it advertises.
    #[serde(default)]
    pub name: Option<String>,
    /// Its address.
    pub address: Address,
    /// Signal strength, dBm.
    #[serde(default = "usual_rssi")]
    pub rssi: i16,
    /// The adapters that hear it; none: all.
    #[serde(default)]
    pub heard_by: Vec<String>,
    /// From one advertisement to the next.
    #[serde(default = "second")]
    pub interval: Time,
    /// What it advertises; without one, its name alone.
    #[serde(default)]
    pub format: Option<Format>,
    /// `BTHome`: 32 hex digits; with them it encrypts.
    #[serde(default)]
    pub key: Option<String>,
    /// `BTHome`: whether advertisements are numbered.
    #[serde(default = "yes")]
    pub packet: bool,
    /// `BTHome`, encrypted: the first counter. Left out, it follows the clock, so that a simulator started
    /// again goes on above where it ended; a receiver would take lower ones for replayed.
    #[serde(default)]
    pub counter: Option<u32>,
    /// What it measures, by the names its format has.
    #[serde(default)]
    pub values: BTreeMap<String, Script>,
    /// iBeacon: its UUID.
    #[serde(default)]
    pub uuid: Option<Uuid>,
    /// iBeacon.
    #[serde(default)]
    pub major: u16,
    /// iBeacon.
    #[serde(default)]
    pub minor: u16,
    /// Beacons: calibrated strength, dBm.
    #[serde(default = "usual_power")]
    pub power: i8,
    /// Eddystone-UID: 20 hex digits.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Eddystone-UID: 12 hex digits.
    #[serde(default)]
    pub instance: Option<String>,
    /// Eddystone-URL.
    #[serde(default)]
    pub url: Option<String>,
    /// Raw: the company of manufacturer specific data.
    #[serde(default)]
    pub company: Option<u16>,
    /// Raw: the service of service data.
    #[serde(default)]
    pub service: Option<Uuid>,
    /// Raw: the content.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// What it offers when connected.
    #[serde(default)]
    pub characteristics: Vec<CharacteristicEntry>,
    /// Whether it goes on advertising while connected.
    #[serde(default)]
    pub advertises_while_connected: bool,
    /// Its faults.
    #[serde(default)]
    pub faults: Vec<Plan>,
}

/// A characteristic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CharacteristicEntry {
    /// The service it belongs to.
    pub service: Uuid,
    /// What it is.
    pub uuid: Uuid,
    /// What may be done with it.
    pub flags: Vec<Flag>,
    /// A notification this often, while someone listens.
    #[serde(default)]
    pub every: Option<Time>,
    /// Its value; without fields, what was last written.
    #[serde(default)]
    pub fields: Vec<Field>,
}

const fn yes() -> bool {
    true
}
const fn usual_rssi() -> i16 {
    -60
}
const fn usual_power() -> i8 {
    -59
}
const fn second() -> Time {
    Time(Duration::from_secs(1))
}

/// Something in a site that cannot be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `sensors[2] (C0:FF:EE:00:00:02)`.
    pub place: String,
    /// What, and what is allowed.
    pub what: String,
}

/// A site that cannot be played, with all that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|p| format!("{}: {}", p.place, p.what)).collect::<Vec<_>>().join("\n"))]
pub struct SiteError(pub Vec<Problem>);

/// A site that can be played.
#[derive(Debug)]
pub struct Prepared {
    /// How to set up the simulator; its `on_record` is free to set.
    pub setup: Setup,
    /// The sensors.
    pub sensors: Vec<Sensor>,
    /// The faults, and when.
    pub faults: Vec<(Plan, Fault)>,
}

/// Collects what is wrong, place by place.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, place: &str, what: impl ToString) {
        self.0.push(Problem {
            place: place.to_owned(),
            what: what.to_string(),
        });
    }
}

impl Site {
    /// Checks everything and reads the recordings of scripts, relative to `folder`.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn prepare(&self, folder: &Path) -> Result<Prepared, SiteError> {
        let mut problems = Problems::default();
        let mut faults = Vec::new();
        let adapters = self.adapters(&mut problems, &mut faults);
        let names: BTreeSet<&str> = adapters
            .iter()
            .map(|adapter| adapter.name.as_str())
            .collect();

        let mut sensors = Vec::new();
        let mut seen = BTreeSet::new();
        if self.sensors.len() > MOST_SENSORS {
            problems.add(
                "sensors",
                format!("at most {MOST_SENSORS}; there are {}", self.sensors.len()),
            );
        }
        for (number, entry) in self.sensors.iter().take(MOST_SENSORS).enumerate() {
            let place = format!("sensors[{number}] ({})", entry.address);
            if !seen.insert(entry.address) {
                problems.add(&place, "this address is taken by an earlier sensor");
            }
            for name in entry
                .heard_by
                .iter()
                .filter(|name| !names.contains(name.as_str()))
            {
                problems.add(&place, format!("heard_by: there is no adapter {name:?}"));
            }
            let salt = u64::try_from(number).unwrap_or(0).wrapping_add(self.seed);
            sensors.push(entry.sensor(folder, salt, &place, &mut problems));
            for plan in &entry.faults {
                take_fault(
                    plan,
                    &place,
                    &mut problems,
                    &mut faults,
                    plan.sensor_fault(entry.address),
                );
            }
        }
        for plan in &self.faults {
            take_fault(
                plan,
                "faults",
                &mut problems,
                &mut faults,
                plan.daemon_fault(),
            );
        }

        let timing = Timing {
            repeats: self
                .repeats
                .map_or(Repeats::Report, |time| Repeats::OneIn(time.0)),
            ..Timing::default()
        };
        if problems.0.is_empty() {
            Ok(Prepared {
                setup: Setup {
                    adapters,
                    timing,
                    seed: self.seed,
                    on_record: None,
                },
                sensors,
                faults,
            })
        } else {
            Err(SiteError(problems.0))
        }
    }

    fn adapters(
        &self,
        problems: &mut Problems,
        faults: &mut Vec<(Plan, Fault)>,
    ) -> Vec<AdapterSetup> {
        if self.adapters.is_empty() {
            return vec![AdapterSetup::number(0)];
        }
        let mut adapters: Vec<AdapterSetup> = Vec::new();
        for (number, adapter) in self.adapters.iter().enumerate() {
            let place = format!("adapters[{number}] ({})", adapter.name);
            let digits = adapter.name.strip_prefix("hci").unwrap_or_default();
            if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                problems.add(&place, "an adapter is called hci0, hci1 …");
            }
            if adapters.iter().any(|earlier| earlier.name == adapter.name) {
                problems.add(&place, "this name is taken by an earlier adapter");
            }
            let usual = AdapterSetup::number(u8::try_from(number).unwrap_or(u8::MAX));
            adapters.push(AdapterSetup {
                name: adapter.name.clone(),
                address: adapter.address.unwrap_or(usual.address),
                powered: adapter.powered,
            });
            for plan in &adapter.faults {
                take_fault(
                    plan,
                    &place,
                    problems,
                    faults,
                    plan.adapter_fault(&adapter.name),
                );
            }
        }
        adapters
    }
}

fn take_fault(
    plan: &Plan,
    place: &str,
    problems: &mut Problems,
    faults: &mut Vec<(Plan, Fault)>,
    fault: Result<Fault, PlanError>,
) {
    match fault {
        Ok(fault) => faults.push((plan.clone(), fault)),
        Err(e) => problems.add(place, e),
    }
}

impl SensorEntry {
    fn sensor(&self, folder: &Path, salt: u64, place: &str, problems: &mut Problems) -> Sensor {
        let mut sensor = Sensor::new(self.address);
        sensor.rssi = self.rssi;
        sensor.heard_by.clone_from(&self.heard_by);
        sensor.advertises_while_connected = self.advertises_while_connected;
        if self.interval.0 < SHORTEST {
            problems.add(
                place,
                format!(
                    "interval = \"{}\" is not allowed; at least 20ms",
                    self.interval
                ),
            );
        }
        match self.source(folder, salt) {
            Ok(source) => sensor = sensor.advertising(self.interval.0.max(SHORTEST), source),
            Err(whats) => whats.iter().for_each(|what| problems.add(place, what)),
        }
        for (number, entry) in self.characteristics.iter().enumerate() {
            let place = format!("{place}.characteristics[{number}] ({})", entry.uuid);
            let salt = salt
                .wrapping_mul(64)
                .wrapping_add(u64::try_from(number).unwrap_or(0));
            match entry.characteristic(folder, salt) {
                Ok(characteristic) => {
                    let service = sensor.services.iter_mut().find(|s| s.uuid == entry.service);
                    match service {
                        Some(service) => service.characteristics.push(characteristic),
                        None => sensor.services.push(Service {
                            uuid: entry.service,
                            characteristics: vec![characteristic],
                        }),
                    }
                }
                Err(whats) => whats.iter().for_each(|what| problems.add(&place, what)),
            }
        }
        sensor
    }
}

impl CharacteristicEntry {
    fn characteristic(&self, folder: &Path, salt: u64) -> Result<Characteristic, Vec<String>> {
        let mut wrong = Vec::new();
        if self.flags.is_empty() {
            wrong.push("flags: name at least one".to_owned());
        }
        let listens = self
            .flags
            .iter()
            .any(|flag| matches!(flag, Flag::Notify | Flag::Indicate));
        if self.every.is_some() && (!listens || self.fields.is_empty()) {
            wrong.push("every needs the flag notify or indicate, and fields".to_owned());
        }
        if self.every.is_some_and(|every| every.0 < SHORTEST) {
            wrong.push("every: at least 20ms".to_owned());
        }
        let writer = match fields::prepare(&self.fields, folder, salt) {
            Ok(writer) => writer,
            Err(more) => {
                wrong.extend(more);
                return Err(wrong);
            }
        };
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let mut characteristic = if self.fields.is_empty() {
            Characteristic::new(self.uuid, &self.flags, Vec::new())
        } else {
            Characteristic::scripted(self.uuid, &self.flags, writer)
        };
        characteristic.notify_every = self.every.map(|every| every.0);
        Ok(characteristic)
    }
}

#[cfg(test)]
mod tests;
