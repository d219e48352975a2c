//! Cursor and epoch rows: read once per transaction, written at its end.

use super::group::{Group, Sender};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::sql::db::{Arg, Connection, OptionalExtension, params};
use crate::sql::prepare::Prepared;
use crate::sql::row::{damaged, failed};
use protocols_model::{Epoch, Lane, Timestamp};
use std::collections::BTreeMap;

/// A cursor as the transaction has it.
pub(super) struct CursorRow {
    pub(super) cursor: Cursor,
    pub(super) has_lost: bool,
    pub(super) closed: bool,
}

impl Group<'_> {
    /// Reads the cursors that the group's records need, in one go.
    pub(super) fn read_cursors(&mut self, groups: &[Prepared]) -> Result<(), StoreError> {
        let mut wanted: BTreeMap<(i64, Epoch, Lane), Timestamp> = BTreeMap::new();
        for prepared in groups {
            let Some((row, false)) = self.gateways.get(&prepared.gateway).copied().flatten() else {
                continue;
            };
            for record in &prepared.records {
                let key = (row, record.key.epoch, record.key.lane);
                let received = wanted.entry(key).or_insert(prepared.received);
                *received = prepared.received.max(*received);
            }
        }
        let keys: Vec<((i64, Epoch, Lane), Timestamp)> = wanted.into_iter().collect();
        let args: Vec<Vec<Arg<'_>>> = keys
            .iter()
            .map(|((gateway, epoch, lane), _)| {
                vec![
                    Arg::Int(*gateway),
                    Arg::Int(epoch.0.cast_signed()),
                    Arg::Int(lane.to_index().into()),
                ]
            })
            .collect();
        // Only cursors that are there: a new epoch is entered by the first record that needs it.
        let mut found = Vec::new();
        self.conn
            .query_many(
                "SELECT c.covered, c.has_lost, e.closed IS NOT NULL FROM cursor c
                 JOIN epoch e ON e.gateway = c.gateway AND e.epoch = c.epoch
                 WHERE c.gateway = ?1 AND c.epoch = ?2 AND c.lane = ?3",
                &args,
                &mut |at, row| {
                    found.push((at, row.get::<Vec<u8>>(0)?, row.get(1)?, row.get(2)?));
                    Ok(())
                },
            )
            .map_err(failed("reading cursors"))?;
        for (at, covered, has_lost, closed) in found {
            let Some(&((gateway, epoch, lane), received)) = keys.get(at) else {
                continue;
            };
            let cursor = cursor_from(&covered, epoch, lane)?;
            self.active
                .entry((gateway, epoch))
                .and_modify(|active| *active = received.max(*active))
                .or_insert(received);
            let row = CursorRow {
                cursor,
                has_lost,
                closed,
            };
            self.cursors.insert((gateway, epoch, lane), row);
        }
        Ok(())
    }

    /// The cursor, read once per transaction; `None` when the gateway has too many open epochs.
    pub(super) fn cursor(
        &mut self,
        from: Sender<'_>,
        epoch: Epoch,
        lane: Lane,
    ) -> Result<Option<&mut CursorRow>, StoreError> {
        let key = (from.row, epoch, lane);
        if !self.cursors.contains_key(&key) {
            let most = self.shared.limits.epochs_per_gateway;
            let Some(closed) = open_epoch(self.conn, from.row, epoch, from.received, most)? else {
                return Ok(None);
            };
            let (cursor, has_lost) = read_cursor(self.conn, from.row, epoch, lane)?;
            self.cursors.insert(
                key,
                CursorRow {
                    cursor,
                    has_lost,
                    closed,
                },
            );
        }
        Ok(self.cursors.get_mut(&key))
    }

    /// Writes every cursor that was touched, also those that did not move: a primary must not vouch
    /// for what its disk, and its standby's, never had.
    pub(super) fn write_cursors(&self) -> Result<(), StoreError> {
        let active: Vec<Vec<Arg<'_>>> = self
            .active
            .iter()
            .map(|((gateway, epoch), active)| {
                vec![
                    Arg::Int(*gateway),
                    Arg::Int(epoch.0.cast_signed()),
                    Arg::Int(active.0),
                ]
            })
            .collect();
        self.conn
            .execute_many(
                "UPDATE epoch SET active = ?3 WHERE gateway = ?1 AND epoch = ?2 AND active < ?3",
                &active,
            )
            .map_err(failed("marking an epoch active"))?;
        let covered: Vec<Vec<u8>> = self
            .cursors
            .values()
            .map(|row| row.cursor.to_bytes())
            .collect();
        let rows: Vec<Vec<Arg<'_>>> = self
            .cursors
            .iter()
            .zip(&covered)
            .map(|(((gateway, epoch, lane), row), covered)| {
                vec![
                    Arg::Int(*gateway),
                    Arg::Int(epoch.0.cast_signed()),
                    Arg::Int(lane.to_index().into()),
                    Arg::Blob(covered),
                    Arg::Int(row.has_lost.into()),
                ]
            })
            .collect();
        self.conn
            .execute_many(
                "INSERT INTO cursor VALUES (?1, ?2, ?3, ?4, ?5, 1)
                 ON CONFLICT (gateway, epoch, lane) DO UPDATE SET covered = excluded.covered,
                   has_lost = excluded.has_lost, writes = cursor.writes + 1",
                &rows,
            )
            .map_err(failed("moving a cursor"))
    }
}

fn cursor_from(covered: &[u8], epoch: Epoch, lane: Lane) -> Result<Cursor, StoreError> {
    Cursor::from_bytes(covered).ok_or_else(|| damaged(format!("cursor of epoch {epoch} {lane}")))
}

/// A cursor and whether the ledger holds anything of it.
pub(in crate::sql) fn read_cursor(
    conn: &Connection,
    gateway: i64,
    epoch: Epoch,
    lane: Lane,
) -> Result<(Cursor, bool), StoreError> {
    let found: Option<(Vec<u8>, bool)> = conn
        .prepare_cached(
            "SELECT covered, has_lost FROM cursor WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3",
        )
        .and_then(|statement| {
            let key = params![gateway, epoch.0.cast_signed(), lane.to_index()];
            statement
                .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(failed("reading a cursor"))?;
    let Some((covered, has_lost)) = found else {
        return Ok((Cursor::default(), false));
    };
    Ok((cursor_from(&covered, epoch, lane)?, has_lost))
}

/// Enters the epoch or marks it active; says whether it is closed. `None`: too many.
pub(in crate::sql) fn open_epoch(
    conn: &Connection,
    gateway: i64,
    epoch: Epoch,
    received: Timestamp,
    most: u64,
) -> Result<Option<bool>, StoreError> {
    let fail = failed("entering an epoch");
    let key = params![gateway, epoch.0.cast_signed()];
    let found: Option<bool> = conn
        .prepare_cached("SELECT closed IS NOT NULL FROM epoch WHERE gateway = ?1 AND epoch = ?2")
        .and_then(|statement| statement.query_row(key, |row| row.get(0)).optional())
        .map_err(&fail)?;
    if found.is_none() {
        let open: i64 = conn
            .prepare_cached("SELECT count(*) FROM epoch WHERE gateway = ?1 AND closed IS NULL")
            .and_then(|statement| statement.query_row([gateway], |row| row.get(0)))
            .map_err(&fail)?;
        if open.unsigned_abs() >= most {
            return Ok(None);
        }
    }
    conn.prepare_cached(
        "INSERT INTO epoch VALUES (?1, ?2, ?3, NULL, NULL)
         ON CONFLICT (gateway, epoch) DO UPDATE SET active =
           CASE WHEN epoch.active > excluded.active THEN epoch.active ELSE excluded.active END",
    )
    .and_then(|statement| statement.execute(params![gateway, epoch.0.cast_signed(), received.0]))
    .map_err(&fail)?;
    Ok(Some(found.unwrap_or(false)))
}
