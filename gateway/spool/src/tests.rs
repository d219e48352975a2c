//! Tests of the spool as a whole.
//!
//! `model`: random runs against a specification, and a crash at every I/O. `powercut`: the real store
//! under a write-recording shim. `damage`: one test per kind of damage. `bound`: eviction, full disks,
//! rotation. `month`, `outage`: a long outage in a small spool. `thincut`: the power goes while the real store
//! is thinned. `lanes`: shares, and what each lane does when it is full. `kill`: a real process, killed. `restored`: the cloud comes back with an older database.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "small numbers of the tests' own making"
)]
#![expect(clippy::too_many_lines, reason = "a scenario reads best in one piece")]

mod bound;
mod cost;
mod cut;
mod damage;
mod kill;
mod lanes;
mod model;
mod month;
mod outage;
mod powercut;
mod restored;
mod thincut;

use crate::config::SpoolConfig;
use crate::core::Now;
use crate::lanes::{LaneConfig, LaneConfigs, WhenFull};
use crate::record::{Cursor, FetchLimit, SpooledRecord};
use bytes::Bytes;
use protocols_model::{BootId, DictionaryHash, Instant, Quality, Timestamp, Value};
use protocols_wire::{Column, Record, RecordStamp, RecordSummary, Sample, SealedRecord, Telemetry};
use std::time::Duration;

/// Planted faults that the checks must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The spool as it is.
    None,
    /// `sync_data` is left out.
    SyncSkipped,
    /// A start goes on counting in the epoch of the last one.
    SeqReused,
    /// Records are thinned although the uplink was given them.
    ThinsWhatWasHandedOut,
    /// A thinning is not written down before its records are.
    PassUnnoted,
}

/// xorshift64*: reproducible, no dependency.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `below` - 1.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        (self.next() >> 16) % below.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A moment `millis` after the start, on both clocks.
pub(crate) fn at(millis: u64) -> Now {
    Now {
        mono: Instant(Duration::from_millis(millis)),
        wall: Timestamp::from_millis(1_700_000_000_000 + millis as i64),
    }
}

/// A record that nobody can mistake for another: `id` and bytes made from it, not compressible.
pub(crate) fn record(id: u64, len: usize) -> SealedRecord {
    let mut dice = Dice::new(id + 1);
    // 0xff is no field of any record: such a body never decodes by chance.
    let mut body = vec![0xff; 8];
    body.extend_from_slice(&id.to_le_bytes());
    while body.len() < len {
        body.extend_from_slice(&dice.next().to_le_bytes());
    }
    body.truncate(len.max(16));
    let time = Timestamp::from_millis(1_700_000_000_000 + (id % 1_000_000) as i64);
    SealedRecord {
        body: Bytes::from(body),
        summary: RecordSummary {
            readings: 1 + id % 7,
            filtered: id % 3,
            first: time,
            last: time,
        },
    }
}

/// All that `part` gives of a lane, part by part: `Core::fetch` or `Core::read`.
pub(crate) fn all_of(
    mut part: impl FnMut(Cursor, FetchLimit) -> Vec<SpooledRecord>,
) -> Vec<SpooledRecord> {
    let (mut all, mut cursor) = (Vec::new(), Cursor::START);
    let limit = FetchLimit {
        max_bytes: 1 << 20,
        max_records: 100,
    };
    loop {
        let found = part(cursor, limit);
        let Some(last) = found.last() else {
            return all;
        };
        cursor = last.cursor;
        all.extend(found);
    }
}

/// The dictionary that test readings name.
pub(crate) const HASH: DictionaryHash = DictionaryHash([5; 16]);

/// `len` readings of three points, each with a number of its own; made from `id` alone.
pub(crate) fn readings(id: u64, len: usize) -> SealedRecord {
    let mut dice = Dice::new(id + 1);
    let mut column = |index: u32| Column {
        dictionary: 0,
        index,
        filtered: u64::from(index) + id % 2,
        samples: (0..len)
            .filter(|n| n % 3 == index as usize)
            .map(|n| Sample {
                time: Timestamp::from_millis(
                    1_700_000_000_000 + (id * 60 + n as u64 / 3) as i64 * 1000,
                ),
                value: Some(Value::I64(
                    ((dice.below(1 << 20) << 40) | (id << 8) | n as u64) as i64,
                )),
                quality: Quality::Good,
            })
            .collect(),
    };
    let telemetry = Telemetry {
        dictionaries: vec![HASH],
        columns: (0..3).map(&mut column).collect(),
        unchanged: Vec::new(),
    };
    let stamp = RecordStamp {
        boot: BootId(1),
        mono: at(id * 60_000).mono,
        wall: at(id * 60_000).wall,
    };
    let mut sealed = Record::seal_telemetry(stamp, telemetry).unwrap();
    assert_eq!(sealed.len(), 1);
    sealed.remove(0)
}

/// The defaults with `quota` live bytes, nothing kept free.
pub(crate) fn config(dir: &std::path::Path, live_quota: u64) -> SpoolConfig {
    // No lane is sure of anything, none keeps and none thins: the plain order of eviction.
    let plain = LaneConfig {
        share_percent: 0,
        full: WhenFull::DropOldest,
        commit: None,
    };
    SpoolConfig {
        lanes: LaneConfigs {
            alarm: plain,
            event: plain,
            telemetry: plain,
            bulk: plain,
        },
        disk_quota_bytes: live_quota * 5 / 2,
        keep_free_bytes: 0,
        ..SpoolConfig::new(dir.to_owned())
    }
}
