//! Alarms as the API asks for them: listed, with the series of their points, and counted.

use crate::alarms::{AlarmCounts, AlarmFilter, AlarmSeries, StoredAlarm};
use crate::error::StoreError;
use crate::query::SeriesId;
use crate::sql::db::{Connection, DbResult, Row, params};
use crate::sql::event::points_from_sql;
use crate::sql::read::{MAX_ROWS, id};
use crate::sql::row::failed;
use protocols_model::{AlarmLevel, AlarmState, DeviceId, GatewayId, PointId, Timestamp};
use protocols_wire::AlarmPoint;
use std::collections::BTreeMap;

/// Alarms that pass the filter: raised, acknowledged, returned, shelved, over; of each the worst first,
/// then what changed last. (Codes of states: 1 raised, 2 acknowledged, 3 returned.)
pub(in crate::sql) fn alarms(
    conn: &Connection,
    filter: &AlarmFilter,
) -> Result<Vec<StoredAlarm>, StoreError> {
    let fail = failed("reading alarms");
    let limit = match filter.limit {
        0 => MAX_ROWS,
        limit => limit.min(MAX_ROWS),
    };
    let states = if filter.states.is_empty() {
        &AlarmState::ALL[..]
    } else {
        &filter.states
    };
    // Codes are small numbers of ours: they may stand in the statement.
    let states: Vec<String> = states
        .iter()
        .map(|state| state.to_code().to_string())
        .collect();
    // Most alarms are over: where only open ones are asked for, an index of these is enough.
    let open = if filter.states.is_empty() || filter.states.contains(&AlarmState::Normal) {
        ""
    } else {
        "a.state <> 0 AND "
    };
    let sql = format!(
        "SELECT g.name, a.name, a.level, a.state, a.quiet, a.text, a.raised, a.changed, a.received,
           a.points, a.gateway
         FROM alarm a JOIN gateway g ON g.id = a.gateway
         WHERE {open}a.state IN ({}) AND (g.name = ?1 OR (?1 IS NULL AND g.revoked IS NULL))
         ORDER BY CASE WHEN a.state = 0 THEN 4 WHEN a.quiet = 1 THEN 3 ELSE a.state - 1 END,
           CASE WHEN a.state = 0 THEN 0 ELSE a.level END DESC, a.changed DESC, g.name, a.name LIMIT ?2",
        states.join(", ")
    );
    let statement = conn.prepare_cached(&sql).map_err(&fail)?;
    let key = params![
        filter.gateway.as_ref().map(GatewayId::as_str),
        i64::try_from(limit).unwrap_or(0)
    ];
    let mut series = BTreeMap::new();
    let mut all = Vec::new();
    statement.each(key, fail, |row| {
        let Some(mut alarm) = alarm(row).map_err(&fail)? else {
            return Ok(());
        };
        let gateway: i64 = row.get(10).map_err(&fail)?;
        let names: String = row.get(9).map_err(&fail)?;
        for AlarmPoint { device, point } in points_from_sql(&names) {
            let key = (gateway, device.clone(), point.clone());
            let found = match series.get(&key) {
                Some(found) => *found,
                None => {
                    let found = newest_series(conn, &key).map_err(&fail)?;
                    series.insert(key, found);
                    found
                }
            };
            alarm.points.push(AlarmSeries {
                device,
                point,
                series: found,
            });
        }
        all.push(alarm);
        Ok(())
    })?;
    Ok(all)
}

/// `None` for words of a newer version.
fn alarm(row: &Row<'_>) -> DbResult<Option<StoredAlarm>> {
    let (level, state): (u8, u8) = (row.get(2)?, row.get(3)?);
    let known = AlarmLevel::from_code(level).zip(AlarmState::from_code(state));
    let Some((level, state)) = known else {
        return Ok(None);
    };
    Ok(Some(StoredAlarm {
        gateway: id(row, 0)?,
        name: row.get(1)?,
        level,
        state,
        shelved: row.get(4)?,
        text: row.get(5)?,
        raised: row.get::<Option<i64>>(6)?.map(Timestamp),
        changed: Timestamp(row.get(7)?),
        received: Timestamp(row.get(8)?),
        points: Vec::new(),
    }))
}

fn newest_series(
    conn: &Connection,
    (gateway, device, point): &(i64, DeviceId, PointId),
) -> DbResult<Option<SeriesId>> {
    conn.prepare_cached(
        "SELECT max(id) FROM series WHERE gateway = ?1 AND device = ?2 AND point = ?3",
    )?
    .query_row(params![gateway, device.as_str(), point.as_str()], |row| {
        row.get::<Option<i64>>(0)
    })
    .map(|found| found.map(SeriesId))
}

/// Open alarms in numbers: of one gateway, or of all that are trusted.
pub(in crate::sql) fn counts(
    conn: &Connection,
    gateway: Option<&GatewayId>,
) -> Result<AlarmCounts, StoreError> {
    let fail = failed("counting alarms");
    let statement = conn
        .prepare_cached(
            "SELECT a.state, a.quiet, a.level, count(*) FROM alarm a
             JOIN gateway g ON g.id = a.gateway
             WHERE a.state <> 0 AND (g.name = ?1 OR (?1 IS NULL AND g.revoked IS NULL))
             GROUP BY a.state, a.quiet, a.level",
        )
        .map_err(&fail)?;
    let mut counts = AlarmCounts::default();
    statement.each([gateway.map(GatewayId::as_str)], fail, |row| {
        let state = AlarmState::from_code(row.get(0).map_err(&fail)?);
        let shelved: bool = row.get(1).map_err(&fail)?;
        let level = AlarmLevel::from_code(row.get(2).map_err(&fail)?);
        let count = row.get::<i64>(3).map_err(&fail)?.unsigned_abs();
        match state {
            _ if shelved => counts.shelved += count,
            Some(AlarmState::Raised) => counts.raised += count,
            Some(AlarmState::Acknowledged) => counts.acknowledged += count,
            Some(AlarmState::Returned) => counts.returned += count,
            Some(AlarmState::Normal) | None => {}
        }
        let is_there = matches!(state, Some(AlarmState::Raised | AlarmState::Acknowledged));
        if is_there && !shelved {
            counts.worst = counts.worst.max(level);
        }
        Ok(())
    })?;
    Ok(counts)
}
