//! Which stored row is which read: by raw value, in order of seq within an epoch.

use crate::evidence::Run;
use crate::track::Track;
use std::collections::{BTreeMap, HashMap};

/// Which life of its gateway an epoch belongs to: place in the list of runs.
pub(crate) type EpochRuns = HashMap<(String, String), usize>;

/// What became of a track's reads.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    /// Per read: which bits are stored.
    pub stored: Vec<u32>,
    /// Per read: the first row that stored it, and whether a bad row came right before that one.
    pub after_bad: Vec<bool>,
    /// Rows that store a read a second time.
    pub duplicated: u64,
    /// Rows that no device ever answered.
    pub invented: u64,
}

/// Finds which run each epoch belongs to, by tracks whose values never repeat.
pub(crate) fn epoch_runs(tracks: &[Track], runs: &[Run]) -> EpochRuns {
    let mut votes: BTreeMap<(String, String), BTreeMap<usize, u64>> = BTreeMap::new();
    for track in tracks.iter().filter(|track| track.is_wide) {
        let by_raw: HashMap<i64, i64> = track.reads.iter().map(|read| (read.raw, read.t)).collect();
        for row in &track.rows {
            let Some(&t) = row.raw.and_then(|raw| by_raw.get(&raw)) else {
                continue;
            };
            if let Some(run) = run_at(runs, &track.gateway, t) {
                let epoch = (track.gateway.clone(), row.epoch.clone());
                *votes.entry(epoch).or_default().entry(run).or_default() += 1;
            }
        }
    }
    let most = |votes: BTreeMap<usize, u64>| votes.into_iter().max_by_key(|(_, n)| *n);
    votes
        .into_iter()
        .filter_map(|(epoch, votes)| most(votes).map(|(run, _)| (epoch, run)))
        .collect()
}

/// The life of `gateway` that was running at `t`.
pub(crate) fn run_at(runs: &[Run], gateway: &str, t: i64) -> Option<usize> {
    runs.iter()
        .position(|run| run.gateway == gateway && run.started_ns <= t && t <= run.ended_ns)
}

/// Matches the rows of a track to its reads.
pub(crate) fn match_rows(track: &Track, runs: &[Run], epochs: &EpochRuns) -> Matched {
    let mut matched = Matched {
        stored: vec![0; track.reads.len()],
        after_bad: vec![false; track.reads.len()],
        ..Matched::default()
    };
    let mut by_raw: HashMap<i64, Vec<usize>> = HashMap::new();
    for (place, read) in track.reads.iter().enumerate() {
        by_raw.entry(read.raw).or_default().push(place);
    }
    let mut epoch = String::new();
    let mut next = 0;
    let mut bad = false;
    for row in &track.rows {
        if row.epoch != epoch {
            epoch.clone_from(&row.epoch);
            next = 0;
            bad = false;
        }
        let Some(raw) = row.raw else {
            bad = true;
            continue;
        };
        let run = epochs
            .get(&(track.gateway.clone(), epoch.clone()))
            .and_then(|&run| runs.get(run));
        let candidates: Vec<usize> = candidates(track, &by_raw, raw, row.mask)
            .into_iter()
            .filter(|&place| run.is_none_or(|run| within(run, track, place)))
            .collect();
        // In order: the first read not before the last one matched.
        match candidates.iter().find(|&&place| place >= next) {
            Some(&place) => {
                if let (Some(stored), Some(after_bad)) = (
                    matched.stored.get_mut(place),
                    matched.after_bad.get_mut(place),
                ) {
                    matched.duplicated += u64::from((*stored & row.mask).count_ones());
                    *stored |= row.mask;
                    *after_bad |= bad;
                }
                // The other bits of a bank may come in the next row of the same read.
                next = if track.full_mask == 1 {
                    place + 1
                } else {
                    place
                };
            }
            None if candidates.is_empty() => matched.invented += u64::from(row.mask.count_ones()),
            None => matched.duplicated += u64::from(row.mask.count_ones()),
        }
        bad = false;
    }
    matched
}

fn candidates(track: &Track, by_raw: &HashMap<i64, Vec<usize>>, raw: i64, mask: u32) -> Vec<usize> {
    if mask == track.full_mask {
        return by_raw.get(&raw).cloned().unwrap_or_default();
    }
    // A part of a bank: every read that agrees in the bits there are.
    let agrees = |read: i64| read & i64::from(mask) == raw & i64::from(mask);
    let reads = track.reads.iter().enumerate();
    reads
        .filter(|(_, read)| agrees(read.raw))
        .map(|(place, _)| place)
        .collect()
}

fn within(run: &Run, track: &Track, place: usize) -> bool {
    track
        .reads
        .get(place)
        .is_some_and(|read| run.started_ns <= read.t && read.t <= run.ended_ns)
}
