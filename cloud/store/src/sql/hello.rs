//! Hellos: the settled state of what a gateway holds, and which epochs are over (design.md C3).

use super::commit::{open_epoch, read_cursor};
use super::db::{Connection, OptionalExtension, params};
use super::row::failed;
use super::{Shared, alarm, claims, event, read};
use crate::error::StoreError;
use crate::ingest::HelloState;
use protocols_model::{BootId, DictionaryHash, Epoch, GatewayId, Lane, SeqSet, Timestamp};
use protocols_wire::{EpochState, Event, EventKind, Hello};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Boot ids remembered per gateway: enough to see A, B, A, B.
const BOOTS: usize = 4;

/// Notes a hello and answers it, in one transaction: what the answer vouches for is on disk.
pub(super) fn hello(
    tx: &Connection,
    shared: &Shared,
    gateway: &GatewayId,
    hello: &Hello,
    received: Timestamp,
    drained: bool,
) -> Result<HelloState, StoreError> {
    let limits = &shared.limits;
    let generation = generation(tx)?;
    shared.generation.store(generation, Ordering::Relaxed);
    let row = tx
        .query_row(&read::gateway_for_writing(tx), [gateway.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(failed("reading a gateway"))?;
    let Some((row, false)) = row else {
        return Ok(HelloState {
            generation,
            epochs: Vec::new(),
            missing_dictionaries: Vec::new(),
            cloned: false,
            refused: true,
        });
    };
    let cloned = note(tx, row, hello, received)?;
    let listed: BTreeSet<Epoch> = hello
        .held
        .iter()
        .map(|held| held.epoch)
        .chain([hello.epoch])
        .collect();
    if !cloned {
        let enter = |epoch| open_epoch(tx, row, epoch, received, limits.epochs_per_gateway);
        if enter(hello.epoch)?.is_some() {
            // Also those of which nothing has come yet: when it does, it must be known to be old.
            for &epoch in &listed {
                enter(epoch)?;
            }
            place_epochs(tx, row, hello.epoch, &listed, limits.alarms())?;
        }
    }
    for epoch in &listed {
        tx.prepare_cached(
            "UPDATE epoch SET active = ?3 WHERE gateway = ?1 AND epoch = ?2 AND active < ?3",
        )
        .and_then(|update| update.execute(params![row, epoch.0.cast_signed(), received.0]))
        .map_err(failed("marking an epoch active"))?;
    }
    // A partial hello leaves out epochs that are as open as those it names.
    if drained && !cloned && !hello.partial {
        close_epochs(
            tx,
            row,
            &listed,
            received,
            received.minus(limits.epoch_grace),
        )?;
    }
    let mut epochs = Vec::with_capacity(hello.held.len());
    let named: BTreeSet<_> = hello
        .held
        .iter()
        .map(|held| (held.epoch, held.lane))
        .collect();
    for (epoch, lane) in named {
        // The answer vouches for the cursor, so the cursor row is written (design.md C4).
        tx.prepare_cached(
            "UPDATE cursor SET writes = writes + 1
             WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3",
        )
        .and_then(|update| update.execute(params![row, epoch.0.cast_signed(), lane.to_index()]))
        .map_err(failed("vouching for a cursor"))?;
        epochs.push(EpochState {
            epoch,
            lane,
            settled: settled(tx, row, epoch, lane)?,
            closed: is_closed(tx, row, epoch)?,
        });
    }
    let missing_dictionaries = missing(tx, &hello.dictionaries)?;
    Ok(HelloState {
        generation,
        epochs,
        missing_dictionaries,
        cloned,
        refused: false,
    })
}

/// Notes that `running` is the newest epoch. Others that no hello spoke of while they ran, and those that the
/// gateway still holds records of, lie between it and those before; alarms are looked at again in that light.
fn place_epochs(
    conn: &Connection,
    gateway: i64,
    running: Epoch,
    listed: &BTreeSet<Epoch>,
    bounds: alarm::Bounds,
) -> Result<(), StoreError> {
    let fail = failed("ordering epochs");
    let mut new = conn
        .prepare_cached("SELECT epoch FROM epoch WHERE gateway = ?1 AND place IS NULL")
        .and_then(|statement| {
            statement
                .query_map([gateway], |row| row.get::<i64>(0))?
                .map(|epoch| epoch.map(|epoch| Epoch(epoch.cast_unsigned())))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(&fail)?;
    let begins = new.contains(&running);
    if !begins {
        // What is new and not listed began after this hello was said.
        new.retain(|epoch| listed.contains(epoch));
    }
    let sql = if begins {
        "SELECT coalesce(max(place), 0) + 2 FROM epoch WHERE gateway = ?1 AND epoch <> ?2"
    } else {
        "SELECT place FROM epoch WHERE gateway = ?1 AND epoch = ?2"
    };
    let last: i64 = conn
        .prepare_cached(sql)
        .and_then(|statement| {
            statement.query_row(params![gateway, running.0.cast_signed()], |row| row.get(0))
        })
        .map_err(&fail)?;
    new.sort_by_key(|epoch| *epoch == running);
    for epoch in &new {
        let place = last - i64::from(*epoch != running);
        conn.prepare_cached("UPDATE epoch SET place = ?3 WHERE gateway = ?1 AND epoch = ?2")
            .and_then(|update| update.execute(params![gateway, epoch.0.cast_signed(), place]))
            .map_err(&fail)?;
    }
    for epoch in new {
        alarm::reconsider(conn, gateway, epoch, bounds)?;
    }
    Ok(())
}

/// What the gateway need not keep. Not what was refused and it has not claimed: should the
/// acknowledgement that said so be lost, only it can tell how many readings went; it offers the record
/// once more, and is told once more.
fn settled(
    conn: &Connection,
    gateway: i64,
    epoch: Epoch,
    lane: Lane,
) -> Result<SeqSet, StoreError> {
    let (cursor, has_lost) = read_cursor(conn, gateway, epoch, lane)?;
    let mut settled = cursor.covered().clone();
    if has_lost {
        for entry in claims::lost(conn, gateway, epoch, lane)? {
            let refused = entry.lost.ranges().iter().filter(|_| entry.by_cloud);
            refused.for_each(|&range| settled.remove(range));
        }
    }
    Ok(settled)
}

/// The generation as the database has it: another process may have drawn a new one.
pub(crate) fn generation(conn: &Connection) -> Result<u64, StoreError> {
    let value: i64 = conn
        .query_row(
            "SELECT value FROM meta WHERE key = ?1",
            ["generation"],
            |row| row.get(0),
        )
        .map_err(failed("reading the generation"))?;
    Ok(value.cast_unsigned())
}

/// Keeps the hello for the API and says whether two boots alternate.
fn note(
    conn: &Connection,
    gateway: i64,
    hello: &Hello,
    received: Timestamp,
) -> Result<bool, StoreError> {
    let fail = failed("noting a hello");
    let before: Option<(Vec<u8>, bool)> = conn
        .prepare_cached("SELECT boots, cloned FROM gateway_hello WHERE gateway = ?1")
        .and_then(|statement| {
            statement
                .query_row([gateway], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(&fail)?;
    let (boots, was_cloned) = before.unwrap_or_default();
    let (known, _) = boots.as_chunks::<8>();
    let mut boots: Vec<BootId> = known
        .iter()
        .map(|b| BootId(u64::from_le_bytes(*b)))
        .collect();
    remember(&mut boots, hello.boot);
    let cloned = alternate(&boots);
    let bytes: Vec<u8> = boots.iter().flat_map(|boot| boot.0.to_le_bytes()).collect();
    let payload = hello.encode().map_err(|source| StoreError::Database {
        doing: "encoding a hello",
        source: Box::new(source),
    })?;
    conn.prepare_cached(
        "INSERT INTO gateway_hello VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (gateway) DO UPDATE SET
           received = excluded.received, payload = excluded.payload, boots = excluded.boots,
           cloned = excluded.cloned",
    )
    .and_then(|insert| {
        insert.execute(params![
            gateway,
            received.0,
            payload.as_ref(),
            bytes,
            cloned
        ])
    })
    .map_err(&fail)?;
    if cloned && !was_cloned {
        let happened = Event {
            time: received,
            kind: EventKind::Identity,
            subject: "identity cloned".to_owned(),
            text: "two processes say hello in turn with this gateway's identity; \
                   stop one of them, or revoke the gateway and enter it anew"
                .to_owned(),
            alarm: None,
        };
        let _number = event::enter(conn, gateway, None, received, &happened)?;
    }
    Ok(cloned)
}

/// Appends a boot unless it is the last one already.
fn remember(boots: &mut Vec<BootId>, boot: BootId) {
    if boots.last() != Some(&boot) {
        boots.push(boot);
    }
    if boots.len() > BOOTS {
        boots.remove(0);
    }
}

/// Whether the last boots are A, B, A, B. One return alone may be a hello that was overtaken.
fn alternate(boots: &[BootId]) -> bool {
    matches!(boots, [a, b, c, d] if a == c && b == d)
}

fn close_epochs(
    conn: &Connection,
    gateway: i64,
    listed: &BTreeSet<Epoch>,
    now: Timestamp,
    quiet_since: Timestamp,
) -> Result<(), StoreError> {
    let fail = failed("closing epochs");
    let statement = conn
        .prepare_cached(
            "SELECT epoch FROM epoch WHERE gateway = ?1 AND closed IS NULL AND active <= ?2",
        )
        .map_err(&fail)?;
    let quiet = statement
        .query_map(params![gateway, quiet_since.0], |row| row.get::<i64>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(&fail)?;
    for epoch in quiet {
        if listed.contains(&Epoch(epoch.cast_unsigned())) {
            continue;
        }
        conn.prepare_cached("UPDATE epoch SET closed = ?3 WHERE gateway = ?1 AND epoch = ?2")
            .and_then(|update| update.execute(params![gateway, epoch, now.0]))
            .map_err(&fail)?;
    }
    Ok(())
}

fn is_closed(conn: &Connection, gateway: i64, epoch: Epoch) -> Result<bool, StoreError> {
    let closed: Option<bool> = conn
        .prepare_cached("SELECT closed IS NOT NULL FROM epoch WHERE gateway = ?1 AND epoch = ?2")
        .and_then(|statement| {
            statement
                .query_row(params![gateway, epoch.0.cast_signed()], |row| row.get(0))
                .optional()
        })
        .map_err(failed("reading an epoch"))?;
    Ok(closed.unwrap_or(false))
}

fn missing(conn: &Connection, named: &[DictionaryHash]) -> Result<Vec<DictionaryHash>, StoreError> {
    let statement = conn
        .prepare_cached("SELECT 1 FROM dictionary WHERE hash = ?1")
        .map_err(failed("looking for dictionaries"))?;
    let mut missing = Vec::new();
    for hash in named {
        if !statement
            .exists([hash.0])
            .map_err(failed("looking for dictionaries"))?
        {
            missing.push(*hash);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_boots_that_return_twice_are_called_clones() {
        let seen = |ids: &[u64]| {
            let mut boots = Vec::new();
            ids.iter()
                .map(|id| {
                    remember(&mut boots, BootId(*id));
                    alternate(&boots)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(&[1, 1, 2, 2, 3]), [false; 5]);
        assert_eq!(seen(&[1, 2, 1]), [false; 3]);
        assert_eq!(seen(&[1, 2, 1, 2]), [false, false, false, true]);
        assert_eq!(
            seen(&[1, 2, 1, 2, 2, 3]),
            [false, false, false, true, true, false]
        );
    }
}
