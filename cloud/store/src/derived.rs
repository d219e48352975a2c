//! Latest values and counts: state that follows from the stored records.
//!
//! It is kept in memory, so that the hot transaction writes no row per sample, and written down
//! when the compactor takes the records away (in the same transaction). After a crash it is made
//! again: what was written down, plus the record rows that came later. So it is exact and needs no
//! write of its own.

use crate::digest::{Digest, SignDigest};
use crate::query::{Confirmed, Latest, SeriesId};
use protocols_model::Timestamp;
use std::collections::HashMap;

/// State of one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SeriesState {
    /// The newest reading, and whether it is known to hold still.
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
    /// Number of the newest record row in it, where it is made from rows.
    pub(crate) through: i64,
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
            let mut candidate = Latest {
                series: SeriesId(id),
                time: newest.time,
                received,
                value: newest.value.clone(),
                quality: newest.quality,
                last_good,
                suspect: column.newest_suspect,
                confirmed: None,
            };
            match &mut state.latest {
                Some(latest) if rank(latest) > rank(&candidate) => latest.last_good = last_good,
                latest => {
                    // The reading itself, after a sign of life that came before it.
                    let same = latest.as_ref().filter(|old| is_same(old, &candidate));
                    candidate.confirmed = same.and_then(|old| old.confirmed);
                    *latest = Some(candidate.clone());
                    changed.push(candidate);
                }
            }
        }
        for sign in &digest.signs {
            let Some(id) = series(sign.dictionary, sign.index) else {
                continue;
            };
            let state = self.series.entry(id).or_default();
            if let Some(latest) = confirm(state, id, sign, received) {
                changed.push(latest);
            }
        }
        changed
    }
}

/// Takes a sign of life; the latest value when it changed. Nothing is stored of it and nothing counted:
/// where the reading that it repeats is not here, because it is lost or still comes, it is shown all the
/// same, with its own time.
fn confirm(
    state: &mut SeriesState,
    id: i64,
    sign: &SignDigest,
    received: Timestamp,
) -> Option<Latest> {
    let repeated = Latest {
        series: SeriesId(id),
        time: sign.sample.time,
        received,
        value: sign.sample.value.clone(),
        quality: sign.sample.quality,
        last_good: state.latest.as_ref().and_then(|latest| latest.last_good),
        suspect: sign.suspect,
        confirmed: None,
    };
    let latest = match &mut state.latest {
        Some(latest) if rank(latest) >= rank(&repeated) => latest,
        latest => latest.insert(repeated.clone()),
    };
    // A newer reading than the one repeated; or the same, whose time a clock that was set moved.
    if latest.value != repeated.value || latest.quality != repeated.quality {
        return None;
    }
    if latest
        .confirmed
        .is_some_and(|held| held.at >= sign.confirmed)
    {
        return None;
    }
    latest.confirmed = Some(Confirmed {
        at: sign.confirmed,
        received,
    });
    if latest.quality.is_good() && !sign.suspect {
        latest.last_good = latest.last_good.max(Some(sign.confirmed));
    }
    state.dirty = true;
    Some(latest.clone())
}

fn is_same(a: &Latest, b: &Latest) -> bool {
    a.time == b.time && a.value == b.value && a.quality == b.quality
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
