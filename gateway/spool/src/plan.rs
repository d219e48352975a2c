//! How long a spool lasts: `spool plan`.
//!
//! Pure arithmetic over the configuration and what was measured: bytes a reading as sealed (say another
//! number where yours differ), bytes a reading after thinning, and what a commit costs the flash beside
//! its records. Everything here is an estimate and says so; the bounds themselves hold in any case.

use crate::config::SpoolConfig;
use crate::core::CLAIM_PART;
use crate::lanes::WhenFull;
use crate::thin::{COARSEST, bucket};
use crate::value::OVERHEAD_BYTES;
use protocols_model::Lane;
use protocols_wire::limits::MAX_RECORD_BYTES;
use std::time::Duration;

/// Bytes of a reading on disk, as 10 s batches of meters sampled once a second come out (measured with
/// the benchmark's signals).
pub const BYTES_A_READING: f64 = 1.0;
/// Bytes of a reading that thinning kept: its time is its own (measured over a simulated month).
const BYTES_A_THINNED_READING: f64 = 2.8;
/// Readings that a bucket keeps of a number: first, last, least, greatest.
const KEPT_A_BUCKET: f64 = 4.0;
/// A pass must leave less than this part of readings and bytes.
const GAINS: f64 = 0.75;
/// What a commit writes beside its records: pages of the index, the small file twice with its folder
/// (measured).
const BYTES_A_COMMIT: f64 = 24.0 * 1024.0;
/// Bytes that reach the flash for each byte of records: written once, moved once when segments are
/// cleaned, deleted, thinned.
const WRITE_FACTOR: f64 = 2.5;
/// A gateway without uplink seals its batches after so long (design.md section 5).
const OFFLINE_BATCH_S: f64 = 10.0;
const DAY_S: f64 = 86_400.0;
/// Longer than anybody asks for: estimates end here.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What is to be kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanAsk {
    /// Points.
    pub points: f64,
    /// How often each is read, seconds.
    pub every_s: f64,
    /// Bytes of a reading on disk.
    pub bytes_a_reading: f64,
}

/// How long it lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Bytes of records that the spool may hold.
    pub live_bytes: u64,
    /// Of those, what readings are sure of.
    pub telemetry_bytes: u64,
    /// Memory that a full spool takes, about.
    pub memory_bytes: u64,
    /// Readings a second.
    pub readings_per_s: f64,
    /// Bytes a day as sealed.
    pub bytes_per_day: f64,
    /// What happens when the readings' share is full.
    pub full: WhenFull,
    /// An outage so long keeps every reading.
    pub every_reading: Duration,
    /// Where readings are thinned: up to which outage the oldest are no coarser than which bucket.
    pub thinned: Vec<PlanStep>,
    /// Bytes a day that reach the flash without an uplink, at `commit_interval`.
    pub flash_per_day: f64,
    /// The commit interval, stretched as far as `max_write_per_day` asks and the ceiling allows.
    pub commit_interval: Duration,
    /// Whether `max_write_per_day` holds.
    pub within_max_write: bool,
}

/// One step of thinning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanStep {
    /// The longest bucket by then.
    pub bucket: Duration,
    /// An outage so long fits.
    pub lasts: Duration,
}

/// Why a plan cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A number that is none, or not above 0.
    #[error("{what} must be a number above 0")]
    NotPositive {
        /// Which one.
        what: &'static str,
    },
}

/// How long the readings of `ask` fit a spool of `config`.
///
/// # Errors
/// [`PlanError`] for numbers that mean nothing.
pub fn plan(config: &SpoolConfig, ask: PlanAsk) -> Result<Plan, PlanError> {
    for (what, number) in [
        ("the number of points", ask.points),
        ("the time between two readings", ask.every_s),
        ("the bytes of a reading", ask.bytes_a_reading),
    ] {
        if !number.is_finite() || number <= 0.0 {
            return Err(PlanError::NotPositive { what });
        }
    }
    let live_bytes = config.live_quota_bytes();
    let budget = live_bytes - live_bytes / CLAIM_PART;
    let lane = config.lanes.telemetry;
    let telemetry_bytes = match config.lanes.share(Lane::Telemetry, budget) {
        // Nothing is sure: what is there when nobody else needs any.
        0 => budget,
        share => share,
    };
    let room = telemetry_bytes as f64;
    let readings_per_s = ask.points / ask.every_s;
    let bytes_per_s = readings_per_s * ask.bytes_a_reading;
    // A batch of 10 s is one record, or as many as it takes; slow points make none when nothing came.
    let records_per_s =
        (bytes_per_s / MAX_RECORD_BYTES as f64).max(readings_per_s.min(1.0 / OFFLINE_BATCH_S));
    let raw_per_s = bytes_per_s + records_per_s * OVERHEAD_BYTES as f64;
    let normal = lane.commit.unwrap_or(config.commit_interval);
    let records_per_day = raw_per_s * DAY_S * WRITE_FACTOR;
    let per_day = |interval: Duration| {
        // No more commits than batches.
        let seconds = interval
            .as_secs_f64()
            .max(1.0 / records_per_s.min(1.0 / OFFLINE_BATCH_S));
        records_per_day + DAY_S / seconds * BYTES_A_COMMIT
    };
    let limit = config.max_write_per_day.map(|limit| limit as f64);
    let mut commit_interval = normal;
    if let Some(limit) = limit.filter(|limit| per_day(normal) > *limit) {
        let left = (limit - records_per_day).max(1.0);
        let needed = span(DAY_S * BYTES_A_COMMIT / left);
        commit_interval = needed.clamp(normal, config.max_commit_interval.max(normal));
    }
    let flash_per_day = per_day(commit_interval);
    Ok(Plan {
        live_bytes,
        telemetry_bytes,
        memory_bytes: config.memory_needed_bytes(),
        readings_per_s,
        bytes_per_day: raw_per_s * DAY_S,
        full: lane.full,
        every_reading: span(room / raw_per_s),
        thinned: match lane.full {
            WhenFull::Thin => steps(ask, room, raw_per_s),
            WhenFull::Keep | WhenFull::DropOldest => Vec::new(),
        },
        flash_per_day,
        commit_interval,
        within_max_write: limit.is_none_or(|limit| flash_per_day <= limit * 1.01),
    })
}

/// How long it lasts with each further doubling of the longest bucket.
fn steps(ask: PlanAsk, room: f64, raw_per_s: f64) -> Vec<PlanStep> {
    let every_reading = span(room / raw_per_s);
    // Levels come to about equal space, the readings as they were taken among them.
    let (mut seconds_per_byte, mut levels) = (1.0 / raw_per_s, 1.0);
    let mut steps: Vec<PlanStep> = Vec::new();
    for level in 1..=COARSEST {
        let seconds = bucket(level).as_secs_f64();
        let taken = seconds / ask.every_s;
        let kept = taken.min(KEPT_A_BUCKET);
        let rate = ask.points * kept * BYTES_A_THINNED_READING / seconds;
        // Where buckets hold next to nothing thinning gains nothing, and is not done.
        if kept > taken * GAINS || rate > raw_per_s * GAINS {
            continue;
        }
        seconds_per_byte += 1.0 / rate;
        levels += 1.0;
        let lasts = span(room / levels * seconds_per_byte);
        let least = steps.last().map_or(every_reading, |step| step.lasts);
        if lasts > least {
            steps.push(PlanStep {
                bucket: bucket(level),
                lasts,
            });
        }
    }
    steps
}

fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(FOREVER, |span| span.min(FOREVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn ask(points: f64) -> PlanAsk {
        PlanAsk {
            points,
            every_s: 1.0,
            bytes_a_reading: BYTES_A_READING,
        }
    }

    fn thinning() -> SpoolConfig {
        let mut config = SpoolConfig::new("/nowhere".into());
        config.lanes.telemetry.full = WhenFull::Thin;
        config
    }

    #[test]
    fn a_month_of_500_points_fits_64_mb_in_buckets_of_an_hour_or_less() {
        let plan = plan(&thinning(), ask(500.0)).unwrap();
        let hours = plan.every_reading.as_secs() / HOUR;
        assert!((6..14).contains(&hours), "{hours} h of every reading");
        let month = Duration::from_secs(30 * 24 * HOUR);
        let month = plan
            .thinned
            .iter()
            .find(|step| step.lasts >= month)
            .unwrap();
        let minutes = month.bucket.as_secs() / 60;
        assert!((8..=128).contains(&minutes), "{minutes} min: {plan:?}");
        for pair in plan.thinned.windows(2) {
            assert!(pair[0].lasts < pair[1].lasts && pair[0].bucket < pair[1].bucket);
        }
    }

    #[test]
    fn a_spool_that_drops_has_no_steps_and_slow_points_are_not_thinned_to_short_buckets() {
        let mut config = thinning();
        let slow = PlanAsk {
            every_s: 60.0,
            ..ask(10.0)
        };
        let first = plan(&config, slow).unwrap().thinned.remove(0);
        assert!(first.bucket >= Duration::from_secs(120), "{first:?}");
        config.lanes.telemetry.full = WhenFull::DropOldest;
        assert_eq!(plan(&config, ask(10.0)).unwrap().thinned, []);
    }

    #[test]
    fn max_write_stretches_the_interval_up_to_its_ceiling_and_says_when_that_is_not_enough() {
        let mut config = thinning();
        let free = plan(&config, ask(100.0)).unwrap();
        assert!(free.within_max_write);
        config.max_write_per_day = Some(150 << 20);
        let tight = plan(&config, ask(100.0)).unwrap();
        assert!(
            tight.commit_interval > free.commit_interval,
            "{free:?} {tight:?}"
        );
        assert!(tight.flash_per_day < free.flash_per_day);
        config.max_write_per_day = Some(1 << 20);
        let never = plan(&config, ask(100.0)).unwrap();
        assert!(!never.within_max_write);
        assert_eq!(never.commit_interval, config.max_commit_interval);
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused_by_name() {
        for points in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let refused = plan(&thinning(), ask(points)).unwrap_err().to_string();
            assert!(refused.contains("points"), "{refused}");
        }
        let few = plan(&thinning(), ask(1e-300)).unwrap();
        assert_eq!(few.every_reading, FOREVER);
    }
}
