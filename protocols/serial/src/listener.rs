//! What a line that speaks by itself says, and when it should have: pure, on a clock that is handed in.
//!
//! Guarantees: what is heard is a reading, however often. Each span of a point's period without anything
//! gives exactly one bad reading: `Timeout` after silence, `BadAnswer` when something came that was no
//! frame, `LinkDown` while the port is away. The span begins anew with each reading.

use crate::config::{Bus, FieldRef, ValueRules};
use crate::message::{self, Said};
use protocols_model::{Instant, PointKey, Reading, Reason, Timestamp};
use std::time::Duration;

/// The points of a line that is listened to, by device and message.
#[derive(Debug, Clone)]
pub struct Listener {
    devices: Vec<Speaker>,
    /// When something came last that was no frame.
    damaged: Option<Instant>,
}

/// One device.
#[derive(Debug, Clone)]
struct Speaker {
    heard: Vec<Heard>,
    /// When it spoke last.
    last: Option<Instant>,
}

/// One kind of message and its points.
#[derive(Debug, Clone)]
struct Heard {
    message: usize,
    points: Vec<Point>,
}

#[derive(Debug, Clone)]
struct Point {
    key: PointKey,
    field: FieldRef,
    rules: ValueRules,
    period: Duration,
    /// When it should have spoken.
    due: Instant,
}

/// Readings of one device at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Index of the device.
    pub device: usize,
    /// Never empty.
    pub readings: Vec<Reading>,
    /// What they say of the device itself.
    pub device_is: DeviceIs,
}

/// Whether a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceIs {
    /// It just did.
    Speaking,
    /// It does, but does not say these points.
    PartlySilent,
    /// It does not, for this reason.
    Silent(Reason),
}

impl Listener {
    /// The points of the bus; their first spans begin at `now`.
    #[must_use]
    pub fn new(bus: &Bus, now: Instant) -> Self {
        let of_device = |device: &crate::config::Device| {
            let heard = device.messages.iter().enumerate().map(|(index, message)| {
                let points = device.points.iter().filter_map(|point| match &point.read {
                    Some((of, field)) if *of == index => Some(Point {
                        key: point.key,
                        field: field.clone(),
                        rules: point.value.clone(),
                        period: message.period,
                        due: now.plus(message.period),
                    }),
                    _ => None,
                });
                Heard {
                    message: index,
                    points: points.collect(),
                }
            });
            Speaker {
                heard: heard.collect(),
                last: None,
            }
        };
        Self {
            devices: bus.devices.iter().map(of_device).collect(),
            damaged: None,
        }
    }

    /// A frame that came whole at `now`: readings of each device it is a message of. Empty when it is
    /// nobody's.
    pub fn frame(
        &mut self,
        bus: &Bus,
        payload: &[u8],
        now: Instant,
        wall: Timestamp,
    ) -> Vec<Group> {
        let mut groups = Vec::new();
        for (index, (speaker, device)) in self.devices.iter_mut().zip(&bus.devices).enumerate() {
            let mut readings = Vec::new();
            for heard in &mut speaker.heard {
                let fields = heard
                    .points
                    .iter()
                    .map(|point| (&point.field, &point.rules));
                let message = device.messages.get(heard.message);
                let said = message.and_then(|message| message::read(message, fields, payload));
                for (point, said) in heard.points.iter_mut().zip(said.into_iter().flatten()) {
                    if let Some(reading) = reading(point.key, wall, said) {
                        readings.push(reading);
                        point.due = now.plus(point.period);
                    }
                }
            }
            if !readings.is_empty() {
                speaker.last = Some(now);
                groups.push(Group {
                    device: index,
                    readings,
                    device_is: DeviceIs::Speaking,
                });
            }
        }
        groups
    }

    /// Something came at `now` that is no frame.
    pub const fn damage(&mut self, now: Instant) {
        self.damaged = Some(now);
    }

    /// The points whose span is over at `now`. `away`: the port is.
    pub fn silence(&mut self, now: Instant, wall: Timestamp, away: bool) -> Vec<Group> {
        let damaged = self.damaged;
        let reason = |point: &Point| {
            let lately = |at: Instant| at.plus(point.period) > point.due;
            match (away, damaged.is_some_and(lately)) {
                (true, _) => Reason::LinkDown,
                (false, true) => Reason::BadAnswer,
                (false, false) => Reason::Timeout,
            }
        };
        let mut groups = Vec::new();
        for (device, speaker) in self.devices.iter_mut().enumerate() {
            let points = speaker.heard.iter_mut().flat_map(|heard| &mut heard.points);
            let mut readings = Vec::new();
            let mut device_is = DeviceIs::PartlySilent;
            for point in points.filter(|point| point.due <= now) {
                let reason = reason(point);
                readings.push(Reading::bad(point.key, wall, reason));
                if speaker
                    .last
                    .is_none_or(|last| last.plus(point.period) <= now)
                {
                    device_is = DeviceIs::Silent(reason);
                }
                let next = point.due.plus(point.period);
                // A machine that stood still over several spans tells of one: of the others nobody knows.
                point.due = if next > now {
                    next
                } else {
                    now.plus(point.period)
                };
            }
            if !readings.is_empty() {
                groups.push(Group {
                    device,
                    readings,
                    device_is,
                });
            }
        }
        groups
    }

    /// When the first span is over.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let heard = self.devices.iter().flat_map(|speaker| &speaker.heard);
        let points = heard.flat_map(|heard| &heard.points);
        points.map(|point| point.due).min()
    }
}

/// The reading of what a frame says of a point.
pub(crate) fn reading(key: PointKey, at: Timestamp, said: Said) -> Option<Reading> {
    match said {
        Said::Nothing => None,
        Said::Bad(reason) => Some(Reading::bad(key, at, reason)),
        Said::Value(value, quality) => Some(Reading {
            point: key,
            sampled: at,
            value: Some(value),
            quality,
        }),
    }
}
