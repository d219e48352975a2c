//! The compactor: from record rows to blocks and rollups (design.md C8).
//!
//! Planned on a snapshot, away from the writer, as a [`Change`]; applied by the writer in one
//! transaction. Only maintenance touches blocks, one step at a time, so nothing moves in between. A
//! kill leaves all of a step or nothing of it. Late data joins the block of its hour, and the
//! rollups of that hour are made anew from all its samples.

use super::db::{Connection, OptionalExtension, Row, params};
use super::fold::{self, RECORD_COLUMNS, RecordRow, SUSPECT, blocks, hour_of};
use super::known::Known;
use super::row::{self, damaged, failed};
use super::week::{block_table, week_of_hour};
use crate::block::{self, BlockSample, HOUR_NS, MAX_BLOCK_SAMPLES};
use crate::downsample::{DAY_NS, MINUTE_NS};
use crate::error::StoreError;
use crate::stamp;
use crate::summary::Summary;
use protocols_model::{BootId, RecordKey, Timestamp, ValueType};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most bytes of record bodies in a step. The more a step takes, the less often a block is written
/// again before its hour is full; the writer is held up for some 50 ms.
const STEP_BYTES: usize = 1024 * 1024;
/// Samples after which a step takes no more records: 64 bytes each in memory.
const STEP_SAMPLES: usize = 300_000;
/// Most records in a step.
const STEP_RECORDS: usize = 2_048;
/// Most records of a gateway that a step looks at.
const LOOK_AT: i64 = 20_000;

/// Where samples belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// In the suspect partition; then the hour is that of the receipt.
    pub(super) suspect: bool,
    pub(super) series: i64,
    pub(super) hour: i64,
}

impl Place {
    pub(super) fn table(&self) -> String {
        if self.suspect {
            SUSPECT.to_owned()
        } else {
            block_table(week_of_hour(self.hour))
        }
    }
}

/// Clock setting of a gateway and its correction: samples of one block share it, so that a later
/// time map can move them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Setting {
    pub(super) boot: BootId,
    pub(super) offset: i64,
    pub(super) shift: i64,
}

/// Samples of one place and setting.
#[derive(Debug, Default)]
pub(super) struct Batch {
    received: Timestamp,
    samples: Vec<BlockSample>,
}

/// Samples to be put into blocks.
pub(super) type Fresh = BTreeMap<Place, BTreeMap<Setting, Batch>>;

/// Puts a sample where it belongs.
pub(super) fn place(
    fresh: &mut Fresh,
    series: i64,
    setting: Setting,
    received: Timestamp,
    retention: Duration,
    sample: BlockSample,
) {
    let time = stamp::corrected(sample.time, setting.shift);
    let suspect = stamp::is_suspect(time, received, retention);
    let place = Place {
        suspect,
        series,
        hour: hour_of(if suspect { received } else { time }),
    };
    let batch = fresh.entry(place).or_default().entry(setting).or_default();
    batch.received = batch.received.max(received);
    batch.samples.push(sample);
}

/// A block to be written.
#[derive(Debug)]
pub(super) struct NewBlock {
    pub(super) place: Place,
    pub(super) setting: Setting,
    pub(super) received: Timestamp,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) summary: Summary,
    pub(super) data: Vec<u8>,
}

/// The 1-minute rollups of one hour of a series.
#[derive(Debug)]
pub(super) struct Minutes {
    pub(super) series: i64,
    pub(super) hour: i64,
    /// By begin.
    pub(super) rollups: Vec<(i64, Summary)>,
}

/// What a step writes.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Gateway whose records go; its derived state is written down with it.
    pub(super) gateway: Option<i64>,
    pub(super) drop_records: Vec<i64>,
    /// Of these, rows that do not decode any more, and why: set aside and entered as lost.
    pub(super) damaged: Vec<(RecordRow, String)>,
    pub(super) drop_blocks: Vec<(String, i64)>,
    pub(super) blocks: Vec<NewBlock>,
    /// All minutes of an hour.
    pub(super) minutes: Vec<Minutes>,
    /// By series and begin; `None` where nothing is left.
    pub(super) hours: BTreeMap<(i64, i64), Option<Summary>>,
    pub(super) days: BTreeMap<(i64, i64), Option<Summary>>,
    /// Samples that were put into blocks.
    pub(super) samples: u64,
    /// Blocks whose times were corrected.
    pub(super) retimed: u64,
}

/// The next compaction step, if one is due: when a record is older than twice `after`, everything
/// of its gateway that is older than `after` goes. The distance between the two makes steps large:
/// a compactor that took each record as it came of age would write each hour's block hundreds of
/// times.
pub(super) fn plan(
    conn: &Connection,
    now: Timestamp,
    after: Duration,
    retention: Duration,
) -> Result<Option<Change>, StoreError> {
    let older_than = now.minus(after);
    let overdue = older_than.minus(after);
    let fail = failed("looking for records to compact");
    let due: Option<(i64, i64)> = conn
        .prepare_cached(
            "SELECT id, gateway FROM record WHERE received <= ?1 ORDER BY received LIMIT 1",
        )
        .and_then(|statement| {
            statement
                .query_row([overdue.0], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(&fail)?;
    let Some((oldest, gateway)) = due else {
        return Ok(None);
    };
    // Of one gateway, so that each series gets many samples at once. By key: rows are large.
    let mut ids: BTreeSet<i64> = conn
        .prepare_cached("SELECT id FROM record WHERE gateway = ?1 LIMIT ?2")
        .and_then(|statement| {
            statement
                .query_map(params![gateway, LOOK_AT], |row| row.get(0))?
                .collect()
        })
        .map_err(&fail)?;
    ids.insert(oldest);
    let sql = format!("SELECT {RECORD_COLUMNS} FROM record WHERE id = ?1 AND received <= ?2");
    let statement = conn.prepare_cached(&sql).map_err(&fail)?;
    let (mut known, mut fresh) = (Known::default(), Fresh::new());
    let (mut bytes, mut count) = (0, 0);
    let (mut taken, mut broken) = (Vec::new(), Vec::new());
    for id in ids {
        let record = statement
            .query_row(params![id, older_than.0], RecordRow::read)
            .optional()
            .map_err(&fail)?;
        let Some(record) = record else { continue };
        let setting = Setting {
            boot: record.boot,
            offset: record.offset,
            shift: record.shift,
        };
        let mut samples = Vec::new();
        let read = record.samples(conn, &mut known, |series, sample| {
            samples.push((series, sample));
        });
        taken.push(id);
        bytes += record.body.len();
        match read {
            Ok(()) => {
                count += samples.len();
                for (series, sample) in samples {
                    place(
                        &mut fresh,
                        series,
                        setting,
                        record.received,
                        retention,
                        sample,
                    );
                }
            }
            // One damaged row must not stop the compactor for ever.
            Err(StoreError::Damaged { what }) => broken.push((record, what)),
            Err(why) => return Err(why),
        }
        if bytes >= STEP_BYTES || count >= STEP_SAMPLES || taken.len() >= STEP_RECORDS {
            break;
        }
    }
    let mut change = rebuild(conn, fresh, &BTreeSet::new())?;
    change.gateway = Some(gateway);
    change.drop_records = taken;
    change.damaged = broken;
    Ok(Some(change))
}

/// Blocks and rollups after `fresh` was added and the blocks `removed` taken away. Every place of
/// `fresh` gets its rollups anew, also one without samples.
pub(super) fn rebuild(
    conn: &Connection,
    fresh: Fresh,
    removed: &BTreeSet<(String, i64)>,
) -> Result<Change, StoreError> {
    let weeks: BTreeSet<i64> = fold::weeks(conn, (i64::MIN, i64::MAX))?
        .into_iter()
        .collect();
    let mut change = Change {
        drop_blocks: removed.iter().cloned().collect(),
        ..Change::default()
    };
    for (place, mut batches) in fresh {
        let mut rest: Vec<Sample> = Vec::new();
        let table = place.table();
        if place.suspect || weeks.contains(&week_of_hour(place.hour)) {
            let hours = (place.hour, place.hour);
            blocks(conn, &table, place.series, hours, |held| {
                if removed.contains(&(table.clone(), held.id)) {
                    return Ok(());
                }
                let setting = Setting {
                    boot: held.boot,
                    offset: held.offset,
                    shift: held.shift,
                };
                let wanted =
                    held.count < MAX_BLOCK_SAMPLES as u64 && batches.contains_key(&setting);
                if place.suspect && !wanted {
                    return Ok(());
                }
                let samples = match held.samples() {
                    Ok(samples) => samples,
                    Err(why) => {
                        // It stays as it is: a query of it says so, everything else goes on.
                        tracing::error!(error = %why, "a damaged block is left alone");
                        return Ok(());
                    }
                };
                match batches.get_mut(&setting).filter(|_| wanted) {
                    Some(batch) => {
                        batch.received = batch.received.max(held.received);
                        batch.samples.extend(samples);
                        change.drop_blocks.push((table.clone(), held.id));
                    }
                    None => rest.extend(samples.into_iter().map(|s| Sample::of(s, held.shift))),
                }
                Ok(())
            })?;
        }
        for (setting, batch) in batches {
            change.pack(place, setting, batch, &mut rest)?;
        }
        if !place.suspect {
            change.roll_up(place, rest);
        }
    }
    change.roll_up_days(conn)?;
    Ok(change)
}

/// A sample on its way into a rollup.
struct Sample {
    time: Timestamp,
    sample: BlockSample,
}

impl Sample {
    fn of(sample: BlockSample, shift: i64) -> Self {
        Self {
            time: stamp::corrected(sample.time, shift),
            sample,
        }
    }

    const fn order(&self) -> (Timestamp, RecordKey) {
        (self.time, self.sample.record)
    }
}

impl Change {
    /// Packs a batch into blocks; its samples go on to `rest`.
    fn pack(
        &mut self,
        place: Place,
        setting: Setting,
        mut batch: Batch,
        rest: &mut Vec<Sample>,
    ) -> Result<(), StoreError> {
        block::sort(&mut batch.samples);
        for piece in block::cut(batch.samples) {
            let mut summary = Summary::default();
            for sample in &piece {
                let time = stamp::corrected(sample.time, setting.shift);
                summary.add(time, sample.value.as_ref(), sample.quality);
            }
            let (Some(first), Some(last)) = (piece.first(), piece.last()) else {
                continue;
            };
            let data = block::encode(&piece)
                .map_err(|why| damaged(format!("samples of series {}: {why}", place.series)))?;
            self.blocks.push(NewBlock {
                place,
                setting,
                received: batch.received,
                first: stamp::corrected(first.time, setting.shift),
                last: stamp::corrected(last.time, setting.shift),
                summary,
                data,
            });
            self.samples += piece.len() as u64;
            if !place.suspect {
                rest.extend(piece.into_iter().map(|s| Sample::of(s, setting.shift)));
            }
        }
        Ok(())
    }

    /// Rollups of one hour of a series from all its samples.
    fn roll_up(&mut self, place: Place, mut samples: Vec<Sample>) {
        samples.sort_by_key(Sample::order);
        let minute = |sample: &Sample| sample.time.0.div_euclid(MINUTE_NS) * MINUTE_NS;
        let mut minutes = Vec::new();
        let mut hour = Summary::default();
        for run in samples.chunk_by(|a, b| minute(a) == minute(b)) {
            let mut summary = Summary::default();
            for Sample { time, sample } in run {
                summary.add(*time, sample.value.as_ref(), sample.quality);
            }
            hour.merge(&summary);
            minutes.extend(run.first().map(|first| (minute(first), summary)));
        }
        self.minutes.push(Minutes {
            series: place.series,
            hour: place.hour,
            rollups: minutes,
        });
        let hour = Some(hour).filter(|hour| hour.count > 0);
        self.hours
            .insert((place.series, place.hour * HOUR_NS), hour);
    }

    /// Rollups of the days that the changed hours lie in.
    fn roll_up_days(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let day_of = |start: i64| start.div_euclid(DAY_NS) * DAY_NS;
        let touched: BTreeSet<(i64, i64)> = self
            .hours
            .keys()
            .map(|(series, start)| (*series, day_of(*start)))
            .collect();
        for (series, day) in touched {
            let mut hours = stored_hours(conn, series, day)?;
            let changed = self.hours.range((series, day)..(series, day + DAY_NS));
            for ((_, start), summary) in changed {
                match summary {
                    Some(summary) => drop(hours.insert(*start, summary.clone())),
                    None => drop(hours.remove(start)),
                }
            }
            let mut sum = Summary::default();
            for hour in hours.values() {
                sum.merge(hour);
            }
            let sum = Some(sum).filter(|sum| sum.count > 0);
            self.days.insert((series, day), sum);
        }
        Ok(())
    }
}

fn stored_hours(
    conn: &Connection,
    series: i64,
    day: i64,
) -> Result<BTreeMap<i64, Summary>, StoreError> {
    let fail = failed("reading rollups");
    let kind: u8 = conn
        .prepare_cached("SELECT value_type FROM series WHERE id = ?1")
        .and_then(|statement| statement.query_row([series], |row| row.get(0)))
        .map_err(&fail)?;
    let kind = ValueType::from_index(kind).ok_or_else(|| damaged(format!("series {series}")))?;
    conn.prepare_cached(
        "SELECT start, count, bad, valued, sum, min, max, first_time, first_value, last_time,
           last_value, bad_quality
         FROM rollup_hour WHERE series = ?1 AND start >= ?2 AND start < ?3",
    )
    .and_then(|statement| {
        let hour =
            |row: &Row<'_>| row::rollup(row, kind).map(|(start, summary)| (start.0, summary));
        statement
            .query_map(params![series, day, day + DAY_NS], hour)?
            .collect()
    })
    .map_err(&fail)
}
