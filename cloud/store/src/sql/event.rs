//! Events: numbers of their kinds, and entering them.

use super::db::{Connection, DbResult, Row, params};
use super::row::failed;
use crate::error::StoreError;
use protocols_model::{AlarmLevel, AlarmState, DeviceId, PointId, RecordKey, Timestamp};
use protocols_wire::{AlarmNote, AlarmPoint, Event, EventKind};

/// Kinds that this version does not know are stored above this.
const OTHER: i64 = 1 << 32;

/// Number of a kind in the database; never reassigned.
pub(super) const fn kind_to_sql(kind: EventKind) -> i64 {
    match kind {
        EventKind::Started => 1,
        EventKind::Stopping => 2,
        EventKind::DeviceLink => 3,
        EventKind::SweepsSkipped => 4,
        EventKind::Spool => 5,
        EventKind::ClockStep => 6,
        EventKind::Configuration => 7,
        EventKind::Identity => 8,
        EventKind::StoreAway => 9,
        EventKind::Alarm => 10,
        EventKind::Rule => 11,
        EventKind::Other(number) => OTHER + number as i64,
    }
}

/// The kind with this number.
pub(super) fn kind_from_sql(number: i64) -> EventKind {
    match number {
        1 => EventKind::Started,
        2 => EventKind::Stopping,
        3 => EventKind::DeviceLink,
        4 => EventKind::SweepsSkipped,
        5 => EventKind::Spool,
        6 => EventKind::ClockStep,
        7 => EventKind::Configuration,
        8 => EventKind::Identity,
        9 => EventKind::StoreAway,
        10 => EventKind::Alarm,
        11 => EventKind::Rule,
        other => EventKind::Other(u32::try_from(other - OTHER).unwrap_or(u32::MAX)),
    }
}

/// Enters an event and gives its number; `record` is the one that brought it, `None` for an event of
/// the cloud.
pub(super) fn enter(
    conn: &Connection,
    gateway: i64,
    record: Option<RecordKey>,
    received: Timestamp,
    event: &Event,
) -> Result<i64, StoreError> {
    let alarm = event.alarm.as_ref();
    conn.prepare_cached(
        "INSERT INTO event (gateway, epoch, lane, seq, time, received, kind, subject, text,
           alarm_level, alarm_state, alarm_quiet, alarm_points)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) RETURNING id",
    )
    .and_then(|statement| {
        let row = params![
            gateway,
            record.map(|key| key.epoch.0.cast_signed()),
            record.map(|key| key.lane.to_index()),
            record.map(|key| key.seq.cast_signed()),
            event.time.0,
            received.0,
            kind_to_sql(event.kind),
            event.subject,
            event.text,
            alarm.map(|alarm| alarm.level.to_code()),
            alarm.map(|alarm| alarm.state.to_code()),
            alarm.map(|alarm| alarm.quiet),
            alarm.map(|alarm| points_to_sql(&alarm.points)),
        ];
        statement.query_row(row, |row| row.get(0))
    })
    .map_err(failed("storing an event"))
}

/// Points as a column: no name has a comma or a slash.
fn points_to_sql(points: &[AlarmPoint]) -> String {
    let names: Vec<String> = points
        .iter()
        .map(|AlarmPoint { device, point }| format!("{device}/{point}"))
        .collect();
    names.join(",")
}

/// The points of a column.
pub(super) fn points_from_sql(text: &str) -> Vec<AlarmPoint> {
    let point = |name: &str| {
        let (device, point) = name.split_once('/')?;
        Some(AlarmPoint {
            device: DeviceId::try_new(device).ok()?,
            point: PointId::try_new(point).ok()?,
        })
    };
    text.split(',').filter_map(point).collect()
}

/// What an event says of its alarm, from the columns `level, state, quiet, points` beginning at `at`.
pub(super) fn alarm_from_sql(row: &Row<'_>, at: usize) -> DbResult<Option<AlarmNote>> {
    let level: Option<u8> = row.get(at)?;
    let state: Option<u8> = row.get(at + 1)?;
    let known = level
        .and_then(AlarmLevel::from_code)
        .zip(state.and_then(AlarmState::from_code));
    let Some((level, state)) = known else {
        return Ok(None);
    };
    let points: Option<String> = row.get(at + 3)?;
    Ok(Some(AlarmNote {
        level,
        state,
        quiet: row.get(at + 2)?,
        points: points_from_sql(&points.unwrap_or_default()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_number() {
        for number in (1..=11).chain([OTHER, OTHER + 77]) {
            assert_eq!(kind_to_sql(kind_from_sql(number)), number);
        }
    }
}
