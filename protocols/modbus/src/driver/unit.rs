//! One device inside its bus task: its codecs, what it has taught, and what a late answer could look
//! like.

use crate::codec::Codec;
use crate::config::Device;
use crate::learned::Learned;
use crate::link::Data;
use crate::plan::{self, Distinct, Request, Rules, Shape, Slot};
use protocols_driver::Sweep;
use protocols_model::{DeviceId, Instant, PointKey, Reading, Reason, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

/// What turns answers of a device into readings.
pub(super) struct Unit {
    pub(super) device: DeviceId,
    /// In the order of the device's points, with the place of their codec.
    points: Vec<(PointKey, u32)>,
    /// Each once: the points of a device differ in few ways, and a gateway has many of them.
    codecs: Vec<Codec>,
    /// What it has taught.
    pub(super) learned: Learned,
}

impl Unit {
    pub(super) fn new(device: &Device, learned: Learned) -> Self {
        let mut points = Vec::with_capacity(device.points.len());
        let mut codecs: Vec<Codec> = Vec::new();
        for point in &device.points {
            let codec = Codec::new(point);
            // From behind: neighbours are alike.
            let known = codecs.iter().rposition(|held| *held == codec);
            let place = known.unwrap_or_else(|| {
                codecs.push(codec);
                codecs.len() - 1
            });
            let place =
                u32::try_from(place).expect("invariant: a device has fewer than 2^32 points");
            points.push((point.key, place));
        }
        codecs.shrink_to_fit();
        Self {
            device: device.id.clone(),
            points,
            codecs,
            learned,
        }
    }

    /// How a point is read and written.
    pub(super) fn codec(&self, point: usize) -> Option<&Codec> {
        let (_, place) = self.points.get(point)?;
        self.codecs.get(usize::try_from(*place).ok()?)
    }

    /// The readings of an answer.
    pub(super) fn decode(&self, request: &Request, data: &Data, at: Timestamp) -> Vec<Reading> {
        let reading = |slot: &Slot| {
            let (key, codec) = self.points.get(slot.point)?;
            let codec = self.codecs.get(usize::try_from(*codec).ok()?)?;
            let from = usize::from(slot.offset);
            let value = match data {
                Data::Words(words) => {
                    let words = words.get(from..from + usize::from(slot.width));
                    codec.decode(words.unwrap_or_default())
                }
                Data::Bits(bits) => bits
                    .get(from)
                    .map(|b| codec.decode_bit(*b))
                    .ok_or(Reason::Undecodable),
            };
            Some(match value {
                Ok(value) => Reading::good(*key, at, value),
                Err(reason) => Reading::bad(*key, at, reason),
            })
        };
        let mut readings = Vec::with_capacity(request.slots.len());
        readings.extend(request.slots.iter().filter_map(reading));
        readings
    }

    /// A bad reading for each point.
    pub(super) fn bad(
        &self,
        slots: impl Iterator<Item = Slot>,
        at: Timestamp,
        reason: Reason,
    ) -> Vec<Reading> {
        let points = slots
            .into_iter()
            .filter_map(|slot| self.points.get(slot.point));
        points
            .map(|(key, _)| Reading::bad(*key, at, reason))
            .collect()
    }

    pub(super) fn sweep(&self, bus: &Arc<str>, taken: Instant, readings: Vec<Reading>) -> Sweep {
        Sweep {
            bus: Arc::clone(bus),
            device: self.device.clone(),
            taken,
            readings,
        }
    }
}

/// Per unit id the shape of the last request, if an answer to it may still be on its way.
///
/// By unit id and not by device: two devices of a configuration may be views of one unit. At most
/// 256 entries.
#[derive(Debug, Default)]
pub(super) struct Suspects(HashMap<u8, Shape>);

impl Suspects {
    /// The last request to `unit` may be answered late, in this shape; or, with `None`, cannot.
    pub(super) fn note(&mut self, unit: u8, late: Option<Shape>) {
        if let Some(shape) = late {
            self.0.insert(unit, shape);
        } else if !self.0.is_empty() {
            self.0.remove(&unit);
        }
    }

    /// What to ask instead of `request`, if a late answer could be taken for its answer.
    pub(super) fn distinct<'a>(
        &self,
        unit: u8,
        request: &Request,
        rules: impl FnOnce() -> Rules<'a>,
    ) -> Option<Distinct> {
        let shape = self.0.get(&unit)?;
        plan::distinct(request, &[*shape], &rules())
    }
}
