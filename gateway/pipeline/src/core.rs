//! The pipeline itself, pure: readings in, sealed records out, time as an argument.
//!
//! ```text
//! readings ─▶ well formed ─▶ logic: derived points, rules, windows
//!                        └─▶ per point: filters ─▶ privacy ─▶ batch (one column a point) ─▶ seal ─▶ records
//! ```
//!
//! Invariants:
//! 1. For every point: readings taken = kept + filtered + held back, and every kept reading and every
//!    filtered count leaves in exactly one record (design.md C5). The batch that is open when the process
//!    dies, and what is held back, are the pipeline's part of the loss window.
//! 2. A filtered reading's count leaves with the next batch, also when nothing of its point is sent.
//! 3. A batch is never older than its age on the monotonic clock and never holds more than
//!    [`MAX_BATCH_BYTES`]; the wall clock decides nothing.
//! 4. While nothing arrives and nothing is computed over time, nothing is due.
//! 5. A sign of life is no reading: it repeats what was sent, beside the count of what was filtered.
//! 6. What leaves passed its point's privacy; a withheld point leaves nothing, not even its name.

mod point;

use crate::batch::Batch;
use crate::latest::Latest;
use crate::logic::Logic;
use crate::normal::normalise;
use crate::setup::{PointSetup, Privacy, Setup, SetupError};
use crate::stats::{Stats, add};
use gateway_rules::{Effect, Engine};
use point::Point;
use protocols_model::{Instant, PointDescriptor, PointKey, Reading, Timestamp, ValueType};
use protocols_wire::limits::MAX_ALARM_POINTS;
use protocols_wire::{AlarmPoint, Dictionary, RecordStamp, SealedRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use point::PointCounts;

/// Most memory the samples of an open batch may take before it is sealed early: about 100 000
/// numbers, ten seconds of 10 000 points a second.
pub const MAX_BATCH_BYTES: usize = 3 * 1024 * 1024;

/// How long a batch may wait for more readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchAge {
    /// While the uplink is live.
    pub live: Duration,
    /// While it is not: longer batches pack better.
    pub offline: Duration,
}

impl Default for BatchAge {
    fn default() -> Self {
        Self {
            live: Duration::from_secs(1),
            offline: Duration::from_secs(10),
        }
    }
}

/// The pipeline of one configuration.
#[derive(Debug)]
pub struct Pipeline {
    points: Vec<Point>,
    logic: Logic,
    /// Points whose privacy holds values back for a time.
    timed: Vec<u32>,
    batch: Batch,
    /// What each alarm is about, in names that may leave.
    about: AlarmPoints,
    age: BatchAge,
    live: bool,
    stats: Arc<Stats>,
}

/// The points that alarms are about, by the name of the alarm.
pub(crate) type AlarmPoints = BTreeMap<String, Vec<AlarmPoint>>;

impl Pipeline {
    /// Makes the pipeline of a configuration with its rules, at `now`, when the wall clock shows `wall`.
    ///
    /// # Errors
    /// [`SetupError`] where its parts do not go together.
    pub fn try_new(
        setup: Setup,
        engine: Engine,
        age: BatchAge,
        stats: Arc<Stats>,
        (now, wall): (Instant, Timestamp),
    ) -> Result<Self, SetupError> {
        let types: Vec<ValueType> = setup
            .points
            .iter()
            .map(|point| point.descriptor.value_type)
            .collect();
        let type_of = |point: PointKey| types.get(usize::try_from(point.0).ok()?).copied();
        let logic = Logic::new(setup.derived, setup.windows, engine, type_of, (now, wall))?;
        // Sized exactly: a large point table must not carry the slack of growth.
        let mut points = Vec::with_capacity(setup.points.len());
        let mut named = Vec::with_capacity(setup.points.len());
        let mut timed = Vec::new();
        for (key, setup) in (0u32..).zip(setup.points) {
            let PointSetup {
                descriptor,
                stages,
                keep_alive,
                privacy,
            } = setup;
            let point = Point::new(descriptor.value_type, stages, &privacy, keep_alive);
            if point.may_hold() {
                timed.push(key);
            }
            points.push(point);
            named.push((!matches!(privacy, Privacy::Withheld)).then_some(descriptor));
        }
        let about = about(&logic.engine, &named);
        let batch = Batch::new(named, Arc::clone(&stats)).map_err(SetupError::Dictionary)?;
        Ok(Self {
            points,
            logic,
            timed,
            batch,
            about,
            age,
            live: false,
            stats,
        })
    }

    /// Gives up the dictionaries that its records refer to; the spool must hold them before the
    /// first record. Here only their names are needed from then on.
    pub fn take_dictionaries(&mut self) -> Vec<Dictionary> {
        self.batch.take_dictionaries()
    }

    /// Gives up what alarms are about.
    pub(crate) fn take_alarm_points(&mut self) -> AlarmPoints {
        std::mem::take(&mut self.about)
    }

    /// Whether the uplink is live: decides how old a batch may become.
    pub const fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    /// The points that rules write.
    pub fn written(&self) -> impl Iterator<Item = PointKey> {
        self.logic.engine.written()
    }

    /// The rules and their alarms.
    pub const fn engine(&mut self) -> &mut Engine {
        &mut self.logic.engine
    }

    /// Takes the readings of a sweep that arrived at `now`; what rules want done is added to `effects`.
    /// Returns how many named no point of the table (those are not taken; it cannot happen while drivers
    /// and pipeline are swapped together).
    pub fn take(
        &mut self,
        now: Instant,
        wall: Timestamp,
        mut readings: Vec<Reading>,
        effects: &mut Vec<Effect>,
    ) -> u64 {
        let before = readings.len();
        readings.retain_mut(|reading| {
            let place = usize::try_from(reading.point.0).unwrap_or(usize::MAX);
            let Some(point) = self.points.get(place) else {
                return false;
            };
            let value = reading.value.take();
            (reading.value, reading.quality) =
                normalise(point.value_type(), value, reading.quality);
            true
        });
        let unknown = before - readings.len();
        if !self.logic.is_empty() {
            // What is due comes before what arrived after it.
            if self.logic.due().is_some_and(|due| due <= now) {
                self.tick(now, wall, effects);
            }
            self.logic.take(now, wall, &mut readings, effects);
        }
        self.send(now, readings);
        unknown as u64
    }

    /// Does what is due at `now` although nothing arrived: closes windows, lets rules act, lets go what
    /// privacy held back.
    pub fn tick(&mut self, now: Instant, wall: Timestamp, effects: &mut Vec<Effect>) {
        let mut results = self.logic.tick(now, wall, effects);
        if !results.is_empty() {
            self.logic.take(now, wall, &mut results, effects);
            self.send(now, results);
        }
        for key in &self.timed {
            if let Some(point) = point_mut(&mut self.points, *key) {
                let kept = point.tick(now, |sample| self.batch.keep(*key, now, sample));
                add(&self.stats.kept, kept);
            }
        }
    }

    /// Sends every reading of `points` until then, whatever their filters say. Privacy stays.
    pub fn capture(&mut self, points: &[PointKey], until: Instant) {
        for key in points {
            if let Some(point) = point_mut(&mut self.points, key.0) {
                point.capture(until);
            }
        }
    }

    /// When [`Pipeline::tick`] or a seal is due; `None` while neither is.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        [self.batch_due(), self.logic.due(), self.guards_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether [`Pipeline::tick`] has something to do now.
    #[must_use]
    pub fn wants_tick(&self, now: Instant) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        due(self.logic.due()) || due(self.guards_due())
    }

    /// When the open batch must be sealed; `None` while there is none.
    fn batch_due(&self) -> Option<Instant> {
        let age = if self.live {
            self.age.live
        } else {
            self.age.offline
        };
        self.batch.opened().map(|opened| opened.plus(age))
    }

    fn guards_due(&self) -> Option<Instant> {
        let due = |key: &u32| {
            let place = usize::try_from(*key).ok()?;
            self.points.get(place)?.due()
        };
        self.timed.iter().filter_map(due).min()
    }

    /// Whether the open batch must be sealed now, because of its age or its size.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.batch.bytes() >= MAX_BATCH_BYTES || self.batch_due().is_some_and(|due| due <= now)
    }

    /// Seals the open batch as as many records as the size limit asks for; none while none is open.
    pub fn seal(&mut self, stamp: RecordStamp) -> Vec<SealedRecord> {
        self.batch.seal(stamp)
    }

    /// Lets go everything that filters and privacy hold back, into the open batch: before the last seal.
    pub fn flush(&mut self, now: Instant) {
        for (key, point) in (0u32..).zip(&mut self.points) {
            let sent = point.flush(now, |sample| self.batch.keep(key, now, sample));
            if sent.filtered > 0 {
                self.batch.count_filtered(key, now, sent.filtered);
            }
            add(&self.stats.kept, sent.kept);
            add(&self.stats.filtered, sent.filtered);
        }
    }

    /// What became of the readings of each point so far.
    pub fn counts(&self) -> impl Iterator<Item = PointCounts> {
        self.points.iter().map(Point::counts)
    }

    /// The latest reading of each point, in the order of the keys; none where none came yet.
    pub fn latest(&self) -> impl Iterator<Item = Option<&Latest>> {
        self.points.iter().map(Point::latest)
    }

    /// The latest reading of one point; nothing when there is no such point.
    #[must_use]
    pub fn latest_of(&self, point: PointKey) -> Option<Option<&Latest>> {
        let point = self.points.get(usize::try_from(point.0).ok()?)?;
        Some(point.latest())
    }

    /// The largest error that the filters of each point can introduce, in the order of the keys.
    pub fn bounds(&self) -> impl Iterator<Item = gateway_filter::Bound> {
        self.points.iter().map(Point::bound)
    }

    /// Points with windows, and how many of their readings came too late for them.
    pub fn late(&self) -> impl Iterator<Item = (PointKey, u64)> {
        self.logic.late()
    }

    /// Filters, treats and batches well-formed readings.
    fn send(&mut self, now: Instant, readings: Vec<Reading>) {
        let (mut taken, mut not_good) = (0u64, 0u64);
        let mut sent = point::Sent::default();
        for reading in readings {
            let key = reading.point.0;
            let latitude = self.latitude(key);
            let Some(point) = point_mut(&mut self.points, key) else {
                continue;
            };
            taken += 1;
            not_good += u64::from(!reading.quality.is_good());
            let sampled = reading.sampled;
            let of_point = point.take(now, reading, latitude, |sample| {
                self.batch.keep(key, now, sample);
            });
            if of_point.filtered > 0 {
                self.batch.count_filtered(key, now, of_point.filtered);
                if of_point.kept == 0
                    && let Some(last) = point.still(now)
                {
                    self.batch.confirm(key, last, sampled);
                }
            }
            sent.kept += of_point.kept;
            sent.filtered += of_point.filtered;
        }
        if taken > 0 {
            add(&self.stats.taken, taken);
            add(&self.stats.kept, sent.kept);
            add(&self.stats.filtered, sent.filtered);
            add(&self.stats.not_good, not_good);
        }
    }

    /// The raw latitude that belongs to this point, if it is a longitude on a grid.
    fn latitude(&self, key: u32) -> Option<f64> {
        let point = self.points.get(usize::try_from(key).ok()?)?;
        let other = point.latitude()?;
        self.points
            .get(usize::try_from(other.0).ok()?)?
            .last_number()
    }
}

/// What each alarm is about: points that are not named in dictionaries are not named here either.
fn about(engine: &Engine, named: &[Option<PointDescriptor>]) -> AlarmPoints {
    let name = |key: &PointKey| {
        let place = usize::try_from(key.0).ok()?;
        let descriptor = named.get(place)?.as_ref()?;
        Some(AlarmPoint {
            device: descriptor.device.clone(),
            point: descriptor.point.clone(),
        })
    };
    let alarms = engine.alarm_points();
    let alarms = alarms.map(|(alarm, points)| {
        let points = points.iter().filter_map(name).take(MAX_ALARM_POINTS);
        (alarm.to_owned(), points.collect())
    });
    alarms.collect()
}

fn point_mut(points: &mut [Point], key: u32) -> Option<&mut Point> {
    points.get_mut(usize::try_from(key).ok()?)
}

#[cfg(test)]
mod tests;
