//! From what was read to what runs: names connected, settings inherited, the drivers' buses made and
//! checked by the drivers' own rules.

use super::{Field, RawBus, RawDevice, Template};
use crate::bus::BusConfig;
use crate::config::PointConfig;
use crate::layer::{DEFAULT_TIMEOUT, Layer};
use crate::notes::Notes;
use crate::point::RawPoint;
use crate::problem::Problem;
use crate::source::{Located, Place};
use protocols_modbus::config::{Bus, Device, Point};
use protocols_model::{DeviceId, PointDescriptor, PointId, PointKey};
use std::collections::{BTreeMap, BTreeSet};

struct Builder<'a> {
    notes: &'a Notes<'a>,
    /// Where devices and points were written, for what the driver finds.
    places: BTreeMap<(DeviceId, Option<PointId>), &'a Place>,
    /// Who has which unit of which bus.
    units: BTreeMap<(usize, u8), DeviceId>,
    points: Vec<PointConfig>,
    built: Vec<Vec<Device>>,
}

/// Connects names and builds the buses of the drivers.
pub(super) fn build<'a>(
    buses: Vec<RawBus>,
    templates: &'a [Template],
    devices: &'a [RawDevice],
    defaults: &Layer,
    notes: &'a Notes<'a>,
) -> Field {
    let mut builder = Builder {
        notes,
        places: BTreeMap::new(),
        units: BTreeMap::new(),
        points: Vec::new(),
        built: buses.iter().map(|_| Vec::new()).collect(),
    };
    for device in devices {
        builder.device(device, &buses, templates, defaults);
    }
    builder.finish(buses)
}

impl<'a> Builder<'a> {
    fn device(
        &mut self,
        device: &'a RawDevice,
        buses: &[RawBus],
        templates: &'a [Template],
        defaults: &Layer,
    ) {
        let notes = self.notes;
        let bus = device.bus.as_ref().and_then(|wanted| {
            let names = buses.iter().map(|bus| &bus.name);
            find(wanted, names, "bus", notes)
        });
        let template = device.template.as_ref().and_then(|wanted| {
            let names = templates.iter().map(|template| &template.name);
            templates.get(find(wanted, names, "template", notes)?)
        });
        let mut outer = defaults.clone();
        if let Some(bus) = bus.and_then(|index| buses.get(index)) {
            outer = bus.layer.clone().over(&outer);
        }
        if let Some(template) = template {
            outer = template.layer.clone().over(&outer);
        }
        let layer = device.layer.clone().over(&outer);
        let (Some(id), Some(bus), Some(unit)) = (&device.id, bus, &device.unit) else {
            return;
        };
        // The getter allows 0..=255 only.
        let number = u8::try_from(unit.value).unwrap_or(u8::MAX);
        if let Some(other) = self.units.insert((bus, number), id.clone()) {
            let message = format!("unit {number} of this bus is already device {other}");
            notes.push(Problem::error(&unit.place, message, "one device a unit"));
        }
        self.places.insert((id.clone(), None), &device.place);
        let from_template = template.map_or(&[][..], |template| &template.points);
        let mut points = Vec::new();
        let mut seen = BTreeSet::new();
        for raw in from_template.iter().chain(&device.points) {
            if !seen.insert(raw.id.value.clone()) {
                let message = format!("a second point {:?} of the device", raw.id.value.as_str());
                notes.push(Problem::error(
                    &raw.id.place,
                    message,
                    "ids that are unique within the device",
                ));
                continue;
            }
            points.extend(self.point(id, raw, &layer));
        }
        let device = Device {
            id: id.clone(),
            unit: number,
            timeout: layer.timeout.unwrap_or(DEFAULT_TIMEOUT),
            retry: layer.retry(),
            limits: layer.limits(),
            points,
        };
        self.built
            .get_mut(bus)
            .expect("invariant: one list a bus")
            .push(device);
    }

    fn point(&mut self, device: &DeviceId, raw: &'a RawPoint, layer: &Layer) -> Option<Point> {
        let period = raw.period(layer, self.notes)?;
        let point = Point {
            key: PointKey(u32::try_from(self.points.len()).ok()?),
            id: raw.id.value.clone(),
            address: raw.address.value,
            raw: raw.raw,
            order: raw.order.or(layer.order).unwrap_or_default(),
            scale: raw.scale,
            period,
            range: raw.range.map(|(low, high)| low..=high),
        };
        self.places
            .insert((device.clone(), Some(point.id.clone())), &raw.place);
        self.points.push(PointConfig {
            descriptor: PointDescriptor {
                device: device.clone(),
                point: point.id.clone(),
                value_type: point.value_type(),
                unit: raw.unit.clone(),
                scale: point.scale.factor(),
            },
            report: raw.report.or(layer.report).unwrap_or_default(),
        });
        Some(point)
    }

    fn finish(self, buses: Vec<RawBus>) -> Field {
        let mut field = Field {
            buses: Vec::new(),
            points: self.points,
        };
        for (raw, devices) in buses.into_iter().zip(self.built) {
            let Some(transport) = raw.transport else {
                continue;
            };
            if devices.is_empty() {
                continue;
            }
            let bus = Bus {
                name: raw.name.value.as_str().into(),
                transport,
                gap: raw.gap,
                devices,
            };
            for error in bus.check() {
                let place = self
                    .places
                    .get(&(error.device.clone(), error.point.clone()));
                let place = place.copied().unwrap_or(&raw.name.place);
                // The place says which device or point; a template's problem is told once.
                self.notes
                    .push(Problem::error(place, error.problem.to_string(), ""));
            }
            field.buses.push(BusConfig::Modbus(bus.into()));
        }
        field
    }
}

/// The place of `wanted` among `names`, or a problem with the nearest name.
#[expect(
    single_use_lifetimes,
    reason = "elision is not stable inside impl Trait"
)]
fn find<'n>(
    wanted: &Located<String>,
    names: impl Iterator<Item = &'n Located<String>> + Clone,
    what: &str,
    notes: &Notes<'_>,
) -> Option<usize> {
    let found = names.clone().position(|name| name.value == wanted.value);
    if found.is_none() {
        let list: Vec<_> = names.map(|name| name.value.as_str()).collect();
        let message = format!("unknown {what} {:?}", wanted.value);
        let allowed = if list.is_empty() {
            format!("no [{what}.…] is defined")
        } else {
            list.join(", ")
        };
        let problem = Problem::error(&wanted.place, message, allowed);
        notes.push(problem.suggest(&wanted.value, list));
    }
    found
}
