//! Points of a connected device as characteristics to read, to listen to and to write.
//!
//! Pure: points of one characteristic with one period share its reads, those that are told share its
//! notifications; values come out of the bytes by the points' own fields, and go into them the same way.

use crate::address::Uuid;
use crate::config::{Access, Gatt, GattPoint};
use crate::listener::in_range;
use crate::radio::Characteristic;
use protocols_driver::WriteError;
use protocols_model::{PointKey, Reading, Reason, Timestamp, Value};
use std::time::Duration;

/// Which characteristic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    service: Option<Uuid>,
    characteristic: Uuid,
}

impl Target {
    pub(crate) const fn of(point: &GattPoint) -> Self {
        Self {
            service: point.service,
            characteristic: point.characteristic,
        }
    }

    /// Its place among those that the device has.
    pub(crate) fn find(self, all: &[Characteristic]) -> Option<usize> {
        all.iter().position(|found| {
            found.uuid == self.characteristic
                && self.service.is_none_or(|service| service == found.service)
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "characteristic {:?}", self.characteristic)?;
        match self.service {
            Some(service) => write!(f, " of service {service:?}"),
            None => Ok(()),
        }
    }
}

/// How the values of a group come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Asked in this period.
    Read(Duration),
    /// Told; with a span, at least once in it.
    Notify(Option<Duration>),
}

impl How {
    /// In which span a reading is due, if in any.
    pub(crate) const fn span(self) -> Option<Duration> {
        match self {
            Self::Read(period) => Some(period),
            Self::Notify(interval) => interval,
        }
    }
}

/// Points whose values come together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) target: Target,
    pub(crate) how: How,
    points: Vec<usize>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) groups: Vec<Group>,
    points: Vec<GattPoint>,
}

impl Plan {
    pub(crate) fn new(gatt: &Gatt) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for (index, point) in gatt.points.iter().enumerate() {
            let how = match point.access {
                Access::Read(period) => How::Read(period),
                Access::Notify(interval) => How::Notify(interval),
                Access::None => continue,
            };
            let target = Target::of(point);
            let known = groups
                .iter_mut()
                .find(|group| group.target == target && group.how == how);
            match known {
                Some(group) => group.points.push(index),
                None => groups.push(Group {
                    target,
                    how,
                    points: vec![index],
                }),
            }
        }
        Self {
            groups,
            points: gatt.points.clone(),
        }
    }

    fn points_of(&self, group: usize) -> impl Iterator<Item = &GattPoint> {
        let points = self.groups.get(group).map(|group| group.points.iter());
        points
            .into_iter()
            .flatten()
            .filter_map(|index| self.points.get(*index))
    }

    /// The values in the bytes of a characteristic. A field that payloads of this length do not have
    /// gives no reading.
    pub(crate) fn readings(&self, group: usize, bytes: &[u8], at: Timestamp) -> Vec<Reading> {
        let reading = |point: &GattPoint| match point.value.decode(bytes) {
            Ok(value) if in_range(&value, point.range.as_ref()) => {
                Some(Reading::good(point.key, at, value))
            }
            Ok(_) => Some(Reading::bad(point.key, at, Reason::OutOfRange)),
            Err(protocols_layout::FieldError::Absent(_)) => None,
            Err(error) => Some(Reading::bad(point.key, at, error.reason())),
        };
        self.points_of(group).filter_map(reading).collect()
    }

    /// A bad reading for each point of a group.
    pub(crate) fn bad(&self, group: usize, at: Timestamp, reason: Reason) -> Vec<Reading> {
        let points = self.points_of(group);
        points
            .map(|point| Reading::bad(point.key, at, reason))
            .collect()
    }

    /// The point of an order.
    pub(crate) fn point(&self, key: PointKey) -> Option<&GattPoint> {
        self.points.iter().find(|point| point.key == key)
    }
}

/// The bytes that make a characteristic say `value`.
pub(crate) fn payload(point: &GattPoint, value: &Value) -> Result<Vec<u8>, WriteError> {
    if !in_range(value, point.range.as_ref()) {
        let range = point.range.as_ref();
        let (min, max) = range.map_or((0.0, 0.0), |range| (*range.start(), *range.end()));
        let text = format!("it is outside the range [{min}, {max}]");
        return Err(WriteError::BadValue(text));
    }
    let mut payload = vec![0; point.value.min_payload()];
    let written = point.value.write(value, &mut payload);
    written.map_err(|error| WriteError::BadValue(error.to_string()))?;
    Ok(payload)
}

/// Whether a value read back is the one written, as far as the field can tell values apart.
pub(crate) fn same(point: &GattPoint, written: &Value, read: &Value) -> bool {
    let bytes = |value| point.value.encode(value).ok();
    written == read
        || bytes(written).is_some_and(|bytes_written| bytes(read) == Some(bytes_written))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WriteMode;
    use protocols_model::{PointId, Quality};

    fn point(key: u32, characteristic: u16, value: &str, access: Access) -> GattPoint {
        GattPoint {
            key: PointKey(key),
            id: PointId::try_new("p").unwrap(),
            characteristic: Uuid::short(characteristic),
            service: None,
            access,
            value: value.parse().unwrap(),
            range: None,
            write: Some(WriteMode::WithResponse),
            verify: false,
        }
    }

    fn plan(points: Vec<GattPoint>) -> Plan {
        Plan::new(&Gatt {
            points,
            ..Gatt::default()
        })
    }

    #[test]
    fn points_of_one_characteristic_and_period_share_its_reads() {
        let second = Access::Read(Duration::from_secs(1));
        let minute = Access::Read(Duration::from_mins(1));
        let plan = plan(vec![
            point(0, 0x2a6e, "i16le@0*0.01", second),
            point(1, 0x2a6e, "u8@2", second),
            point(2, 0x2a6e, "u8@3", minute),
            point(3, 0x2a6f, "u8@0", second),
            point(4, 0x2a6f, "u8@0", Access::None),
            point(5, 0x2a6f, "u8@0", Access::Notify(None)),
        ]);
        let groups: Vec<_> = plan
            .groups
            .iter()
            .map(|group| group.points.clone())
            .collect();
        assert_eq!(groups, [vec![0, 1], vec![2], vec![3], vec![5]]);
        let at = Timestamp(5);
        let expected = [
            Reading::good(PointKey(0), at, Value::F64(21.5)),
            Reading::good(PointKey(1), at, Value::U64(7)),
        ];
        assert_eq!(plan.readings(0, &[0x66, 0x08, 0x07], at), expected);
        let short = plan.readings(0, &[0x66, 0x08], at);
        assert_eq!(short[1].quality, Quality::Bad(Reason::Undecodable));
        assert_eq!(plan.bad(0, at, Reason::LinkDown).len(), 2);
    }

    #[test]
    fn two_characteristics_of_one_uuid_are_told_apart_by_their_service() {
        let found = |service: u16| Characteristic {
            service: Uuid::short(service),
            uuid: Uuid::short(0x2a6e),
            read: true,
            write: false,
            write_without_response: false,
            notify: false,
        };
        let all = [found(0x180f), found(0x181a)];
        let mut point = point(0, 0x2a6e, "u8@0", Access::None);
        assert_eq!(Target::of(&point).find(&all), Some(0));
        point.service = Some(Uuid::short(0x181a));
        assert_eq!(Target::of(&point).find(&all), Some(1));
        point.service = Some(Uuid::short(0x1800));
        assert_eq!(Target::of(&point).find(&all), None);
        let text = Target::of(&point).to_string();
        assert_eq!(text, "characteristic 2a6e of service 1800");
    }

    #[test]
    fn a_value_to_write_becomes_its_bytes_or_is_refused() {
        let mut point = point(0, 0x2a6e, "i16le@1*0.1", Access::None);
        assert_eq!(payload(&point, &Value::F64(21.5)), Ok(vec![0, 0xd7, 0]));
        assert!(matches!(
            payload(&point, &Value::F64(1e9)),
            Err(WriteError::BadValue(_))
        ));
        assert!(matches!(
            payload(&point, &Value::Text("on".into())),
            Err(WriteError::BadValue(_))
        ));
        point.range = Some(5.0..=30.0);
        let refused = payload(&point, &Value::F64(31.0)).unwrap_err().to_string();
        assert!(
            refused.ends_with("it is outside the range [5, 30]"),
            "{refused}"
        );
        assert!(same(&point, &Value::F64(21.5), &Value::F64(21.5)));
        assert!(same(&point, &Value::F64(21.52), &Value::F64(21.5)));
        assert!(!same(&point, &Value::F64(21.5), &Value::F64(21.6)));
    }
}
