//! Formats of advertisements by name, and the advertisements made from scripts.

use std::collections::BTreeMap;
use std::path::Path;

use protocols_model::{Clock as _, SystemClock, Timestamp};
use protocols_sim::script::Signal;
use serde::{Deserialize, Serialize};

use super::fields::{self, hex, moment};
use super::{SHORTEST, SensorEntry};
use crate::payload::bthome::{OBJECTS, Object};
use crate::payload::{self, RuuviTag, Thermometer, Tlm, bthome};
use crate::sensor::{Advert, AdvertSource, Turn};

/// What an advertisement looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `BTHome` v2, encrypted when there is a key.
    Bthome,
    /// Ruuvi, data format 5.
    Ruuvi,
    /// Ruuvi, data format 3.
    #[serde(rename = "ruuvi-3")]
    Ruuvi3,
    /// Apple's beacon.
    Ibeacon,
    /// Eddystone with an identifier.
    EddystoneUid,
    /// Eddystone with an address.
    EddystoneUrl,
    /// Eddystone with its own state.
    EddystoneTlm,
    /// Xiaomi thermometers with the firmware of atc1441.
    Atc,
    /// Xiaomi thermometers with the firmware of pvvx.
    Pvvx,
    /// Bytes by `company` or `service`, and `fields`.
    Raw,
}

const RUUVI: [&str; 9] = [
    "temperature",
    "humidity",
    "pressure",
    "acceleration_x",
    "acceleration_y",
    "acceleration_z",
    "voltage",
    "tx_power",
    "movements",
];
const THERMOMETER: [&str; 4] = ["temperature", "humidity", "voltage", "battery"];
const TLM: [&str; 2] = ["voltage", "temperature"];

impl Format {
    /// The names of the values it carries.
    #[must_use]
    pub fn values(self) -> Vec<&'static str> {
        match self {
            Self::Bthome => OBJECTS
                .iter()
                .map(|object| object.name)
                .filter(|n| *n != "packet")
                .collect(),
            Self::Ruuvi | Self::Ruuvi3 => RUUVI.to_vec(),
            Self::Atc | Self::Pvvx => THERMOMETER.to_vec(),
            Self::EddystoneTlm => TLM.to_vec(),
            Self::Ibeacon | Self::EddystoneUid | Self::EddystoneUrl | Self::Raw => Vec::new(),
        }
    }
}

/// The scripts of a sensor, by the names of their values.
struct Signals(BTreeMap<String, Signal>);

impl Signals {
    fn at(&self, name: &str, turn: Turn) -> f64 {
        self.0
            .get(name)
            .map_or(0.0, |signal| signal.at(moment(turn)).as_f64())
    }
}

/// The low bits of a counter that wraps, as sensors' counters do.
macro_rules! wrapped {
    ($number:expr, $int:ident) => {
        $int::try_from($number & u64::from($int::MAX)).unwrap_or(0)
    };
}

impl SensorEntry {
    /// What makes the sensor's advertisements.
    ///
    /// # Errors
    /// All that is wrong with its description.
    pub(super) fn source(&self, folder: &Path, salt: u64) -> Result<AdvertSource, Vec<String>> {
        let mut wrong = Vec::new();
        let signals = self.signals(folder, salt, &mut wrong);
        self.refuse_misplaced(&mut wrong);
        let source = match self.bare_source(signals, folder, salt) {
            Ok(source) if wrong.is_empty() => source,
            Ok(_) => return Err(wrong),
            Err(more) => {
                wrong.extend(more);
                return Err(wrong);
            }
        };
        let Some(name) = self.name.clone() else {
            return Ok(source);
        };
        let mut source = source;
        Ok(Box::new(move |turn| Advert {
            name: Some(name.clone()),
            ..source(turn)
        }))
    }

    fn signals(&self, folder: &Path, salt: u64, wrong: &mut Vec<String>) -> Signals {
        let allowed = self.format.map(Format::values).unwrap_or_default();
        let mut signals = BTreeMap::new();
        for (number, (name, script)) in (0_u64..).zip(&self.values) {
            if !allowed.contains(&name.as_str()) {
                let known = if allowed.is_empty() {
                    "none".to_owned()
                } else {
                    allowed.join(", ")
                };
                wrong.push(format!(
                    "values: this format has no {name:?}; it has {known}"
                ));
                continue;
            }
            match script.prepare(folder, salt.wrapping_mul(1009).wrapping_add(number)) {
                Ok(signal) => {
                    signals.insert(name.clone(), signal);
                }
                Err(e) => wrong.push(format!("values.{name}: {e}")),
            }
        }
        Signals(signals)
    }

    /// Keys of another format are slips, not wishes.
    fn refuse_misplaced(&self, wrong: &mut Vec<String>) {
        let format = self.format;
        let mut only = |set: bool, key: &str, of: Format, name: &str| {
            if set && format != Some(of) {
                wrong.push(format!("{key} belongs to format = \"{name}\""));
            }
        };
        only(self.key.is_some(), "key", Format::Bthome, "bthome");
        only(self.uuid.is_some(), "uuid", Format::Ibeacon, "ibeacon");
        only(
            self.namespace.is_some(),
            "namespace",
            Format::EddystoneUid,
            "eddystone-uid",
        );
        only(
            self.instance.is_some(),
            "instance",
            Format::EddystoneUid,
            "eddystone-uid",
        );
        only(
            self.url.is_some(),
            "url",
            Format::EddystoneUrl,
            "eddystone-url",
        );
        only(self.company.is_some(), "company", Format::Raw, "raw");
        only(self.service.is_some(), "service", Format::Raw, "raw");
        only(!self.fields.is_empty(), "fields", Format::Raw, "raw");
    }

    fn bare_source(
        &self,
        signals: Signals,
        folder: &Path,
        salt: u64,
    ) -> Result<AdvertSource, Vec<String>> {
        let address = self.address;
        Ok(match self.format {
            None => Box::new(|_| Advert::default()),
            Some(Format::Bthome) => self.bthome(signals)?,
            Some(Format::Ruuvi) => Box::new(move |turn| {
                payload::ruuvi_5(&ruuvi(&signals, turn), wrapped!(turn.number, u16), address)
            }),
            Some(Format::Ruuvi3) => Box::new(move |turn| payload::ruuvi_3(&ruuvi(&signals, turn))),
            Some(Format::Atc) => Box::new(move |turn| {
                payload::atc(
                    &thermometer(&signals, turn),
                    wrapped!(turn.number, u8),
                    address,
                )
            }),
            Some(Format::Pvvx) => Box::new(move |turn| {
                payload::pvvx(
                    &thermometer(&signals, turn),
                    wrapped!(turn.number, u8),
                    address,
                )
            }),
            Some(Format::EddystoneTlm) => Box::new(move |turn| {
                payload::eddystone_tlm(&Tlm {
                    voltage: signals.at("voltage", turn),
                    temperature: signals.at("temperature", turn),
                    adverts: wrapped!(turn.number, u32),
                    tenths: u32::try_from(turn.elapsed.as_millis() / 100).unwrap_or(u32::MAX),
                })
            }),
            Some(Format::Raw) => self.raw(folder, salt)?,
            Some(Format::Ibeacon | Format::EddystoneUid | Format::EddystoneUrl) => {
                let advert = self.beacon().map_err(|what| vec![what])?;
                Box::new(move |_| advert.clone())
            }
        })
    }

    fn bthome(&self, signals: Signals) -> Result<AdvertSource, Vec<String>> {
        let key: Option<[u8; 16]> = match &self.key {
            None => None,
            Some(digits) => Some(hex(digits).and_then(|key| key.try_into().ok()).ok_or_else(
                || {
                    // The key itself is not repeated: it may be a real one.
                    vec!["key: 32 hex digits are needed".to_owned()]
                },
            )?),
        };
        let (address, packet) = (self.address, self.packet);
        let first = u64::from(
            self.counter
                .unwrap_or_else(|| counter_now(SystemClock::start().wall())),
        );
        Ok(Box::new(move |turn| {
            let mut values: Vec<(Object, f64)> = signals
                .0
                .keys()
                .filter_map(|name| Some((Object::named(name)?, signals.at(name, turn))))
                .collect();
            if packet {
                values.extend(
                    Object::named("packet")
                        .map(|packet| (packet, f64::from(wrapped!(turn.number, u8)))),
                );
            }
            match &key {
                Some(key) => {
                    bthome::encrypted(&values, key, address, wrapped!(first + turn.number, u32))
                }
                None => bthome::plain(&values),
            }
        }))
    }

    fn raw(&self, folder: &Path, salt: u64) -> Result<AdvertSource, Vec<String>> {
        let mut write = fields::prepare(&self.fields, folder, salt)?;
        match (self.company, self.service) {
            (Some(company), None) => Ok(Box::new(move |turn| {
                Advert::manufacturer(company, write(turn))
            })),
            (None, Some(service)) => {
                Ok(Box::new(move |turn| Advert::service(service, write(turn))))
            }
            _ => Err(vec![
                "format = \"raw\" needs either company or service".to_owned(),
            ]),
        }
    }

    fn beacon(&self) -> Result<Advert, String> {
        let digits = |text: &Option<String>, key: &str, count: usize| {
            text.as_deref()
                .and_then(hex)
                .filter(|bytes| bytes.len() * 2 == count)
                .ok_or_else(|| format!("{key}: {count} hex digits are needed"))
        };
        match self.format {
            Some(Format::Ibeacon) => {
                let uuid = self.uuid.ok_or("ibeacon needs uuid")?;
                Ok(payload::ibeacon(
                    uuid.number(),
                    self.major,
                    self.minor,
                    self.power,
                ))
            }
            Some(Format::EddystoneUid) => {
                let namespace = digits(&self.namespace, "namespace", 20)?
                    .try_into()
                    .unwrap_or_default();
                let instance = digits(&self.instance, "instance", 12)?
                    .try_into()
                    .unwrap_or_default();
                Ok(payload::eddystone_uid(namespace, instance, self.power))
            }
            _ => {
                let url = self.url.as_deref().ok_or("eddystone-url needs url")?;
                payload::eddystone_url(url, self.power).ok_or_else(|| {
                    format!("url = {url:?} is not allowed; it begins with http:// or https:// and is short")
                })
            }
        }
    }
}

/// A counter that no sensor has reached which began at an earlier moment: one step for each of the shortest
/// intervals since 1970, in 32 bits.
fn counter_now(wall: Timestamp) -> u32 {
    let steps = wall.as_millis() / i64::try_from(SHORTEST.as_millis()).unwrap_or(i64::MAX);
    u32::try_from(steps.rem_euclid(i64::from(u32::MAX)))
        .unwrap_or(1)
        .max(1)
}

fn ruuvi(signals: &Signals, turn: Turn) -> RuuviTag {
    RuuviTag {
        temperature: signals.at("temperature", turn),
        humidity: signals.at("humidity", turn),
        pressure: signals.at("pressure", turn),
        acceleration: ["acceleration_x", "acceleration_y", "acceleration_z"]
            .map(|axis| signals.at(axis, turn)),
        voltage: signals.at("voltage", turn),
        tx_power: signals.at("tx_power", turn),
        movements: signals.at("movements", turn),
    }
}

fn thermometer(signals: &Signals, turn: Turn) -> Thermometer {
    Thermometer {
        temperature: signals.at("temperature", turn),
        humidity: signals.at("humidity", turn),
        voltage: signals.at("voltage", turn),
        battery: signals.at("battery", turn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_of_a_later_start_is_above_all_of_an_earlier_one() {
        let start = Timestamp::from_millis(1_795_000_000_000);
        let later = start.plus(SHORTEST * 100);
        assert_eq!(counter_now(later), counter_now(start) + 100);
    }
}
