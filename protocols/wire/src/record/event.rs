//! Events and time maps into protobuf and back.

use super::proto;
use crate::error::{DecodeError, EncodeError};
use crate::limits::{MAX_ALARM_POINTS, MAX_EVENT_SUBJECT_BYTES, MAX_EVENT_TEXT_BYTES};
use crate::record::{AlarmNote, AlarmPoint, Event, EventKind, TimeMap};
use protocols_model::{AlarmLevel, AlarmState, BootId, DeviceId, PointId, Timestamp};

impl EventKind {
    /// Number on the wire and in the database; never reassigned.
    #[must_use]
    pub const fn to_index(self) -> u32 {
        match self {
            Self::Started => 1,
            Self::Stopping => 2,
            Self::DeviceLink => 3,
            Self::SweepsSkipped => 4,
            Self::Spool => 5,
            Self::ClockStep => 6,
            Self::Configuration => 7,
            Self::Identity => 8,
            Self::StoreAway => 9,
            Self::Alarm => 10,
            Self::Rule => 11,
            Self::Other(number) => number,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_index(index: u32) -> Self {
        match index {
            1 => Self::Started,
            2 => Self::Stopping,
            3 => Self::DeviceLink,
            4 => Self::SweepsSkipped,
            5 => Self::Spool,
            6 => Self::ClockStep,
            7 => Self::Configuration,
            8 => Self::Identity,
            9 => Self::StoreAway,
            10 => Self::Alarm,
            11 => Self::Rule,
            number => Self::Other(number),
        }
    }

    /// The kind's name in the API and in exports; `other` where the number is unknown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::DeviceLink => "device-link",
            Self::SweepsSkipped => "sweeps-skipped",
            Self::Spool => "spool",
            Self::ClockStep => "clock-step",
            Self::Configuration => "configuration",
            Self::Identity => "identity",
            Self::StoreAway => "store-away",
            Self::Alarm => "alarm",
            Self::Rule => "rule",
            Self::Other(_) => "other",
        }
    }
}

const LIMITS: [(&str, usize); 2] = [
    ("subject of an event in bytes", MAX_EVENT_SUBJECT_BYTES),
    ("text of an event in bytes", MAX_EVENT_TEXT_BYTES),
];

const POINTS: &str = "points of an alarm";

pub(super) fn pack(event: &Event) -> Result<proto::Event, EncodeError> {
    for ((what, allowed), found) in LIMITS
        .into_iter()
        .zip([event.subject.len(), event.text.len()])
    {
        if found > allowed {
            return Err(EncodeError::TooLarge {
                what,
                found,
                allowed,
            });
        }
    }
    let alarm = event.alarm.as_ref();
    let points = alarm.map_or(&[][..], |alarm| &alarm.points);
    if points.len() > MAX_ALARM_POINTS {
        return Err(EncodeError::TooLarge {
            what: POINTS,
            found: points.len(),
            allowed: MAX_ALARM_POINTS,
        });
    }
    Ok(proto::Event {
        time_ns: event.time.0,
        kind: event.kind.to_index(),
        subject: event.subject.clone(),
        text: event.text.clone(),
        alarm_level: alarm.map_or(0, |alarm| alarm.level.to_code().into()),
        alarm_state: alarm.map_or(0, |alarm| alarm.state.to_code().into()),
        alarm_quiet: alarm.is_some_and(|alarm| alarm.quiet),
        alarm_points: points
            .iter()
            .map(|AlarmPoint { device, point }| format!("{device}/{point}"))
            .collect(),
    })
}

pub(super) fn unpack(event: proto::Event) -> Result<Event, DecodeError> {
    for ((what, allowed), found) in LIMITS
        .into_iter()
        .zip([event.subject.len(), event.text.len()])
    {
        if found > allowed {
            return Err(DecodeError::TooLarge {
                what,
                found,
                allowed,
            });
        }
    }
    if event.alarm_points.len() > MAX_ALARM_POINTS {
        return Err(DecodeError::TooLarge {
            what: POINTS,
            found: event.alarm_points.len(),
            allowed: MAX_ALARM_POINTS,
        });
    }
    let points = event.alarm_points.iter().map(|name| point(name));
    let points = points
        .collect::<Option<_>>()
        .ok_or(DecodeError::Malformed("a point of an alarm has no name"))?;
    let code = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    // Words of a newer version cannot be shown as an alarm; the event itself stands.
    let alarm = AlarmLevel::from_code(code(event.alarm_level))
        .zip(AlarmState::from_code(code(event.alarm_state)))
        .map(|(level, state)| AlarmNote {
            level,
            state,
            quiet: event.alarm_quiet,
            points,
        });
    Ok(Event {
        time: Timestamp(event.time_ns),
        kind: EventKind::from_index(event.kind),
        subject: event.subject,
        text: event.text,
        alarm,
    })
}

/// `device/point`.
fn point(name: &str) -> Option<AlarmPoint> {
    let (device, point) = name.split_once('/')?;
    Some(AlarmPoint {
        device: DeviceId::try_new(device).ok()?,
        point: PointId::try_new(point).ok()?,
    })
}

pub(super) const fn pack_time_map(map: TimeMap) -> proto::TimeMap {
    proto::TimeMap {
        boot: map.boot.0,
        origin_ns: map.origin.0,
        uncertainty_ns: map.uncertainty_ns,
    }
}

pub(super) const fn unpack_time_map(map: &proto::TimeMap) -> TimeMap {
    TimeMap {
        boot: BootId(map.boot),
        origin: Timestamp(map.origin_ns),
        uncertainty_ns: map.uncertainty_ns,
    }
}
