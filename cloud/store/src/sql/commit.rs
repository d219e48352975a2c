//! Commit, then settle: one transaction writes a group's data and moves its cursors (design.md C4).
//!
//! A group that the database refuses for what is in it is retried record by record: the one that
//! cannot be stored is quarantined and refused, the others are stored. A group that fails for any
//! other reason (disk full, I/O) settles nothing. Memory follows only after the commit.

mod cursors;
mod group;

pub(super) use cursors::{open_epoch, read_cursor};

use super::db::{Blame, blame};
use super::known::SeriesRef;
use super::prepare::{Content, Prepared};
use super::threads::{Work, Worker};
use super::{Changed, Shared, Told};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::failpoint;
use crate::ingest::{LiveUpdate, Settled};
use group::Group;
use protocols_model::{
    Epoch, GatewayId, Lane, RecordKey, RefuseReason, SeqRange, SeqSet, Timestamp,
};
use protocols_wire::{AckItem, RetryLater, RetryReason, TimeMap};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// When a gateway should offer again what found no room.
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// What a record came to.
enum Outcome {
    /// Stored now.
    Stored(u64),
    /// Was settled before.
    Known,
    Refused(RefuseReason),
    Retry(RetryReason, Duration),
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
    alarms: Vec<GatewayId>,
    ledger: Vec<GatewayId>,
}

/// Commits a group.
pub(super) fn commit(
    worker: &mut Worker,
    groups: Vec<Prepared>,
) -> Result<Vec<Settled>, StoreError> {
    match attempt(worker, &groups) {
        Ok(settled) => Ok(settled),
        Err(why) if is_environment(&why) => Err(why),
        Err(why) => {
            tracing::warn!(error = %why, "a group of records failed, retrying one by one");
            groups
                .into_iter()
                .map(|group| one_by_one(worker, group))
                .collect()
        }
    }
}

/// Whether an error says nothing about the data: the same records may pass later.
fn is_environment(error: &StoreError) -> bool {
    !matches!(error, StoreError::Damaged { .. }) && blame(error) != Blame::Data
}

fn one_by_one(worker: &mut Worker, group: Prepared) -> Result<Settled, StoreError> {
    let mut sum: Option<Settled> = None;
    for record in group.records {
        let mut alone = Prepared {
            gateway: group.gateway.clone(),
            received: group.received,
            dictionaries: group.dictionaries.clone(),
            records: vec![record],
        };
        let settled = match attempt(worker, std::slice::from_ref(&alone)) {
            Err(why) if is_environment(&why) => return Err(why),
            Err(why @ StoreError::Damaged { .. }) => {
                tracing::error!(error = %why, "a record waits for damaged data to be repaired");
                vec![waiting(&alone)]
            }
            Err(why) => {
                for record in &mut alone.records {
                    record.content = Content::Unusable(RefuseReason::Malformed, why.to_string());
                }
                attempt(worker, std::slice::from_ref(&alone))?
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
fn attempt(worker: &mut Worker, groups: &[Prepared]) -> Result<Vec<Settled>, StoreError> {
    let write = |work: &mut Work<'_>| {
        let mut group = Group::begin(work, groups)?;
        let mut settled = Vec::with_capacity(groups.len());
        for prepared in groups {
            settled.push(group.take_all(prepared)?);
        }
        let effects = group.finish()?;
        failpoint::hit(failpoint::BEFORE_COMMIT);
        Ok((settled, effects))
    };
    let (settled, effects) = worker.write("committing records", write)?;
    failpoint::hit(failpoint::AFTER_COMMIT);
    publish(&worker.shared, effects);
    Ok(settled)
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
            // Neighbours are told together: an acknowledgement holds a bounded number of ranges.
            Outcome::Refused(reason) => match item.refused.last_mut() {
                Some((last, same)) if *same == reason && follows(*last, range) => {
                    *last = joined(*last, range);
                }
                _ => item.refused.push((range, reason)),
            },
            Outcome::Retry(reason, after) => match item.retry.last_mut() {
                Some(last)
                    if (last.reason, last.after) == (reason, after)
                        && follows(last.range, range) =>
                {
                    last.range = joined(last.range, range);
                }
                _ => item.retry.push(RetryLater {
                    range,
                    reason,
                    after,
                }),
            },
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

fn follows(before: SeqRange, next: SeqRange) -> bool {
    before.last().checked_add(1) == Some(next.first())
}

fn joined(before: SeqRange, next: SeqRange) -> SeqRange {
    SeqRange::new(before.first(), next.last()).unwrap_or(before)
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

/// Brings memory up to what was committed, and tells whom it concerns.
fn publish(shared: &Shared, effects: Effects) {
    if !effects.maps.is_empty() {
        let mut maps = shared.maps_mut();
        for (gateway, map) in effects.maps {
            maps.insert((gateway, map.boot), map);
        }
    }
    let mut changed: BTreeMap<GatewayId, Changed> = BTreeMap::new();
    for gateway in effects.events {
        changed.entry(gateway).or_default().events = true;
    }
    for gateway in effects.alarms {
        changed.entry(gateway).or_default().alarms = true;
    }
    for gateway in effects.ledger {
        changed.entry(gateway).or_default().ledger = true;
    }
    if shared.engine.is_alone() {
        follow(shared, effects.telemetry, changed);
        return;
    }
    for taken in effects.telemetry {
        changed.entry(taken.gateway).or_default();
    }
    let told = changed
        .into_iter()
        .map(|(gateway, changed)| Told { gateway, changed });
    shared.engine.tell(told.collect());
}

/// Where nobody else writes: latest values follow the commit itself.
fn follow(shared: &Shared, telemetry: Vec<Taken>, changed: BTreeMap<GatewayId, Changed>) {
    let mut updates: BTreeMap<GatewayId, LiveUpdate> = changed
        .into_iter()
        .map(|(gateway, changed)| (gateway.clone(), LiveUpdate::of(gateway, changed)))
        .collect();
    let mut derived = shared.derived_mut();
    for taken in telemetry {
        let series = |dictionary, index| {
            series_of(&taken.dictionaries, dictionary, index).and_then(|series| series.id)
        };
        let gateway = derived.entry(taken.row).or_default();
        let values = gateway.apply(&taken.digest, taken.received, series);
        let update = updates
            .entry(taken.gateway.clone())
            .or_insert_with(|| LiveUpdate::of(taken.gateway, Changed::default()));
        update.received = update.received.max(taken.received);
        update.values.extend(values);
    }
    drop(derived);
    if shared.live.receiver_count() == 0 {
        return;
    }
    for update in updates.into_values() {
        // No subscriber left is no failure.
        drop(shared.live.send(Arc::new(update)));
    }
}

impl LiveUpdate {
    /// An update without values.
    pub(crate) const fn of(gateway: GatewayId, changed: Changed) -> Self {
        Self {
            gateway,
            received: Timestamp(0),
            values: Vec::new(),
            events: changed.events,
            alarms: changed.alarms,
            ledger: changed.ledger,
        }
    }
}
