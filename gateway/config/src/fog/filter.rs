//! `[filter.NAME]`: stages and windows, attached to points by selector.
//!
//! Filters apply in the order of the file; those of one point work one behind the other, after what the
//! point's own `report` leaves. Every stage lets each change of quality pass at once, by construction.

use crate::config::PointConfig;
use crate::fog::kinds::Selectors;
use crate::fog::names::Catalogue;
use crate::fog::window::{self, RawWindow, WINDOW, Windows};
use crate::key::kinds::{Durations, Inner, List, Named, Number, Whole};
use crate::key::{Key, Section};
use crate::notes::Notes;
use crate::problem::Problem;
use crate::report::KEEP_ALIVE;
use crate::source::{Located, Place};
use crate::walk::Table;
use gateway_filter::{Band, Bound, Stage};
use protocols_model::PointKey;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Longest time that a swinging door may hold a reading back.
pub const MAX_SWING_BEAT: Duration = Duration::from_mins(10);

const LEAST: f64 = f64::MIN_POSITIVE;

const MATCH: Key<Selectors> = Key::new("match", Selectors, "the points it is for").required();
const DO: Key<List> = Key::new(
    "do",
    List(const { &[&STAGE] }),
    "stages and windows, in their order",
)
.required();
const DEADBAND: Key<Inner> = Key::new(
    "deadband",
    Inner(const { &[&BAND] }),
    "leaves out what stays near the last sent value",
);
const SWING: Key<Inner> = Key::new(
    "swing",
    Inner(const { &[&DOOR] }),
    "swinging door: leaves out what lies on straight lines between sent values",
);
const MIN_INTERVAL: Key<Durations> = Key::new(
    "min_interval",
    Durations(Duration::from_millis(10), Duration::from_hours(24)),
    "at most one reading in this time",
);
const EVERY: Key<Whole> = Key::new("every", Whole(2, 1_000_000), "every so many readings one");
const WINDOWS: Key<Inner> = Key::new(
    "window",
    Inner(const { &[&WINDOW] }),
    "computes over the last seconds or minutes; sees every reading, whatever the stages leave out",
);
static STAGE: Section = Section::new(
    "[filter.NAME] do = [ { … } ]",
    "One of these each.",
    &[&DEADBAND, &SWING, &MIN_INTERVAL, &EVERY, &WINDOWS],
);

const ABS: Key<Number> = Key::new(
    "abs",
    Number {
        allowed: "a number of at least 0, in the point's unit",
        min: 0.0,
        max: f64::MAX,
    },
    "sent when it moves by more than this; 0: when it changes at all",
);
const PCT: Key<Number> = Key::new(
    "pct",
    Number {
        allowed: "percent of the last sent value, more than 0 and at most 100",
        min: LEAST,
        max: 100.0,
    },
    "sent when it moves by more than this many percent of the last sent value",
);
const PCT_OF_RANGE: Key<Number> = Key::new(
    "pct_of_range",
    Number {
        allowed: "percent of the point's `range`, more than 0 and at most 100",
        min: LEAST,
        max: 100.0,
    },
    "sent when it moves by more than this many percent of the point's range",
);
const RATE: Key<Number> = Key::new(
    "rate",
    Number {
        allowed: "a number of at least 0, units of the point a second",
        min: 0.0,
        max: f64::MAX,
    },
    "sent when it moves faster than this many units a second",
);
const BEAT: Key<Durations> = Key::new(
    "beat",
    Durations(Duration::from_millis(100), Duration::from_hours(7 * 24)),
    "the next reading after such a silence is sent whatever it says",
)
.otherwise("no sign of life");
static BAND: Section = Section::new(
    "[filter.NAME] do = [ { deadband = { … } } ]",
    "One of abs, pct, pct_of_range and rate.",
    &[&ABS, &PCT, &PCT_OF_RANGE, &RATE, &BEAT, &KEEP_ALIVE],
);

const ERROR: Key<Number> = Key::new(
    "error",
    Number {
        allowed: "a number above 0, in the point's unit",
        min: LEAST,
        max: f64::MAX,
    },
    "every reading lies within this of the line between sent values",
)
.required();
const SWING_BEAT: Key<Durations> = Key::new(
    "beat",
    Durations(Duration::from_millis(100), MAX_SWING_BEAT),
    "a line is ended after so long: what it holds back may be lost in a crash",
)
.default(Duration::from_mins(1));
static DOOR: Section = Section::new(
    "[filter.NAME] do = [ { swing = { … } } ]",
    "The last reading is always held back, at most for the beat and one period of the point.",
    &[&ERROR, &SWING_BEAT],
);

static FILTER: Section = Section::new(
    "[filter.NAME]",
    "What of points is worth sending. Filters of one point work one behind the other, in the order of the file. A change of quality always passes.",
    &[&MATCH, &DO],
);
pub(crate) const FILTERS: Key<Named> = Key::new(
    "filter",
    Named(const { &[&FILTER] }),
    "what is worth sending, and what is computed over time",
);

#[derive(Debug)]
enum RawBand {
    Absolute(f64),
    Percent(f64),
    PercentOfRange(f64),
    Rate(f64),
}

#[derive(Debug)]
enum Step {
    Deadband(RawBand, Option<Duration>, Option<Duration>),
    Swing(f64, Duration),
    MinInterval(Duration),
    Every(u32),
    Window(RawWindow),
}

/// A filter as written.
#[derive(Debug)]
pub(super) struct RawFilter {
    name: Located<String>,
    selectors: Vec<Located<String>>,
    steps: Vec<(Place, Step)>,
    /// The points its own windows make: it is not for them.
    own: BTreeSet<PointKey>,
}

pub(super) fn read(root: &Table<'_>) -> Vec<RawFilter> {
    let mut filters = Vec::new();
    for (name, table) in root.named(&FILTERS) {
        let selectors = table.get(&MATCH);
        let mut steps = Vec::new();
        for stage in table.list(&DO).unwrap_or_default() {
            let place = stage.place();
            if let Some(step) = read_step(stage) {
                steps.push((place, step));
            }
        }
        table.finish();
        if let Some(selectors) = selectors {
            filters.push(RawFilter {
                name,
                selectors: selectors.value,
                steps,
                own: BTreeSet::new(),
            });
        }
    }
    filters
}

fn read_step(table: Table<'_>) -> Option<Step> {
    let deadband = table.table(&DEADBAND);
    let swing = table.table(&SWING);
    let interval = table.get(&MIN_INTERVAL);
    let every = table.get(&EVERY);
    let window = table.table(&WINDOWS);
    let said = [
        table.has(&DEADBAND),
        table.has(&SWING),
        table.has(&MIN_INTERVAL),
        table.has(&EVERY),
        table.has(&WINDOWS),
    ];
    let count = said.iter().filter(|said| **said).count();
    let (place, notes) = (table.place(), table.notes());
    table.finish();
    if count != 1 {
        let message = format!("{count} stages in one");
        let allowed = "one of deadband, swing, min_interval, every, window in each { … }";
        notes.push(Problem::error(&place, message, allowed));
        return None;
    }
    if let Some(table) = deadband {
        return read_band(table);
    }
    if let Some(table) = swing {
        let error = table.get(&ERROR);
        let beat = SWING_BEAT.value(table.get(&SWING_BEAT));
        table.finish();
        return Some(Step::Swing(error?.value, beat));
    }
    if let Some(table) = window {
        return window::read(table).map(Step::Window);
    }
    let interval = interval.map(|found| Step::MinInterval(found.value));
    interval.or_else(|| Some(Step::Every(u32::try_from(every?.value).ok()?)))
}

fn read_band(table: Table<'_>) -> Option<Step> {
    let bands = [
        table.get(&ABS).map(|found| RawBand::Absolute(found.value)),
        table.get(&PCT).map(|found| RawBand::Percent(found.value)),
        table
            .get(&PCT_OF_RANGE)
            .map(|found| RawBand::PercentOfRange(found.value)),
        table.get(&RATE).map(|found| RawBand::Rate(found.value)),
    ];
    let beat = table.get(&BEAT).map(|found| found.value);
    let keep_alive = table.get(&KEEP_ALIVE).map(|found| found.value);
    let said = [
        table.has(&ABS),
        table.has(&PCT),
        table.has(&PCT_OF_RANGE),
        table.has(&RATE),
    ];
    let (place, notes) = (table.place(), table.notes());
    table.finish();
    if said.iter().filter(|said| **said).count() != 1 {
        let message = "a deadband of one kind is needed";
        let allowed = "one of abs, pct, pct_of_range, rate";
        notes.push(Problem::error(&place, message, allowed));
        return None;
    }
    let band = bands.into_iter().flatten().next()?;
    if matches!(band, RawBand::Rate(_)) && beat.is_none() {
        let message = "a slow drift is never faster than the rate: it would not be sent at all";
        notes.push(Problem::warning(&place, message, "a beat beside the rate"));
    }
    Some(Step::Deadband(band, beat, keep_alive))
}

/// What filters make of the points.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) stages: BTreeMap<PointKey, Vec<Stage>>,
    /// How long readings may be held back.
    pub(super) held: BTreeMap<PointKey, Duration>,
    /// How often points tell that they still say the same.
    pub(super) keep_alive: BTreeMap<PointKey, Duration>,
}

impl RawFilter {
    fn selects(&self, name: &str) -> bool {
        let mut selectors = self.selectors.iter();
        selectors.any(|selector| super::names::fits(&selector.value, name))
    }

    fn windows(&self) -> impl Iterator<Item = &RawWindow> {
        self.steps.iter().filter_map(|(_, step)| match step {
            Step::Window(raw) => Some(raw),
            _ => None,
        })
    }
}

/// Makes the windows over points from `first` on that are not results of windows themselves.
pub(super) fn make_windows(
    filters: &mut [RawFilter],
    first: u32,
    catalogue: &mut Catalogue,
    windows: &mut Windows,
    notes: &Notes<'_>,
) {
    for filter in filters {
        let mut own = BTreeSet::new();
        if filter.windows().next().is_none() {
            continue;
        }
        let points: Vec<PointKey> = catalogue
            .all()
            .filter(|(key, known)| {
                key.0 >= first && !known.about.is_result && filter.selects(&known.name())
            })
            .map(|(key, _)| key)
            .collect();
        for raw in filter.windows() {
            for point in &points {
                own.extend(windows.make(raw, *point, catalogue, notes));
            }
        }
        filter.own.append(&mut own);
    }
}

/// Attaches the stages, when all points are known.
pub(super) fn attach(
    filters: &[RawFilter],
    points: &[PointConfig],
    catalogue: &Catalogue,
    notes: &Notes<'_>,
) -> Applied {
    let mut applied = Applied::default();
    for filter in filters {
        for key in catalogue.matching_all(&filter.selectors, notes) {
            if filter.own.contains(&key) {
                continue;
            }
            let Some(known) = catalogue.get(key) else {
                continue;
            };
            for (place, step) in &filter.steps {
                let stage = match step {
                    Step::Deadband(band, beat, keep_alive) => {
                        if let Some(every) = keep_alive {
                            let held = applied.keep_alive.entry(key).or_insert(*every);
                            *held = (*held).min(*every);
                        }
                        let band = match band {
                            RawBand::Absolute(width) => Band::Absolute(*width),
                            RawBand::Percent(percent) => Band::Percent(*percent),
                            RawBand::Rate(rate) => Band::Rate(*rate),
                            // Texts and truths are sent when they change.
                            RawBand::PercentOfRange(_) if !known.is_number() => Band::Absolute(0.0),
                            RawBand::PercentOfRange(percent) => {
                                let Some(range) = &known.about.range else {
                                    let message =
                                        format!("{} has no range to take a part of", known.name());
                                    let allowed = "points with `range = [low, high]`, or abs";
                                    notes.push(Problem::error(place, message, allowed));
                                    continue;
                                };
                                Band::Absolute((range.end() - range.start()) * percent / 100.0)
                            }
                        };
                        Stage::deadband(band, *beat)
                    }
                    Step::Swing(error, beat) => {
                        // Looked at with each reading: the one after the beat ends the wait.
                        let wait = known.about.period.unwrap_or(MAX_SWING_BEAT);
                        let held = applied.held.entry(key).or_default();
                        *held = held.saturating_add(beat.saturating_add(wait));
                        Stage::swing(*error, Some(*beat))
                    }
                    Step::MinInterval(interval) => Stage::min_interval(*interval),
                    Step::Every(n) => Stage::every(*n),
                    Step::Window(raw) if !raw.keep && !known.about.is_result => {
                        Stage::every(u32::MAX)
                    }
                    Step::Window(_) => continue,
                };
                applied.stages.entry(key).or_default().push(stage);
            }
        }
        tell_unstated(filter, &applied, catalogue, notes);
        refuse_empty_signs(filter, points, &applied, catalogue, notes);
    }
    applied
}

/// A sign of life says "still within the band of what was sent last". What stages other than deadbands
/// leave out may be anywhere.
fn refuse_empty_signs(
    filter: &RawFilter,
    points: &[PointConfig],
    applied: &Applied,
    catalogue: &Catalogue,
    notes: &Notes<'_>,
) {
    for (key, stages) in &applied.stages {
        let place = usize::try_from(key.0).ok();
        let report = place.and_then(|place| points.get(place));
        let reported = report.and_then(|point| point.report.keep_alive());
        if !applied.keep_alive.contains_key(key) && reported.is_none() {
            continue;
        }
        let is_band = |stage: &Stage| matches!(stage.bound(), Bound::Hold { .. });
        let name = catalogue.get(*key).map(super::names::Known::name);
        if let Some(name) = name.filter(|name| filter.selects(name))
            && !stages.iter().all(is_band)
        {
            let message = format!(
                "a keep-alive of {name} would say nothing: what its other stages leave out may have changed"
            );
            let allowed = "keep_alive where deadbands (not of rate) alone filter a point";
            notes.push(Problem::error(&filter.name.place, message, allowed));
            return;
        }
    }
}

/// A swinging door states a bound that other stages take away again; that is worth knowing.
fn tell_unstated(filter: &RawFilter, applied: &Applied, catalogue: &Catalogue, notes: &Notes<'_>) {
    let swings = |step: &(Place, Step)| matches!(step.1, Step::Swing(..));
    if !filter.steps.iter().any(swings) {
        return;
    }
    for (key, stages) in &applied.stages {
        let bound = stages
            .iter()
            .map(Stage::bound)
            .fold(Bound::Exact, Bound::then);
        let doors = stages.iter().any(|stage| matches!(stage, Stage::Swing(_)));
        let name = catalogue.get(*key).map(super::names::Known::name);
        if let (Some(name), Bound::Unstated, true) = (name, bound, doors)
            && filter.selects(&name)
        {
            let message = format!(
                "a swinging door together with another stage: the error of {name} cannot be stated"
            );
            let allowed = "the swinging door alone, where the error matters";
            notes.push(Problem::warning(&filter.name.place, message, allowed));
            return;
        }
    }
}
