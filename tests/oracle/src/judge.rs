//! The verdict.

use crate::evidence::{Ending, Evidence, LedgerRow, Run};
use crate::matching::{EpochRuns, Matched, ended_before, epoch_runs, match_rows, offsets, run_at};
use crate::track::{self, Track};
use std::collections::HashMap;
use std::fmt;

/// Most sentences of explanation a verdict carries.
const MAX_NOTES: usize = 40;
/// Around a longest silence, either decision of the filter is right: the gateway measures by its
/// own clock, from its own arrival times.
const BEAT_TOLERANCE_NS: i64 = 3_000_000_000;

/// What became of all readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Readings that devices answered.
    pub read: u64,
    /// Found in the database.
    pub stored: u64,
    /// Filtered by rule, recomputed.
    pub filtered: u64,
    /// Missing, and named by the ledger for another reason than a crash.
    pub ledger: u64,
    /// Missing, and the tail of a crash that the ledger names.
    pub crash_tail: u64,
    /// Missing, and named by nobody.
    pub lost: u64,
    /// Stored more than once.
    pub duplicated: u64,
    /// Stored although no device answered so.
    pub invented: u64,
    /// Stored although the filter should have dropped it.
    pub misfiltered: u64,
    /// Points judged.
    pub points: u64,
    /// Points with a filter.
    pub filtering_points: u64,
    /// What went wrong, for people; at most some tens of sentences.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Whether promise P1 held.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.invented == 0
            && self.misfiltered == 0
            && self.read == self.stored + self.filtered + self.ledger + self.crash_tail
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(text());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "points={} read={} filtered={} stored={} ledger={} crash_tail={} lost={} duplicated={} \
             invented={} misfiltered={}",
            self.points,
            self.read,
            self.filtered,
            self.stored,
            self.ledger,
            self.crash_tail,
            self.lost,
            self.duplicated,
            self.invented,
            self.misfiltered,
        )
    }
}

/// Judges the evidence.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    let tracks = track::build(evidence);
    let epochs = epoch_runs(&tracks, &evidence.runs);
    let offsets = offsets(&tracks);
    let mut verdict = Verdict::default();
    let mut budget = LedgerBudget::new(&evidence.ledger);
    for track in &tracks {
        let matched = match_rows(track, &evidence.runs, &epochs, &offsets);
        verdict.points += u64::from(track.full_mask.count_ones());
        if track.deadband_raw > 0.0 {
            verdict.filtering_points += 1;
        }
        verdict.duplicated += matched.duplicated;
        verdict.invented += matched.invented;
        if matched.duplicated + matched.invented > 0 {
            verdict.note(|| {
                format!(
                    "{}/{}/{}: {} stored twice, {} never answered by a device",
                    track.gateway, track.device, track.name, matched.duplicated, matched.invented
                )
            });
        }
        let bench = Bench {
            evidence,
            track,
            matched: &matched,
            epochs: &epochs,
        };
        bench.judge(&mut verdict, &mut budget);
    }
    verdict
}

/// One track before the judge.
struct Bench<'a> {
    evidence: &'a Evidence,
    track: &'a Track,
    matched: &'a Matched,
    epochs: &'a EpochRuns,
}

/// What the filter must have done with a reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    Keep,
    Either,
    Drop,
}

/// How many undecided readings of one hole are followed both ways.
const HOLE_DEPTH: u32 = 4;

/// What one reading of a hole means for what follows: first of all no contradiction, then as little
/// missing as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Hole {
    wrong: u64,
    missing: u64,
}

/// The model's copy of the gateway's filter state, within one life of the gateway.
struct Filter {
    run: Option<usize>,
    /// Raw value and time of the last reading that was kept.
    kept: Option<(i64, i64)>,
}

impl Bench<'_> {
    fn judge(&self, verdict: &mut Verdict, budget: &mut LedgerBudget) {
        let mut filter = Filter {
            run: None,
            kept: None,
        };
        for place in 0..self.track.reads.len() {
            let (Some(read), Some(&stored), Some(&after_bad)) = (
                self.track.reads.get(place),
                self.matched.stored.get(place),
                self.matched.after_bad.get(place),
            ) else {
                continue;
            };
            let run = run_at(&self.evidence.runs, &self.track.gateway, read.t);
            if run != filter.run {
                filter = Filter { run, kept: None };
            }
            let duty = self.duty(&filter, read.t, read.raw, after_bad);
            let width = u64::from(self.track.full_mask.count_ones());
            let held = u64::from(stored.count_ones());
            verdict.read += width;
            verdict.stored += held;
            if held > 0 && duty == Duty::Drop {
                verdict.misfiltered += 1;
                verdict.note(|| self.sentence(read.raw, read.t, "should have been filtered"));
                // The model goes on as the rule says, or one fault would be counted many times.
                continue;
            }
            let dropped = match duty {
                Duty::Keep => false,
                Duty::Drop => true,
                Duty::Either => !self.was_kept(place, &filter, read.raw, read.t),
            };
            if held == 0 && dropped {
                verdict.filtered += width;
                continue;
            }
            filter.kept = Some((read.raw, read.t));
            for _ in 0..width - held {
                self.explain(place, run, verdict, budget);
            }
        }
    }

    /// Whether a reading that is not stored, and that the filter may have kept or dropped, was kept
    /// and then lost: the one of the two that what follows agrees with. Where both do, it was dropped.
    fn was_kept(&self, place: usize, filter: &Filter, raw: i64, t: i64) -> bool {
        let dropped = self.hole(place + 1, filter, HOLE_DEPTH);
        let after = Filter {
            run: filter.run,
            kept: Some((raw, t)),
        };
        let kept = self.hole(place + 1, &after, HOLE_DEPTH);
        (kept.wrong, kept.missing + 1) < (dropped.wrong, dropped.missing)
    }

    /// What the model would have to explain from `place` to the next stored reading of this life.
    fn hole(&self, place: usize, before: &Filter, depth: u32) -> Hole {
        let mut hole = Hole::default();
        let mut filter = Filter {
            run: before.run,
            kept: before.kept,
        };
        let reads = self
            .track
            .reads
            .iter()
            .zip(&self.matched.stored)
            .zip(&self.matched.after_bad);
        for (place, ((read, stored), after_bad)) in reads.enumerate().skip(place) {
            if run_at(&self.evidence.runs, &self.track.gateway, read.t) != filter.run {
                break;
            }
            let duty = self.duty(&filter, read.t, read.raw, *after_bad);
            if *stored != 0 {
                hole.wrong += u64::from(duty == Duty::Drop);
                break;
            }
            let after = Filter {
                run: filter.run,
                kept: Some((read.raw, read.t)),
            };
            match duty {
                Duty::Drop => {}
                Duty::Keep => {
                    hole.missing += 1;
                    filter = after;
                }
                Duty::Either if depth > 0 => {
                    let dropped = self.hole(place + 1, &filter, depth - 1);
                    let mut kept = self.hole(place + 1, &after, depth - 1);
                    kept.missing += 1;
                    let rest = dropped.min(kept);
                    return Hole {
                        wrong: hole.wrong + rest.wrong,
                        missing: hole.missing + rest.missing,
                    };
                }
                Duty::Either => {}
            }
        }
        hole
    }

    fn duty(&self, filter: &Filter, t: i64, raw: i64, after_bad: bool) -> Duty {
        let Some((kept_raw, kept_t)) = filter.kept else {
            return Duty::Keep;
        };
        if self.track.deadband_raw <= 0.0 {
            return Duty::Keep;
        }
        #[expect(clippy::cast_precision_loss, reason = "raw values stay below 2^53")]
        let excess = (raw - kept_raw).abs() as f64 - self.track.deadband_raw;
        if excess > 0.5 {
            return Duty::Keep;
        }
        let silence = t - kept_t;
        let by_beat = self.track.beat_ns > 0 && silence > self.track.beat_ns - BEAT_TOLERANCE_NS;
        if excess.abs() <= 0.5 || by_beat || after_bad || self.quiet_between(kept_t, t) {
            // Where the longest silence is far behind, silence itself is the fault.
            let overdue = self.track.beat_ns > 0
                && silence > self.track.beat_ns + 2 * BEAT_TOLERANCE_NS
                && !self.quiet_between(kept_t, t);
            return if overdue { Duty::Keep } else { Duty::Either };
        }
        Duty::Drop
    }

    /// Whether the device kept silent on purpose in between: a change of quality passes the filter.
    fn quiet_between(&self, from: i64, to: i64) -> bool {
        let after = self.evidence.answers.partition_point(|line| line.t <= from);
        let lines = self.evidence.answers.get(after..).unwrap_or_default();
        lines.iter().take_while(|line| line.t < to).any(|line| {
            line.kind == "silent"
                && line.device == self.track.device
                && line.gateway == self.track.gateway
        })
    }

    fn explain(
        &self,
        place: usize,
        run: Option<usize>,
        verdict: &mut Verdict,
        budget: &mut LedgerBudget,
    ) {
        let tail_of = |run: Option<usize>| {
            let life = run.and_then(|run| self.evidence.runs.get(run));
            life.is_some_and(|life| self.is_crash_tail(place, run, life))
        };
        if tail_of(run) {
            verdict.crash_tail += 1;
        } else if budget.take(self.track, run, self.epochs) {
            verdict.ledger += 1;
        } else if tail_of(self.asked_before(place)) {
            verdict.crash_tail += 1;
        } else {
            verdict.lost += 1;
            if let Some(read) = self.track.reads.get(place) {
                verdict.note(|| self.sentence(read.raw, read.t, "is lost"));
            }
        }
    }

    /// The life that had ended just before an answer: where the gateway came back at once, it may
    /// have been the one that asked.
    fn asked_before(&self, place: usize) -> Option<usize> {
        let read = self.track.reads.get(place)?;
        ended_before(&self.evidence.runs, &self.track.gateway, read.t)
    }

    /// The tail of a kill: nothing of this life is stored after it, it was answered within the loss
    /// window before the end, and the ledger names the crash of that epoch. Where the spool was
    /// damaged on top, the entry alone must do.
    fn is_crash_tail(&self, place: usize, run: Option<usize>, life: &Run) -> bool {
        let Some(read) = self.track.reads.get(place) else {
            return false;
        };
        let named = self.evidence.ledger.iter().any(|entry| {
            entry.reason == "crash-tail"
                && entry.gateway == self.track.gateway
                && of_run(self.epochs, entry, run)
        });
        let later_stored = || {
            let reads = self
                .track
                .reads
                .iter()
                .zip(&self.matched.stored)
                .skip(place + 1);
            reads
                .take_while(|(later, _)| later.t <= life.ended_ns)
                .any(|(_, stored)| *stored != 0)
        };
        named
            && match life.ending {
                Ending::Clean => false,
                Ending::Damaged => true,
                Ending::Killed => {
                    read.t >= life.ended_ns - self.evidence.loss_window_ns && !later_stored()
                }
            }
    }

    fn sentence(&self, raw: i64, t: i64, what: &str) -> String {
        let Track {
            gateway,
            device,
            name,
            ..
        } = self.track;
        format!("{gateway}/{device}/{name}: raw {raw} answered at {t} {what}")
    }
}

/// Whether an entry speaks of an epoch of this life; one of an epoch from which nothing at all is
/// stored could be of any.
fn of_run(epochs: &EpochRuns, entry: &LedgerRow, run: Option<usize>) -> bool {
    let epoch = (entry.gateway.clone(), entry.epoch.clone());
    epochs.get(&epoch).is_none_or(|&of| Some(of) == run)
}

/// Readings left by device and point.
type PointBudget = HashMap<(String, String), u64>;

/// How many readings of each point the ledger still answers for, epoch by epoch, crash tails apart.
struct LedgerBudget<'a> {
    entries: Vec<(&'a LedgerRow, PointBudget)>,
}

impl<'a> LedgerBudget<'a> {
    fn new(ledger: &'a [LedgerRow]) -> Self {
        let exact = |entry: &'a LedgerRow| {
            let points = entry.points.iter();
            points
                .map(|point| ((point.device.clone(), point.point.clone()), point.readings))
                .collect()
        };
        let entries = ledger.iter().filter(|entry| entry.reason != "crash-tail");
        Self {
            entries: entries.map(|entry| (entry, exact(entry))).collect(),
        }
    }

    /// Takes one reading from an entry of this life: from one that counts, else from one that
    /// cannot count (a damaged or quarantined spool, claims that were joined).
    fn take(&mut self, track: &Track, run: Option<usize>, epochs: &EpochRuns) -> bool {
        let ours = |entry: &LedgerRow| entry.gateway == track.gateway && of_run(epochs, entry, run);
        for (entry, exact) in &mut self.entries {
            if !ours(entry) {
                continue;
            }
            for point in &track.points {
                let left = exact.get_mut(&(track.device.clone(), point.clone()));
                if let Some(left) = left.filter(|left| **left > 0) {
                    *left -= 1;
                    return true;
                }
            }
        }
        self.entries
            .iter()
            .any(|(entry, _)| entry.readings.is_none() && ours(entry))
    }
}

#[cfg(test)]
mod tests;
