//! The point table being made, and where everything in it was written.

use crate::config::PointConfig;
use crate::modbus::level::Layer;
use crate::notes::Notes;
use crate::point::Head;
use crate::problem::Problem;
use crate::report::Report;
use crate::source::Place;
use protocols_model::{DeviceId, PointDescriptor, PointId, PointKey, ValueType};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Type, unit and decimal grid of a point's values.
pub(crate) type About = (ValueType, String, f64);

/// The point table of all families, in the order of the file.
pub(crate) struct Builder<'a> {
    notes: &'a Notes<'a>,
    pub(crate) defaults: &'a Layer,
    pub(super) points: Vec<PointConfig>,
    /// Where devices and points were written, for what the drivers find.
    places: BTreeMap<(DeviceId, Option<PointId>), Place>,
}

impl<'a> Builder<'a> {
    pub(super) const fn new(notes: &'a Notes<'a>, defaults: &'a Layer) -> Self {
        Self {
            notes,
            defaults,
            points: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// A device was written here.
    pub(crate) fn device(&mut self, id: &DeviceId, place: &Place) {
        self.places.insert((id.clone(), None), place.clone());
    }

    /// Gives a point its place in the table; `None` for the second of a name. `outer` is what the levels
    /// around it say of its reports.
    pub(crate) fn point(
        &mut self,
        device: &DeviceId,
        head: &Head,
        (value_type, unit, scale): About,
        outer: Option<Report>,
    ) -> Option<PointKey> {
        let id = &head.id.value;
        match self.places.entry((device.clone(), Some(id.clone()))) {
            Entry::Vacant(place) => drop(place.insert(head.place.clone())),
            Entry::Occupied(_) => {
                let message = format!("a second point {:?} of the device", id.as_str());
                let allowed = "ids that are unique within the device";
                self.notes
                    .push(Problem::error(&head.id.place, message, allowed));
                return None;
            }
        }
        let key = PointKey(u32::try_from(self.points.len()).ok()?);
        self.points.push(PointConfig {
            descriptor: PointDescriptor {
                device: device.clone(),
                point: id.clone(),
                value_type,
                unit,
                scale,
            },
            report: head.report.or(outer).unwrap_or_default(),
        });
        Some(key)
    }

    /// Notes what a driver finds wrong, where it was written; a template's problem is told once.
    pub(crate) fn note(
        &self,
        (device, point): (Option<&DeviceId>, Option<&PointId>),
        bus: &Place,
        message: String,
    ) {
        let place = device.and_then(|device| {
            let place = self.places.get(&(device.clone(), point.cloned()));
            place.or_else(|| self.places.get(&(device.clone(), None)))
        });
        self.notes
            .push(Problem::error(place.unwrap_or(bus), message, ""));
    }

    /// Notes that a bus has more to do than it has time.
    pub(crate) fn overload(&self, bus: &Place, message: String) {
        self.notes.push(Problem {
            severity: self.notes.overload,
            ..Problem::error(bus, message, "at most 95 % of the bus, or force = true")
        });
    }
}
