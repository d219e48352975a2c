//! Cursor and epoch rows: read once per transaction, written at its end.

use super::group::{Group, Sender};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::sqlite::row::{damaged, failed};
use protocols_model::{Epoch, Lane, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

/// A cursor as the transaction has it.
pub(super) struct CursorRow {
    pub(super) cursor: Cursor,
    pub(super) has_lost: bool,
    pub(super) closed: bool,
}

impl Group<'_> {
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
    /// for what its disk (later: its standby) never had.
    pub(super) fn write_cursors(&self) -> Result<(), StoreError> {
        for ((gateway, epoch, lane), row) in &self.cursors {
            self.conn
                .prepare_cached(
                    "INSERT INTO cursor VALUES (?1, ?2, ?3, ?4, ?5, 1)
                     ON CONFLICT DO UPDATE SET covered = excluded.covered,
                       has_lost = excluded.has_lost, writes = writes + 1",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        gateway,
                        epoch.0.cast_signed(),
                        lane.to_index(),
                        row.cursor.to_bytes(),
                        row.has_lost,
                    ])
                })
                .map_err(failed("moving a cursor"))?;
        }
        Ok(())
    }
}

/// A cursor and whether the ledger holds anything of it.
pub(in crate::sqlite) fn read_cursor(
    conn: &Connection,
    gateway: i64,
    epoch: Epoch,
    lane: Lane,
) -> Result<(Cursor, bool), StoreError> {
    let found: Option<(Vec<u8>, bool)> = conn
        .prepare_cached(
            "SELECT covered, has_lost FROM cursor WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3",
        )
        .and_then(|mut statement| {
            let key = params![gateway, epoch.0.cast_signed(), lane.to_index()];
            statement
                .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(failed("reading a cursor"))?;
    let Some((covered, has_lost)) = found else {
        return Ok((Cursor::default(), false));
    };
    let cursor = Cursor::from_bytes(&covered)
        .ok_or_else(|| damaged(format!("cursor of epoch {epoch} {lane}")))?;
    Ok((cursor, has_lost))
}

/// Enters the epoch or marks it active; says whether it is closed. `None`: too many.
pub(in crate::sqlite) fn open_epoch(
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
        .and_then(|mut statement| statement.query_row(key, |row| row.get(0)).optional())
        .map_err(&fail)?;
    if found.is_none() {
        let open: i64 = conn
            .prepare_cached("SELECT count(*) FROM epoch WHERE gateway = ?1 AND closed IS NULL")
            .and_then(|mut statement| statement.query_row([gateway], |row| row.get(0)))
            .map_err(&fail)?;
        if open.unsigned_abs() >= most {
            return Ok(None);
        }
    }
    conn.prepare_cached(
        "INSERT INTO epoch VALUES (?1, ?2, ?3, NULL, NULL)
         ON CONFLICT DO UPDATE SET active = max(active, excluded.active)",
    )
    .and_then(|mut statement| {
        statement.execute(params![gateway, epoch.0.cast_signed(), received.0])
    })
    .map_err(&fail)?;
    Ok(Some(found.unwrap_or(false)))
}
