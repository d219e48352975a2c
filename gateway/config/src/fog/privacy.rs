//! `[privacy.NAME]`: what of points may leave the site, and in what form.
//!
//! Rules, all checked when the configuration is read:
//! - A selector that names no point is refused: a misspelt policy protects nothing.
//! - What is computed from a private point is private until somebody decides: it must be in a policy
//!   itself, be named in `open`, or be an aggregate that `aggregate_only` lets out.
//! - An aggregate lets out nothing of a single reading: no `last`, no extremes, no sliding windows.
//! - Where the key of a pseudonym cannot be read, nothing of its points leaves.

use crate::fog::derive;
use crate::fog::kinds::{Each, Selectors};
use crate::fog::names::{Catalogue, Known};
use crate::fog::window::{Windows, tells_one};
use crate::key::kinds::{Durations, Inner, Named, Number, Parsed, Text, Whole};
use crate::key::{Key, Section};
use crate::notes::Notes;
use crate::problem::Problem;
use crate::settings::resolve;
use crate::source::{Located, Place};
use crate::walk::Table;
use gateway_filter::Aggregate;
use gateway_privacy::{Grid, KEY_BYTES, PseudonymKey, Treatment};
use protocols_model::PointKey;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// What of a private point leaves.
#[derive(Debug, Clone)]
pub enum Leaves {
    /// Nothing, not even its name. The text says why.
    Nothing(&'static str),
    /// Treated values.
    Treated {
        /// In this order.
        treatments: Vec<Treatment>,
        /// The latitude that belongs to a longitude.
        latitude: Option<PointKey>,
    },
}

const DROP: Key<Selectors> = Key::new(
    "drop",
    Selectors,
    "points that do not leave, nor their names; rules and windows may look at them",
)
.otherwise("none");
const ROUND: Key<Each<Number>> = Key::new(
    "round",
    Each(Number {
        allowed: "a number above 0, in the point's unit",
        min: f64::MIN_POSITIVE,
        max: f64::MAX,
    }),
    "to the nearest multiple of the step",
);
const TIME: Key<Each<Durations>> = Key::new(
    "time",
    Each(Durations(Duration::from_secs(1), Duration::from_hours(24))),
    "one value in each span of time, the last one, told when it is over: a crash may lose one",
);
const PLACE: Key<Inner> = Key::new(
    "place",
    Inner(const { &[&GRID] }),
    "a position as the middle of a cell",
);
const PSEUDONYMISE: Key<Inner> = Key::new(
    "pseudonymise",
    Inner(const { &[&NAMES] }),
    "keyed pseudonyms instead of texts",
);
const AGGREGATE_ONLY: Key<Inner> = Key::new(
    "aggregate_only",
    Inner(const { &[&GROUP] }),
    "only what windows compute over them leaves",
);
const OPEN: Key<Selectors> = Key::new(
    "open",
    Selectors,
    "points computed from private ones that may leave as they are",
)
.otherwise("none");
static PRIVACY: Section = Section::new(
    "[privacy.NAME]",
    "What leaves the site, and in what form: `fogline-gateway explain --privacy` shows it. Runs after filters and before anything is written to disk.",
    &[
        &DROP,
        &ROUND,
        &TIME,
        &PLACE,
        &PSEUDONYMISE,
        &AGGREGATE_ONLY,
        &OPEN,
    ],
);
pub(crate) const POLICIES: Key<Named> = Key::new(
    "privacy",
    Named(const { &[&PRIVACY] }),
    "what leaves the site, and in what form",
);

const LATITUDE: Key<Text> = Key::new(
    "latitude",
    Text("device/point, in degrees"),
    "the point with the latitude",
)
.required();
const LONGITUDE: Key<Text> = Key::new(
    "longitude",
    Text("device/point, in degrees"),
    "the point with the longitude",
)
.required();
const CELL: Key<Parsed<f64>> = Key::new(
    "cell",
    Parsed {
        allowed: "a length: \"50m\", \"1km\", 1m to 10000km",
        parse: |text| {
            let metres = match text.strip_suffix("km") {
                Some(number) => number.trim().parse::<f64>().map(|km| km * 1000.0),
                None => text.strip_suffix('m').unwrap_or("").trim().parse(),
            };
            let metres = metres.map_err(|_| "not a length".to_owned())?;
            Grid::new(metres).map_or_else(|| Err("no cell of this size".to_owned()), |_| Ok(metres))
        },
    },
    "width of a cell",
)
.required();
static GRID: Section = Section::new(
    "[privacy.NAME] place = { … }",
    "One position; another one is another policy.",
    &[&LATITUDE, &LONGITUDE, &CELL],
);

const MATCH: Key<Selectors> = Key::new("match", Selectors, "which points").required();
const SECRET: Key<Text> = Key::new(
    "key",
    Text("the path of a file with 64 hexadecimal digits, mode 0600: \"file:keys/pseudo\""),
    "the key, which stays on the gateway; `openssl rand -hex 32` makes one",
)
.required();
const ROTATE: Key<Durations> = Key::new(
    "rotate",
    Durations(Duration::from_hours(1), Duration::from_hours(24 * 366)),
    "names change after so long",
)
.otherwise("they never change");
static NAMES: Section = Section::new(
    "[privacy.NAME] pseudonymise = { … }",
    "Texts of one policy are told alike where they are alike; those of two policies are not.",
    &[&MATCH, &SECRET, &ROTATE],
);

const MIN_GROUP: Key<Whole> = Key::new(
    "min_group",
    Whole(2, 1_000_000),
    "a window with fewer readings tells nothing",
)
.default(5);
static GROUP: Section = Section::new(
    "[privacy.NAME] aggregate_only = { … }",
    "Windows over these points leave when they are tumbling and compute mean, time_mean, stddev or count.",
    &[&MATCH, &MIN_GROUP],
);

/// All policies together.
#[derive(Debug, Default)]
pub(super) struct Policies {
    pub(super) leaves: BTreeMap<PointKey, Leaves>,
    /// How long values may be held back.
    pub(super) held: BTreeMap<PointKey, Duration>,
    /// Points that only aggregates may tell of, and where that is written.
    groups: BTreeMap<PointKey, (u64, Place)>,
    open: BTreeSet<PointKey>,
    /// Points that tell when they were last found unchanged.
    signs: BTreeSet<PointKey>,
}

pub(super) fn read(
    root: &Table<'_>,
    base: &Path,
    catalogue: &Catalogue,
    windows: &mut Windows,
    derived: &[derive::Made],
    signs: BTreeSet<PointKey>,
) -> Policies {
    let notes = root.notes();
    let mut policies = Policies {
        signs,
        ..Policies::default()
    };
    for (name, table) in root.named(&POLICIES) {
        policies.read_one(&name, table, base, catalogue);
    }
    policies.let_aggregates_out(catalogue, windows, notes);
    policies.keep_computed_in(catalogue, derived, windows, notes);
    policies
}

impl Policies {
    fn read_one(
        &mut self,
        name: &Located<String>,
        table: Table<'_>,
        base: &Path,
        catalogue: &Catalogue,
    ) {
        let notes = table.notes();
        if let Some(dropped) = table.get(&DROP) {
            for key in catalogue.matching_all(&dropped.value, notes) {
                self.withhold(key, "dropped");
            }
        }
        for (selector, step) in table.get(&ROUND).map_or_else(Vec::new, |found| found.value) {
            for key in catalogue.matching(&selector, notes) {
                self.treat(
                    key,
                    Treatment::Round(step),
                    &selector.place,
                    catalogue,
                    notes,
                );
            }
        }
        if let Some(table) = table.table(&PLACE) {
            self.read_place(table, catalogue);
        }
        if let Some(table) = table.table(&PSEUDONYMISE) {
            self.read_names(name, table, base, catalogue);
        }
        if let Some(table) = table.table(&AGGREGATE_ONLY) {
            let selectors = table.get(&MATCH);
            let least = u64::try_from(MIN_GROUP.value(table.get(&MIN_GROUP))).unwrap_or(u64::MAX);
            let place = table.place();
            table.finish();
            for key in selectors.map_or_else(BTreeSet::new, |found| {
                catalogue.matching_all(&found.value, notes)
            }) {
                self.withhold(key, "only in aggregates");
                let group = self.groups.entry(key).or_insert((0, place.clone()));
                group.0 = group.0.max(least);
            }
        }
        // Last of all: what waits for the end of its span is treated by then.
        for (selector, span) in table.get(&TIME).map_or_else(Vec::new, |found| found.value) {
            for key in catalogue.matching(&selector, notes) {
                self.treat(
                    key,
                    Treatment::Time(span),
                    &selector.place,
                    catalogue,
                    notes,
                );
                let held = self.held.entry(key).or_default();
                *held = (*held).max(span);
            }
        }
        if let Some(open) = table.get(&OPEN) {
            self.open.extend(catalogue.matching_all(&open.value, notes));
        }
        if [
            table.has(&DROP),
            table.has(&ROUND),
            table.has(&TIME),
            table.has(&PLACE),
            table.has(&PSEUDONYMISE),
            table.has(&AGGREGATE_ONLY),
            table.has(&OPEN),
        ]
        .iter()
        .all(|said| !said)
        {
            let message = format!("policy {} names no point", name.value);
            let allowed = "drop, round, time, place, pseudonymise, aggregate_only";
            notes.push(Problem::error(&name.place, message, allowed));
        }
        table.finish();
    }

    fn read_place(&mut self, table: Table<'_>, catalogue: &Catalogue) {
        let notes = table.notes();
        let (latitude, longitude) = (table.get(&LATITUDE), table.get(&LONGITUDE));
        let cell = table.get(&CELL);
        table.finish();
        let (Some(latitude), Some(longitude), Some(cell)) = (latitude, longitude, cell) else {
            return;
        };
        let keys = (
            catalogue.point(&latitude, notes),
            catalogue.point(&longitude, notes),
        );
        let (Some(lat), Some(lon)) = keys else { return };
        let Some(grid) = Grid::new(cell.value) else {
            return;
        };
        if lat == lon {
            let message = "latitude and longitude are one point";
            notes.push(Problem::error(&longitude.place, message, "two points"));
            return;
        }
        let known = (catalogue.get(lat), catalogue.get(lon));
        if let (Some(a), Some(b)) = known
            && (!a.about.is_read || !b.about.is_read)
        {
            let message = "a position needs points that are read";
            notes.push(Problem::error(
                &latitude.place,
                message,
                "points that are read",
            ));
            return;
        }
        self.treat(
            lat,
            Treatment::Latitude(grid),
            &latitude.place,
            catalogue,
            notes,
        );
        self.treat(
            lon,
            Treatment::Longitude(grid),
            &longitude.place,
            catalogue,
            notes,
        );
        if let Some(Leaves::Treated { latitude, .. }) = self.leaves.get_mut(&lon) {
            *latitude = Some(lat);
        }
    }

    fn read_names(
        &mut self,
        name: &Located<String>,
        table: Table<'_>,
        base: &Path,
        catalogue: &Catalogue,
    ) {
        let notes = table.notes();
        let (selectors, file) = (table.get(&MATCH), table.get(&SECRET));
        let rotate = table.get(&ROTATE).map(|rotate| rotate.value);
        table.finish();
        let (Some(selectors), Some(file)) = (selectors, file) else {
            return;
        };
        let key = secret(base, &file, notes)
            .and_then(|bytes| PseudonymKey::new(&bytes, &name.value, rotate).ok());
        for point in catalogue.matching_all(&selectors.value, notes) {
            match &key {
                Some(key) => {
                    let treatment = Treatment::Pseudonym(Box::new(key.clone()));
                    self.treat(point, treatment, &selectors.place, catalogue, notes);
                }
                None => self.withhold(point, "its key cannot be read"),
            }
        }
    }

    fn withhold(&mut self, key: PointKey, why: &'static str) {
        // Nothing is less than anything.
        if !matches!(self.leaves.get(&key), Some(Leaves::Nothing(_))) {
            self.leaves.insert(key, Leaves::Nothing(why));
        }
    }

    fn treat(
        &mut self,
        key: PointKey,
        treatment: Treatment,
        place: &Place,
        catalogue: &Catalogue,
        notes: &Notes<'_>,
    ) {
        let Some(known) = catalogue.get(key) else {
            return;
        };
        if let Err(error) = treatment.check(known.descriptor.value_type) {
            let message = format!("{}: {error}", known.name());
            let allowed = "points that it goes with";
            notes.push(Problem::error(place, message, allowed));
            return;
        }
        // A sign of life has a time of its own, and repeats a name that may have been changed since.
        if self.signs.contains(&key)
            && matches!(treatment, Treatment::Time(_) | Treatment::Pseudonym(_))
        {
            let message = format!(
                "a keep-alive of {} would tell when, or of whom, beside what this treatment hides",
                known.name()
            );
            notes.push(Problem::error(place, message, "points without keep_alive"));
            return;
        }
        let leaves = self.leaves.entry(key).or_insert(Leaves::Treated {
            treatments: Vec::new(),
            latitude: None,
        });
        if let Leaves::Treated { treatments, .. } = leaves {
            // Told in spans: the coarsest is what it is told in.
            if let (Treatment::Time(new), Some(Treatment::Time(old))) = (
                &treatment,
                treatments
                    .iter_mut()
                    .find(|held| matches!(held, Treatment::Time(_))),
            ) {
                *old = (*old).max(*new);
                return;
            }
            treatments.push(treatment);
        }
    }

    /// What windows over points of a group must be, and how many readings they need.
    fn let_aggregates_out(&self, catalogue: &Catalogue, windows: &mut Windows, notes: &Notes<'_>) {
        for (key, (least, place)) in &self.groups {
            let Some(known) = catalogue.get(*key) else {
                continue;
            };
            let mut any = false;
            for window in windows.over(*key) {
                any = true;
                window.spec.min_count = window.spec.min_count.max(*least);
                let results = || window.results.iter().zip(&window.spec.aggregates);
                let open =
                    |key: &PointKey| !self.leaves.contains_key(key) && !self.open.contains(key);
                let told: Vec<_> = results().filter(|(key, _)| open(key)).collect();
                if told.is_empty() {
                    continue;
                }
                if window.spec.step != window.spec.size {
                    let message = format!(
                        "sliding windows over {} differ by single readings, which could be told from them",
                        known.name()
                    );
                    let allowed = "a step of the window's size";
                    notes.push(Problem::error(place, message, allowed));
                }
                for (_, aggregate) in told.iter().filter(|(_, aggregate)| tells_one(aggregate)) {
                    let message = format!(
                        "{} of {} tells a single reading",
                        word(aggregate),
                        known.name()
                    );
                    let allowed = "mean, time_mean, stddev and count, or drop the result";
                    notes.push(Problem::error(place, message, allowed));
                }
                if told
                    .iter()
                    .all(|(_, aggregate)| **aggregate == Aggregate::Count)
                {
                    let message = format!(
                        "a count alone loses every change of quality of {}: a failed device would look like a quiet one",
                        known.name()
                    );
                    let allowed = "mean, time_mean or stddev beside it";
                    notes.push(Problem::error(place, message, allowed));
                }
            }
            if !any {
                let message = format!("no window looks at {}: nothing of it leaves", known.name());
                let allowed = "a [filter.…] with a window over it, or drop";
                notes.push(Problem::warning(place, message, allowed));
            }
        }
    }

    /// What is computed from a private point would tell it.
    fn keep_computed_in(
        &self,
        catalogue: &Catalogue,
        derived: &[derive::Made],
        windows: &Windows,
        notes: &Notes<'_>,
    ) {
        // What aggregates let out, and what somebody opened, may go on into other points.
        let groups = windows
            .made
            .iter()
            .filter(|w| self.groups.contains_key(&w.of));
        let mut cleared: BTreeSet<PointKey> = groups.flat_map(|w| &w.results).copied().collect();
        cleared.extend(&self.open);
        let private_source = |known: &Known| -> Option<PointKey> {
            let mut open = known.about.from.clone();
            let mut seen = BTreeSet::new();
            while let Some(source) = open.pop() {
                if cleared.contains(&source) || !seen.insert(source) {
                    continue;
                }
                if self.leaves.contains_key(&source) {
                    return Some(source);
                }
                open.extend(&catalogue.get(source)?.about.from);
            }
            None
        };
        for (key, known) in catalogue.all() {
            if cleared.contains(&key) || self.leaves.contains_key(&key) {
                continue;
            }
            let private = private_source(known).and_then(|source| catalogue.get(source));
            let Some(private) = private else { continue };
            let message = format!(
                "{} is computed from {}, which is private, and would tell it",
                known.name(),
                private.name()
            );
            let allowed =
                "the computed point in a policy too, or in its `open` where that is meant";
            let made = derived.iter().find(|made| made.derived.point == key);
            let place = made.map(|made| &made.place).or_else(|| windows.place(key));
            if let Some(place) = place {
                notes.push(Problem::error(place, message, allowed));
            }
        }
    }
}

const fn word(aggregate: &Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Mean => "mean",
        Aggregate::TimeMean => "time_mean",
        Aggregate::Last => "last",
        Aggregate::Count => "count",
        Aggregate::Deviation => "stddev",
        Aggregate::Percentile(_) => "a percentile",
        Aggregate::TimeIn(_) => "time_in",
    }
}

/// The secret bytes in a file of hexadecimal digits.
fn secret(base: &Path, file: &Located<String>, notes: &Notes<'_>) -> Option<Vec<u8>> {
    let path = resolve(base, &file.value);
    let text = notes.read_secret(&path, &file.place)?;
    let digits = text.trim();
    let bytes: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let bytes = bytes.filter(|bytes| bytes.len() == KEY_BYTES && digits.len() == 2 * KEY_BYTES);
    if bytes.is_none() {
        let message = format!("{} holds no key", path.display());
        let allowed = "64 hexadecimal digits: openssl rand -hex 32";
        notes.push_of_file(Problem::error(&file.place, message, allowed));
    }
    bytes
}
