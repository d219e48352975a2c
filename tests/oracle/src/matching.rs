//! Which stored row is which read: by raw value, in order of seq within an epoch.
//!
//! The bits of a bank repeat after a few polls. Their rows are placed by a neighbour: a value of the
//! same device and epoch that never repeats says how far the gateway's clock was off at that moment.

use crate::awake::Awake;
use crate::evidence::Run;
use crate::track::{Row, Track};
use std::collections::{BTreeMap, HashMap};

/// Which life of its gateway an epoch belongs to: place in the list of runs.
pub(crate) type EpochRuns = HashMap<(String, String), usize>;

/// Per gateway, device and epoch, in order of seq: seq, stored time, and what to add to that for the
/// simulator's time.
pub(crate) type Offsets = HashMap<(String, String, String), Vec<(u64, i64, i64)>>;

/// How long a request may wait in a line for its answer after the gateway that asked is gone, while
/// the machine runs.
const LAST_REQUEST_NS: i64 = 1_000_000_000;

/// How far a bank's row may be from where its neighbour puts it, while the machine runs: an answer may
/// wait for the gateway as long as the machine stands still.
const BANK_TOLERANCE_NS: i64 = 1_500_000_000;

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
pub(crate) fn epoch_runs(tracks: &[Track], runs: &[Run], awake: &Awake) -> EpochRuns {
    let mut votes: BTreeMap<(String, String), BTreeMap<usize, u64>> = BTreeMap::new();
    for track in tracks.iter().filter(|track| track.is_wide) {
        let by_raw: HashMap<i64, i64> = track.reads.iter().map(|read| (read.raw, read.t)).collect();
        for row in &track.rows {
            let Some(&t) = row.raw.and_then(|raw| by_raw.get(&raw)) else {
                continue;
            };
            if let Some(run) = run_at(runs, &track.gateway, t, awake) {
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

/// How far each gateway's clock was off, by tracks whose values never repeat.
pub(crate) fn offsets(tracks: &[Track]) -> Offsets {
    let mut offsets = Offsets::new();
    for track in tracks.iter().filter(|track| track.is_wide) {
        let by_raw: HashMap<i64, i64> = track.reads.iter().map(|read| (read.raw, read.t)).collect();
        for row in &track.rows {
            if let Some(&t) = row.raw.and_then(|raw| by_raw.get(&raw)) {
                let key = (
                    track.gateway.clone(),
                    track.device.clone(),
                    row.epoch.clone(),
                );
                offsets
                    .entry(key)
                    .or_default()
                    .push((row.seq, row.time, t - row.time));
            }
        }
    }
    offsets.values_mut().for_each(|list| list.sort_unstable());
    offsets
}

/// When the simulator may have given what is stored in `row`, as far as neighbours tell: those of the
/// same record and of the records nearest before and after it. The clock may have stepped within the
/// record, so that its own neighbours are all from the other side of the step; at the start of an epoch
/// there are none before it, and the clock may simply have been right.
fn simulator_times(track: &Track, row: &Row, offsets: &Offsets) -> Vec<i64> {
    let key = (
        track.gateway.clone(),
        track.device.clone(),
        row.epoch.clone(),
    );
    let Some(list) = offsets.get(&key) else {
        return Vec::new();
    };
    let from = list.partition_point(|(seq, ..)| *seq < row.seq);
    let to = list.partition_point(|(seq, ..)| *seq <= row.seq);
    let (before, rest) = list.split_at(from);
    let (own, after) = rest.split_at(to - from);
    let last = before.last().map(|(seq, ..)| *seq);
    let first = after.first().map(|(seq, ..)| *seq);
    let of = |seq: Option<u64>| move |entry: &&(u64, i64, i64)| Some(entry.0) == seq;
    own.iter()
        .chain(before.iter().rev().take_while(of(last)))
        .chain(after.iter().take_while(of(first)))
        .map(|(.., offset)| row.time + offset)
        .chain(std::iter::once(row.time))
        .collect()
}

/// The life of `gateway` that asked for what was answered at `t`: the one that was running, or the
/// one that had just ended: its last request may still be answered when it is gone.
pub(crate) fn run_at(runs: &[Run], gateway: &str, t: i64, awake: &Awake) -> Option<usize> {
    let ours = |run: &Run| run.gateway == gateway;
    let running = |run: &Run| ours(run) && run.started_ns <= t && t <= run.ended_ns;
    runs.iter()
        .position(running)
        .or_else(|| ended_before(runs, gateway, t, awake))
}

/// The life of `gateway` that had ended just before `t`.
pub(crate) fn ended_before(runs: &[Run], gateway: &str, t: i64, awake: &Awake) -> Option<usize> {
    runs.iter()
        .rposition(|run| run.gateway == gateway && run.ended_ns < t && asked_in_time(run, t, awake))
}

/// Whether what was answered at `t` can have been asked by a life, as far as its end goes.
fn asked_in_time(run: &Run, t: i64, awake: &Awake) -> bool {
    t <= run.ended_ns || awake.between(run.ended_ns, t) <= LAST_REQUEST_NS
}

/// Matches the rows of a track to its reads.
pub(crate) fn match_rows(
    track: &Track,
    runs: &[Run],
    epochs: &EpochRuns,
    offsets: &Offsets,
    awake: &Awake,
) -> Matched {
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
            .filter(|&place| run.is_none_or(|run| within(run, track, place, awake)))
            .collect();
        let is_bank = track.full_mask != 1;
        let told = if is_bank {
            simulator_times(track, row, offsets)
        } else {
            Vec::new()
        };
        let is_free = |&place: &usize| {
            matched
                .stored
                .get(place)
                .is_some_and(|stored| stored & row.mask == 0)
        };
        let found = if told.is_empty() {
            // In order: the first read not before the last one matched. Where the clock stepped
            // within a record its rows come in another order: then any that is not stored yet.
            let mut ahead = candidates.iter().copied().filter(|&place| place >= next);
            ahead
                .next()
                .or_else(|| candidates.iter().copied().find(is_free))
        } else {
            nearest(track, &candidates, &told, awake)
        };
        match found {
            Some(place) => {
                if let (Some(stored), Some(after_bad)) = (
                    matched.stored.get_mut(place),
                    matched.after_bad.get_mut(place),
                ) {
                    matched.duplicated += u64::from((*stored & row.mask).count_ones());
                    *stored |= row.mask;
                    *after_bad |= bad;
                }
                // The other bits of a bank may come in the next row of the same read.
                next = next.max(if is_bank { place } else { place + 1 });
            }
            None if candidates.is_empty() => matched.invented += u64::from(row.mask.count_ones()),
            None => matched.duplicated += u64::from(row.mask.count_ones()),
        }
        bad = false;
    }
    matched
}

fn nearest(track: &Track, candidates: &[usize], told: &[i64], awake: &Awake) -> Option<usize> {
    let distance = |&place: &usize| {
        let read = track.reads.get(place);
        let away = |&told: &i64| Some(awake.between(told, read?.t).unsigned_abs());
        told.iter().filter_map(away).min().unwrap_or(u64::MAX)
    };
    let found = candidates.iter().copied().min_by_key(distance)?;
    (distance(&found) <= BANK_TOLERANCE_NS.unsigned_abs()).then_some(found)
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

fn within(run: &Run, track: &Track, place: usize, awake: &Awake) -> bool {
    let read = track.reads.get(place);
    read.is_some_and(|read| run.started_ns <= read.t && asked_in_time(run, read.t, awake))
}
