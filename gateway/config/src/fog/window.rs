//! Windows of filters: how they are written, what is computed, and the points that take the results.

use crate::fog::names::{About, Catalogue, Known, name};
use crate::key::kinds::{Durations, Flag, Text, Texts};
use crate::key::{Key, Section};
use crate::notes::Notes;
use crate::problem::Problem;
use crate::source::{Located, Place};
use crate::units;
use crate::walk::Table;
use gateway_filter::{Aggregate, WindowError, WindowSpec};
use protocols_model::{PointDescriptor, PointId, PointKey, Value, ValueType};
use std::time::Duration;

/// A window over a point, and the points that take its results.
#[derive(Debug, Clone, PartialEq)]
pub struct Windowed {
    /// Over which point.
    pub of: PointKey,
    /// How often that point is read.
    pub period: Duration,
    /// The window.
    pub spec: WindowSpec,
    /// The points that take the results, in the order of the aggregates.
    pub results: Vec<PointKey>,
}

/// Assumed where nobody knows how often a device tells: many readings, so that the bound holds.
const UNKNOWN_PERIOD: Duration = Duration::from_millis(100);
/// Memory of all windows where the machine's is not known.
const DEFAULT_MEMORY: u64 = 16 << 20;

const AGGREGATES: &str = "a list of min, max, mean, time_mean, last, count, stddev, median, p1 … p99, and \
     \"time_in:VALUE\" (seconds in that state)";
const NAME: &str = "1 to 20 characters of a-z, 0-9, '-' and '_'";

const SIZE: Key<Durations> = Key::new(
    "size",
    Durations(Duration::from_millis(100), Duration::from_hours(7 * 24)),
    "how far back it reaches",
)
.required();
const STEP: Key<Durations> = Key::new(
    "step",
    Durations(Duration::from_millis(100), Duration::from_hours(7 * 24)),
    "how often it gives results; size is a whole number of steps, at most 600",
)
.otherwise("size: one window follows another");
const AGG: Key<Texts> = Key::new(
    "agg",
    Texts(AGGREGATES),
    "what is computed; each is a point `ID_AGG` of the same device",
)
.required();
const LATE: Key<Durations> = Key::new(
    "late",
    Durations(Duration::from_secs(1), Duration::from_hours(24)),
    "a reading whose own stamp is older is left out, and counted",
)
.default(Duration::from_mins(1));
const KEEP: Key<Flag> = Key::new(
    "keep",
    Flag,
    "false: of the readings themselves only changes of quality are sent",
)
.default(true);
const SUFFIX: Key<Text> = Key::new(
    "name",
    Text(NAME),
    "part of the points' ids, `ID_NAME_AGG`: tells two windows over one point apart",
)
.otherwise("none");

pub(crate) static WINDOW: Section = Section::new(
    "[filter.NAME] do = [ { window = { … } } ]",
    "What is computed over the last seconds or minutes.",
    &[&SIZE, &STEP, &AGG, &LATE, &KEEP, &SUFFIX],
);

/// A window as written.
#[derive(Debug)]
pub(super) struct RawWindow {
    place: Place,
    size: Duration,
    step: Duration,
    late: Duration,
    pub(super) keep: bool,
    aggregates: Vec<Located<String>>,
    name: Option<String>,
}

pub(super) fn read(table: Table<'_>) -> Option<RawWindow> {
    let size = table.get(&SIZE);
    let step = table.get(&STEP);
    let aggregates = table.get(&AGG);
    let late = LATE.value(table.get(&LATE));
    let keep = KEEP.value(table.get(&KEEP));
    let name = table.get(&SUFFIX);
    let place = table.place();
    let notes = table.notes();
    table.finish();
    if let Some(name) = &name
        && (name.value.len() > 20 || PointId::try_new(&name.value).is_err())
    {
        let message = format!("{:?} cannot be part of an id", name.value);
        notes.push(Problem::error(&name.place, message, NAME));
        return None;
    }
    let (size, aggregates) = (size?.value, aggregates?);
    if aggregates.value.is_empty() {
        let message = "a window that computes nothing";
        notes.push(Problem::error(&aggregates.place, message, AGGREGATES));
        return None;
    }
    Some(RawWindow {
        place,
        size,
        step: step.map_or(size, |step| step.value),
        late,
        keep,
        aggregates: aggregates.value,
        name: name.map(|name| name.value),
    })
}

/// The windows made so far, and the memory they take.
#[derive(Debug)]
pub(super) struct Windows {
    pub(super) made: Vec<Windowed>,
    /// Where each of them is written.
    places: Vec<Place>,
    bytes: u64,
    most: u64,
}

impl Windows {
    /// Within an eighth of the process' memory.
    pub(super) fn new(memory: Option<u64>) -> Self {
        Self {
            made: Vec::new(),
            places: Vec::new(),
            bytes: 0,
            most: memory.map_or(DEFAULT_MEMORY, |memory| memory / 8),
        }
    }

    /// Makes the points of a window over `of`; the new ones.
    pub(super) fn make(
        &mut self,
        raw: &RawWindow,
        of: PointKey,
        catalogue: &mut Catalogue,
        notes: &Notes<'_>,
    ) -> Vec<PointKey> {
        let Some(known) = catalogue.get(of) else {
            return Vec::new();
        };
        let point = known.descriptor.clone();
        if !known.about.is_read {
            let message = format!(
                "{} is never read: nothing comes into a window",
                name(&point)
            );
            notes.push(Problem::error(&raw.place, message, "points that are read"));
            return Vec::new();
        }
        let period = known.about.period.unwrap_or(UNKNOWN_PERIOD);
        let mut named = Vec::new();
        for wanted in &raw.aggregates {
            match parse(&wanted.value, point.value_type) {
                Ok(found) => named.push((wanted, found)),
                Err(why) => {
                    let message = format!("{:?} over {}: {why}", wanted.value, name(&point));
                    notes.push(Problem::error(&wanted.place, message, AGGREGATES));
                }
            }
        }
        if named.len() != raw.aggregates.len() {
            return Vec::new();
        }
        let spec = WindowSpec {
            size: raw.size,
            step: raw.step,
            aggregates: named.iter().map(|(_, (found, _))| found.clone()).collect(),
            late: raw.late,
            min_count: 0,
        };
        if let Err(error) = spec.check(point.value_type, period) {
            notes.push(refused(&raw.place, &error, &point));
            return Vec::new();
        }
        let more = spec.bytes(period);
        self.bytes = self.bytes.saturating_add(more);
        // Told once: the rest does not get better.
        if self.bytes > self.most && self.bytes - more <= self.most {
            let message = format!(
                "the windows up to this one over {} take {} KiB of memory, this one {} KiB",
                name(&point),
                self.bytes >> 10,
                more >> 10
            );
            let allowed = format!(
                "at most {} KiB for all windows: fewer, shorter, or in longer steps; percentiles keep every \
                 reading",
                self.most >> 10
            );
            notes.push(Problem::error(&raw.place, message, allowed));
        }
        let results = add_results(raw, of, &point, &named, catalogue, notes);
        self.places.push(raw.place.clone());
        self.made.push(Windowed {
            of,
            period,
            spec,
            results: results.clone(),
        });
        results
    }

    /// Where the window with this result is written.
    pub(super) fn place(&self, result: PointKey) -> Option<&Place> {
        let at = self
            .made
            .iter()
            .position(|made| made.results.contains(&result))?;
        self.places.get(at)
    }

    /// The windows over a point.
    pub(super) fn over(&mut self, point: PointKey) -> impl Iterator<Item = &mut Windowed> {
        self.made.iter_mut().filter(move |made| made.of == point)
    }
}

/// Adds the points that take the results of a window.
fn add_results(
    raw: &RawWindow,
    of: PointKey,
    point: &PointDescriptor,
    named: &[(&Located<String>, (Aggregate, String))],
    catalogue: &mut Catalogue,
    notes: &Notes<'_>,
) -> Vec<PointKey> {
    let mut results = Vec::new();
    for (wanted, (aggregate, slug)) in named {
        let id = match &raw.name {
            Some(part) => format!("{}_{part}_{slug}", point.point),
            None => format!("{}_{slug}", point.point),
        };
        let about = About {
            period: Some(raw.step),
            is_read: true,
            from: vec![of],
            is_result: true,
            ..About::default()
        };
        let added = match result(aggregate, point, &id) {
            Ok(result) => catalogue.add(result, about),
            Err(why) => {
                let allowed = "shorter ids";
                notes.push(Problem::error(&wanted.place, why, allowed));
                continue;
            }
        };
        match added {
            Some(key) => results.push(key),
            None => {
                let message = format!("a second point {}/{id}", point.device);
                let allowed = "a `name` for one of the windows";
                notes.push(Problem::error(&wanted.place, message, allowed));
            }
        }
    }
    results
}

/// The aggregate of a word over points of a type, with its part of the id.
fn parse(word: &str, of: ValueType) -> Result<(Aggregate, String), String> {
    let plain = |aggregate| Ok((aggregate, word.to_owned()));
    match word {
        "min" => plain(Aggregate::Min),
        "max" => plain(Aggregate::Max),
        "mean" => plain(Aggregate::Mean),
        "time_mean" => plain(Aggregate::TimeMean),
        "last" => plain(Aggregate::Last),
        "count" => plain(Aggregate::Count),
        "stddev" => plain(Aggregate::Deviation),
        "median" => plain(Aggregate::Percentile(50.0)),
        _ => {
            if let Some(state) = word.strip_prefix("time_in:") {
                let value = state_of(state, of)
                    .ok_or_else(|| format!("{state:?} is no value of type {}", of.as_str()))?;
                return Ok((Aggregate::TimeIn(value), format!("time_in_{}", slug(state))));
            }
            let percent = word.strip_prefix('p').and_then(|text| text.parse().ok());
            match percent {
                Some(percent @ 1..=99_u8) => plain(Aggregate::Percentile(percent.into())),
                _ => Err("it is not known".to_owned()),
            }
        }
    }
}

fn state_of(text: &str, of: ValueType) -> Option<Value> {
    match of {
        ValueType::Bool => text.parse().ok().map(Value::Bool),
        ValueType::I64 => text.parse().ok().map(Value::I64),
        ValueType::U64 => text.parse().ok().map(Value::U64),
        ValueType::F64 => text.parse().ok().map(Value::F64),
        ValueType::Text => Some(Value::Text(text.into())),
        ValueType::Bytes => None,
    }
}

/// A state as part of an id.
fn slug(state: &str) -> String {
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    state.chars().map(fits).collect()
}

/// What the point of a result is.
fn result(
    aggregate: &Aggregate,
    of: &PointDescriptor,
    id: &str,
) -> Result<PointDescriptor, String> {
    let value_type = aggregate.result(of.value_type).unwrap_or(ValueType::F64);
    let (unit, scale) = match aggregate {
        Aggregate::Count => (String::new(), 1.0),
        Aggregate::TimeIn(_) => ("s".to_owned(), 1.0),
        // A mean lies between the steps of its point's grid.
        Aggregate::Mean | Aggregate::TimeMean | Aggregate::Deviation => (of.unit.clone(), 1.0),
        _ => (of.unit.clone(), of.scale),
    };
    Ok(PointDescriptor {
        device: of.device.clone(),
        point: PointId::try_new(id).map_err(|error| format!("{id}: {error}"))?,
        value_type,
        unit,
        scale,
    })
}

fn refused(place: &Place, error: &WindowError, point: &PointDescriptor) -> Problem {
    let allowed = match error {
        WindowError::Uneven(..) => "a size that is a whole number of steps",
        WindowError::TooManyPanes(_) => "at most 600 steps in a window",
        WindowError::TooManyKept(_) => {
            "at most 10000 readings in a window with a percentile: a shorter one, or a slower poll"
        }
        WindowError::Empty => "a step of at least 100ms",
        WindowError::Type(..) => {
            "count and last over any point, time_in over states, the others over numbers"
        }
    };
    let message = match error {
        WindowError::Uneven(size, step) => format!(
            "a window of {} is no whole number of steps of {}",
            units::show_duration(*size),
            units::show_duration(*step)
        ),
        other => format!("{}: {other}", name(point)),
    };
    Problem::error(place, message, allowed)
}

/// Whether a result tells one single reading, and not something about all of them.
pub(super) const fn tells_one(aggregate: &Aggregate) -> bool {
    !matches!(
        aggregate,
        Aggregate::Count | Aggregate::Mean | Aggregate::TimeMean | Aggregate::Deviation
    )
}

/// How often a point computed from others comes, at most: whenever one of them does.
pub(super) fn period_of(inputs: &[&Known]) -> Option<Duration> {
    let rates = inputs.iter().filter_map(|known| known.about.period);
    let rate: f64 = rates
        .map(|period| 1.0 / period.as_secs_f64().max(1e-3))
        .sum();
    (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate))
}
