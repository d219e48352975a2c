//! How points are called, for people who look at a running gateway: the one table of names that stays
//! when the configuration has gone into drivers and pipeline.
//!
//! Names are shared with the drivers, a unit is kept once: a point costs 48 bytes here.

use gateway_config::PointConfig;
use gateway_config::fog::fits;
use protocols_model::{DeviceId, PointId, PointKey};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Debug)]
struct Name {
    device: DeviceId,
    point: PointId,
    unit: Arc<str>,
}

/// Names in the order of the keys.
#[derive(Debug, Default)]
pub(crate) struct PointNames(Vec<Name>);

impl PointNames {
    pub(crate) fn of(points: &[PointConfig]) -> Self {
        let mut units = BTreeSet::<Arc<str>>::new();
        let mut unit = |unit: &str| {
            let known = units.get(unit).cloned();
            known.unwrap_or_else(|| {
                let unit = Arc::<str>::from(unit);
                units.insert(Arc::clone(&unit));
                unit
            })
        };
        let names = points.iter().map(|PointConfig { descriptor, .. }| Name {
            device: descriptor.device.clone(),
            point: descriptor.point.clone(),
            unit: unit(&descriptor.unit),
        });
        Self(names.collect())
    }

    /// `device/point` and unit of a point.
    pub(crate) fn get(&self, point: PointKey) -> Option<(String, &str)> {
        let name = self.0.get(usize::try_from(point.0).ok()?)?;
        Some((format!("{}/{}", name.device, name.point), &*name.unit))
    }

    /// The points that a filter names: a selector where it holds a `*`, a part of the name else. `None`
    /// when it leaves nothing out.
    pub(crate) fn chosen(&self, filter: &str) -> Option<Vec<PointKey>> {
        if filter.is_empty() || filter == "*" {
            return None;
        }
        let is_selector = filter.contains('*');
        let mut name = String::new();
        let chosen = (0u32..).zip(&self.0).filter(|(_, known)| {
            name.clear();
            name.push_str(known.device.as_str());
            name.push('/');
            name.push_str(known.point.as_str());
            if is_selector {
                fits(filter, &name)
            } else {
                name.contains(filter)
            }
        });
        Some(chosen.map(|(key, _)| PointKey(key)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_config::Report;
    use protocols_model::{PointDescriptor, ValueType};

    fn named(device: &str, point: &str, unit: &str) -> PointConfig {
        PointConfig {
            descriptor: PointDescriptor {
                device: DeviceId::try_new(device).unwrap(),
                point: PointId::try_new(point).unwrap(),
                value_type: ValueType::F64,
                unit: unit.to_owned(),
                scale: 0.0,
            },
            report: Report::Every,
        }
    }

    #[test]
    fn a_filter_is_a_selector_or_a_part_of_the_name() {
        let points = [
            named("m1", "u", "V"),
            named("m2", "u", "V"),
            named("m2", "p", "W"),
        ];
        let names = PointNames::of(&points);
        let chosen = |filter| {
            let keys = names.chosen(filter)?;
            Some(keys.iter().map(|key| key.0).collect::<Vec<_>>())
        };
        assert_eq!(chosen(""), None);
        assert_eq!(chosen("m2/*"), Some(vec![1, 2]));
        assert_eq!(chosen("*/u"), Some(vec![0, 1]));
        assert_eq!(chosen("2/p"), Some(vec![2]));
        assert_eq!(chosen("nothing"), Some(vec![]));
        assert_eq!(names.get(PointKey(2)), Some(("m2/p".to_owned(), "W")));
        assert_eq!(names.get(PointKey(3)), None);
    }
}
