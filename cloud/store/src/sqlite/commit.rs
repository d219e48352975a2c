//! Commit, then settle: one transaction writes a group's data and moves its cursors (design.md C4).
//!
//! A group that the database refuses for what is in it is retried record by record: the one that
//! cannot be stored is quarantined and refused, the others are stored. A group that fails for any
//! other reason (disk full, I/O) settles nothing. Memory follows only after the commit.

use super::known::{self, Known, SeriesRef};
use super::prepare::{Content, Prepared, PreparedRecord};
use super::row::failed;
use super::threads::WriterState;
use super::{claims, event, read};
use crate::cursor::Cursor;
use crate::digest::{Digest, digest};
use crate::error::StoreError;
use crate::failpoint;
use crate::ingest::{LiveUpdate, QuarantineInput, Settled};
use crate::ledger;
use crate::stamp;
use protocols_model::{
    Claim, DictionaryHash, Epoch, GatewayId, Lane, LossReason, RecordKey, RefuseReason, SeqRange,
    SeqSet, Timestamp,
};
use protocols_wire::{AckItem, Body, Record, RetryLater, RetryReason, TimeMap};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// When a gateway should offer again what found no room.
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// When a gateway should offer again what the cloud cannot read yet: an update takes its time.
const NEWER: Duration = Duration::from_secs(3600);

/// What a record came to.
enum Outcome {
    /// Stored now.
    Stored(u64),
    /// Was settled before.
    Known,
    Refused(RefuseReason),
    Retry(RetryReason, Duration),
}

/// A gateway of the group.
#[derive(Clone, Copy)]
struct Sender<'a> {
    row: i64,
    name: &'a GatewayId,
    received: Timestamp,
}

/// A cursor as the transaction has it.
struct CursorRow {
    cursor: Cursor,
    has_lost: bool,
    closed: bool,
}

/// A telemetry record that was stored.
struct Taken {
    row: i64,
    gateway: GatewayId,
    received: Timestamp,
    digest: Digest,
    dictionaries: Vec<Arc<[SeriesRef]>>,
}

/// What follows in memory once the group is on disk.
#[derive(Default)]
struct Effects {
    telemetry: Vec<Taken>,
    maps: Vec<(GatewayId, TimeMap)>,
    events: Vec<GatewayId>,
    ledger: Vec<GatewayId>,
}

/// One transaction under way.
struct Group<'a> {
    conn: &'a Connection,
    state: &'a mut Known,
    shared: &'a super::Shared,
    cursors: HashMap<(i64, Epoch, Lane), CursorRow>,
    effects: Effects,
}

/// Commits a group.
pub(super) fn commit(
    state: &mut WriterState,
    groups: Vec<Prepared>,
) -> Result<Vec<Settled>, StoreError> {
    match attempt(state, &groups) {
        Ok(settled) => Ok(settled),
        Err(why) if is_environment(&why) => Err(why),
        Err(why) => {
            tracing::warn!(error = %why, "a group of records failed, retrying one by one");
            groups
                .into_iter()
                .map(|group| one_by_one(state, group))
                .collect()
        }
    }
}

/// Whether an error says nothing about the data: the same records may pass later.
fn is_environment(error: &StoreError) -> bool {
    let StoreError::Database { source, .. } = error else {
        return !matches!(error, StoreError::Damaged { .. });
    };
    let code = source
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    !matches!(
        code,
        Some(
            ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ParameterOutOfRange
        )
    )
}

fn one_by_one(state: &mut WriterState, group: Prepared) -> Result<Settled, StoreError> {
    let mut sum: Option<Settled> = None;
    for record in group.records {
        let mut alone = Prepared {
            gateway: group.gateway.clone(),
            received: group.received,
            dictionaries: group.dictionaries.clone(),
            records: vec![record],
        };
        let settled = match attempt(state, std::slice::from_ref(&alone)) {
            Err(why) if is_environment(&why) => return Err(why),
            Err(why @ StoreError::Damaged { .. }) => {
                tracing::error!(error = %why, "a record waits for damaged data to be repaired");
                vec![waiting(&alone)]
            }
            Err(why) => {
                for record in &mut alone.records {
                    record.content = Content::Unusable(RefuseReason::Malformed, why.to_string());
                }
                attempt(state, std::slice::from_ref(&alone))?
            }
            Ok(settled) => settled,
        };
        for one in settled {
            match &mut sum {
                None => sum = Some(one),
                Some(sum) => join(sum, one),
            }
        }
    }
    Ok(sum.unwrap_or(Settled {
        gateway: group.gateway,
        items: Vec::new(),
        readings: 0,
        duplicates: 0,
    }))
}

/// All records of a group hinted to come later.
fn waiting(group: &Prepared) -> Settled {
    let mut items = Items::default();
    for record in &group.records {
        items.add(
            record.key,
            &Outcome::Retry(RetryReason::SlowDown, SLOW_DOWN),
        );
    }
    items.into_settled(group.gateway.clone())
}

fn join(sum: &mut Settled, one: Settled) {
    sum.readings += one.readings;
    sum.duplicates += one.duplicates;
    for item in one.items {
        let same = |held: &&mut AckItem| held.epoch == item.epoch && held.lane == item.lane;
        match sum.items.iter_mut().find(same) {
            Some(held) => {
                held.stored.union(&item.stored);
                held.refused.extend(item.refused);
                held.retry.extend(item.retry);
            }
            None => sum.items.push(item),
        }
    }
}

/// One transaction over the groups.
fn attempt(state: &mut WriterState, groups: &[Prepared]) -> Result<Vec<Settled>, StoreError> {
    let result = transaction(state, groups);
    if result.is_err() {
        // What was entered went back with the transaction.
        state.known.clear();
    }
    let (settled, effects) = result?;
    failpoint::hit(failpoint::AFTER_COMMIT);
    publish(state, effects);
    Ok(settled)
}

fn transaction(
    state: &mut WriterState,
    groups: &[Prepared],
) -> Result<(Vec<Settled>, Effects), StoreError> {
    let tx = state
        .conn
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(failed("beginning a commit"))?;
    let mut group = Group {
        conn: &tx,
        state: &mut state.known,
        shared: &state.shared,
        cursors: HashMap::new(),
        effects: Effects::default(),
    };
    let mut settled = Vec::with_capacity(groups.len());
    for prepared in groups {
        settled.push(group.take_all(prepared)?);
    }
    group.write_cursors()?;
    let effects = group.effects;
    failpoint::hit(failpoint::BEFORE_COMMIT);
    tx.commit().map_err(failed("committing records"))?;
    Ok((settled, effects))
}

/// Results by epoch and lane.
#[derive(Default)]
struct Items {
    items: BTreeMap<(Epoch, Lane), AckItem>,
    readings: u64,
    duplicates: u64,
}

impl Items {
    fn add(&mut self, key: RecordKey, outcome: &Outcome) {
        let Some(range) = SeqRange::one(key.seq) else {
            return; // 0 names no record: there is nothing to settle
        };
        let item = self
            .items
            .entry((key.epoch, key.lane))
            .or_insert_with(|| AckItem {
                epoch: key.epoch,
                lane: key.lane,
                stored: SeqSet::new(),
                refused: Vec::new(),
                retry: Vec::new(),
            });
        match *outcome {
            Outcome::Stored(readings) => {
                self.readings += readings;
                item.stored.insert(range);
            }
            Outcome::Known => {
                self.duplicates += 1;
                item.stored.insert(range);
            }
            Outcome::Refused(reason) => item.refused.push((range, reason)),
            Outcome::Retry(reason, after) => item.retry.push(RetryLater {
                range,
                reason,
                after,
            }),
        }
    }

    fn into_settled(self, gateway: GatewayId) -> Settled {
        Settled {
            gateway,
            items: self.items.into_values().collect(),
            readings: self.readings,
            duplicates: self.duplicates,
        }
    }
}

impl Group<'_> {
    fn take_all(&mut self, prepared: &Prepared) -> Result<Settled, StoreError> {
        let mut items = Items::default();
        let sender = read::gateway_row(self.conn, &prepared.gateway)?;
        let Some((row, false)) = sender else {
            // Unknown or revoked: nothing of it is kept, not even that it came.
            for record in &prepared.records {
                items.add(record.key, &Outcome::Refused(RefuseReason::Revoked));
            }
            return Ok(items.into_settled(prepared.gateway.clone()));
        };
        for dictionary in &prepared.dictionaries {
            known::store_dictionary(self.conn, dictionary)?;
        }
        let sender = Sender {
            row,
            name: &prepared.gateway,
            received: prepared.received,
        };
        for record in &prepared.records {
            let outcome = self.take(sender, record)?;
            items.add(record.key, &outcome);
        }
        Ok(items.into_settled(prepared.gateway.clone()))
    }

    /// Takes one record.
    fn take(&mut self, from: Sender<'_>, record: &PreparedRecord) -> Result<Outcome, StoreError> {
        let key = record.key;
        let Some(range) = SeqRange::one(key.seq) else {
            return Ok(Outcome::Refused(RefuseReason::Malformed));
        };
        let Some(row) = self.cursor(from, key.epoch, key.lane)? else {
            return Ok(Outcome::Retry(RetryReason::Quota, SLOW_DOWN));
        };
        let covered = row.cursor.covered().contains(key.seq);
        let closed = row.closed;
        let (has_lost, has_room) = (row.has_lost, row.cursor.has_room(key.seq));
        let mut entries = Vec::new();
        if covered {
            if has_lost {
                entries = claims::lost(self.conn, from.row, key.epoch, key.lane)?;
            }
            if ledger::holder(&mut entries, key.seq).is_none() {
                return Ok(Outcome::Known);
            }
        }
        if closed {
            return self.refuse(from, record, RefuseReason::EpochClosed, None);
        }
        if !has_room {
            return Ok(Outcome::Retry(RetryReason::SlowDown, SLOW_DOWN));
        }
        let stored = match &record.content {
            Content::Unusable(reason, why) => {
                return self.refuse(from, record, *reason, Some(why));
            }
            Content::Newer => return Ok(Outcome::Retry(RetryReason::NewerVersion, NEWER)),
            Content::Telemetry(digest) => match self.telemetry(from, record, digest)? {
                Ok(digest) => Some(digest),
                Err(outcome) => return Ok(outcome),
            },
            Content::Claims(all) => {
                if !self.claims(from, all)? {
                    return Ok(Outcome::Retry(RetryReason::SlowDown, SLOW_DOWN));
                }
                None
            }
            Content::Event(sealed, happened) => {
                let map = self.shared.map(from.name, sealed.boot);
                let shift = stamp::shift(map.as_ref(), stamp::clock_offset(sealed));
                let mut happened = happened.clone();
                happened.time = stamp::corrected(happened.time, shift);
                event::enter(self.conn, from.row, Some(key), from.received, &happened)?;
                self.effects.events.push(from.name.clone());
                None
            }
            Content::TimeMap(map) => {
                self.time_map(from, map)?;
                None
            }
        };
        if let Some(entry) = ledger::holder(&mut entries, key.seq) {
            // It arrived after all.
            entry.lost.remove(range);
            claims::strike(self.conn, entry, stored.as_ref())?;
            self.effects.ledger.push(from.name.clone());
        }
        if let Some(row) = self.cursors.get_mut(&(from.row, key.epoch, key.lane)) {
            row.cursor.cover(range);
        }
        Ok(Outcome::Stored(stored.map_or(0, |digest| digest.readings)))
    }

    /// Stores a telemetry record; the inner error is what it came to instead.
    fn telemetry(
        &mut self,
        from: Sender<'_>,
        record: &PreparedRecord,
        prepared: &Digest,
    ) -> Result<Result<Digest, Outcome>, StoreError> {
        let most = self.shared.limits.series_per_gateway;
        let mut dictionaries = Vec::with_capacity(prepared.dictionaries.len());
        for &hash in &prepared.dictionaries {
            match self.state.resolve(self.conn, from.row, hash, most)? {
                Some(series) => dictionaries.push(series),
                None => {
                    let reason = RetryReason::UnknownDictionary(hash);
                    return Ok(Err(Outcome::Retry(reason, Duration::ZERO)));
                }
            }
        }
        for column in &prepared.columns {
            let Some(series) = series_of(&dictionaries, column.dictionary, column.index) else {
                let why = "a column refers to no point of its dictionary";
                return self
                    .refuse(from, record, RefuseReason::Malformed, Some(why))
                    .map(Err);
            };
            if column.value_type.is_some_and(|kind| kind != series.kind) {
                let why = "a column's values are not of the type its dictionary says";
                return self
                    .refuse(from, record, RefuseReason::Malformed, Some(why))
                    .map(Err);
            }
            if series.id.is_none() {
                let hash = usize::try_from(column.dictionary)
                    .ok()
                    .and_then(|place| prepared.dictionaries.get(place));
                let why = self.over_the_limit(hash.copied(), column.index, most)?;
                return self
                    .refuse(from, record, RefuseReason::SeriesLimit, Some(&why))
                    .map(Err);
            }
        }
        // A time map that came in the meantime, or in this very group, changes the times.
        let map = self.map_now(from, prepared.stamp.boot)?;
        let digest = if stamp::shift(map.as_ref(), prepared.offset) == prepared.shift {
            prepared.clone()
        } else {
            match Record::decode(&record.body) {
                Ok(Record {
                    stamp,
                    body: Body::Telemetry(telemetry),
                }) => {
                    let retention = self.shared.limits.retention;
                    digest(stamp, &telemetry, map.as_ref(), from.received, retention)
                }
                _ => prepared.clone(),
            }
        };
        self.insert_record(from, record, &digest)?;
        self.effects.telemetry.push(Taken {
            row: from.row,
            gateway: from.name.clone(),
            received: from.received,
            digest: digest.clone(),
            dictionaries,
        });
        Ok(Ok(digest))
    }

    fn insert_record(
        &self,
        from: Sender<'_>,
        record: &PreparedRecord,
        digest: &Digest,
    ) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO record (gateway, epoch, lane, seq, received, boot, clock_offset,
                   shift, first, last, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    from.row,
                    record.key.epoch.0.cast_signed(),
                    record.key.lane.to_index(),
                    record.key.seq.cast_signed(),
                    from.received.0,
                    digest.stamp.boot.0.cast_signed(),
                    digest.offset,
                    digest.shift,
                    digest.span.map(|(first, _)| first.0),
                    digest.span.map(|(_, last)| last.0),
                    record.body.as_ref(),
                ])
            })
            .map(drop)
            .map_err(failed("storing a record"))
    }

    fn over_the_limit(
        &self,
        hash: Option<DictionaryHash>,
        index: u32,
        most: u64,
    ) -> Result<String, StoreError> {
        let dictionary = match hash {
            Some(hash) => known::dictionary(self.conn, hash)?,
            None => None,
        };
        let entry = dictionary.as_ref().and_then(|dictionary| {
            dictionary
                .entries()
                .get(usize::try_from(index).unwrap_or(usize::MAX))
        });
        Ok(entry.map_or_else(
            || format!("the gateway has its {most} series already"),
            |entry| {
                format!(
                    "the gateway has its {most} series already; no room for {}/{}",
                    entry.device, entry.point
                )
            },
        ))
    }

    /// Refuses a record: covered, so that nothing stalls behind it, and entered in the ledger, in
    /// case the gateway cannot claim it any more.
    fn refuse(
        &mut self,
        from: Sender<'_>,
        record: &PreparedRecord,
        reason: RefuseReason,
        why: Option<&str>,
    ) -> Result<Outcome, StoreError> {
        let key = record.key;
        if let Some(why) = why {
            let input = QuarantineInput {
                gateway: Some(from.name.clone()),
                topic: format!("record {} {} {}", key.epoch, key.lane, key.seq),
                payload: record.body.to_vec(),
                reason: why.to_owned(),
                received: from.received,
            };
            let most = self.shared.limits.quarantine_per_gateway;
            read::set_aside(self.conn, from.row, &input, most)?;
        }
        let (Some(range), Some(row)) = (
            SeqRange::one(key.seq),
            self.cursors.get_mut(&(from.row, key.epoch, key.lane)),
        ) else {
            return Ok(Outcome::Refused(reason));
        };
        if !row.cursor.covered().contains(key.seq) && row.cursor.has_room(key.seq) {
            row.cursor.cover(range);
            row.has_lost = true;
            let reason = LossReason::Refused(reason);
            claims::by_cloud(self.conn, from.row, key, reason, from.received)?;
            self.effects.ledger.push(from.name.clone());
        }
        Ok(Outcome::Refused(reason))
    }

    /// Settles the claims of one record, all or none; says whether there was room.
    fn claims(&mut self, from: Sender<'_>, claims: &[Claim]) -> Result<bool, StoreError> {
        let mut by_cursor: BTreeMap<(Epoch, Lane), Vec<&Claim>> = BTreeMap::new();
        for claim in claims {
            by_cursor
                .entry((claim.epoch, claim.lane))
                .or_default()
                .push(claim);
        }
        for ((epoch, lane), claims) in &by_cursor {
            let Some(row) = self.cursor(from, *epoch, *lane)? else {
                return Ok(false);
            };
            if !row
                .cursor
                .has_room_for_claims(claims.iter().map(|claim| claim.range))
            {
                return Ok(false);
            }
        }
        for ((epoch, lane), claims) in by_cursor {
            let mut entries = claims::lost(self.conn, from.row, epoch, lane)?;
            for claim in claims {
                let Some(row) = self.cursors.get_mut(&(from.row, epoch, lane)) else {
                    continue;
                };
                let before = entries.clone();
                let verdict = ledger::settle(claim.range, row.cursor.covered(), &mut entries);
                row.cursor.cover(claim.range);
                row.has_lost |= !verdict.lost.is_empty();
                for (entry, before) in entries.iter().zip(&before) {
                    if entry.lost != before.lost {
                        claims::strike(self.conn, entry, None)?;
                    }
                }
                let entry = claims::enter(self.conn, from.row, from.received, claim, verdict)?;
                entries.push(entry);
            }
        }
        self.effects.ledger.push(from.name.clone());
        Ok(true)
    }

    fn time_map(&mut self, from: Sender<'_>, map: &TimeMap) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO time_map VALUES (?1, ?2, ?3, ?4, ?5, 1)")
            .and_then(|mut statement| {
                statement.execute(params![
                    from.row,
                    map.boot.0.cast_signed(),
                    map.origin.0,
                    map.uncertainty_ns.cast_signed(),
                    from.received.0,
                ])
            })
            .map_err(failed("storing a time map"))?;
        self.effects.maps.push((from.name.clone(), *map));
        Ok(())
    }

    /// The boot's time map, those of this group included.
    fn map_now(
        &self,
        from: Sender<'_>,
        boot: protocols_model::BootId,
    ) -> Result<Option<TimeMap>, StoreError> {
        let mine = self.effects.maps.iter().rev();
        let mut mine = mine.filter(|(gateway, map)| gateway == from.name && map.boot == boot);
        Ok(mine
            .next()
            .map(|(_, map)| *map)
            .or_else(|| self.shared.map(from.name, boot)))
    }

    /// The cursor, read once per transaction; `None` when the gateway has too many open epochs.
    fn cursor(
        &mut self,
        from: Sender<'_>,
        epoch: Epoch,
        lane: Lane,
    ) -> Result<Option<&mut CursorRow>, StoreError> {
        let key = (from.row, epoch, lane);
        if !self.cursors.contains_key(&key) {
            let most = self.shared.limits.epochs_per_gateway;
            let Some(closed) = open_epoch(self.conn, from, epoch, most)? else {
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
    fn write_cursors(&self) -> Result<(), StoreError> {
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

/// The series of a column.
pub(super) fn series_of(
    dictionaries: &[Arc<[SeriesRef]>],
    dictionary: u32,
    index: u32,
) -> Option<SeriesRef> {
    let dictionary = dictionaries.get(usize::try_from(dictionary).ok()?)?;
    dictionary.get(usize::try_from(index).ok()?).copied()
}

/// A cursor and whether the ledger holds anything of it.
pub(super) fn read_cursor(
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
        .ok_or_else(|| super::row::damaged(format!("cursor of epoch {epoch} {lane}")))?;
    Ok((cursor, has_lost))
}

/// Enters the epoch or marks it active; says whether it is closed. `None`: too many.
fn open_epoch(
    conn: &Connection,
    from: Sender<'_>,
    epoch: Epoch,
    most: u64,
) -> Result<Option<bool>, StoreError> {
    let fail = failed("entering an epoch");
    let key = params![from.row, epoch.0.cast_signed()];
    let found: Option<bool> = conn
        .prepare_cached("SELECT closed IS NOT NULL FROM epoch WHERE gateway = ?1 AND epoch = ?2")
        .and_then(|mut statement| statement.query_row(key, |row| row.get(0)).optional())
        .map_err(&fail)?;
    if found.is_none() {
        let open: i64 = conn
            .prepare_cached("SELECT count(*) FROM epoch WHERE gateway = ?1 AND closed IS NULL")
            .and_then(|mut statement| statement.query_row([from.row], |row| row.get(0)))
            .map_err(&fail)?;
        if open.unsigned_abs() >= most {
            return Ok(None);
        }
    }
    conn.prepare_cached(
        "INSERT INTO epoch VALUES (?1, ?2, ?3, NULL)
         ON CONFLICT DO UPDATE SET active = max(active, excluded.active)",
    )
    .and_then(|mut statement| {
        statement.execute(params![from.row, epoch.0.cast_signed(), from.received.0])
    })
    .map_err(&fail)?;
    Ok(Some(found.unwrap_or(false)))
}

/// Brings memory up to what was committed, and offers it to subscribers.
fn publish(state: &WriterState, effects: Effects) {
    if !effects.maps.is_empty() {
        let mut maps = state.shared.maps_mut();
        for (gateway, map) in effects.maps {
            maps.insert((gateway, map.boot), map);
        }
    }
    let mut updates: BTreeMap<GatewayId, LiveUpdate> = BTreeMap::new();
    let empty = |gateway: &GatewayId| LiveUpdate {
        gateway: gateway.clone(),
        received: Timestamp::default(),
        values: Vec::new(),
        events: false,
        ledger: false,
    };
    let mut derived = state.shared.derived_mut();
    for taken in effects.telemetry {
        let series = |dictionary, index| {
            series_of(&taken.dictionaries, dictionary, index).and_then(|series| series.id)
        };
        let gateway = derived.entry(taken.row).or_default();
        let values = gateway.apply(&taken.digest, taken.received, series);
        let update = updates
            .entry(taken.gateway.clone())
            .or_insert_with(|| empty(&taken.gateway));
        update.received = update.received.max(taken.received);
        update.values.extend(values);
    }
    drop(derived);
    if state.shared.live.receiver_count() == 0 {
        return;
    }
    for gateway in effects.events {
        updates
            .entry(gateway.clone())
            .or_insert_with(|| empty(&gateway))
            .events = true;
    }
    for gateway in effects.ledger {
        updates
            .entry(gateway.clone())
            .or_insert_with(|| empty(&gateway))
            .ledger = true;
    }
    for update in updates.into_values() {
        // No subscriber left is no failure.
        drop(state.shared.live.send(Arc::new(update)));
    }
}
