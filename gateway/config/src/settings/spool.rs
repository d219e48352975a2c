//! `[spool]`: what is read stays here until the cloud has stored it.

use crate::key::kinds::{Durations, Inner, Parsed, Sizes, Text, Whole, Words};
use crate::key::{Key, Section};
use crate::problem::Problem;
use crate::settings::resolve;
use crate::source::Place;
use crate::units;
use crate::walk::Table;
use gateway_spool::{
    LaneConfig, LaneConfigs, MIN_DISK_QUOTA_BYTES, SpoolConfig, SpoolConfigError, WhenFull,
};
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

const LANE: Key<Inner> = Key::new(
    "lane",
    Inner(const { &[&LANES] }),
    "what each lane may take, and what it does when the spool is full",
);

const KEEP: (&str, WhenFull) = ("keep", WhenFull::Keep);
const DROP_OLDEST: (&str, WhenFull) = ("drop-oldest", WhenFull::DropOldest);
const THIN: (&str, WhenFull) = ("thin", WhenFull::Thin);
const WHOLE: Words<WhenFull> = Words(&[KEEP, DROP_OLDEST]);
const READINGS: Words<WhenFull> = Words(&[KEEP, DROP_OLDEST, THIN]);

/// The keys of one lane.
struct LaneKeys {
    share: Key<Whole>,
    full: Key<Words<WhenFull>>,
    commit: Key<Durations>,
}

const fn share(default: i64) -> Key<Whole> {
    Key::new(
        "share",
        Whole(0, 100),
        "percent of the spool it is sure of; what others leave free it may use as well",
    )
    .default(default)
}

const fn full(words: Words<WhenFull>, default: &'static str) -> Key<Words<WhenFull>> {
    Key::new(
        "full",
        words,
        "keep: refuse what is new; drop-oldest; thin: first, last, least and largest of ever longer buckets",
    )
    .default(default)
}

const fn own_commit(otherwise: &'static str) -> Key<Durations> {
    Key::new(
        "commit",
        Durations(SHORTEST, LONGEST),
        "a record of this lane is on disk so long after it was made",
    )
    .otherwise(otherwise)
}

const ALARM_KEYS: LaneKeys = LaneKeys {
    share: share(5),
    full: full(WHOLE, "keep"),
    commit: own_commit("at once"),
};
const EVENT_KEYS: LaneKeys = LaneKeys {
    share: share(10),
    full: full(WHOLE, "drop-oldest"),
    commit: own_commit("as `commit`"),
};
const TELEMETRY_KEYS: LaneKeys = LaneKeys {
    share: share(75),
    full: full(READINGS, "thin"),
    commit: own_commit("as `commit`"),
};
const BULK_KEYS: LaneKeys = LaneKeys {
    share: share(10),
    full: full(READINGS, "drop-oldest"),
    commit: own_commit("as `commit`"),
};

static ALARMS: Section =
    Section::inline(&[&ALARM_KEYS.share, &ALARM_KEYS.full, &ALARM_KEYS.commit]);
static EVENTS: Section =
    Section::inline(&[&EVENT_KEYS.share, &EVENT_KEYS.full, &EVENT_KEYS.commit]);
static TELEMETRIES: Section = Section::inline(&[
    &TELEMETRY_KEYS.share,
    &TELEMETRY_KEYS.full,
    &TELEMETRY_KEYS.commit,
]);
static BULKS: Section = Section::inline(&[&BULK_KEYS.share, &BULK_KEYS.full, &BULK_KEYS.commit]);

const ALARM: Key<Inner> = Key::new("alarm", Inner(const { &[&ALARMS] }), "alarms");
const EVENT: Key<Inner> = Key::new("event", Inner(const { &[&EVENTS] }), "events");
const TELEMETRY: Key<Inner> = Key::new("telemetry", Inner(const { &[&TELEMETRIES] }), "readings");
const BULK: Key<Inner> = Key::new("bulk", Inner(const { &[&BULKS] }), "what can wait");
static LANES: Section = Section::inline(&[&ALARM, &EVENT, &TELEMETRY, &BULK]);
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
        &LANE,
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
        let places = Places {
            quota: root.place(),
            pace: root.place(),
            lanes: root.place(),
        };
        note_bounds(&spool, &places, root);
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
    let lanes = table.table(&LANE);
    let lanes_at = lanes
        .as_ref()
        .map_or_else(|| table.place(), |lanes| lanes.place());
    if let Some(lanes) = lanes {
        spool.lanes = LaneConfigs {
            alarm: read_lane(&lanes, &ALARM, &ALARM_KEYS),
            event: read_lane(&lanes, &EVENT, &EVENT_KEYS),
            telemetry: read_lane(&lanes, &TELEMETRY, &TELEMETRY_KEYS),
            bulk: read_lane(&lanes, &BULK, &BULK_KEYS),
        };
        lanes.finish();
    }
    // A longer interval alone is meant; only a ceiling that was written can contradict it.
    spool.max_commit_interval = match &ceiling {
        Some(ceiling) => ceiling.value,
        None => COMMIT_CEILING.value(None).max(spool.commit_interval),
    };
    let quota = max.map_or_else(|| table.place(), |max| max.place);
    let pace = ceiling
        .or(commit)
        .map_or_else(|| table.place(), |found| found.place);
    let places = Places {
        quota,
        pace,
        lanes: lanes_at,
    };
    note_bounds(&spool, &places, &table);
    table.finish();
    spool
}

fn read_lane(lanes: &Table<'_>, key: &Key<Inner>, keys: &LaneKeys) -> LaneConfig {
    let found = lanes.table(key).map(|lane| {
        let found = (
            lane.get(&keys.share),
            lane.get(&keys.full),
            lane.get(&keys.commit),
        );
        lane.finish();
        found
    });
    let (share, full, commit) = found.unwrap_or_default();
    LaneConfig {
        share_percent: u8::try_from(keys.share.value(share)).unwrap_or(100),
        full: keys.full.value(full),
        commit: commit.map(|commit| commit.value),
    }
}

/// Where problems are shown.
struct Places {
    quota: Place,
    pace: Place,
    lanes: Place,
}

/// Notes what the spool's own check finds: only that knows what a full spool takes.
fn note_bounds(spool: &SpoolConfig, places: &Places, table: &Table<'_>) {
    let Places { quota, pace, lanes } = places;
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
            SpoolConfigError::Shares { .. } => Problem::error(
                lanes,
                error.to_string(),
                "shares of at most 100 in all; those that are not written have their defaults",
            ),
            SpoolConfigError::KeepsNothing { lane } => {
                let allowed = format!("{lane}.share of at least 1, or full = \"drop-oldest\"");
                Problem::error(lanes, error.to_string(), allowed)
            }
            SpoolConfigError::NotThinnable { .. } => {
                Problem::error(lanes, error.to_string(), "keep, drop-oldest")
            }
            SpoolConfigError::LaneCommit { .. } => {
                Problem::error(lanes, error.to_string(), "commit of at least 10ms")
            }
        };
        table.notes().push(problem);
    }
}
