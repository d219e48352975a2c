//! Rows of the loss ledger: what the writer does to them.
//!
//! Counts follow what is struck: readings of a record that was stored are taken off where its bytes
//! are still at hand; where they are in blocks already, the entry says that its counts are upper
//! bounds.

use super::db::{Connection, OptionalExtension, params};
use super::row::{damaged, failed};
use crate::cursor::{set_from_bytes, set_to_bytes};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::ledger::{Entry, Verdict};
use protocols_model::{
    Claim, DictionaryHash, Epoch, Lane, LossReason, RecordKey, SeqRange, SeqSet, Timestamp,
};
use protocols_wire::{Body, Record};

/// Most ranges of an entry that the cloud makes itself: a flood of refusals stays bounded.
const MAX_CLOUD_RANGES: usize = 4096;

/// Entries of a cursor that hold anything as lost.
pub(super) fn lost(
    conn: &Connection,
    gateway: i64,
    epoch: Epoch,
    lane: Lane,
) -> Result<Vec<Entry>, StoreError> {
    let fail = failed("reading the ledger");
    let statement = conn
        .prepare_cached(
            "SELECT id, lost, by_cloud FROM claim
             WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3 AND is_lost = 1",
        )
        .map_err(&fail)?;
    let rows = statement
        .query_map(
            params![gateway, epoch.0.cast_signed(), lane.to_index()],
            |row| Ok((row.get(0)?, row.get::<Vec<u8>>(1)?, row.get(2)?)),
        )
        .map_err(&fail)?;
    rows.map(|row| {
        let (id, lost, by_cloud): (i64, Vec<u8>, bool) = row.map_err(&fail)?;
        let lost = set_from_bytes(&lost).ok_or_else(|| damaged(format!("ledger entry {id}")))?;
        Ok(Entry { id, lost, by_cloud })
    })
    .collect()
}

/// Writes back an entry whose lost part shrank; `stored` is the record that arrived after all.
pub(super) fn strike(
    conn: &Connection,
    entry: &Entry,
    stored: Option<&Digest>,
) -> Result<(), StoreError> {
    let fail = failed("striking from the ledger");
    let is_lost = !entry.lost.is_empty();
    conn.prepare_cached(
        "UPDATE claim SET lost = ?2, is_lost = ?3,
           readings = CASE WHEN CAST(?3 AS BIGINT) = 1 THEN readings ELSE 0 END,
           upper_bound = CASE WHEN CAST(?3 AS BIGINT) = 1 THEN upper_bound ELSE 0 END WHERE id = ?1",
    )
    .and_then(|update| update.execute(params![entry.id, set_to_bytes(&entry.lost), is_lost]))
    .map_err(&fail)?;
    if !is_lost {
        return conn
            .prepare_cached("DELETE FROM claim_point WHERE claim = ?1")
            .and_then(|delete| delete.execute([entry.id]))
            .map(drop)
            .map_err(&fail);
    }
    match stored {
        Some(digest) => take_off(conn, entry.id, digest),
        None => Ok(()),
    }
}

/// Takes the readings of a stored record off an entry.
fn take_off(conn: &Connection, entry: i64, digest: &Digest) -> Result<(), StoreError> {
    let fail = failed("striking from the ledger");
    conn.prepare_cached(
        "UPDATE claim SET readings = CASE WHEN readings > ?2 THEN readings - ?2 ELSE 0 END
         WHERE id = ?1 AND readings IS NOT NULL",
    )
    .and_then(|update| update.execute(params![entry, digest.readings.cast_signed()]))
    .map_err(&fail)?;
    let update = conn
        .prepare_cached(
            "UPDATE claim_point SET
               readings = CASE WHEN readings > ?4 THEN readings - ?4 ELSE 0 END,
               filtered = CASE WHEN filtered > ?5 THEN filtered - ?5 ELSE 0 END
             WHERE claim = ?1 AND dictionary = ?2 AND place = ?3",
        )
        .map_err(&fail)?;
    for column in &digest.columns {
        let dictionary = usize::try_from(column.dictionary)
            .ok()
            .and_then(|place| digest.dictionaries.get(place));
        let Some(DictionaryHash(hash)) = dictionary else {
            continue;
        };
        update
            .execute(params![
                entry,
                hash,
                column.index,
                column.readings.cast_signed(),
                column.filtered.cast_signed(),
            ])
            .map_err(&fail)?;
    }
    Ok(())
}

/// Enters a claim as settled.
pub(super) fn enter(
    conn: &Connection,
    gateway: i64,
    received: Timestamp,
    claim: &Claim,
    verdict: Verdict,
) -> Result<Entry, StoreError> {
    let fail = failed("entering a claim");
    let Verdict {
        lost,
        stored,
        known,
    } = verdict;
    let is_lost = !lost.is_empty();
    let records = if is_lost && !stored.is_empty() && claim.readings.is_some() {
        digests(conn, gateway, claim.epoch, claim.lane, &stored)?
    } else {
        Vec::new()
    };
    let exact = known.is_empty() && records.len() as u64 == stored.count();
    let id: i64 = conn.prepare_cached(
        "INSERT INTO claim (gateway, epoch, lane, first, last, lost, is_lost, reason, time_from,
           time_to, readings, at_most, upper_bound, by_cloud, received)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0, ?14)
         RETURNING id",
    )
    .and_then(|insert| {
        let readings = if is_lost { claim.readings } else { Some(0) };
        let row = params![
            gateway,
            claim.epoch.0.cast_signed(),
            claim.lane.to_index(),
            claim.range.first().cast_signed(),
            claim.range.last().cast_signed(),
            set_to_bytes(&lost),
            is_lost,
            claim.reason.to_index(),
            claim.from.0,
            claim.to.0,
            readings.map(u64::cast_signed),
            claim.at_most.map(u64::cast_signed),
            is_lost && claim.readings.is_some() && !exact,
            received.0,
        ];
        insert.query_row(row, |row| row.get(0))
    })
    .map_err(&fail)?;
    if is_lost {
        // One record may name a point twice; the counts add up.
        let insert = conn
            .prepare_cached(
                "INSERT INTO claim_point VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (claim, dictionary, place) DO UPDATE SET
                   readings = claim_point.readings + excluded.readings,
                   filtered = claim_point.filtered + excluded.filtered",
            )
            .map_err(&fail)?;
        for point in &claim.points {
            insert
                .execute(params![
                    id,
                    point.dictionary.0,
                    point.index,
                    point.readings.cast_signed(),
                    point.filtered.cast_signed(),
                ])
                .map_err(&fail)?;
        }
        for digest in &records {
            take_off(conn, id, digest)?;
        }
    }
    Ok(Entry {
        id,
        lost,
        by_cloud: false,
    })
}

/// Stored records of `seqs` whose bytes are still at hand, in numbers.
fn digests(
    conn: &Connection,
    gateway: i64,
    epoch: Epoch,
    lane: Lane,
    seqs: &SeqSet,
) -> Result<Vec<Digest>, StoreError> {
    let fail = failed("reading claimed records");
    let statement = conn
        .prepare_cached(
            "SELECT body, received FROM record
             WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3 AND seq BETWEEN ?4 AND ?5",
        )
        .map_err(&fail)?;
    let mut all = Vec::new();
    for range in seqs.ranges() {
        // Seqs above i64::MAX do not occur in rows: nobody counts that far.
        let last = i64::try_from(range.last()).unwrap_or(i64::MAX);
        let Ok(first) = i64::try_from(range.first()) else {
            continue;
        };
        let key = params![gateway, epoch.0.cast_signed(), lane.to_index(), first, last];
        statement.each(key, fail, |row| {
            let body: Vec<u8> = row.get(0).map_err(&fail)?;
            let received = Timestamp(row.get(1).map_err(&fail)?);
            if let Ok(Record {
                stamp,
                body: Body::Telemetry(telemetry),
            }) = Record::decode(&body)
            {
                let retention = std::time::Duration::MAX;
                all.push(crate::digest::digest(
                    stamp, &telemetry, None, received, retention,
                ));
            }
            Ok(())
        })?;
    }
    Ok(all)
}

/// Enters what the cloud itself gives up, a refusal or a damaged row: one entry per cursor and
/// reason, which grows.
pub(super) fn by_cloud(
    conn: &Connection,
    gateway: i64,
    key: RecordKey,
    reason: LossReason,
    received: Timestamp,
) -> Result<(), StoreError> {
    let fail = failed("entering a loss");
    let Some(range) = SeqRange::one(key.seq) else {
        return Ok(());
    };
    let (epoch, lane) = (key.epoch.0.cast_signed(), key.lane.to_index());
    let reason = reason.to_index();
    let found: Option<(i64, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT id, lost FROM claim WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3
             AND by_cloud = 1 AND reason = ?4 ORDER BY id DESC LIMIT 1",
        )
        .and_then(|statement| {
            statement
                .query_row(params![gateway, epoch, lane, reason], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()
        })
        .map_err(&fail)?;
    let held = match found {
        Some((id, lost)) => {
            let lost =
                set_from_bytes(&lost).ok_or_else(|| damaged(format!("ledger entry {id}")))?;
            Some((id, lost)).filter(|(_, lost)| lost.ranges().len() < MAX_CLOUD_RANGES)
        }
        None => None,
    };
    if let Some((id, mut lost)) = held {
        lost.insert(range);
        return conn
            .prepare_cached(
                "UPDATE claim SET lost = ?2, is_lost = 1, readings = NULL,
                   first = CASE WHEN first < ?3 THEN first ELSE ?3 END,
                   last = CASE WHEN last > ?3 THEN last ELSE ?3 END, received = ?4 WHERE id = ?1",
            )
            .and_then(|update| {
                update.execute(params![
                    id,
                    set_to_bytes(&lost),
                    key.seq.cast_signed(),
                    received.0
                ])
            })
            .map(drop)
            .map_err(&fail);
    }
    conn.prepare_cached(
        "INSERT INTO claim (gateway, epoch, lane, first, last, lost, is_lost, reason,
           upper_bound, by_cloud, received) VALUES (?1, ?2, ?3, ?4, ?4, ?5, 1, ?6, 0, 1, ?7)",
    )
    .and_then(|insert| {
        let lost = set_to_bytes(&SeqSet::from_iter([range]));
        insert.execute(params![
            gateway,
            epoch,
            lane,
            key.seq.cast_signed(),
            lost,
            reason,
            received.0
        ])
    })
    .map(drop)
    .map_err(&fail)
}
