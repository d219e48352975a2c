//! Latest values and counts: state that follows from the stored records.
//!
//! It is kept in memory, so that the hot transaction writes no row per sample, and written down
//! when the compactor takes the records away (in the same transaction). After a crash it is made
//! again: what was written down, plus the record rows that came later. So it is exact and needs no
//! write of its own.

use crate::digest::Digest;
use crate::query::{Latest, SeriesId};
use protocols_model::Timestamp;
use std::collections::HashMap;

/// State of one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SeriesState {
    /// The newest reading.
    pub(crate) latest: Option<Latest>,
    /// Readings stored since ever.
    pub(crate) stored: u64,
    /// Readings filtered since ever.
    pub(crate) filtered: u64,
    /// Not yet written down.
    pub(crate) dirty: bool,
}

/// State of one gateway.
#[derive(Debug, Clone, Default)]
pub(crate) struct GatewayDerived {
    /// By series number.
    pub(crate) series: HashMap<i64, SeriesState>,
    /// Newest plausible sample.
    pub(crate) newest_sample: Option<Timestamp>,
    /// When the newest telemetry was received.
    pub(crate) newest_received: Option<Timestamp>,
}

impl GatewayDerived {
    /// Adds a record. `series` gives the series of a column; it is known for every column that was
    /// stored. Returns the latest values that changed.
    pub(crate) fn apply(
        &mut self,
        digest: &Digest,
        received: Timestamp,
        series: impl Fn(u32, u32) -> Option<i64>,
    ) -> Vec<Latest> {
        let mut changed = Vec::new();
        self.newest_received = self.newest_received.max(Some(received));
        self.newest_sample = self.newest_sample.max(digest.span.map(|(_, last)| last));
        for column in &digest.columns {
            let Some(id) = series(column.dictionary, column.index) else {
                continue;
            };
            let state = self.series.entry(id).or_default();
            state.stored += column.readings;
            state.filtered += column.filtered;
            state.dirty = true;
            let Some(newest) = &column.newest else {
                continue;
            };
            let last_good = state.latest.as_ref().and_then(|latest| latest.last_good);
            let last_good = last_good.max(column.last_good);
            let candidate = Latest {
                series: SeriesId(id),
                time: newest.time,
                received,
                value: newest.value.clone(),
                quality: newest.quality,
                last_good,
                suspect: column.newest_suspect,
            };
            match &mut state.latest {
                Some(latest) if rank(latest) > rank(&candidate) => latest.last_good = last_good,
                latest => {
                    *latest = Some(candidate.clone());
                    changed.push(candidate);
                }
            }
        }
        changed
    }
}

/// What makes a reading newer. A stamp that cannot be right must neither hide what is live nor stay
/// on top for ever: it ranks by when it was received.
fn rank(latest: &Latest) -> Timestamp {
    if latest.suspect {
        latest.received
    } else {
        latest.time
    }
}
