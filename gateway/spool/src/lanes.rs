//! What each lane may take of the spool, how soon it is on disk, and what it does when it is full.
//!
//! A share is what a lane is sure of. What others leave free it may use as well, until they need it;
//! only a lane that keeps its records stays within its own share, because nothing could take the
//! borrowed space back from it.

use crate::config::SpoolConfigError;
use protocols_model::Lane;
use std::time::Duration;

/// What a lane does with a new record when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// What is there stays: new records are refused, with a claim in the loss ledger.
    Keep,
    /// The oldest records go, with a claim.
    DropOldest,
    /// The oldest stretch is rewritten with first, last, least and largest reading of each point and
    /// bucket, the bucket doubling with each pass; what goes is claimed. Records that may already have
    /// been sent are never rewritten: where they have to go, they are dropped with a claim.
    Thin,
}

impl WhenFull {
    /// The word for it in configuration and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::DropOldest => "drop-oldest",
            Self::Thin => "thin",
        }
    }

    /// What `word` means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Keep, Self::DropOldest, Self::Thin]
            .into_iter()
            .find(|full| full.as_str() == word)
    }
}

/// One lane (`[spool] lane.telemetry = { share = 75, full = "thin", commit = "2s" }`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneConfig {
    /// Percent of the spool that this lane is sure of; 0 to 100, all four together at most 100. Default
    /// 5 for alarms, 10 for events, 75 for telemetry, 10 for bulk. 0: nothing is sure.
    pub share_percent: u8,
    /// What happens when it is full. Default: alarms `keep`, telemetry `thin`, events (what happened
    /// last explains the present) and bulk `drop-oldest`. Only telemetry and bulk can be thinned.
    pub full: WhenFull,
    /// A record of this lane is on disk so long after it was appended, unless it is settled before;
    /// 10 ms to 300 s. `None`, the default: alarms at once, the others after
    /// [`crate::SpoolConfig::commit_interval`]. `max_write_per_day` may stretch it.
    pub commit: Option<Duration>,
}

/// All lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneConfigs {
    /// Alarms.
    pub alarm: LaneConfig,
    /// Events; claims of the loss ledger travel here too, in space of their own.
    pub event: LaneConfig,
    /// Readings.
    pub telemetry: LaneConfig,
    /// What can wait.
    pub bulk: LaneConfig,
}

impl Default for LaneConfigs {
    fn default() -> Self {
        let lane = |share_percent, full| LaneConfig {
            share_percent,
            full,
            commit: None,
        };
        Self {
            alarm: lane(5, WhenFull::Keep),
            event: lane(10, WhenFull::DropOldest),
            telemetry: lane(75, WhenFull::Thin),
            bulk: lane(10, WhenFull::DropOldest),
        }
    }
}

impl LaneConfigs {
    /// How `lane` behaves.
    #[must_use]
    pub const fn of(&self, lane: Lane) -> LaneConfig {
        match lane {
            Lane::Alarm => self.alarm,
            Lane::Event => self.event,
            Lane::Telemetry => self.telemetry,
            Lane::Bulk => self.bulk,
        }
    }

    /// The bytes of `budget` that `lane` is sure of.
    pub(crate) const fn share(&self, lane: Lane, budget: u64) -> u64 {
        budget / 100 * self.of(lane).share_percent as u64
    }

    /// Every rule that is broken.
    pub(crate) fn problems(&self) -> Vec<SpoolConfigError> {
        let mut problems = Vec::new();
        let percents = Lane::ALL.map(|lane| u32::from(self.of(lane).share_percent));
        let percent: u32 = percents.into_iter().sum();
        if percent > 100 {
            problems.push(SpoolConfigError::Shares { percent });
        }
        for lane in Lane::ALL {
            let config = self.of(lane);
            if config.full == WhenFull::Keep && config.share_percent == 0 {
                problems.push(SpoolConfigError::KeepsNothing { lane });
            }
            if config.full == WhenFull::Thin && !matches!(lane, Lane::Telemetry | Lane::Bulk) {
                problems.push(SpoolConfigError::NotThinnable { lane });
            }
            if let Some(commit) = config.commit.filter(|commit| *commit < SHORTEST_COMMIT) {
                problems.push(SpoolConfigError::LaneCommit { lane, commit });
            }
        }
        problems
    }
}

const SHORTEST_COMMIT: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_each_broken_rule_is_named() {
        assert_eq!(LaneConfigs::default().problems(), []);
        let mut lanes = LaneConfigs::default();
        lanes.alarm.share_percent = 0;
        lanes.event.full = WhenFull::Thin;
        lanes.bulk.share_percent = 90;
        lanes.bulk.commit = Some(Duration::ZERO);
        let expected = [
            SpoolConfigError::Shares { percent: 175 },
            SpoolConfigError::KeepsNothing { lane: Lane::Alarm },
            SpoolConfigError::NotThinnable { lane: Lane::Event },
            SpoolConfigError::LaneCommit {
                lane: Lane::Bulk,
                commit: Duration::ZERO,
            },
        ];
        assert_eq!(lanes.problems(), expected);
    }

    #[test]
    fn each_word_comes_back() {
        for full in [WhenFull::Keep, WhenFull::DropOldest, WhenFull::Thin] {
            assert_eq!(WhenFull::from_word(full.as_str()), Some(full));
        }
        assert_eq!(WhenFull::from_word("burn"), None);
    }
}
