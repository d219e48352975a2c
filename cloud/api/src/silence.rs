//! When silence is a gap in a chart: a property of the series, the same at every zoom.
//!
//! The wire carries no poll periods, and a deadband makes silence legal. So what is usual is learnt from readings
//! at their own spacing, however few or many of them are shown: those around the end of what is shown, in whole
//! hours, so that every view of the same time asks for the same ones. A plant that is read at another pace
//! today leaves the gaps of last month as they were.

use cloud_store::query::MAX_POINTS;
use cloud_store::{QueryRange, Series, Store, StoreError, TimeRange};
use protocols_model::Timestamp;
use std::time::Duration;

const HOUR_NS: i64 = 3_600_000_000_000;
/// What is looked at; the longer ones only where readings are too rare for the shorter.
const WINDOWS_HOURS: [i64; 3] = [2, 48, 1440];

/// The longest usual silence of a series before `to`; none where there are too few readings to say.
pub(crate) async fn usual(
    store: &dyn Store,
    series: &Series,
    to: Timestamp,
) -> Result<Option<Duration>, StoreError> {
    let latest = store.latest(&series.gateway, Some(&series.device)).await?;
    let newest = latest.iter().find(|latest| latest.series == series.id);
    let Some(newest) = newest else {
        return Ok(None);
    };
    let end = to.min(newest.time).0.div_euclid(HOUR_NS) + 1;
    for hours in WINDOWS_HOURS {
        let at = |hour: i64| Timestamp(hour.saturating_mul(HOUR_NS));
        let asked = QueryRange {
            range: TimeRange {
                from: at(end - hours),
                to: at(end),
            },
            points: MAX_POINTS,
            silence: None,
        };
        let answer = store.query(series.id, asked).await?;
        if let Some(silence) = answer.points.usual_silence() {
            return Ok(Some(silence));
        }
    }
    Ok(None)
}
