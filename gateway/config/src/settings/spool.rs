//! `[spool]`: what is read stays here until the cloud has stored it.

use crate::key::kinds::{Durations, Parsed, Sizes, Text};
use crate::key::{Key, Section};
use crate::problem::Problem;
use crate::settings::resolve;
use crate::source::Place;
use crate::units;
use crate::walk::Table;
use gateway_spool::{MIN_DISK_QUOTA_BYTES, SpoolConfig, SpoolConfigError};
use std::path::Path;
use std::time::Duration;

const LARGEST: u64 = 1 << 40;
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(300);

const DIR: Key<Text> = Key::new("dir", Text("a path"), "where the spool is kept")
    .otherwise("`spool` in the state directory");
const MAX: Key<Sizes> = Key::new(
    "max",
    Sizes(MIN_DISK_QUOTA_BYTES, LARGEST),
    "most disk it may take; a full spool needs about a quarter of it as memory",
)
.default(64 << 20);
const KEEP_FREE: Key<Sizes> = Key::new(
    "keep_free",
    Sizes(0, LARGEST),
    "left free for others on the file system",
)
.default(32 << 20);
const MEMORY_BUFFER: Key<Sizes> = Key::new(
    "memory_buffer",
    Sizes(64 << 10, 1 << 30),
    "records that wait in memory while the disk is slow or unusable",
)
.default(8 << 20);
const QUARANTINE: Key<Sizes> = Key::new(
    "quarantine",
    Sizes(0, LARGEST),
    "refused or damaged records, kept for `spool export`",
)
.default(32 << 20);
const ROTATE_ABOVE: Key<Sizes> = Key::new(
    "rotate_above",
    Sizes(128 << 10, LARGEST),
    "an empty spool larger than this moves to a fresh directory",
)
.default(32 << 20);
const COMMIT: Key<Durations> = Key::new(
    "commit",
    Durations(SHORTEST, LONGEST),
    "a record is on disk so long after it was made, unless the cloud has it before",
)
.default(Duration::from_secs(2));
const COMMIT_CEILING: Key<Durations> = Key::new(
    "commit_ceiling",
    Durations(SHORTEST, LONGEST),
    "up to here max_write may stretch commit",
)
.default(Duration::from_secs(30));
const MAX_WRITE: Key<Parsed<u64>> = Key::new(
    "max_write",
    Parsed {
        allowed: "a size a day: \"256MiB/day\"",
        parse: |text| {
            let size = text.strip_suffix("/day").and_then(units::parse_size);
            let size = size.filter(|size| *size > 0);
            size.ok_or_else(|| "not a size a day".to_owned())
        },
    },
    "most bytes written to flash a day",
)
.otherwise("no limit");

pub(crate) static SPOOL: Section = Section::new(
    "[spool]",
    "What is read stays here until the cloud has stored it.",
    &[
        &DIR,
        &MAX,
        &KEEP_FREE,
        &MEMORY_BUFFER,
        &COMMIT,
        &COMMIT_CEILING,
        &MAX_WRITE,
        &QUARANTINE,
        &ROTATE_ABOVE,
    ],
);

/// Reads `[spool]`; `memory` is what the process may use, as far as known.
pub(crate) fn read(
    table: Option<Table<'_>>,
    root: &Table<'_>,
    base: &Path,
    state_dir: &Path,
    memory: Option<u64>,
    batch_age: Duration,
) -> SpoolConfig {
    let mut spool = SpoolConfig::new(state_dir.join("spool"));
    spool.memory_limit_bytes = memory;
    spool.batch_age = batch_age;
    let Some(table) = table else {
        note_bounds(&spool, &root.place(), &root.place(), root);
        return spool;
    };
    if let Some(dir) = table.get(&DIR) {
        spool.dir = resolve(base, &dir.value);
    }
    let max = table.get(&MAX);
    let commit = table.get(&COMMIT);
    let ceiling = table.get(&COMMIT_CEILING);
    spool.keep_free_bytes = KEEP_FREE.value(table.get(&KEEP_FREE));
    spool.memory_buffer_bytes = MEMORY_BUFFER.value(table.get(&MEMORY_BUFFER));
    spool.quarantine_bytes = QUARANTINE.value(table.get(&QUARANTINE));
    spool.rotate_above_bytes = ROTATE_ABOVE.value(table.get(&ROTATE_ABOVE));
    spool.disk_quota_bytes = MAX.value(max.clone());
    spool.max_write_per_day = table.get(&MAX_WRITE).map(|rate| rate.value);
    spool.commit_interval = COMMIT.value(commit.clone());
    // A longer interval alone is meant; only a ceiling that was written can contradict it.
    spool.max_commit_interval = match &ceiling {
        Some(ceiling) => ceiling.value,
        None => COMMIT_CEILING.value(None).max(spool.commit_interval),
    };
    let quota = max.map_or_else(|| table.place(), |max| max.place);
    let pace = ceiling
        .or(commit)
        .map_or_else(|| table.place(), |found| found.place);
    note_bounds(&spool, &quota, &pace, &table);
    table.finish();
    spool
}

/// Notes what the spool's own check finds: only that knows what a full spool takes.
fn note_bounds(spool: &SpoolConfig, quota: &Place, pace: &Place, table: &Table<'_>) {
    for error in spool.validate().err().unwrap_or_default() {
        let problem = match error {
            SpoolConfigError::QuotaExceedsMemory {
                needed,
                limit,
                allowed,
                ..
            } => {
                let message = format!(
                    "a full spool of {}MiB takes about {}MiB of memory, the limit is {}MiB",
                    spool.disk_quota_bytes >> 20,
                    needed >> 20,
                    limit >> 20
                );
                let allowed = format!(
                    "max = \"{}MiB\" or less, or more gateway.memory",
                    allowed >> 20
                );
                Problem::error(quota, message, allowed)
            }
            SpoolConfigError::QuotaTooSmall { .. } => {
                let allowed = format!("at least {}", units::show_size(MIN_DISK_QUOTA_BYTES));
                Problem::error(quota, error.to_string(), allowed)
            }
            SpoolConfigError::IntervalsCrossed { interval, max } => {
                let message = format!(
                    "commit_ceiling {} is shorter than commit {}",
                    units::show_duration(max),
                    units::show_duration(interval)
                );
                Problem::error(pace, message, "commit_ceiling of at least commit")
            }
            SpoolConfigError::NoInterval => {
                Problem::error(pace, error.to_string(), "commit of at least 10ms")
            }
        };
        table.notes().push(problem);
    }
}
