//! What is reported of a point: every reading, or changes and signs of life.

use crate::key::kinds::{Durations, Inner, Number};
use crate::key::{Key, Section};
use crate::problem::Problem;
use crate::source::Located;
use crate::walk::Table;
use std::time::Duration;

/// How much a number must move before it is reported again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deadband {
    /// More than this many of the point's units; 0 reports any change.
    Absolute(f64),
    /// More than this many percent of the last reported number.
    Percent(f64),
}

/// What is reported of a point.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Report {
    /// Every reading.
    #[default]
    Every,
    /// Changes beyond a deadband, and a sign of life.
    Changes {
        /// The deadband.
        deadband: Deadband,
        /// Longest silence: after it the next reading is reported whatever it says.
        beat: Option<Duration>,
        /// How often to tell that it still says the same.
        keep_alive: Option<Duration>,
    },
}

impl Report {
    /// How often to tell that the point still says the same.
    #[must_use]
    pub const fn keep_alive(&self) -> Option<Duration> {
        match self {
            Self::Every => None,
            Self::Changes { keep_alive, .. } => *keep_alive,
        }
    }
}

/// What is reported of a point.
pub(crate) const REPORT: Key<Inner> = Key::new(
    "report",
    Inner(const { &[&CHANGES] }),
    "report changes only: when the value moves, when its quality changes, and a sign of life",
)
.otherwise("every reading, or what an outer level says");
const ABS: Key<Number> = Key::new(
    "abs",
    Number {
        allowed: "a number of at least 0, in the point's unit",
        min: 0.0,
        max: f64::MAX,
    },
    "report when the value moves by more than this many of its units; excludes pct",
)
.default(0.0);
const PCT: Key<Number> = Key::new(
    "pct",
    Number {
        allowed: "percent of the last reported value, more than 0 and at most 100",
        min: f64::MIN_POSITIVE,
        max: 100.0,
    },
    "report when the value moves by more than this many percent of the last reported one",
)
.otherwise("abs holds");
const BEAT: Key<Durations> = Key::new(
    "beat",
    Durations(Duration::from_millis(100), Duration::from_secs(7 * 86_400)),
    "report at the latest after this long, whatever the value says",
)
.otherwise("no sign of life");
/// Says that nothing changed, without a reading.
pub(crate) const KEEP_ALIVE: Key<Durations> = Key::new(
    "keep_alive",
    Durations(Duration::from_secs(1), Duration::from_secs(7 * 86_400)),
    "tell so often that it was read and still says the same: the last sent value once more, with its own time, which is shown and not stored",
)
.otherwise("no sign of life");
static CHANGES: Section = Section::inline(&[&ABS, &PCT, &BEAT, &KEEP_ALIVE]);

/// Reads `report = { abs = 0.5, beat = "5m" }`; in a point list the columns are `report.abs`,
/// `report.pct`, `report.beat` and `report.keep_alive`.
pub(crate) fn read(table: &Table<'_>) -> Option<Located<Report>> {
    let inner = table.table(&REPORT)?;
    let (abs, pct, beat) = (inner.get(&ABS), inner.get(&PCT), inner.get(&BEAT));
    let keep_alive = inner.get(&KEEP_ALIVE).map(|found| found.value);
    let place = inner.place();
    inner.finish();
    let notes = table.notes();
    let deadband = match (abs, pct) {
        (Some(_), Some(pct)) => {
            let message = "`abs` and `pct` exclude each other";
            notes.push(Problem::error(&pct.place, message, "one of abs, pct"));
            return None;
        }
        (Some(abs), None) => Deadband::Absolute(abs.value),
        (None, Some(pct)) => Deadband::Percent(pct.value),
        (None, None) => Deadband::Absolute(ABS.value(None)),
    };
    let beat = beat.map(|beat| beat.value);
    Some(Located {
        value: Report::Changes {
            deadband,
            beat,
            keep_alive,
        },
        place,
    })
}
