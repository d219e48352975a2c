//! The judge's own model of a gateway's filter: what it must have done with each reading of one track.
//!
//! Where a reading is not stored and either decision would have been right, or where an answer came so
//! late that nobody knows whether it was taken, what follows decides: the model takes the decision
//! after which the readings up to the next stored one contradict it least, and then the one that leaves
//! the fewest to be explained.

use crate::awake::Awake;
use crate::evidence::Evidence;
use crate::matching::{Matched, run_at};
use crate::track::{Read, Track, may_be_late};
use tests_fieldsim::answer_log::SILENT;

/// Around a longest silence, either decision of the filter is right: the gateway measures by its
/// own clock, from its own arrival times.
const BEAT_TOLERANCE_NS: i64 = 3_000_000_000;
/// Readings that one hole is followed for; what comes later says nothing any more.
const LONGEST_HOLE: usize = 2000;

/// What the filter must have done with a reading.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    Keep,
    Either,
    Drop,
}

/// What a decision leaves to explain: first of all no contradiction, then as little missing as
/// possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Cost {
    wrong: u64,
    missing: u64,
}

impl Cost {
    const fn and_missing(self) -> Self {
        Self {
            missing: self.missing + 1,
            ..self
        }
    }
}

/// The filter of one track.
pub(super) struct Model<'a> {
    track: &'a Track,
    matched: &'a Matched,
    awake: &'a Awake,
    /// The life of the gateway that asked for each read.
    runs: Vec<Option<usize>>,
    /// When the device kept silent on purpose or may have answered too late: a change of quality passes
    /// the filter.
    quiet: Vec<i64>,
    hole: Option<Hole>,
}

impl<'a> Model<'a> {
    pub(super) fn new(
        evidence: &Evidence,
        awake: &'a Awake,
        track: &'a Track,
        matched: &'a Matched,
    ) -> Self {
        let run = |read: &Read| run_at(&evidence.runs, &track.gateway, read.t, awake);
        let quiet = evidence.answers.iter().filter(|line| {
            (line.kind == SILENT || may_be_late(line, awake))
                && line.device == track.device
                && line.gateway == track.gateway
        });
        Self {
            track,
            matched,
            awake,
            runs: track.reads.iter().map(run).collect(),
            quiet: quiet.map(|line| line.t).collect(),
            hole: None,
        }
    }

    /// The life of the gateway that asked for a read.
    pub(super) fn run(&self, place: usize) -> Option<usize> {
        self.runs.get(place).copied().flatten()
    }

    pub(super) const fn filters(&self) -> bool {
        self.track.deadband_raw > 0.0
    }

    /// What must have been done with a read, when the last one kept in this life is `kept`.
    pub(super) fn duty(&self, place: usize, kept: Option<usize>) -> Duty {
        let kept = kept.and_then(|kept| self.track.reads.get(kept));
        let (Some(read), Some(kept)) = (self.track.reads.get(place), kept) else {
            return Duty::Keep;
        };
        if !self.filters() {
            return Duty::Keep;
        }
        #[expect(clippy::cast_precision_loss, reason = "raw values stay below 2^53")]
        let excess = (read.raw - kept.raw).abs() as f64 - self.track.deadband_raw;
        if excess > 0.5 {
            return Duty::Keep;
        }
        let silence = read.t - kept.t;
        let tolerance = BEAT_TOLERANCE_NS + silence - self.awake.between(kept.t, read.t);
        let beat = self.track.beat_ns;
        let by_beat = beat > 0 && silence > beat - tolerance;
        let quiet = self.quiet_between(kept.t, read.t);
        let after_bad = self.matched.after_bad.get(place) == Some(&true);
        if excess.abs() <= 0.5 || by_beat || after_bad || quiet {
            // Where the longest silence is far behind, silence itself is the fault.
            let overdue = beat > 0 && silence > beat + 2 * tolerance && !quiet;
            return if overdue { Duty::Keep } else { Duty::Either };
        }
        Duty::Drop
    }

    fn quiet_between(&self, from: i64, to: i64) -> bool {
        let after = self.quiet.partition_point(|t| *t <= from);
        self.quiet.get(after).is_some_and(|t| *t < to)
    }

    /// Whether a reading that is not stored, and that the filter may have kept or dropped, was kept
    /// and then lost. Where both agree with what follows, it was dropped.
    pub(super) fn was_kept(&mut self, place: usize, kept: Option<usize>) -> bool {
        let (dropped, kept) = self.either(place, kept);
        kept.and_missing() < dropped
    }

    /// Whether a late answer that is not stored was taken and kept, and then lost.
    pub(super) fn was_taken(&mut self, place: usize, kept: Option<usize>) -> bool {
        let (dropped, kept) = self.either(place, kept);
        kept < dropped
    }

    /// What follows costs if the read at `place` was dropped, and if it was kept.
    fn either(&mut self, place: usize, kept: Option<usize>) -> (Cost, Cost) {
        let known = self.hole.take().filter(|hole| hole.knows(place, kept));
        let hole = known.unwrap_or_else(|| Hole::new(self, place, kept));
        let costs = (
            hole.cost(place + 1, kept),
            hole.cost(place + 1, Some(place)),
        );
        self.hole = Some(hole);
        costs
    }
}

/// The readings from one that is not stored to the next that is, in one life: what each decision on the
/// way leaves to explain.
struct Hole {
    /// First read.
    first: usize,
    /// What was kept last before it.
    before: Option<usize>,
    /// Place of the stored read that ends it, or behind its last one.
    end: usize,
    /// For each read behind the first up to the end: the cost from there on, by what was kept last:
    /// `before`, or each read of the hole so far.
    costs: Vec<Vec<Cost>>,
}

impl Hole {
    fn new(model: &Model<'_>, first: usize, before: Option<usize>) -> Self {
        let run = model.run(first);
        let is_stored = |place: usize| model.matched.stored.get(place).is_some_and(|s| *s != 0);
        let last = model.runs.len().min(first + LONGEST_HOLE);
        let end = (first + 1..last)
            .find(|&place| model.run(place) != run || is_stored(place))
            .unwrap_or(last);
        let ends_stored = end < last && model.run(end) == run;
        let mut hole = Self {
            first,
            before,
            end,
            costs: Vec::new(),
        };
        // From the end to the beginning: each step needs the one behind it.
        let mut costs: Vec<Vec<Cost>> = Vec::with_capacity(end - first);
        for place in (first + 1..=end).rev() {
            let states = std::iter::once(before).chain((first..place).map(Some));
            let behind = costs.last();
            let cost = |(state, kept): (usize, Option<usize>)| {
                let Some(behind) = behind else {
                    let wrong = ends_stored && model.duty(place, kept) == Duty::Drop;
                    return Cost {
                        wrong: u64::from(wrong),
                        missing: 0,
                    };
                };
                let dropped = behind.get(state).copied().unwrap_or_default();
                let kept_here = behind.last().copied().unwrap_or_default();
                if model.track.reads.get(place).is_some_and(|read| read.late) {
                    return dropped.min(kept_here);
                }
                match model.duty(place, kept) {
                    Duty::Drop => dropped,
                    Duty::Keep => kept_here.and_missing(),
                    Duty::Either => dropped.min(kept_here.and_missing()),
                }
            };
            let row = states.enumerate().map(cost).collect();
            costs.push(row);
        }
        costs.reverse();
        hole.costs = costs;
        hole
    }

    fn knows(&self, place: usize, kept: Option<usize>) -> bool {
        let inside = |kept: usize| (self.first..place).contains(&kept);
        (self.first..self.end).contains(&place) && (kept == self.before || kept.is_some_and(inside))
    }

    fn cost(&self, place: usize, kept: Option<usize>) -> Cost {
        let state = match kept {
            Some(kept) if kept >= self.first => kept - self.first + 1,
            _ => 0,
        };
        let row = place.checked_sub(self.first + 1);
        let row = row.and_then(|row| self.costs.get(row));
        row.and_then(|row| row.get(state))
            .copied()
            .unwrap_or_default()
    }
}
