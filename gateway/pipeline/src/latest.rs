//! The latest reading of every point, for people at the site.
//!
//! As it was read or computed, before filters and privacy: it is shown on this machine and goes nowhere
//! else. One place a point, overwritten; nothing is queued. Ages run on the monotonic clock, so a
//! stepped wall clock makes no reading look old or new.

use crate::core::Pipeline;
use protocols_model::{Instant, PointKey, Quality, Reading, Value};

/// Most rows that one look gives.
pub const MOST_ROWS: usize = 1000;

/// The latest reading of a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Its value, unless it is bad.
    pub value: Option<Value>,
    /// Its quality.
    pub quality: Quality,
    /// When it arrived.
    pub at: Instant,
}

impl Latest {
    pub(crate) fn of(reading: &Reading, at: Instant) -> Self {
        Self {
            value: reading.value.clone(),
            quality: reading.quality,
            at,
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Only these points; all of them when none are named.
    pub among: Option<Vec<PointKey>>,
    /// Only points whose latest reading is not good, or that have none.
    pub trouble: bool,
    /// So many fitting points are passed over.
    pub from: usize,
    /// So many rows at most; never more than [`MOST_ROWS`].
    pub most: usize,
}

/// How many points are how well, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Good.
    pub good: usize,
    /// Uncertain.
    pub uncertain: usize,
    /// Bad.
    pub bad: usize,
    /// Without any reading yet.
    pub silent: usize,
}

/// What a look shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Looked {
    /// All points.
    pub standing: Standing,
    /// Points that fit what was looked for.
    pub fitting: usize,
    /// Some of them, in the order of the keys; no reading where none came yet.
    pub rows: Vec<(PointKey, Option<Latest>)>,
}

impl Look {
    /// Looks.
    pub(crate) fn at(&self, pipeline: &Pipeline) -> Looked {
        let mut looked = Looked::default();
        for latest in pipeline.latest() {
            let standing = &mut looked.standing;
            *match latest.map(|latest| latest.quality) {
                None => &mut standing.silent,
                Some(Quality::Good) => &mut standing.good,
                Some(Quality::Uncertain(_)) => &mut standing.uncertain,
                Some(Quality::Bad(_)) => &mut standing.bad,
            } += 1;
        }
        match &self.among {
            None => {
                for (key, latest) in (0u32..).map(PointKey).zip(pipeline.latest()) {
                    self.row(key, latest, &mut looked);
                }
            }
            Some(keys) => {
                for key in keys {
                    if let Some(latest) = pipeline.latest_of(*key) {
                        self.row(*key, latest, &mut looked);
                    }
                }
            }
        }
        looked
    }

    fn row(&self, key: PointKey, latest: Option<&Latest>, looked: &mut Looked) {
        if self.trouble && latest.is_some_and(|latest| latest.quality.is_good()) {
            return;
        }
        looked.fitting += 1;
        let most = self.most.min(MOST_ROWS);
        if looked.fitting > self.from && looked.rows.len() < most {
            looked.rows.push((key, latest.cloned()));
        }
    }
}
