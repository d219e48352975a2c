//! The verdict.

mod filter;

use crate::awake::Awake;
use crate::evidence::{Ending, Evidence, LedgerRow, Run};
use crate::matching::{EpochRuns, Matched, ended_before, epoch_runs, match_rows, offsets};
use crate::track::{self, Track};
use filter::{Duty, Model};
use std::collections::HashMap;
use std::fmt;

/// Most sentences of explanation a verdict carries.
const MAX_NOTES: usize = 40;
/// What became of all readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Readings that devices answered, and that the gateway had to take or took.
    pub read: u64,
    /// Answered too late, or sent unasked while nobody may have listened, and not taken.
    pub late: u64,
    /// Points of devices that send by themselves of whose values not even half was taken; without a filter.
    pub deaf: u64,
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
             invented={} misfiltered={} late={} deaf={}",
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
            self.late,
            self.deaf,
        )
    }
}

/// Judges the evidence.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    let awake = Awake::new(&evidence.pauses);
    let tracks = track::build(evidence, &awake);
    let epochs = epoch_runs(&tracks, &evidence.runs, &awake);
    let offsets = offsets(&tracks);
    let mut verdict = Verdict::default();
    let mut budget = LedgerBudget::new(&evidence.ledger);
    for track in &tracks {
        let matched = match_rows(track, &evidence.runs, &epochs, &offsets, &awake);
        verdict.points += u64::from(track.full_mask.count_ones());
        if track.deadband_raw > 0.0 {
            verdict.filtering_points += 1;
        }
        let taken = matched.stored.iter().filter(|stored| **stored != 0).count();
        let filters = track.deadband_raw > 0.0;
        if track.is_unasked && !filters && taken * 2 < track.reads.len() {
            verdict.deaf += 1;
            verdict.note(|| {
                let (device, name, sent) = (&track.device, &track.name, track.reads.len());
                format!(
                    "{}/{device}/{name}: {taken} of {sent} values sent unasked were taken",
                    track.gateway
                )
            });
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
            awake: &awake,
            track,
            matched: &matched,
            epochs: &epochs,
        };
        let mut model = Model::new(evidence, &awake, track, &matched);
        bench.judge(&mut model, &mut verdict, &mut budget);
    }
    verdict
}

/// One track before the judge.
struct Bench<'a> {
    evidence: &'a Evidence,
    awake: &'a Awake,
    track: &'a Track,
    matched: &'a Matched,
    epochs: &'a EpochRuns,
}

impl Bench<'_> {
    fn judge(&self, model: &mut Model<'_>, verdict: &mut Verdict, budget: &mut LedgerBudget) {
        let width = u64::from(self.track.full_mask.count_ones());
        let (mut life, mut kept) = (None, None);
        let reads = self.track.reads.iter().zip(&self.matched.stored);
        for (place, (read, &stored)) in reads.enumerate() {
            let run = model.run(place);
            if run != life {
                (life, kept) = (run, None);
            }
            if read.late && stored == 0 {
                verdict.late += width;
                if model.filters() && model.was_taken(place, kept) {
                    kept = Some(place);
                }
                continue;
            }
            let duty = model.duty(place, kept);
            let held = u64::from(stored.count_ones());
            verdict.read += width;
            verdict.stored += held;
            if held > 0 && duty == Duty::Drop {
                verdict.misfiltered += 1;
                verdict.note(|| self.sentence(read.raw, read.t, "should have been filtered"));
                // The model goes on as the rule says, or one fault would be counted many times.
                continue;
            }
            let dropped = held == 0
                && match duty {
                    Duty::Keep => false,
                    Duty::Drop => true,
                    Duty::Either => !model.was_kept(place, kept),
                };
            if dropped {
                verdict.filtered += width;
                continue;
            }
            kept = Some(place);
            for _ in 0..width - held {
                self.explain(place, run, verdict, budget);
            }
        }
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
        ended_before(&self.evidence.runs, &self.track.gateway, read.t, self.awake)
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
                    let age = self.awake.between(read.t, life.ended_ns);
                    age <= self.evidence.loss_window_ns && !later_stored()
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
