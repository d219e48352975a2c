//! Events: numbers of their kinds, and entering them.

use super::row::failed;
use crate::error::StoreError;
use protocols_model::{RecordKey, Timestamp};
use protocols_wire::{Event, EventKind};
use rusqlite::{Connection, params};

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

/// Enters an event; `record` is the one that brought it, `None` for an event of the cloud.
pub(super) fn enter(
    conn: &Connection,
    gateway: i64,
    record: Option<RecordKey>,
    received: Timestamp,
    event: &Event,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO event (gateway, epoch, lane, seq, time, received, kind, subject, text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            gateway,
            record.map(|key| key.epoch.0.cast_signed()),
            record.map(|key| key.lane.to_index()),
            record.map(|key| key.seq.cast_signed()),
            event.time.0,
            received.0,
            kind_to_sql(event.kind),
            event.subject,
            event.text,
        ])
    })
    .map(drop)
    .map_err(failed("storing an event"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_number() {
        for number in (1..10).chain([OTHER, OTHER + 77]) {
            assert_eq!(kind_to_sql(kind_from_sql(number)), number);
        }
    }
}
