//! Latest values and counts from the rows: what was written down, plus the record rows that came later.
//!
//! Of every gateway when the only writer opens its database; of one gateway, from where memory stands,
//! where other processes write too. Numbers of a gateway's rows grow in the order of their commits
//! ([`super`]), so a number says exactly how far memory has come.

use super::commit::series_of;
use super::db::{Connection, DbResult, OptionalExtension, Row, params};
use super::known::Known;
use super::row::{self, damaged, failed};
use super::shared::Shared;
use crate::derived::{GatewayDerived, SeriesState};
use crate::digest::{Digest, digest};
use crate::error::StoreError;
use crate::ingest::LiveUpdate;
use crate::query::{Confirmed, Latest, SeriesId};
use crate::sql::Changed;
use crate::sql::known::SeriesRef;
use protocols_model::{BootId, GatewayId, Timestamp, ValueType};
use protocols_wire::{Body, Record, TimeMap};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A record row as it acts on latest values and counts.
struct Came {
    id: i64,
    received: Timestamp,
    digest: Digest,
    dictionaries: Vec<Arc<[SeriesRef]>>,
}

impl Came {
    fn apply_to(&self, state: &mut GatewayDerived) -> Vec<Latest> {
        state.through = state.through.max(self.id);
        state.apply(&self.digest, self.received, |dictionary, index| {
            series_of(&self.dictionaries, dictionary, index).and_then(|series| series.id)
        })
    }
}

/// The state of every gateway, by row.
pub(super) fn derived(
    conn: &Connection,
    retention: Duration,
) -> Result<HashMap<i64, GatewayDerived>, StoreError> {
    let mut all = HashMap::new();
    written_down(conn, None, &mut all)?;
    let maps = maps_by_row(conn)?;
    let fail = failed("reading records since the last compaction");
    let mut known = Known::default();
    conn.prepare_cached(
        "SELECT r.gateway, r.received, r.body, r.id FROM record r
         LEFT JOIN gateway_state s ON s.gateway = r.gateway
         WHERE r.id > coalesce(s.through, 0) ORDER BY r.id",
    )
    .map_err(fail)?
    .each([0_i64; 0], fail, |row| {
        let gateway: i64 = row.get(0).map_err(fail)?;
        let map = |boot| maps.get(&(gateway, boot)).copied();
        if let Some(came) = came(conn, &mut known, row, map, retention)? {
            came.apply_to(all.entry(gateway).or_default());
        }
        Ok(())
    })?;
    Ok(all)
}

/// Brings what memory has of a gateway up to what `conn` sees, and offers what is new to subscribers.
pub(super) fn catch_up(conn: &Connection, shared: &Shared, gateway: i64) -> Result<(), StoreError> {
    let fail = failed("reading latest values");
    let through: Option<i64> = conn
        .prepare_cached("SELECT through FROM gateway_state WHERE gateway = ?1")
        .and_then(|statement| statement.query_row([gateway], |row| row.get(0)).optional())
        .map_err(fail)?;
    let held = shared.derived().get(&gateway).map(|state| state.through);
    // What memory has not seen may be in blocks already: then it begins with what was written down.
    let anew = held.is_none_or(|held| through.is_some_and(|through| through > held));
    let mut fresh = HashMap::new();
    if anew {
        written_down(conn, Some(gateway), &mut fresh)?;
    }
    let mut fresh = fresh.remove(&gateway).unwrap_or_default();
    let from = if anew {
        fresh.through
    } else {
        held.unwrap_or(0)
    };
    let records = since(conn, shared, gateway, from)?;
    if !anew && records.is_empty() {
        return Ok(());
    }
    let name = name(conn, gateway)?;
    let mut update = name.map(|name| LiveUpdate::of(name, Changed::default()));
    let mut derived = shared.derived_mut();
    let state = derived.entry(gateway).or_default();
    // Another thread may have brought it further in the meantime.
    if anew && state.through < fresh.through.max(1) {
        let changed = differences(state, &fresh);
        *state = std::mem::take(&mut fresh);
        update
            .iter_mut()
            .for_each(|update| update.values.clone_from(&changed));
    }
    for record in records {
        if record.id > state.through {
            let changed = record.apply_to(state);
            if let Some(update) = &mut update {
                update.received = update.received.max(record.received);
                update.values.extend(changed);
            }
        }
    }
    drop(derived);
    if let Some(update) = update.filter(|update| !update.values.is_empty()) {
        // No subscriber is no failure.
        drop(shared.live.send(Arc::new(update)));
    }
    Ok(())
}

/// Latest values of `fresh` that `held` does not have.
fn differences(held: &GatewayDerived, fresh: &GatewayDerived) -> Vec<Latest> {
    let news = fresh.series.iter().filter_map(|(id, state)| {
        let latest = state.latest.as_ref()?;
        let before = held.series.get(id).and_then(|held| held.latest.as_ref());
        (before != Some(latest)).then(|| latest.clone())
    });
    news.collect()
}

/// Record rows of a gateway after a number.
fn since(
    conn: &Connection,
    shared: &Shared,
    gateway: i64,
    from: i64,
) -> Result<Vec<Came>, StoreError> {
    let fail = failed("reading records since the last look");
    let mut maps: Option<HashMap<BootId, TimeMap>> = None;
    let mut known = Known::default();
    let mut all = Vec::new();
    conn.prepare_cached(
        "SELECT gateway, received, body, id FROM record WHERE gateway = ?1 AND id > ?2
         ORDER BY id",
    )
    .map_err(fail)?
    .each(params![gateway, from], fail, |row| {
        let maps = match &mut maps {
            Some(maps) => maps,
            None => maps.insert(maps_of(conn, gateway)?),
        };
        let map = |boot| maps.get(&boot).copied();
        all.extend(came(conn, &mut known, row, map, shared.limits.retention)?);
        Ok(())
    })?;
    Ok(all)
}

/// Reads a row `gateway, received, body, id`.
fn came(
    conn: &Connection,
    known: &mut Known,
    row: &Row<'_>,
    map: impl Fn(BootId) -> Option<TimeMap>,
    retention: Duration,
) -> Result<Option<Came>, StoreError> {
    let fail = failed("reading records");
    let gateway: i64 = row.get(0).map_err(fail)?;
    let received = Timestamp(row.get(1).map_err(fail)?);
    let body: Vec<u8> = row.get(2).map_err(fail)?;
    let id: i64 = row.get(3).map_err(fail)?;
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
        return Ok(None);
    };
    let digest = digest(
        stamp,
        &telemetry,
        map(stamp.boot).as_ref(),
        received,
        retention,
    );
    let mut dictionaries = Vec::with_capacity(digest.dictionaries.len());
    for &hash in &digest.dictionaries {
        let series = known
            .resolve(conn, gateway, hash, 0)?
            .ok_or_else(|| damaged(format!("dictionary {hash} of record {id} is gone")))?;
        dictionaries.push(series);
    }
    Ok(Some(Came {
        id,
        received,
        digest,
        dictionaries,
    }))
}

/// What was written down of one gateway, or of all.
fn written_down(
    conn: &Connection,
    gateway: Option<i64>,
    all: &mut HashMap<i64, GatewayDerived>,
) -> Result<(), StoreError> {
    let fail = failed("reading latest values");
    conn.prepare_cached(
        "SELECT gateway, newest_sample, newest_received, through FROM gateway_state
         WHERE gateway = ?1 OR ?1 IS NULL",
    )
    .map_err(fail)?
    .each([gateway], fail, |row| {
        let state = all.entry(row.get(0).map_err(fail)?).or_default();
        state.newest_sample = row.get::<Option<i64>>(1).map_err(fail)?.map(Timestamp);
        state.newest_received = row.get::<Option<i64>>(2).map_err(fail)?.map(Timestamp);
        state.through = row.get(3).map_err(fail)?;
        Ok(())
    })?;
    conn.prepare_cached(
        "SELECT s.gateway, s.id, s.value_type, t.stored, t.filtered, t.time, t.received,
           t.quality, t.last_good, t.suspect, t.value, t.confirmed, t.confirmed_received
         FROM series_state t JOIN series s ON s.id = t.series
         WHERE s.gateway = ?1 OR ?1 IS NULL",
    )
    .map_err(fail)?
    .each([gateway], fail, |row| {
        let (gateway, id, state) = series_state(row).map_err(fail)?;
        all.entry(gateway).or_default().series.insert(id, state);
        Ok(())
    })
}

fn name(conn: &Connection, gateway: i64) -> Result<Option<GatewayId>, StoreError> {
    conn.prepare_cached("SELECT name FROM gateway WHERE id = ?1")
        .and_then(|statement| {
            statement
                .query_row([gateway], |row| super::read::id(row, 0))
                .optional()
        })
        .map_err(failed("reading a gateway"))
}

fn series_state(row: &Row<'_>) -> DbResult<(i64, i64, SeriesState)> {
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
            last_good: row.get::<Option<i64>>(8)?.map(Timestamp),
            suspect: row.get(9)?,
            value: row::value(row.cell(10)?, kind),
            confirmed: confirmed(row)?,
        }),
    };
    let state = SeriesState {
        latest,
        stored: row.get::<i64>(3)?.cast_unsigned(),
        filtered: row.get::<i64>(4)?.cast_unsigned(),
        dirty: false,
    };
    Ok((row.get(0)?, id, state))
}

fn confirmed(row: &Row<'_>) -> DbResult<Option<Confirmed>> {
    let (at, received): (Option<i64>, Option<i64>) = (row.get(11)?, row.get(12)?);
    Ok(at.zip(received).map(|(at, received)| Confirmed {
        at: Timestamp(at),
        received: Timestamp(received),
    }))
}

/// Time maps of one gateway; rows for [`map`].
pub(super) const MAPS_OF_GATEWAY: &str =
    "SELECT boot, origin, uncertainty FROM time_map WHERE gateway = ?1";

/// Reads a row of [`MAPS_OF_GATEWAY`].
pub(super) fn map(row: &Row<'_>) -> DbResult<TimeMap> {
    Ok(TimeMap {
        boot: BootId(row.get::<i64>(0)?.cast_unsigned()),
        origin: Timestamp(row.get(1)?),
        uncertainty_ns: row.get::<i64>(2)?.cast_unsigned(),
    })
}

fn maps_of(conn: &Connection, gateway: i64) -> Result<HashMap<BootId, TimeMap>, StoreError> {
    conn.prepare_cached(MAPS_OF_GATEWAY)
        .and_then(|statement| {
            let by_boot = |row: &Row<'_>| map(row).map(|map| (map.boot, map));
            statement.query_map([gateway], by_boot)?.collect()
        })
        .map_err(failed("reading time maps"))
}

fn maps_by_row(conn: &Connection) -> Result<HashMap<(i64, BootId), TimeMap>, StoreError> {
    conn.prepare_cached("SELECT boot, origin, uncertainty, gateway FROM time_map")
        .and_then(|statement| {
            let by_row = |row: &Row<'_>| {
                let map = map(row)?;
                Ok(((row.get(3)?, map.boot), map))
            };
            statement.query_map([0_i64; 0], by_row)?.collect()
        })
        .map_err(failed("reading time maps"))
}

/// Time maps by name of the gateway.
pub(super) fn maps(conn: &Connection) -> Result<HashMap<(GatewayId, BootId), TimeMap>, StoreError> {
    conn.prepare_cached(
        "SELECT t.boot, t.origin, t.uncertainty, g.name FROM time_map t
         JOIN gateway g ON g.id = t.gateway",
    )
    .and_then(|statement| {
        let by_name = |row: &Row<'_>| {
            let map = map(row)?;
            Ok(((super::read::id(row, 3)?, map.boot), map))
        };
        statement.query_map([0_i64; 0], by_name)?.collect()
    })
    .map_err(failed("reading time maps"))
}
