//! The keys of `[privacy.NAME]`, and what the reference says of them.

use crate::fog::kinds::{Each, Selectors};
use crate::key::kinds::{Durations, Inner, Named, Number, Parsed, Text, Whole};
use crate::key::{Key, Section};
use gateway_privacy::Grid;
use std::time::Duration;

pub(super) const DROP: Key<Selectors> = Key::new(
    "drop",
    Selectors,
    "points that do not leave, nor their names; rules and windows may look at them",
)
.otherwise("none");
pub(super) const ROUND: Key<Each<Number>> = Key::new(
    "round",
    Each(Number {
        allowed: "a number above 0, in the point's unit",
        min: f64::MIN_POSITIVE,
        max: f64::MAX,
    }),
    "to the nearest multiple of the step",
);
pub(super) const TIME: Key<Each<Durations>> = Key::new(
    "time",
    Each(Durations(Duration::from_secs(1), Duration::from_hours(24))),
    "one value in each span of time, the last one, told when it is over: a crash may lose one",
);
pub(super) const PLACE: Key<Inner> = Key::new(
    "place",
    Inner(const { &[&GRID] }),
    "a position as the middle of a cell",
);
pub(super) const PSEUDONYMISE: Key<Inner> = Key::new(
    "pseudonymise",
    Inner(const { &[&NAMES] }),
    "keyed pseudonyms instead of texts",
);
pub(super) const AGGREGATE_ONLY: Key<Inner> = Key::new(
    "aggregate_only",
    Inner(const { &[&GROUP] }),
    "only what windows compute over them leaves",
);
pub(super) const OPEN: Key<Selectors> = Key::new(
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

pub(super) const LATITUDE: Key<Text> = Key::new(
    "latitude",
    Text("device/point, in degrees"),
    "the point with the latitude",
)
.required();
pub(super) const LONGITUDE: Key<Text> = Key::new(
    "longitude",
    Text("device/point, in degrees"),
    "the point with the longitude",
)
.required();
pub(super) const CELL: Key<Parsed<f64>> = Key::new(
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

pub(super) const MATCH: Key<Selectors> = Key::new("match", Selectors, "which points").required();
pub(super) const SECRET: Key<Text> = Key::new(
    "key",
    Text("the path of a file with 64 hexadecimal digits, mode 0600: \"file:keys/pseudo\""),
    "the key, which stays on the gateway; `openssl rand -hex 32` makes one",
)
.required();
pub(super) const ROTATE: Key<Durations> = Key::new(
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

pub(super) const MIN_GROUP: Key<Whole> = Key::new(
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
