//! What filters, rules and privacy must know of points: name, type, period, range, who may write them,
//! and what they are computed from.
//!
//! Points of devices come first, by the keys of the point table; what is computed is added behind them.

use crate::bus::BusConfig;
use crate::config::PointConfig;
use crate::notes::Notes;
use crate::problem::Problem;
use crate::source::Located;
use gateway_expr::Names;
use gateway_rules::check::Points;
use protocols_ble::config as ble;
use protocols_model::{PointDescriptor, PointKey, ValueType};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Longest list of names in a message.
const SHOWN: usize = 8;

/// What a driver knows of a point.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    /// How often it is read, or told at least; none where nobody knows or it is not read.
    pub(crate) period: Option<Duration>,
    pub(crate) is_read: bool,
    pub(crate) may_be_written: bool,
    pub(crate) range: Option<RangeInclusive<f64>>,
    /// The texts it may be, where they are listed.
    pub(crate) words: Option<Vec<String>>,
    /// The points it is computed from.
    pub(crate) from: Vec<PointKey>,
    /// It is a result of a window over the first of them.
    pub(crate) is_result: bool,
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) descriptor: PointDescriptor,
    pub(crate) about: About,
}

impl Known {
    /// As people write it.
    pub(crate) fn name(&self) -> String {
        name(&self.descriptor)
    }

    pub(crate) const fn is_number(&self) -> bool {
        matches!(
            self.descriptor.value_type,
            ValueType::I64 | ValueType::U64 | ValueType::F64
        )
    }
}

/// `device/point`.
pub(crate) fn name(point: &PointDescriptor) -> String {
    format!("{}/{}", point.device, point.point)
}

/// All points.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    points: Vec<Known>,
    /// By `device.point`, as expressions say it.
    by_name: BTreeMap<String, PointKey>,
}

impl Catalogue {
    pub(crate) fn new(points: &[PointConfig], buses: &[BusConfig]) -> Self {
        let mut catalogue = Self::default();
        for point in points {
            let _key = catalogue.add(point.descriptor.clone(), About::default());
        }
        for bus in buses {
            catalogue.learn(bus);
        }
        catalogue
    }

    /// Adds a point; `None` where its name is taken, or where there is no room.
    pub(crate) fn add(&mut self, descriptor: PointDescriptor, about: About) -> Option<PointKey> {
        let key = PointKey(u32::try_from(self.points.len()).ok()?);
        let name = format!("{}.{}", descriptor.device, descriptor.point);
        if self.by_name.contains_key(&name) {
            return None;
        }
        self.by_name.insert(name, key);
        self.points.push(Known { descriptor, about });
        Some(key)
    }

    pub(crate) const fn len(&self) -> usize {
        self.points.len()
    }

    pub(crate) fn get(&self, key: PointKey) -> Option<&Known> {
        self.points.get(usize::try_from(key.0).ok()?)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (PointKey, &Known)> {
        (0..).map(PointKey).zip(&self.points)
    }

    /// The points a selector names; a problem when there is none.
    pub(crate) fn matching(&self, wanted: &Located<String>, notes: &Notes<'_>) -> Vec<PointKey> {
        let fits = |known: &Known| fits(&wanted.value, &known.name());
        let found: Vec<PointKey> = self
            .all()
            .filter(|(_, known)| fits(known))
            .map(|(key, _)| key)
            .collect();
        if found.is_empty() {
            let message = format!("no point is called {:?}", wanted.value);
            notes.push(self.suggest(wanted, message, '/'));
        }
        found
    }

    /// The points of several selectors, each once.
    pub(crate) fn matching_all(
        &self,
        wanted: &[Located<String>],
        notes: &Notes<'_>,
    ) -> BTreeSet<PointKey> {
        let each = wanted.iter().flat_map(|one| self.matching(one, notes));
        each.collect()
    }

    /// The one point of this name, `device/point` or `device.point`.
    pub(crate) fn point(&self, wanted: &Located<String>, notes: &Notes<'_>) -> Option<PointKey> {
        let found = self.by_name.get(&wanted.value.replacen('/', ".", 1));
        if found.is_none() {
            let message = format!("there is no point {:?}", wanted.value);
            notes.push(self.suggest(wanted, message, '/'));
        }
        found.copied()
    }

    fn suggest(&self, wanted: &Located<String>, message: String, between: char) -> Problem {
        let names: Vec<String> = self
            .points
            .iter()
            .map(|known| {
                let point = &known.descriptor;
                format!("{}{between}{}", point.device, point.point)
            })
            .collect();
        let mut allowed = names.iter().take(SHOWN).cloned().collect::<Vec<_>>();
        if names.len() > SHOWN {
            allowed.push(format!("… ({} points)", names.len()));
        }
        let allowed = if allowed.is_empty() {
            "the configuration has no points".to_owned()
        } else {
            allowed.join(", ")
        };
        let found = wanted.value.replacen('.', "/", 1);
        Problem::error(&wanted.place, message, allowed)
            .suggest(&found, names.iter().map(String::as_str))
    }

    /// The points of devices that this one is computed from, itself where it is read.
    pub(crate) fn roots(&self, point: PointKey) -> BTreeSet<PointKey> {
        let mut roots = BTreeSet::new();
        let mut open = vec![point];
        let mut seen = BTreeSet::new();
        while let Some(key) = open.pop() {
            let Some(known) = self.get(key).filter(|_| seen.insert(key)) else {
                continue;
            };
            if known.about.from.is_empty() {
                roots.insert(key);
            } else {
                open.extend(&known.about.from);
            }
        }
        roots
    }

    fn learn(&mut self, bus: &BusConfig) {
        match bus {
            BusConfig::Modbus(bus) => {
                for point in bus.devices.iter().flat_map(|device| &device.points) {
                    let words = match point.names.as_deref() {
                        Some(protocols_modbus::config::Names::Values(names)) => {
                            Some(names.values().map(ToString::to_string).collect())
                        }
                        _ => None,
                    };
                    let about = About {
                        period: point.is_polled().then_some(point.period),
                        is_read: point.is_polled(),
                        may_be_written: point.write.is_some(),
                        range: point.range.clone(),
                        words,
                        ..About::default()
                    };
                    self.set(point.key, about);
                }
            }
            BusConfig::Serial(bus) => {
                for device in &bus.devices {
                    for point in &device.points {
                        let message = point.read.as_ref().map(|(index, _)| *index);
                        let message = message.and_then(|index| device.messages.get(index));
                        let about = About {
                            period: message.map(|message| message.period),
                            is_read: message.is_some(),
                            may_be_written: point.write.is_some(),
                            range: point.value.range.clone(),
                            ..About::default()
                        };
                        self.set(point.key, about);
                    }
                }
            }
            BusConfig::Ble(bus) => {
                for device in &bus.devices {
                    self.learn_ble(device);
                }
            }
        }
    }

    fn learn_ble(&mut self, device: &ble::Device) {
        match &device.kind {
            ble::Kind::Adverts(heard) => {
                for point in &heard.points {
                    let about = About {
                        // Silence is told after two intervals.
                        period: Some(heard.interval.saturating_mul(2)),
                        is_read: true,
                        ..About::default()
                    };
                    self.set(point.key, about);
                }
            }
            ble::Kind::Gatt(gatt) => {
                for point in &gatt.points {
                    let about = About {
                        period: match point.access {
                            ble::Access::Read(period) => Some(period),
                            ble::Access::Notify(interval) => interval,
                            ble::Access::None => None,
                        },
                        is_read: !matches!(point.access, ble::Access::None),
                        may_be_written: point.write.is_some(),
                        range: point.range.clone(),
                        ..About::default()
                    };
                    self.set(point.key, about);
                }
            }
        }
    }

    fn set(&mut self, key: PointKey, about: About) {
        let place = usize::try_from(key.0).ok();
        if let Some(known) = place.and_then(|place| self.points.get_mut(place)) {
            known.about = about;
        }
    }
}

impl Names for Catalogue {
    fn find(&self, name: &str) -> Option<(PointKey, ValueType)> {
        let key = *self.by_name.get(name)?;
        Some((key, self.get(key)?.descriptor.value_type))
    }

    fn all(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }
}

impl Points for Catalogue {
    fn name(&self, point: PointKey) -> String {
        self.get(point).map_or_else(String::new, Known::name)
    }

    fn writable(&self, point: PointKey) -> bool {
        self.get(point)
            .is_some_and(|known| known.about.may_be_written)
    }

    fn period(&self, point: PointKey) -> Duration {
        let period = self.get(point).and_then(|known| known.about.period);
        period.unwrap_or(Duration::from_secs(1))
    }

    fn sources(&self, point: PointKey) -> Vec<PointKey> {
        self.roots(point).into_iter().collect()
    }
}

/// Whether `name` fits a selector: `*` stands for any run of characters.
#[must_use]
pub fn fits(selector: &str, name: &str) -> bool {
    let mut parts = selector.split('*');
    let Some(mut rest) = parts.next().and_then(|start| name.strip_prefix(start)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_run_of_characters_and_nothing_else_is_special() {
        for (selector, name) in [
            ("m1/u", "m1/u"),
            ("m1/*", "m1/u_l1"),
            ("m*/p_*", "m12/p_sum"),
            ("*", "m1/u"),
            ("*_l1", "m1/l1_l1"),
            ("m*/*_*", "m1/a_b"),
        ] {
            assert!(fits(selector, name), "{selector} {name}");
        }
        for (selector, name) in [
            ("m1/u", "m1/u2"),
            ("*/u", "m1/u2"),
            ("m1*1/u", "m1/u"),
            ("", "a"),
            ("m?/u", "m1/u"),
        ] {
            assert!(!fits(selector, name), "{selector} {name}");
        }
    }
}
