//! One configuration over a recording.

use crate::error;
use gateway_filter::Bound;
use gateway_pipeline::Pipeline;
use gateway_recorder::{Recorded, Recording};
use gateway_rules::engine::Ticket;
use gateway_rules::{AlarmChange, Effect};
use protocols_model::{
    BootId, DictionaryHash, Instant, PointDescriptor, PointKey, Reading, Timestamp, Value,
};
use protocols_wire::{Body, Dictionary, Record, RecordStamp, Sample, SealedRecord};
use std::collections::HashMap;
use std::time::Duration;

/// What a configuration made of a recording.
#[derive(Debug, Default)]
pub struct Ran {
    /// The points of the configuration, in the order of their keys.
    pub points: Vec<PointRan>,
    /// Bytes of records, before they are packed into envelopes.
    pub bytes: u64,
    /// From the first stamp of the recording to the last.
    pub span: Duration,
    /// Alarms as they changed.
    pub alarms: Vec<(Timestamp, AlarmChange)>,
    /// What rules told: when, which rule, what.
    pub told: Vec<(Timestamp, String, String)>,
    /// What rules wrote.
    pub writes: Vec<(Timestamp, PointKey, Value)>,
    /// Recorded points that the configuration does not have.
    pub missing: Vec<PointDescriptor>,
}

/// What became of one point.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRan {
    /// `device.point`.
    pub name: String,
    /// Readings taken.
    pub taken: u64,
    /// Readings sent.
    pub sent: u64,
    /// The error its filters state.
    pub bound: Bound,
    /// The largest error they and its privacy introduced; `None` for points that are not read.
    pub error: Option<f64>,
}

/// Runs `pipeline`, whose points are `names` in the order of their keys, over a recording.
///
/// The pipeline must have been made at instant zero, with the recording's first stamp on the wall.
#[must_use]
pub fn run(recording: &Recording, mut pipeline: Pipeline, names: &[PointDescriptor]) -> Ran {
    let mut ran = Ran::default();
    let Some((first, last)) = recording.span() else {
        return ran;
    };
    ran.span = last.since(first);
    let keys = keys(recording, names, &mut ran.missing);
    let mut taker = Taker {
        sent: HashMap::new(),
        keys: entries(&pipeline.take_dictionaries(), names),
        first,
    };
    let mut read: HashMap<PointKey, Vec<Sample>> = HashMap::new();
    let mut effects = Vec::new();
    for sweep in recording
        .readings
        .chunk_by(|a, b| a.sample.time == b.sample.time)
    {
        let Some(stamp) = sweep.first().map(|reading| reading.sample.time) else {
            continue;
        };
        taker.pass(&mut pipeline, stamp, &mut ran, &mut effects);
        let readings = readings(sweep, &keys, &mut read);
        let now = taker.instant(stamp);
        pipeline.take(now, stamp, readings, &mut effects);
        follow(&mut pipeline, now, stamp, &mut effects, &mut ran);
    }
    pipeline.flush(taker.instant(last));
    taker.seal(&mut pipeline, last, &mut ran);
    let bounds: Vec<Bound> = pipeline.bounds().collect();
    for ((name, counts), (key, bound)) in names
        .iter()
        .zip(pipeline.counts())
        .zip((0..).map(PointKey).zip(bounds))
    {
        let sent = taker.sent.get(&key).map_or(&[][..], Vec::as_slice);
        ran.points.push(PointRan {
            name: format!("{}.{}", name.device, name.point),
            taken: counts.taken,
            sent: counts.sent,
            bound,
            error: read
                .get(&key)
                .and_then(|read| error::largest(bound, read, sent)),
        });
    }
    ran
}

/// Which point of the configuration each recorded point is: device and name decide.
fn keys(
    recording: &Recording,
    names: &[PointDescriptor],
    missing: &mut Vec<PointDescriptor>,
) -> Vec<Option<PointKey>> {
    let place = |point: &PointDescriptor| {
        let same =
            |name: &PointDescriptor| name.device == point.device && name.point == point.point;
        names.iter().position(same)
    };
    let mut keys = Vec::with_capacity(recording.points.len());
    for point in &recording.points {
        let key = place(point).and_then(|place| u32::try_from(place).ok());
        if key.is_none() {
            missing.push(point.clone());
        }
        keys.push(key.map(PointKey));
    }
    keys
}

fn entries(
    dictionaries: &[Dictionary],
    names: &[PointDescriptor],
) -> HashMap<DictionaryHash, Vec<PointKey>> {
    // Entries stand in the order of the keys, those that are withheld left out.
    let mut named = (0..).map(PointKey).zip(names);
    let mut keys = |dictionary: &Dictionary| {
        let entries = dictionary.entries().iter();
        let key = |entry: &PointDescriptor| named.find(|(_, name)| *name == entry);
        let found = entries.filter_map(key).map(|(key, _)| key);
        (dictionary.hash(), found.collect())
    };
    let mut all = HashMap::with_capacity(dictionaries.len());
    for dictionary in dictionaries {
        let (hash, found) = keys(dictionary);
        all.insert(hash, found);
    }
    all
}

fn readings(
    sweep: &[Recorded],
    keys: &[Option<PointKey>],
    read: &mut HashMap<PointKey, Vec<Sample>>,
) -> Vec<Reading> {
    let mut readings = Vec::with_capacity(sweep.len());
    for Recorded { point, sample } in sweep {
        let Some(key) = keys.get(*point).copied().flatten() else {
            continue;
        };
        read.entry(key).or_default().push(sample.clone());
        readings.push(Reading {
            point: key,
            sampled: sample.time,
            value: sample.value.clone(),
            quality: sample.quality,
        });
    }
    readings
}

/// Takes what comes out of the pipeline.
struct Taker {
    sent: HashMap<PointKey, Vec<Sample>>,
    /// Keys of the entries of each dictionary.
    keys: HashMap<DictionaryHash, Vec<PointKey>>,
    first: Timestamp,
}

impl Taker {
    fn instant(&self, stamp: Timestamp) -> Instant {
        Instant(stamp.since(self.first))
    }

    /// Lets time pass until `stamp`, as the task of the gateway does it.
    fn pass(
        &mut self,
        pipeline: &mut Pipeline,
        stamp: Timestamp,
        ran: &mut Ran,
        effects: &mut Vec<Effect>,
    ) {
        let end = self.instant(stamp);
        let mut at = Instant::default();
        while let Some(due) = pipeline.due().filter(|due| *due <= end) {
            // Something that stays due would stand still here for ever.
            at = at.max(due);
            let wall = self.first.plus(at.0);
            if pipeline.wants_tick(at) {
                pipeline.tick(at, wall, effects);
                follow(pipeline, at, wall, effects, ran);
            }
            if pipeline.is_due(at) {
                self.seal(pipeline, wall, ran);
            }
            at = at.plus(Duration::from_millis(1));
        }
    }

    fn seal(&mut self, pipeline: &mut Pipeline, wall: Timestamp, ran: &mut Ran) {
        let stamp = RecordStamp {
            boot: BootId(0),
            mono: self.instant(wall),
            wall,
        };
        for record in pipeline.seal(stamp) {
            ran.bytes += record.body.len() as u64;
            self.unpack(&record);
        }
    }

    fn unpack(&mut self, record: &SealedRecord) {
        let Ok(Record {
            body: Body::Telemetry(telemetry),
            ..
        }) = Record::decode(&record.body)
        else {
            return;
        };
        for column in telemetry.columns {
            let dictionary = usize::try_from(column.dictionary).ok();
            let hash = dictionary.and_then(|place| telemetry.dictionaries.get(place));
            let Some(key) = hash.and_then(|hash| self.key(*hash, column.index)) else {
                continue;
            };
            self.sent.entry(key).or_default().extend(column.samples);
        }
    }

    /// The key of a dictionary's entry: device and name decide.
    fn key(&self, hash: DictionaryHash, index: u32) -> Option<PointKey> {
        let index = usize::try_from(index).ok()?;
        self.keys.get(&hash)?.get(index).copied()
    }
}

/// Notes what rules want, and tells them that their writes are done.
fn follow(
    pipeline: &mut Pipeline,
    now: Instant,
    wall: Timestamp,
    effects: &mut Vec<Effect>,
    ran: &mut Ran,
) {
    while !effects.is_empty() {
        let mut done: Vec<Ticket> = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::Write {
                    ticket,
                    point,
                    value,
                    ..
                } => {
                    ran.writes.push((wall, point, value));
                    done.push(ticket);
                }
                Effect::Alarm(change) => ran.alarms.push((wall, change)),
                Effect::Event { rule, text } => ran.told.push((wall, rule, text)),
                Effect::Capture { points, until } => pipeline.capture(&points, until),
            }
        }
        for ticket in done {
            let outcome = Ok(protocols_driver::Written {
                at: wall,
                read_back: None,
            });
            pipeline.engine().wrote(now, ticket, &outcome, effects);
        }
    }
}

#[cfg(test)]
mod tests;
