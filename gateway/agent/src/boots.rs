//! Boots that never got a clock, placed once a later one has: the time maps of runs before this one
//! (design.md C9).
//!
//! ```text
//!   ├── right ──┤     ├─ no clock ─┤   ├─ no clock ─┤        ├── right: this one
//!              end    └────────── slack, shared out ────────┘ begin
//! ```
//! A small file in the state directory remembers the last runs: when each began by the kernel's clock,
//! how long it ran at least, and its map once it is known. When the clock of this run is right:
//! - runs under the same kernel are placed exactly: its clock went on between them;
//! - the others lie between the runs beside them whose time is known, in order, with even pauses; where
//!   only the later neighbour is known, right before it. How far off that may be is the map's uncertainty.
//!
//! Nobody but the gateway can know this, so the gateway says it; the cloud applies such a map like any
//! other, and shows times as estimated where the uncertainty is that of an estimate. Files are written at
//! the start, at the end, with a map, and once an hour. A lost or damaged file costs estimates, no start.

use crate::last_good;
use anyhow::Context;
use gateway_uplink::tls_time::build_time;
use protocols_model::{BootId, Instant, Timestamp};
use protocols_wire::TimeMap;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name in the state directory.
const FILE: &str = "boots.json";
/// Runs remembered. A spool that holds more runs without a clock than this was restarted in a loop.
const MOST: usize = 32;
/// A file of ours is smaller.
const MOST_BYTES: u64 = 64 * 1024;
/// How often it is noted how long this run has lasted: what a crash takes off an estimate at most.
const NOTE_EVERY: Duration = Duration::from_secs(3600);
/// How far clocks of one kernel drift apart between two runs, in parts of the time between.
const DRIFT: u64 = 10_000;

/// One start of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    boot: u64,
    /// Which start of the kernel.
    kernel: String,
    /// Time of the kernel's clock when this run's clock began, milliseconds.
    begun_ms: u64,
    /// How long it ran at least, milliseconds.
    ran_ms: u64,
    /// UTC of its begin, and how far off that may be, nanoseconds.
    map: Option<(i64, u64)>,
}

impl Run {
    fn end_ms(&self) -> u64 {
        self.begun_ms.saturating_add(self.ran_ms)
    }
}

/// The last runs, oldest first; the last of them is this one. Pure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Runs(Vec<Run>);

impl Runs {
    /// Adds the run that begins now.
    fn begin(mut self, run: Run) -> Self {
        self.0.push(run);
        let over = self.0.len().saturating_sub(MOST);
        self.0.drain(..over);
        self
    }

    /// This run has lasted so long.
    fn lasted(&mut self, span: Duration) {
        if let Some(current) = self.0.last_mut() {
            current.ran_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        }
    }

    /// The clock of this run is right: its map. Returns those of runs that had none; no time is
    /// before `floor`.
    fn mapped(&mut self, origin: Timestamp, uncertainty_ns: u64, floor: Timestamp) -> Vec<TimeMap> {
        let Some((current, past)) = self.0.split_last_mut() else {
            return Vec::new();
        };
        current.map = Some((origin.0, uncertainty_ns));
        let mut unknown: Vec<usize> = Vec::new();
        for (place, run) in past
            .iter_mut()
            .enumerate()
            .filter(|(_, run)| run.map.is_none())
        {
            unknown.push(place);
            if run.kernel == current.kernel && run.begun_ms <= current.begun_ms {
                let before = current.begun_ms - run.begun_ms;
                let drift = before.saturating_mul(1_000_000) / DRIFT;
                let begun = origin.minus(Duration::from_millis(before));
                run.map = Some((begun.0, uncertainty_ns.saturating_add(drift)));
            }
        }
        for stretch in stretches(&self.0) {
            stretch.place(&mut self.0, floor);
        }
        let runs = unknown.iter().filter_map(|place| self.0.get(*place));
        let map = |run: &Run| {
            let (origin, uncertainty_ns) = run.map?;
            Some(TimeMap {
                boot: BootId(run.boot),
                origin: Timestamp(origin),
                uncertainty_ns,
            })
        };
        runs.filter_map(map).collect()
    }
}

/// Runs in a row without a map, by their places; a run that has one follows.
#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    first: usize,
    behind: usize,
}

fn stretches(runs: &[Run]) -> Vec<Stretch> {
    let mut all = Vec::new();
    let mut first = None;
    for (place, run) in runs.iter().enumerate() {
        match (run.map, first) {
            (None, None) => first = Some(place),
            (Some(_), Some(begun)) => {
                all.push(Stretch {
                    first: begun,
                    behind: place,
                });
                first = None;
            }
            _ => {}
        }
    }
    all
}

/// Runs under one kernel, which lie fast beside each other: begin of the first and length, milliseconds.
struct Block {
    runs: std::ops::Range<usize>,
    begun_ms: u64,
    length_ms: u64,
}

impl Stretch {
    /// Gives each of its runs a map.
    fn place(&self, runs: &mut [Run], floor: Timestamp) {
        let Some((end, _)) = runs.get(self.behind).and_then(|run| run.map) else {
            return;
        };
        let before = self.first.checked_sub(1).and_then(|place| runs.get(place));
        let known = before.and_then(|run| {
            let (origin, _) = run.map?;
            Some(Timestamp(origin).plus(Duration::from_millis(run.ran_ms)))
        });
        let blocks = self.blocks(runs);
        let length: u64 = blocks.iter().map(|block| block.length_ms).sum();
        let length = Duration::from_millis(length);
        let begin = known.unwrap_or_else(|| floor.min(Timestamp(end)));
        let slack = Timestamp(end).minus(length).since(begin);
        let pauses = u32::try_from(blocks.len() + 1).unwrap_or(u32::MAX);
        // The later neighbour alone: as a rule it began when the last one ended.
        let pause = known.map_or(Duration::ZERO, |_| slack / pauses);
        let mut at = match known {
            Some(begin) => begin,
            None => Timestamp(end).minus(length),
        };
        for (number, block) in (1u32..).zip(&blocks) {
            at = at.plus(pause);
            let off = match known {
                Some(_) => pause.saturating_mul(number.max(pauses - number)),
                None => slack,
            };
            let off = u64::try_from(off.as_nanos()).unwrap_or(u64::MAX);
            let off = off.max(TimeMap::ESTIMATED_FROM_NS);
            for run in runs.get_mut(block.runs.clone()).into_iter().flatten() {
                let into = Duration::from_millis(run.begun_ms - block.begun_ms);
                run.map = Some((at.plus(into).0, off));
            }
            at = at.plus(Duration::from_millis(block.length_ms));
        }
    }

    fn blocks(&self, runs: &[Run]) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut kernel = None;
        for place in self.first..self.behind {
            let Some(run) = runs.get(place) else { continue };
            let same = kernel == Some(&run.kernel);
            kernel = Some(&run.kernel);
            match blocks.last_mut() {
                Some(block) if same && run.begun_ms >= block.begun_ms => {
                    block.runs.end = place + 1;
                    block.length_ms = block.length_ms.max(run.end_ms() - block.begun_ms);
                }
                _ => blocks.push(Block {
                    runs: place..place + 1,
                    begun_ms: run.begun_ms,
                    length_ms: run.ran_ms,
                }),
            }
        }
        blocks
    }
}

/// The runs with their file.
#[derive(Debug)]
pub(crate) struct Boots {
    file: PathBuf,
    runs: Runs,
    noted: Instant,
}

impl Boots {
    /// Reads the file and enters this run, whose clock shows `now`.
    pub(crate) fn begin(state_dir: &Path, boot: BootId, now: Instant) -> Self {
        let file = state_dir.join(FILE);
        let past = read(&file).unwrap_or_else(|error| {
            tracing::warn!("runs before this one are not known: {error:#}");
            Vec::new()
        });
        let kernel = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let up = clock_gettime(ClockId::Boottime);
        let seconds = Duration::from_secs(u64::try_from(up.tv_sec).unwrap_or(0));
        let up = seconds + Duration::from_nanos(u64::try_from(up.tv_nsec).unwrap_or(0));
        let begun = up.saturating_sub(now.0);
        let boots = Self {
            file,
            runs: Runs(past).begin(Run {
                boot: boot.0,
                // A kernel that does not say which it is: no two runs are taken to be of one.
                kernel: kernel.map_or_else(|_| boot.to_string(), |id| id.trim().to_owned()),
                begun_ms: u64::try_from(begun.as_millis()).unwrap_or(u64::MAX),
                ran_ms: 0,
                map: None,
            }),
            noted: now,
        };
        boots.write();
        boots
    }

    /// Notes how long this run has lasted, where it is time to.
    pub(crate) fn look(&mut self, now: Instant) {
        if now.since(self.noted) >= NOTE_EVERY {
            self.note(now);
        }
    }

    /// Notes how long this run has lasted.
    pub(crate) fn note(&mut self, now: Instant) {
        self.noted = now;
        self.runs.lasted(now.0);
        self.write();
    }

    /// The clock is right: maps of the runs that had none.
    pub(crate) fn mapped(
        &mut self,
        now: Instant,
        origin: Timestamp,
        uncertainty_ns: u64,
    ) -> Vec<TimeMap> {
        let maps = self.runs.mapped(origin, uncertainty_ns, build_time());
        self.note(now);
        maps
    }

    fn write(&self) {
        let written = serde_json::to_vec(&self.runs).map_err(std::io::Error::other);
        let written = written.and_then(|json| last_good::replace(&self.file, &json));
        if let Err(error) = written {
            tracing::warn!(%error, "this run is not noted in {}", self.file.display());
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<Run>> {
    let about = match std::fs::metadata(file) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    anyhow::ensure!(about.len() <= MOST_BYTES, "{} is too large", file.display());
    let json = std::fs::read(file)?;
    let Runs(mut runs) =
        serde_json::from_slice(&json).with_context(|| format!("{} is damaged", file.display()))?;
    let over = runs.len().saturating_sub(MOST - 1);
    runs.drain(..over);
    Ok(runs)
}

#[cfg(test)]
mod tests;
