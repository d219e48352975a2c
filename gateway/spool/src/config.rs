//! What the spool is told, and the check that its bound fits the machine.

use crate::lanes::{LaneConfigs, WhenFull};
use protocols_model::Lane;
use std::path::PathBuf;
use std::time::Duration;

/// sled plateaus at 2.05 to 2.4 times its live bytes and never shrinks in place. Builds with fail
/// points hold far less live data in the same files, so that a chaos round can fill a spool in seconds.
const DISK_PER_LIVE_TENTHS: u64 = if cfg!(feature = "failpoints") {
    1600
} else {
    25
};
/// The same where a lane is thinned: records of all ages lie side by side then, sled's file does not come to
/// a halt (64 MB of disk became 112 in a simulated month), and it is moved to a fresh directory, for which
/// there must be room beside it.
const DISK_PER_THINNED_TENTHS: u64 = if cfg!(feature = "failpoints") {
    1600
} else {
    32
};
/// Memory of sled per live byte, in tenths, whatever its cache setting (measured).
const MEMORY_PER_LIVE_TENTHS: u64 = 6;
/// Memory of sled and of the spool's own thread when nothing is live.
const MEMORY_BASE_BYTES: u64 = 8 * 1024 * 1024;
/// The smallest disk quota that holds sled's own files, the reserved claim space and a few records.
pub const MIN_DISK_QUOTA_BYTES: u64 =
    if cfg!(feature = "failpoints") { 4 } else { 16 } * 1024 * 1024;

/// How the spool behaves. Every bound has a default that suits a small gateway.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// The spool's directory; made when missing. Nobody else may write there.
    pub dir: PathBuf,
    /// Most bytes of disk. The bound in live bytes is this / 2.5, where a lane is thinned / 3.2.
    pub disk_quota_bytes: u64,
    /// Bytes of the file system that stay free for others.
    pub keep_free_bytes: u64,
    /// The memory this gateway may use, if known: the quota is checked against it.
    pub memory_limit_bytes: Option<u64>,
    /// Most bytes of records that wait in memory while the disk is unusable or slow.
    pub memory_buffer_bytes: u64,
    /// A record is due for the disk so long after it was appended. At least three times the measured
    /// acknowledgement delay, so that a healthy uplink never touches the flash.
    pub commit_interval: Duration,
    /// How far `max_write_per_day` may stretch the interval.
    pub max_commit_interval: Duration,
    /// Bytes a day that the spool may write to the flash; `None` for no limit.
    pub max_write_per_day: Option<u64>,
    /// How long readings wait in a batch before they are appended; only for the loss window.
    pub batch_age: Duration,
    /// What each lane may take, how soon it is on disk, and what it does when it is full.
    pub lanes: LaneConfigs,
    /// An empty spool larger than this on disk moves to a fresh directory.
    pub rotate_above_bytes: u64,
    /// Most bytes of refused or damaged records, and of damaged stores, kept for `spool export`.
    pub quarantine_bytes: u64,
    #[cfg(test)]
    pub(crate) mutant: crate::tests::Mutant,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolConfigError {
    /// The quota cannot hold the spool's own files.
    #[error("spool quota is {found} bytes; at least {MIN_DISK_QUOTA_BYTES} are needed")]
    QuotaTooSmall {
        /// What was configured.
        found: u64,
    },
    /// A full spool would not fit the memory.
    #[error(
        "a full spool of {quota} bytes on disk takes about {needed} bytes of memory, the limit is {limit}; lower the quota to at most {allowed} bytes or raise the memory limit"
    )]
    QuotaExceedsMemory {
        /// The disk quota.
        quota: u64,
        /// Memory a full spool takes.
        needed: u64,
        /// The memory limit.
        limit: u64,
        /// The largest quota that fits.
        allowed: u64,
    },
    /// The stretched interval is shorter than the interval.
    #[error("max_commit_interval ({max:?}) is shorter than commit_interval ({interval:?})")]
    IntervalsCrossed {
        /// `commit_interval`.
        interval: Duration,
        /// `max_commit_interval`.
        max: Duration,
    },
    /// A commit interval of zero would write every record at once.
    #[error("commit_interval is zero; at least 10 ms are needed")]
    NoInterval,
    /// More is promised to the lanes than there is.
    #[error("the shares of all lanes come to {percent} percent; at most 100 can be given away")]
    Shares {
        /// Their sum.
        percent: u32,
    },
    /// A lane that keeps its records lives in its own share alone.
    #[error("lane {lane} keeps its records but has no share; it needs at least 1 percent")]
    KeepsNothing {
        /// Which one.
        lane: Lane,
    },
    /// Only readings can be thinned.
    #[error("lane {lane} holds no readings and cannot be thinned; it can keep or drop-oldest")]
    NotThinnable {
        /// Which one.
        lane: Lane,
    },
    /// A lane's own commit interval would write every record at once.
    #[error("commit of lane {lane} is {commit:?}; at least 10 ms are needed")]
    LaneCommit {
        /// Which one.
        lane: Lane,
        /// What was configured.
        commit: Duration,
    },
}

impl SpoolConfig {
    /// The defaults, in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            disk_quota_bytes: 64 * 1024 * 1024,
            keep_free_bytes: 32 * 1024 * 1024,
            memory_limit_bytes: None,
            memory_buffer_bytes: 8 * 1024 * 1024,
            commit_interval: Duration::from_secs(2),
            max_commit_interval: Duration::from_secs(30),
            max_write_per_day: None,
            batch_age: Duration::from_secs(1),
            lanes: LaneConfigs::default(),
            rotate_above_bytes: 32 * 1024 * 1024,
            quarantine_bytes: 32 * 1024 * 1024,
            #[cfg(test)]
            mutant: crate::tests::Mutant::None,
        }
    }

    /// Checks the bounds against each other. [`crate::start`] never refuses: whoever reads the
    /// configuration calls this first.
    ///
    /// # Errors
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Vec<SpoolConfigError>> {
        let mut errors = Vec::new();
        if self.disk_quota_bytes < MIN_DISK_QUOTA_BYTES {
            errors.push(SpoolConfigError::QuotaTooSmall {
                found: self.disk_quota_bytes,
            });
        }
        if let Some(limit) = self.memory_limit_bytes {
            let needed = self.memory_needed_bytes();
            if needed > limit {
                let base = MEMORY_BASE_BYTES.saturating_add(self.memory_buffer_bytes);
                let allowed = limit
                    .saturating_sub(base)
                    .saturating_mul(self.disk_per_live_tenths())
                    / MEMORY_PER_LIVE_TENTHS;
                errors.push(SpoolConfigError::QuotaExceedsMemory {
                    quota: self.disk_quota_bytes,
                    needed,
                    limit,
                    allowed,
                });
            }
        }
        if self.max_commit_interval < self.commit_interval {
            errors.push(SpoolConfigError::IntervalsCrossed {
                interval: self.commit_interval,
                max: self.max_commit_interval,
            });
        }
        if self.commit_interval < Duration::from_millis(10) {
            errors.push(SpoolConfigError::NoInterval);
        }
        errors.extend(self.lanes.problems());
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// The longest that a record of any lane may wait for the disk.
    pub(crate) fn longest_commit(&self) -> Duration {
        let own = Lane::ALL
            .into_iter()
            .filter_map(|lane| self.lanes.of(lane).commit);
        own.fold(self.max_commit_interval, Duration::max)
    }

    /// Bound of the spool in live bytes.
    #[must_use]
    pub fn live_quota_bytes(&self) -> u64 {
        self.disk_quota_bytes.saturating_mul(10) / self.disk_per_live_tenths()
    }

    /// Whether records of some lane are thinned.
    pub(crate) fn thins(&self) -> bool {
        let thins = |lane| self.lanes.of(lane).full == WhenFull::Thin;
        Lane::ALL.into_iter().any(thins)
    }

    fn disk_per_live_tenths(&self) -> u64 {
        if self.thins() {
            DISK_PER_THINNED_TENTHS
        } else {
            DISK_PER_LIVE_TENTHS
        }
    }

    /// Memory that a full spool takes, about.
    #[must_use]
    pub fn memory_needed_bytes(&self) -> u64 {
        let full = self
            .live_quota_bytes()
            .saturating_mul(MEMORY_PER_LIVE_TENTHS)
            / 10;
        full.saturating_add(MEMORY_BASE_BYTES)
            .saturating_add(self.memory_buffer_bytes)
    }
}
