//! Making the derived state again when the database is opened: what was written down, plus the
//! record rows that came later.

use super::commit::series_of;
use super::known::Known;
use super::row::{self, damaged, failed};
use crate::derived::{GatewayDerived, SeriesState};
use crate::digest::digest;
use crate::error::StoreError;
use crate::query::{Confirmed, Latest, SeriesId};
use protocols_model::{BootId, GatewayId, Timestamp, ValueType};
use protocols_wire::{Body, Record, TimeMap};
use rusqlite::Connection;
use std::collections::HashMap;
use std::time::Duration;

/// The state of every gateway, by row.
pub(super) fn derived(
    conn: &Connection,
    retention: Duration,
) -> Result<HashMap<i64, GatewayDerived>, StoreError> {
    let mut all = HashMap::new();
    written_down(conn, &mut all)?;
    let maps = maps_by_row(conn)?;
    let fail = failed("reading records since the last compaction");
    let mut known = Known::default();
    let mut statement = conn
        .prepare(
            "SELECT r.gateway, r.received, r.body, r.id FROM record r
             LEFT JOIN gateway_state s ON s.gateway = r.gateway
             WHERE r.id > coalesce(s.through, 0) ORDER BY r.id",
        )
        .map_err(&fail)?;
    let mut rows = statement.query([]).map_err(&fail)?;
    while let Some(row) = rows.next().map_err(&fail)? {
        let gateway: i64 = row.get(0).map_err(&fail)?;
        let received = Timestamp(row.get(1).map_err(&fail)?);
        let body: Vec<u8> = row.get(2).map_err(&fail)?;
        let id: i64 = row.get(3).map_err(&fail)?;
        let Ok(Record {
            stamp,
            body: Body::Telemetry(telemetry),
        }) = Record::decode(&body)
        else {
            // The compactor sets it aside; one damaged row must not keep the cloud from starting.
            tracing::error!(
                id,
                "a damaged record is left out of latest values and counts"
            );
            continue;
        };
        let map = maps.get(&(gateway, stamp.boot));
        let digest = digest(stamp, &telemetry, map, received, retention);
        let mut dictionaries = Vec::with_capacity(digest.dictionaries.len());
        for &hash in &digest.dictionaries {
            let series = known
                .resolve(conn, gateway, hash, 0)?
                .ok_or_else(|| damaged(format!("dictionary {hash} of record {id} is gone")))?;
            dictionaries.push(series);
        }
        all.entry(gateway)
            .or_default()
            .apply(&digest, received, |dictionary, index| {
                series_of(&dictionaries, dictionary, index).and_then(|series| series.id)
            });
    }
    Ok(all)
}

fn written_down(
    conn: &Connection,
    all: &mut HashMap<i64, GatewayDerived>,
) -> Result<(), StoreError> {
    let fail = failed("reading latest values");
    let mut statement = conn
        .prepare("SELECT gateway, newest_sample, newest_received FROM gateway_state")
        .map_err(&fail)?;
    let mut rows = statement.query([]).map_err(&fail)?;
    while let Some(row) = rows.next().map_err(&fail)? {
        let state = all.entry(row.get(0).map_err(&fail)?).or_default();
        state.newest_sample = row.get::<_, Option<i64>>(1).map_err(&fail)?.map(Timestamp);
        state.newest_received = row.get::<_, Option<i64>>(2).map_err(&fail)?.map(Timestamp);
    }
    let mut statement = conn
        .prepare(
            "SELECT s.gateway, s.id, s.value_type, t.stored, t.filtered, t.time, t.received,
               t.quality, t.last_good, t.suspect, t.value, t.confirmed, t.confirmed_received
             FROM series_state t JOIN series s ON s.id = t.series",
        )
        .map_err(&fail)?;
    let mut rows = statement.query([]).map_err(&fail)?;
    while let Some(row) = rows.next().map_err(&fail)? {
        let (gateway, id, state) = series_state(row).map_err(&fail)?;
        all.entry(gateway).or_default().series.insert(id, state);
    }
    Ok(())
}

fn series_state(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, i64, SeriesState)> {
    let id: i64 = row.get(1)?;
    let kind = ValueType::from_index(row.get(2)?).unwrap_or(ValueType::F64);
    let time: Option<i64> = row.get(5)?;
    let latest = match time {
        None => None,
        Some(time) => Some(Latest {
            series: SeriesId(id),
            time: Timestamp(time),
            received: Timestamp(row.get(6)?),
            quality: row::quality(row.get(7)?),
            last_good: row.get::<_, Option<i64>>(8)?.map(Timestamp),
            suspect: row.get(9)?,
            value: row::from_sql(row.get_ref(10)?, kind),
            confirmed: confirmed(row)?,
        }),
    };
    let state = SeriesState {
        latest,
        stored: row.get::<_, i64>(3)?.cast_unsigned(),
        filtered: row.get::<_, i64>(4)?.cast_unsigned(),
        dirty: false,
    };
    Ok((row.get(0)?, id, state))
}

fn confirmed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Confirmed>> {
    let (at, received): (Option<i64>, Option<i64>) = (row.get(11)?, row.get(12)?);
    Ok(at.zip(received).map(|(at, received)| Confirmed {
        at: Timestamp(at),
        received: Timestamp(received),
    }))
}

/// Time maps by row of the gateway.
pub(super) fn maps_by_row(
    conn: &Connection,
) -> Result<HashMap<(i64, BootId), TimeMap>, StoreError> {
    let fail = failed("reading time maps");
    let mut statement = conn
        .prepare("SELECT gateway, boot, origin, uncertainty FROM time_map")
        .map_err(&fail)?;
    let rows = statement
        .query_map([], |row| {
            let boot = BootId(row.get::<_, i64>(1)?.cast_unsigned());
            let map = TimeMap {
                boot,
                origin: Timestamp(row.get(2)?),
                uncertainty_ns: row.get::<_, i64>(3)?.cast_unsigned(),
            };
            Ok(((row.get(0)?, boot), map))
        })
        .map_err(&fail)?;
    rows.collect::<Result<_, _>>().map_err(&fail)
}

/// Time maps by name of the gateway.
pub(super) fn maps(conn: &Connection) -> Result<HashMap<(GatewayId, BootId), TimeMap>, StoreError> {
    let fail = failed("reading gateways");
    let mut statement = conn
        .prepare("SELECT id, name FROM gateway")
        .map_err(&fail)?;
    let names = statement
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .and_then(Iterator::collect::<Result<HashMap<i64, String>, _>>)
        .map_err(&fail)?;
    let mut all = HashMap::new();
    for ((gateway, boot), map) in maps_by_row(conn)? {
        let name = names
            .get(&gateway)
            .and_then(|name| GatewayId::try_new(name).ok());
        if let Some(name) = name {
            all.insert((name, boot), map);
        }
    }
    Ok(all)
}
