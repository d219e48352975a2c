//! Which time a sample gets (design.md C8, C9). Pure; decided anew whenever it is asked, so that
//! record rows and blocks can never disagree.
//!
//! A time map (boot → UTC) shifts every sample of the boot's records, where the shift is more than
//! noise. What then lies outside [received − retention, received + 24 h] is suspect: it is kept,
//! counted and exported, but no chart shows it.

use protocols_model::Timestamp;
use protocols_wire::{RecordStamp, TimeMap};
use std::time::Duration;

/// Stamps may be ahead of the cloud's clock by so much.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Clock offsets are rounded to this, so that records of one clock setting share blocks.
const OFFSET_GRAIN_NS: i64 = 50_000_000;

/// A shift below this, or below the map's uncertainty, is noise and not applied.
const MIN_SHIFT_NS: u64 = 500_000_000;

/// Wall clock minus monotonic clock of the gateway when it sealed the record, nanoseconds, rounded.
/// One number as long as nobody steps the clock.
pub(crate) fn clock_offset(stamp: &RecordStamp) -> i64 {
    let mono = i64::try_from(stamp.mono.0.as_nanos()).unwrap_or(i64::MAX);
    let exact = stamp.wall.0.saturating_sub(mono);
    exact
        .saturating_add(OFFSET_GRAIN_NS / 2)
        .div_euclid(OFFSET_GRAIN_NS)
        .saturating_mul(OFFSET_GRAIN_NS)
}

/// What to add to the samples of a record with `offset`, nanoseconds.
pub(crate) fn shift(map: Option<&TimeMap>, offset: i64) -> i64 {
    map.map_or(0, |map| {
        let shift = map.origin.0.saturating_sub(offset);
        if shift.unsigned_abs() < map.uncertainty_ns.max(MIN_SHIFT_NS) {
            0
        } else {
            shift
        }
    })
}

/// The time after correction.
pub(crate) const fn corrected(time: Timestamp, shift: i64) -> Timestamp {
    Timestamp(time.0.saturating_add(shift))
}

/// Whether a corrected time cannot be right.
pub(crate) fn is_suspect(time: Timestamp, received: Timestamp, retention: Duration) -> bool {
    time < received.minus(retention) || time > received.plus(AHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::{BootId, Instant};

    fn stamp(wall_ms: i64, mono_ms: u64) -> RecordStamp {
        RecordStamp {
            boot: BootId(1),
            mono: Instant(Duration::from_millis(mono_ms)),
            wall: Timestamp::from_millis(wall_ms),
        }
    }

    #[test]
    fn a_board_that_booted_in_1970_is_brought_to_today() {
        let offset = clock_offset(&stamp(5_000, 5_000));
        let origin = Timestamp::from_millis(1_700_000_000_000);
        let map = TimeMap {
            boot: BootId(1),
            origin,
            uncertainty_ns: 1_000,
        };
        let shift = shift(Some(&map), offset);
        let sample = Timestamp::from_millis(4_000);
        assert_eq!(
            corrected(sample, shift),
            Timestamp::from_millis(1_700_000_004_000)
        );
        let day = Duration::from_secs(86_400);
        assert!(is_suspect(sample, origin, day));
        assert!(!is_suspect(corrected(sample, shift), origin, day));
    }

    #[test]
    fn jitter_between_two_clock_reads_moves_nothing() {
        let map = TimeMap {
            boot: BootId(1),
            origin: Timestamp(0),
            uncertainty_ns: 0,
        };
        assert_eq!(shift(Some(&map), clock_offset(&stamp(1_003, 1_000))), 0);
        assert_eq!(shift(Some(&map), clock_offset(&stamp(1_400, 1_000))), 0);
        assert_ne!(shift(Some(&map), clock_offset(&stamp(3_000, 1_000))), 0);
    }
}
