//! Which old records are thinned, and how far.
//!
//! Levels: 0 as appended, then buckets of 30 s, doubling ([`crate::thin`]). A pass rewrites the oldest
//! stretch of the level that takes most space to a coarser one, so all levels come to about equal
//! space and what is oldest is coarsest. What was given to the uplink is left as it is while it
//! is little (a window that was under way when the link went), and evicted where it is much. What thinning
//! does not make clearly smaller stays and is evicted when nothing else is left.

use super::evict::{chunk, victims_of};
use super::pass::Rewrite;
use super::{Core, Now};
use crate::book::{Entry, Mark};
use crate::claims;
use crate::record::Age;
use crate::store::StoreError;
use crate::tally;
use crate::thin::{COARSEST, Thinned, Thinner, bucket};
use crate::value::{self, Value};
use protocols_model::{Lane, Seq};
use protocols_wire::{Body, EncodeError, Record, RecordStamp, SealedRecord, Telemetry};
use std::time::Duration;

/// One part of so many of a level is rewritten at once: fine steps, and long stretches.
const STRETCH_PART: u64 = 4;
/// A stretch is at least so long, where the level has so much.
const STRETCH_LEAST: u64 = if cfg!(test) { 2 } else { 64 } * 1024;
/// Readings that a pass may hold in memory beside some of each point: a few MB.
const HELD_MOST: usize = 64 * 1024;
const HELD_PER_POINT: usize = 8;
/// Most ranges of old seqs in a pass: each is a claim.
const RANGES_MOST: usize = 32;
/// Records given to the uplink may take one part of so many of the bound before they are evicted.
const HANDED_PART: u64 = 8;
/// How much coarser a pass may go to find readings that share a bucket.
const STEPS: [u8; 5] = [1, 2, 4, 8, 15];
/// Records whose wall clock minus monotonic clock differ by less were stamped by one clock setting: a
/// record has one stamp, and the cloud moves all its readings by it.
const SAME_CLOCK_NS: u64 = 100_000_000;

/// What a lane holds on disk, by what can be done about it.
#[derive(Debug, Default)]
struct Survey {
    /// Bytes that can be thinned, by level.
    levels: [u64; COARSEST as usize],
    /// Bytes that the uplink was given.
    handed: u64,
}

/// Records read for a pass.
#[derive(Debug)]
struct Stretch {
    seqs: Vec<Seq>,
    bytes: u64,
    thinned: Thinned,
    stamp: RecordStamp,
}

/// What stands at the beginning of a stretch.
enum Found {
    Readings(Box<Stretch>),
    /// Damaged: its bytes are set aside.
    Damaged(Seq),
    /// Not readings, or of a format of another program.
    Other(Seq),
}

enum Read {
    Readings(RecordStamp, Telemetry),
    Damaged,
    Other,
}

impl Survey {
    /// The level to thin: the one that takes most, the coarser of equals.
    fn level(&self) -> Option<u8> {
        let all = (0..COARSEST).zip(self.levels);
        let (level, bytes) = all.max_by_key(|&(level, bytes)| (bytes, level))?;
        (bytes > 0).then_some(level)
    }

    fn bytes(&self, level: u8) -> u64 {
        self.levels.get(usize::from(level)).copied().unwrap_or(0)
    }
}

impl Core {
    fn can_be_thinned(&self, entry: &Entry) -> bool {
        let kept_back = entry.claim() || entry.is(Mark::Stuck) || entry.is(Mark::Unborn);
        let handed = entry.is(Mark::Handed);
        #[cfg(test)]
        let handed = handed && self.config.mutant != crate::tests::Mutant::ThinsWhatWasHandedOut;
        entry.pending.is_none() && entry.level < COARSEST && !kept_back && !handed
    }

    fn survey(&self, lane: Lane) -> Survey {
        let mut survey = Survey::default();
        for book in self.books.values() {
            for entry in book.lane(lane).entries.values() {
                if self.can_be_thinned(entry) {
                    if let Some(level) = survey.levels.get_mut(usize::from(entry.level)) {
                        *level += entry.bytes();
                    }
                } else if entry.is(Mark::Handed) && entry.pending.is_none() {
                    survey.handed += entry.bytes();
                }
            }
        }
        survey
    }

    /// Makes room in a lane that is thinned, where records take `over` bytes more than `budget`; `false`
    /// when there was nothing to do that way.
    pub(super) fn thin(&mut self, lane: Lane, budget: u64, over: u64, now: Now) -> bool {
        if self.pass.is_some() {
            self.finish_pass(now);
            if self.pass.is_some() || !self.works() {
                return false;
            }
        }
        let survey = self.survey(lane);
        if over > 0 && survey.handed > budget / HANDED_PART {
            self.at_bound = true;
            let handed = |entry: &Entry| entry.is(Mark::Handed) && entry.pending.is_none();
            let victims = victims_of(&self.books, lane, over + chunk(budget), handed);
            return self.evict(victims, now);
        }
        let Some(level) = survey.level() else {
            return false;
        };
        let most = (survey.bytes(level) / STRETCH_PART).max(STRETCH_LEAST);
        let (age, seqs) = self.oldest(lane, level, most);
        if seqs.is_empty() {
            return false;
        }
        let done = self.thin_stretch(lane, level, age, &seqs, now);
        if let Err(error) = &done {
            self.fail(error, now);
        }
        done.unwrap_or(false)
    }

    /// The oldest records of a level, all of one epoch.
    fn oldest(&self, lane: Lane, level: u8, most: u64) -> (Age, Vec<Seq>) {
        for book in self.books.values() {
            let (mut bytes, mut ranges, mut seqs) = (0, 0, Vec::<Seq>::new());
            for (&seq, entry) in &book.lane(lane).entries {
                if entry.level != level || !self.can_be_thinned(entry) {
                    continue;
                }
                ranges += usize::from(seqs.last().is_none_or(|last| last + 1 != seq));
                if bytes >= most || ranges > RANGES_MOST {
                    break;
                }
                bytes += entry.bytes();
                seqs.push(seq);
            }
            if !seqs.is_empty() {
                return (book.age, seqs);
            }
        }
        (self.current, Vec::new())
    }

    fn thin_stretch(
        &mut self,
        lane: Lane,
        level: u8,
        age: Age,
        seqs: &[Seq],
        now: Now,
    ) -> Result<bool, StoreError> {
        for to in STEPS.map(|step| (level + step).min(COARSEST)) {
            let stretch = match self.read_stretch(lane, age, seqs, bucket(to))? {
                Found::Readings(stretch) => stretch,
                Found::Damaged(seq) => {
                    self.claim_damaged(vec![(age, lane, seq)], now);
                    return Ok(true);
                }
                Found::Other(seq) => {
                    self.get_stuck(lane, age, &[seq]);
                    return Ok(true);
                }
            };
            let seqs = stretch.seqs.clone();
            let made = self.replace(lane, to, age, *stretch, now);
            match made {
                Ok(Some(work)) => {
                    self.thinning = true;
                    let (records, readings) = (work.old.len() as u64, lost(&work));
                    let place = usize::from(lane.to_index());
                    if let Some(coarsest) = self.coarsest.get_mut(place) {
                        *coarsest = (*coarsest).max(to);
                    }
                    self.counters.thinned_records += records;
                    self.counters.thinned_readings += readings;
                    tracing::info!(%lane, records, readings, bucket = ?bucket(to),
                        "spool at its bound, oldest readings thinned");
                    return Ok(self.rewrite(work, now));
                }
                Ok(None) if to < COARSEST => {}
                Ok(None) => {
                    self.get_stuck(lane, age, &seqs);
                    return Ok(true);
                }
                Err(error) => {
                    tracing::error!(%error, %lane, "readings cannot be thinned, left as they are");
                    self.get_stuck(lane, age, &seqs);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn get_stuck(&mut self, lane: Lane, age: Age, seqs: &[Seq]) {
        let Some(book) = self.books.get_mut(&age).map(|book| book.lane_mut(lane)) else {
            return;
        };
        for seq in seqs {
            if let Some(entry) = book.entries.get_mut(seq) {
                entry.mark(Mark::Stuck, true);
            }
        }
    }

    fn read_one(&mut self, lane: Lane, age: Age, seq: Seq) -> Result<Read, StoreError> {
        let Some(value) = self.load(age, lane, seq)? else {
            return Ok(Read::Damaged);
        };
        Ok(match Record::decode(&value.body) {
            Ok(Record {
                stamp,
                body: Body::Telemetry(telemetry),
            }) => Read::Readings(stamp, telemetry),
            _ => Read::Other,
        })
    }

    /// Folds records until something does not belong with what is before it.
    fn read_stretch(
        &mut self,
        lane: Lane,
        age: Age,
        seqs: &[Seq],
        bucket: Duration,
    ) -> Result<Found, StoreError> {
        let mut thinner = Thinner::new(bucket);
        let mut taken: Vec<Seq> = Vec::new();
        let mut stamps: Option<(RecordStamp, RecordStamp)> = None;
        let mut bytes = 0;
        for &seq in seqs {
            if thinner.held() > HELD_MOST + HELD_PER_POINT * thinner.points() {
                break;
            }
            let (stamp, telemetry) = match self.read_one(lane, age, seq)? {
                Read::Readings(stamp, telemetry) => (stamp, telemetry),
                _ if !taken.is_empty() => break,
                Read::Damaged => return Ok(Found::Damaged(seq)),
                Read::Other => return Ok(Found::Other(seq)),
            };
            let first = stamps.map_or(stamp, |(first, _)| first);
            if !same_clock(&first, &stamp) {
                break;
            }
            if !thinner.take(&telemetry) {
                if taken.is_empty() {
                    return Ok(Found::Other(seq));
                }
                break;
            }
            stamps = Some((first, stamp));
            taken.push(seq);
            let entry = self.books.get(&age).map(|book| book.lane(lane));
            let entry = entry.and_then(|book| book.entries.get(&seq));
            bytes += entry.map_or(0, Entry::bytes);
        }
        let Some((_, stamp)) = stamps else {
            return Ok(Found::Other(0));
        };
        Ok(Found::Readings(Box::new(Stretch {
            seqs: taken,
            bytes,
            thinned: thinner.finish(),
            stamp,
        })))
    }

    /// What takes the place of a stretch; `None` when that gains too little.
    fn replace(
        &self,
        lane: Lane,
        level: u8,
        age: Age,
        stretch: Stretch,
        now: Now,
    ) -> Result<Option<Rewrite>, EncodeError> {
        let Thinned {
            telemetry,
            lost,
            taken,
            kept,
            span,
        } = stretch.thinned;
        if kept.saturating_mul(4) > taken.saturating_mul(3) {
            return Ok(None);
        }
        let new = Record::seal_telemetry(stretch.stamp, telemetry)?;
        let bytes: u64 = new.iter().map(|record| on_disk(lane, level, record)).sum();
        if new.is_empty() {
            return Ok(None);
        }
        if bytes.saturating_mul(4) > stretch.bytes.saturating_mul(3) {
            return Ok(None);
        }
        // Ranges are few here: `oldest` sees to that.
        let ranges = tally::ranges(stretch.seqs.iter().copied());
        let span = span.unwrap_or((now.wall, now.wall));
        let claims = claims::thinned(age, lane, &ranges, span, lost);
        Ok(Some(Rewrite {
            lane,
            level,
            age,
            old: stretch.seqs,
            ranges,
            new,
            claims: claims::seal(self.stamp(now), claims),
        }))
    }
}

/// Readings that a rewriting loses.
fn lost(work: &Rewrite) -> u64 {
    let claims = work.claims.iter().flat_map(|(_, claims)| claims);
    claims.filter_map(|claim| claim.readings).sum()
}

/// Bytes that a record takes on disk.
fn on_disk(lane: Lane, level: u8, record: &SealedRecord) -> u64 {
    let names = Record::dictionaries(&record.body).unwrap_or_default();
    let value = Value {
        body: record.body.clone(),
        summary: record.summary,
        dictionaries: names,
        claim: false,
        level,
    };
    let key = value::key(Age::FIRST, 1);
    (key.len() + value::encode(lane, &key, &value).len()) as u64
}

/// Whether two records were stamped in one boot, under one setting of the clock.
fn same_clock(a: &RecordStamp, b: &RecordStamp) -> bool {
    let offset = |stamp: &RecordStamp| {
        let mono = i64::try_from(stamp.mono.0.as_nanos()).unwrap_or(i64::MAX);
        stamp.wall.0.saturating_sub(mono)
    };
    a.boot == b.boot && offset(a).abs_diff(offset(b)) <= SAME_CLOCK_NS
}
