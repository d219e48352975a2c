//! One configuration over a recording.

use crate::error;
use bytes::Bytes;
use gateway_filter::Bound;
use gateway_pipeline::Pipeline;
use gateway_recorder::{Recorded, Recording};
use gateway_rules::engine::Ticket;
use gateway_rules::{AlarmChange, Effect};
use protocols_model::{
    BootId, DictionaryHash, Epoch, Instant, Lane, PointDescriptor, PointKey, Reading, RecordKey,
    Timestamp, Value,
};
use protocols_wire::{
    Body, Dictionary, Record, RecordStamp, Sample, SealedRecord, encode_envelope,
};
use std::collections::HashMap;
use std::time::Duration;

/// What a configuration made of a recording.
#[derive(Debug, Default)]
pub struct Ran {
    /// The points of the configuration, in the order of their keys.
    pub points: Vec<PointRan>,
    /// Bytes of envelopes as they are published, without what MQTT and TLS put around them. What rules
    /// tell is not in it.
    pub bytes: u64,
    /// From the first stamp of the recording to the last.
    pub span: Duration,
    /// Alarms as they changed.
    pub alarms: Vec<(Timestamp, AlarmChange)>,
    /// What rules told: when, which rule, what.
    pub told: Vec<(Timestamp, String, String)>,
    /// What rules wrote.
    pub writes: Vec<(Timestamp, PointKey, Value)>,
    /// How often each rule fired.
    pub fired: Vec<(String, u64)>,
    /// Recorded points with readings that the configuration does not have.
    pub missing: Vec<PointDescriptor>,
    /// Recorded points whose values are of another type than the configuration's: their readings are left
    /// out, because nobody can know what would have been read.
    pub retyped: Vec<PointDescriptor>,
}

/// Below this a recording tells nothing of a day.
const LEAST: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

impl Ran {
    /// Readings that would leave in a day like this.
    #[must_use]
    pub fn readings_a_day(&self) -> f64 {
        let sent: u64 = self.points.iter().map(|point| point.sent).sum();
        sent as f64 / self.days()
    }

    /// Bytes that would leave in a day like this.
    #[must_use]
    pub fn bytes_a_day(&self) -> f64 {
        self.bytes as f64 / self.days()
    }

    fn days(&self) -> f64 {
        self.span.max(LEAST).as_secs_f64() / DAY.as_secs_f64()
    }
}

/// What became of one point.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRan {
    /// `device/point`.
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
    let keys = keys(recording, names, &mut ran);
    let mut taker = Taker {
        sent: HashMap::new(),
        keys: entries(&pipeline.take_dictionaries(), names),
        first,
    };
    let mut effects = Vec::new();
    for sweep in recording
        .readings
        .chunk_by(|a, b| a.sample.time == b.sample.time)
    {
        let Some(stamp) = sweep.first().map(|reading| reading.sample.time) else {
            continue;
        };
        taker.pass(&mut pipeline, stamp, &mut ran, &mut effects);
        let readings = readings(sweep, &keys);
        let now = taker.instant(stamp);
        pipeline.take(now, stamp, readings, &mut effects);
        follow(&mut pipeline, now, stamp, &mut effects, &mut ran);
    }
    pipeline.flush(taker.instant(last));
    taker.seal(&mut pipeline, last, &mut ran);
    let fired = pipeline.engine().fired();
    ran.fired = fired
        .map(|(name, times)| (name.to_owned(), times))
        .collect();
    let read = places(recording, &keys);
    let bounds: Vec<Bound> = pipeline.bounds().collect();
    for ((name, counts), (key, bound)) in names
        .iter()
        .zip(pipeline.counts())
        .zip((0..).map(PointKey).zip(bounds))
    {
        let sent = taker.sent.get(&key).map_or(&[][..], Vec::as_slice);
        ran.points.push(PointRan {
            name: format!("{}/{}", name.device, name.point),
            taken: counts.taken,
            sent: counts.sent,
            bound,
            error: read.get(&key).and_then(|places| {
                let read = places
                    .iter()
                    .filter_map(|place| recording.readings.get(*place));
                error::largest(bound, read.map(|reading| &reading.sample), sent)
            }),
        });
    }
    ran
}

/// Which point of the configuration each recorded point is: device and name decide.
fn keys(recording: &Recording, names: &[PointDescriptor], ran: &mut Ran) -> Vec<Option<PointKey>> {
    let mut used = vec![false; recording.points.len()];
    for reading in &recording.readings {
        if let Some(used) = used.get_mut(reading.point) {
            *used = true;
        }
    }
    let mut known = HashMap::with_capacity(names.len());
    for (key, name) in (0..).map(PointKey).zip(names) {
        known.insert((&name.device, &name.point), (key, name.value_type));
    }
    let mut keys = Vec::with_capacity(recording.points.len());
    for (point, used) in recording.points.iter().zip(used) {
        let found = known.get(&(&point.device, &point.point));
        let fits = found.filter(|(_, value_type)| *value_type == point.value_type);
        if used && found.is_none() {
            ran.missing.push(point.clone());
        } else if used && fits.is_none() {
            ran.retyped.push(point.clone());
        }
        keys.push(fits.map(|(key, _)| *key));
    }
    keys
}

/// Where the readings of each point are in the recording.
fn places(recording: &Recording, keys: &[Option<PointKey>]) -> HashMap<PointKey, Vec<usize>> {
    let mut places = HashMap::<_, Vec<usize>>::new();
    for (place, reading) in recording.readings.iter().enumerate() {
        if let Some(key) = keys.get(reading.point).copied().flatten() {
            places.entry(key).or_default().push(place);
        }
    }
    places
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

fn readings(sweep: &[Recorded], keys: &[Option<PointKey>]) -> Vec<Reading> {
    let mut readings = Vec::with_capacity(sweep.len());
    for Recorded { point, sample } in sweep {
        let Some(key) = keys.get(*point).copied().flatten() else {
            continue;
        };
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
        let mut packed = Vec::new();
        for (seq, record) in (1..).zip(pipeline.seal(stamp)) {
            self.unpack(&record);
            let key = RecordKey {
                epoch: Epoch(0),
                lane: Lane::Telemetry,
                seq,
            };
            packed.push((key, record.body));
        }
        ran.bytes += published(&packed);
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

/// Bytes of records in an envelope; where one is too small for them, in two, and so on.
fn published(records: &[(RecordKey, Bytes)]) -> u64 {
    if records.is_empty() {
        return 0;
    }
    match encode_envelope(records, &[]) {
        Ok(envelope) => envelope.len() as u64,
        Err(_) if records.len() > 1 => {
            let (front, back) = records.split_at(records.len() / 2);
            published(front) + published(back)
        }
        Err(_) => records.iter().map(|(_, body)| body.len() as u64).sum(),
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
