//! What is reported of a point: every reading, or changes and signs of life.

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
    },
}

const SHORTEST_BEAT: Duration = Duration::from_millis(100);
const LONGEST_BEAT: Duration = Duration::from_secs(7 * 86_400);

/// Reads `report = { abs = 0.5, beat = "5m" }`; in a point list the columns are `report.abs`,
/// `report.pct` and `report.beat`.
pub(crate) fn read(table: &Table<'_>) -> Option<Located<Report>> {
    const ABS: &str = "a number of at least 0, in the point's unit";
    const PCT: &str = "percent of the last reported value, more than 0 and at most 100";
    let (abs, pct, beat, place) = if table.is_of_text() {
        let columns = ["report.abs", "report.pct", "report.beat"];
        if !columns.map(|column| table.has(column)).contains(&true) {
            return None;
        }
        (
            table.number("report.abs", ABS),
            table.number("report.pct", PCT),
            table.duration("report.beat", SHORTEST_BEAT..=LONGEST_BEAT),
            table.place(),
        )
    } else {
        let inner = table.table("report")?;
        let found = (
            inner.number("abs", ABS),
            inner.number("pct", PCT),
            inner.duration("beat", SHORTEST_BEAT..=LONGEST_BEAT),
            inner.place(),
        );
        inner.finish();
        found
    };
    let notes = table.notes();
    if let Some(abs) = abs.as_ref().filter(|abs| abs.value < 0.0) {
        notes.push(Problem::error(
            &abs.place,
            format!("{} is negative", abs.value),
            ABS,
        ));
    }
    if let Some(pct) = pct.as_ref().filter(|p| p.value <= 0.0 || p.value > 100.0) {
        let message = format!("{} percent is out of range", pct.value);
        notes.push(Problem::error(&pct.place, message, PCT));
    }
    let deadband = match (abs, pct) {
        (Some(_), Some(pct)) => {
            let message = "`abs` and `pct` exclude each other";
            notes.push(Problem::error(&pct.place, message, "one of abs, pct"));
            return None;
        }
        (Some(abs), None) => Deadband::Absolute(abs.value),
        (None, Some(pct)) => Deadband::Percent(pct.value),
        (None, None) => Deadband::Absolute(0.0),
    };
    let beat = beat.map(|beat| beat.value);
    Some(Located {
        value: Report::Changes { deadband, beat },
        place,
    })
}
