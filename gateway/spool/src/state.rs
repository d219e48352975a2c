//! What the spool tells about itself: hello, `/metrics`, `status` and the uplink read this.
//!
//! Published as a whole through a `watch` channel after every change; never a place where loss is
//! decided.

use crate::lanes::WhenFull;
use protocols_model::{DictionaryHash, Epoch, Lane, Seq, SeqSet};
use protocols_wire::Held;
use std::collections::BTreeSet;
use std::time::Duration;

/// A snapshot of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolState {
    /// The epoch that new records get.
    pub epoch: Epoch,
    /// Per epoch and lane the lowest unsettled and the highest appended seq, oldest epoch first;
    /// open but empty epochs are listed too, with `first` 0. What is no longer listed is closed.
    pub held: Vec<Held>,
    /// The disk could not be read since the start: epochs of before may be missing in `held`.
    pub unread: bool,
    /// Dictionaries that held records use.
    pub dictionaries: Vec<DictionaryHash>,
    /// Highest seq appended in the current epoch, by lane number.
    pub last: [Seq; 4],
    /// Of the running epoch, by lane number: seqs between the first and the last one held that are held
    /// no more. They were settled, or they are claimed (thinned, evicted, damaged): then the cloud settles
    /// them although they were never sent.
    pub gone: [SeqSet; 4],
    /// Bytes of all held records, on disk or in memory.
    pub live_bytes: u64,
    /// Bound of `live_bytes`.
    pub quota_bytes: u64,
    /// Records held.
    pub records: u64,
    /// Bytes of records that are only in memory.
    pub memory_bytes: u64,
    /// How long a record waits for the disk now: longer than configured while `max_write_per_day`
    /// stretches it.
    pub commit_interval: Duration,
    /// Each lane's share, by lane number.
    pub lanes: [LaneUse; 4],
    /// Longest span of readings that a crash would take along now: batch age + commit interval.
    pub loss_window: Duration,
    /// Why the disk cannot be used, while it cannot.
    pub disk_trouble: Option<String>,
    /// What is wrong now.
    pub alarms: BTreeSet<SpoolAlarm>,
    /// What happened since the process started.
    pub counters: SpoolCounters,
}

/// What a lane takes of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneUse {
    /// Bytes of its records, claims apart.
    pub bytes: u64,
    /// Bytes that it is sure of.
    pub share_bytes: u64,
    /// What happens when it is full.
    pub full: WhenFull,
    /// The longest bucket that held readings were thinned to; `None` while none were.
    pub thinned_to: Option<Duration>,
}

impl SpoolState {
    /// Highest seq appended in the current epoch of `lane`; 0 before the first.
    #[must_use]
    pub fn last_seq(&self, lane: Lane) -> Seq {
        self.last
            .get(usize::from(lane.to_index()))
            .copied()
            .unwrap_or(0)
    }
}

/// What is wrong with the spool now; gone when it is right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpoolAlarm {
    /// The disk takes no writes: records live in memory only and a crash takes them along.
    DiskUnusable,
    /// The bound is reached: the oldest records are given up.
    AtBound,
    /// The file system has less free space than must stay free; the spool does not grow.
    DiskShort,
    /// The commit interval is stretched to hold `max_write_per_day`.
    Stretched,
    /// Claims alone fill the space reserved for them; they are merged more coarsely.
    ClaimsFull,
    /// The bound is reached: the oldest readings are thinned.
    Thinning,
    /// A lane that keeps its records is full: new ones are refused and claimed.
    Refusing,
    /// Even the longest commit interval writes more than `max_write_per_day`.
    WriteLimit,
}

impl SpoolAlarm {
    /// The alarm's name in the API and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DiskUnusable => "disk-unusable",
            Self::AtBound => "at-bound",
            Self::DiskShort => "disk-short",
            Self::Stretched => "stretched",
            Self::ClaimsFull => "claims-full",
            Self::Thinning => "thinning",
            Self::Refusing => "refusing",
            Self::WriteLimit => "write-limit",
        }
    }
}

/// What happened since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolCounters {
    /// Records appended, claims of our own included.
    pub appended: u64,
    /// Records that left as stored.
    pub settled: u64,
    /// Of those, records that never touched the disk.
    pub settled_in_memory: u64,
    /// Records refused by the cloud.
    pub refused: u64,
    /// Seqs settled that were never appended.
    pub unknown_settled: u64,
    /// Records that became thinner ones.
    pub thinned_records: u64,
    /// Readings that went with that.
    pub thinned_readings: u64,
    /// Records evicted, or refused by a full lane that keeps what it has.
    pub evicted_records: u64,
    /// Kept readings in evicted records.
    pub evicted_readings: u64,
    /// Records that no longer matched their checksum, or that a store lost.
    pub damaged_records: u64,
    /// Stores set aside.
    pub quarantined_stores: u64,
    /// Claims appended.
    pub claims: u64,
    /// Commits to disk.
    pub commits: u64,
    /// Bytes of values handed to the store.
    pub committed_bytes: u64,
    /// Bytes that this process wrote to disk during commits, as far as the system tells.
    pub flash_bytes: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Fresh directories taken because the spool was empty and large.
    pub rotations: u64,
    /// Moves to a fresh directory because the store had grown far beyond what it holds.
    pub compactions: u64,
}
