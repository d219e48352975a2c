//! One ingest transaction under way: each record taken in, in order.
//!
//! Everything a record comes to is decided here, against the cursors as the transaction has them.
//! Nothing outside the transaction changes: what memory has to learn is gathered as [`Effects`].

use super::cursors::CursorRow;
use super::{Effects, Items, Outcome, SLOW_DOWN, Taken, series_of};
use crate::digest::{Digest, digest};
use crate::error::StoreError;
use crate::ingest::{QuarantineInput, Settled};
use crate::ledger;
use crate::sql::db::{Arg, Connection, params};
use crate::sql::known::{self, Known};
use crate::sql::prepare::{Content, Prepared, PreparedRecord};
use crate::sql::row::failed;
use crate::sql::threads::Work;
use crate::sql::traffic::Hours;
use crate::sql::{Shared, alarm, claims, event, read, replay};
use crate::stamp;
use bytes::Bytes;
use protocols_model::{
    BootId, Claim, DictionaryHash, Epoch, GatewayId, Lane, LossReason, RefuseReason, SeqRange,
    Timestamp, Value,
};
use protocols_wire::{Body, Record, RetryReason, TimeMap};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// When a gateway should offer again what the cloud cannot read yet: an update takes its time.
const NEWER: Duration = Duration::from_secs(3600);

/// A gateway of the group.
#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) row: i64,
    pub(super) name: &'a GatewayId,
    pub(super) received: Timestamp,
}

/// One transaction under way.
pub(super) struct Group<'a> {
    pub(super) conn: &'a Connection,
    state: &'a mut Known,
    pub(super) shared: &'a Shared,
    /// Row of each gateway and whether it was revoked; `None` for one that nobody entered.
    pub(super) gateways: HashMap<GatewayId, Option<(i64, bool)>>,
    pub(super) cursors: BTreeMap<(i64, Epoch, Lane), CursorRow>,
    /// When an epoch whose cursor was there was last heard of.
    pub(super) active: BTreeMap<(i64, Epoch), Timestamp>,
    /// Telemetry that is to be stored, written in one go.
    pending: Vec<Pending>,
    effects: Effects,
    hours: Hours,
}

/// A record row to be written.
struct Pending {
    numbers: [i64; 8],
    span: Option<(Timestamp, Timestamp)>,
    body: Bytes,
}

impl<'a> Group<'a> {
    /// Locks the gateways of the group and reads what its records need.
    pub(super) fn begin(work: &'a mut Work<'_>, groups: &[Prepared]) -> Result<Self, StoreError> {
        let mut group = Group {
            conn: work.conn,
            state: work.known,
            shared: work.shared,
            gateways: HashMap::new(),
            cursors: BTreeMap::new(),
            active: BTreeMap::new(),
            pending: Vec::new(),
            effects: Effects::default(),
            hours: Hours::default(),
        };
        group.lock_gateways(groups)?;
        group.read_cursors(groups)?;
        Ok(group)
    }

    /// In the order of their names, as every transaction does: so none waits for one that waits for it.
    fn lock_gateways(&mut self, groups: &[Prepared]) -> Result<(), StoreError> {
        let names: BTreeSet<&GatewayId> = groups.iter().map(|group| &group.gateway).collect();
        let names: Vec<&GatewayId> = names.into_iter().collect();
        let args: Vec<Vec<Arg<'_>>> = names
            .iter()
            .map(|name| vec![Arg::Text(name.as_str())])
            .collect();
        self.gateways = names.iter().map(|&name| (name.clone(), None)).collect();
        let sql = read::gateway_for_writing(self.conn);
        let mut found = Vec::new();
        self.conn
            .query_many(&sql, &args, &mut |at, row| {
                found.push((at, row.get(0)?, row.get(1)?));
                Ok(())
            })
            .map_err(failed("reading gateways"))?;
        for (at, row, revoked) in found {
            if let Some(&name) = names.get(at) {
                self.gateways.insert(name.clone(), Some((row, revoked)));
            }
        }
        if self.conn.is_shared() {
            self.read_maps()?;
        }
        Ok(())
    }

    /// Others may have stored time maps that memory has not heard of.
    fn read_maps(&self) -> Result<(), StoreError> {
        let rows: Vec<(&GatewayId, i64)> = self
            .gateways
            .iter()
            .filter_map(|(name, row)| row.map(|(row, _)| (name, row)))
            .collect();
        let args: Vec<Vec<Arg<'_>>> = rows.iter().map(|(_, row)| vec![Arg::Int(*row)]).collect();
        let mut found = Vec::new();
        self.conn
            .query_many(replay::MAPS_OF_GATEWAY, &args, &mut |at, row| {
                found.push((at, replay::map(row)?));
                Ok(())
            })
            .map_err(failed("reading time maps"))?;
        if found.is_empty() {
            return Ok(());
        }
        let mut maps = self.shared.maps_mut();
        for (at, map) in found {
            if let Some((name, _)) = rows.get(at) {
                maps.insert(((*name).clone(), map.boot), map);
            }
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub(super) fn finish(mut self) -> Result<Effects, StoreError> {
        self.write_records()?;
        self.write_cursors()?;
        self.hours.write(self.conn)?;
        Ok(self.effects)
    }

    fn write_records(&mut self) -> Result<(), StoreError> {
        let rows: Vec<Vec<Arg<'_>>> = self
            .pending
            .iter()
            .map(|record| {
                let time =
                    |time: Option<Timestamp>| time.map_or(Arg::Null, |time| Arg::Int(time.0));
                let mut row: Vec<Arg<'_>> = record.numbers.iter().map(|&n| Arg::Int(n)).collect();
                row.push(time(record.span.map(|(first, _)| first)));
                row.push(time(record.span.map(|(_, last)| last)));
                row.push(Arg::Blob(&record.body));
                row
            })
            .collect();
        self.conn
            .execute_many(
                "INSERT INTO record (gateway, epoch, lane, seq, received, boot, clock_offset,
                   shift, first, last, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                &rows,
            )
            .map_err(failed("storing records"))?;
        self.pending.clear();
        Ok(())
    }
}

impl Group<'_> {
    pub(super) fn take_all(&mut self, prepared: &Prepared) -> Result<Settled, StoreError> {
        let mut items = Items::default();
        let sender = self.gateways.get(&prepared.gateway).copied().flatten();
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
        let (has_lost, has_room) = (row.has_lost, row.cursor.has_room(key.lane, key.seq));
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
                let number =
                    event::enter(self.conn, from.row, Some(key), from.received, &happened)?;
                self.effects.events.push(from.name.clone());
                if alarm::is_alarm(key, &happened) {
                    let bounds = self.shared.limits.alarms();
                    alarm::consider(self.conn, from.row, number, bounds)?;
                    self.effects.alarms.push(from.name.clone());
                }
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
        for sign in &prepared.signs {
            let series = series_of(&dictionaries, sign.dictionary, sign.index);
            let kind = sign.sample.value.as_ref().map(Value::value_type);
            if series.is_none_or(|series| kind.is_some_and(|kind| kind != series.kind)) {
                let why = "a sign of life is not of a point of its dictionary, or not of its type";
                return self
                    .refuse(from, record, RefuseReason::Malformed, Some(why))
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
        self.keep(from, record, &digest);
        self.hours
            .add(from.row, from.received, &digest, record.body.len());
        self.effects.telemetry.push(Taken {
            row: from.row,
            gateway: from.name.clone(),
            received: from.received,
            digest: digest.clone(),
            dictionaries,
        });
        Ok(Ok(digest))
    }

    /// Has a record row written with the others of the group.
    fn keep(&mut self, from: Sender<'_>, record: &PreparedRecord, digest: &Digest) {
        self.pending.push(Pending {
            numbers: [
                from.row,
                record.key.epoch.0.cast_signed(),
                record.key.lane.to_index().into(),
                record.key.seq.cast_signed(),
                from.received.0,
                digest.stamp.boot.0.cast_signed(),
                digest.offset,
                digest.shift,
            ],
            span: digest.span,
            body: record.body.clone(),
        });
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
        if !row.cursor.covered().contains(key.seq) && row.cursor.has_room(key.lane, key.seq) {
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
        // A claim may be about records of this very group.
        self.write_records()?;
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
            .prepare_cached(
                "INSERT INTO time_map VALUES (?1, ?2, ?3, ?4, ?5, 1)
                 ON CONFLICT (gateway, boot) DO UPDATE SET origin = excluded.origin,
                   uncertainty = excluded.uncertainty, received = excluded.received, pending = 1",
            )
            .and_then(|statement| {
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
    fn map_now(&self, from: Sender<'_>, boot: BootId) -> Result<Option<TimeMap>, StoreError> {
        let mine = self.effects.maps.iter().rev();
        let mut mine = mine.filter(|(gateway, map)| gateway == from.name && map.boot == boot);
        Ok(mine
            .next()
            .map(|(_, map)| *map)
            .or_else(|| self.shared.map(from.name, boot)))
    }
}
