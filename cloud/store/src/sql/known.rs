//! Dictionaries and series that the writer has met: which series a column of a record is.
//!
//! A cache of what the tables say; emptied after every failed transaction, so it never knows more
//! than the database.

use super::db::{Arg, Connection, DbResult, OptionalExtension, Row, params};
use super::row::{damaged, failed};
use crate::error::StoreError;
use protocols_model::{DictionaryHash, ValueType};
use protocols_wire::Dictionary;
use std::collections::HashMap;
use std::sync::Arc;

/// Dictionaries kept in memory; beyond it the cache starts anew. Far above what gateways use at a
/// time (one or few each), so that the hot path reads no dictionary.
const CACHED: usize = 50_000;

/// A series as a column refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeriesRef {
    /// Row of the series; `None` where the gateway had too many already.
    pub(super) id: Option<i64>,
    /// Type of its values.
    pub(super) kind: ValueType,
}

/// What the writer has met, by gateway row and dictionary.
#[derive(Debug, Default)]
pub(super) struct Known {
    dictionaries: HashMap<(i64, DictionaryHash), Arc<[SeriesRef]>>,
}

impl Known {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.dictionaries.clear();
    }

    /// The series that a gateway's columns of `hash` are, entered where they are new; `None` when
    /// nobody has sent the dictionary yet.
    pub(super) fn resolve(
        &mut self,
        conn: &Connection,
        gateway: i64,
        hash: DictionaryHash,
        most: u64,
    ) -> Result<Option<Arc<[SeriesRef]>>, StoreError> {
        if let Some(series) = self.dictionaries.get(&(gateway, hash)) {
            return Ok(Some(Arc::clone(series)));
        }
        let Some(dictionary) = dictionary(conn, hash)? else {
            return Ok(None);
        };
        let series: Arc<[SeriesRef]> = enter(conn, gateway, &dictionary, most)?.into();
        if series.iter().all(|series| series.id.is_some()) {
            if self.dictionaries.len() >= CACHED {
                self.dictionaries.clear();
            }
            self.dictionaries
                .insert((gateway, hash), Arc::clone(&series));
        }
        Ok(Some(series))
    }
}

/// A stored dictionary.
pub(super) fn dictionary(
    conn: &Connection,
    hash: DictionaryHash,
) -> Result<Option<Dictionary>, StoreError> {
    let body: Option<Vec<u8>> = conn
        .prepare_cached("SELECT body FROM dictionary WHERE hash = ?1")
        .and_then(|statement| statement.query_row([hash.0], |row| row.get(0)).optional())
        .map_err(failed("reading a dictionary"))?;
    body.map(|body| {
        Dictionary::decode(body.into()).map_err(|why| damaged(format!("dictionary {hash}: {why}")))
    })
    .transpose()
}

/// Stores a dictionary; it is named by its content, so one that is there is the same.
pub(super) fn store_dictionary(
    conn: &Connection,
    dictionary: &Dictionary,
) -> Result<(), StoreError> {
    conn.prepare_cached("INSERT INTO dictionary VALUES (?1, ?2) ON CONFLICT DO NOTHING")
        .and_then(|statement| {
            statement.execute(params![dictionary.hash().0, dictionary.encoded().as_ref()])
        })
        .map(drop)
        .map_err(failed("storing a dictionary"))
}

/// Series of the entries, those of the table or new ones while there is room.
fn enter(
    conn: &Connection,
    gateway: i64,
    dictionary: &Dictionary,
    most: u64,
) -> Result<Vec<SeriesRef>, StoreError> {
    let fail = failed("entering series");
    let entries = dictionary.entries();
    let names: Vec<Vec<Arg<'_>>> = entries
        .iter()
        .map(|entry| {
            vec![
                Arg::Int(gateway),
                Arg::Text(entry.device.as_str()),
                Arg::Text(entry.point.as_str()),
                Arg::Int(entry.value_type.to_index().into()),
                Arg::Text(&entry.unit),
            ]
        })
        .collect();
    let mut all: Vec<SeriesRef> = entries
        .iter()
        .map(|entry| SeriesRef {
            id: None,
            kind: entry.value_type,
        })
        .collect();
    conn.query_many(
        "SELECT id FROM series WHERE gateway = ?1 AND device = ?2 AND point = ?3
         AND value_type = ?4 AND unit = ?5",
        &names,
        &mut |at, row| found(&mut all, at, row),
    )
    .map_err(fail)?;
    let missing = all.iter().filter(|series| series.id.is_none()).count();
    if missing == 0 || most == 0 {
        return Ok(all);
    }
    let count: i64 = conn
        .query_row(
            "SELECT count(*) FROM series WHERE gateway = ?1",
            [gateway],
            |row| row.get(0),
        )
        .map_err(fail)?;
    let room = usize::try_from(most.saturating_sub(count.unsigned_abs())).unwrap_or(usize::MAX);
    let (places, rows): (Vec<usize>, Vec<Vec<Arg<'_>>>) = names
        .into_iter()
        .zip(entries)
        .enumerate()
        .filter(|(at, _)| all.get(*at).is_some_and(|series| series.id.is_none()))
        .take(room)
        .map(|(at, (mut row, entry))| {
            row.push(Arg::Real(entry.scale));
            (at, row)
        })
        .unzip();
    // A dictionary may name a series twice: the second time it is there.
    conn.query_many(
        "INSERT INTO series (gateway, device, point, value_type, unit, scale)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (gateway, device, point, value_type, unit)
         DO UPDATE SET scale = series.scale RETURNING id",
        &rows,
        &mut |nth, row| match places.get(nth) {
            Some(&at) => found(&mut all, at, row),
            None => Ok(()),
        },
    )
    .map_err(fail)?;
    Ok(all)
}

fn found(all: &mut [SeriesRef], at: usize, row: &Row<'_>) -> DbResult<()> {
    if let Some(series) = all.get_mut(at) {
        series.id = Some(row.get(0)?);
    }
    Ok(())
}
