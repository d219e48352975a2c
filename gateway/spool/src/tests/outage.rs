//! Some days without the cloud, second by second: what is left, and what the ledger says of the rest.
//!
//! Time is simulated and the medium is the model; encoding, thinning, accounting and the index are the
//! real ones. The readings are closed forms of point and second, so that the true first, last, least and
//! greatest of every bucket can be computed anew when judging what is held in the end. The whole month
//! on the real store is in `month`.

use super::cut::{Cut, CutStore};
use super::{HASH, all_of, config};
use crate::core::{Core, Now};
use crate::lanes::{LaneConfigs, WhenFull};
use crate::mem_store::{Medium, MemStore};
use crate::thin::bucket;
use protocols_model::{BootId, Claim, Epoch, Instant, Lane, LossReason, Quality, Timestamp, Value};
use protocols_wire::{Body, Column, Record, RecordStamp, Sample, SealedRecord, Telemetry};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An offline gateway seals a batch every so many seconds.
const BATCH: u64 = 10;
/// The first second; a whole number of four minutes.
pub(super) const START_S: i64 = 1_700_000_160;

/// What a point reads in a second: slow movement, small steps, now and then a spike.
fn value(point: u32, second: u64) -> i64 {
    let slow = ((second / 7 + u64::from(point) * 37) % 600) as i64;
    let tooth = if slow < 300 { slow } else { 600 - slow };
    let mut mixed = second.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(point) << 20);
    mixed ^= mixed >> 29;
    mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let step = ((mixed >> 40) % 3) as i64 - 1;
    let spike = if (mixed >> 8).is_multiple_of(20_011) {
        5_000
    } else {
        0
    };
    i64::from(point) * 100 + tooth + step + spike
}

pub(super) fn now(second: u64) -> Now {
    Now {
        mono: Instant(Duration::from_secs(second)),
        wall: Timestamp::from_millis((START_S + second as i64) * 1000),
    }
}

/// The readings of [`BATCH`] seconds up to `second`, as a gateway seals them.
fn batch(points: u32, second: u64) -> Vec<SealedRecord> {
    let column = |index| Column {
        dictionary: 0,
        index,
        filtered: 1,
        samples: (second - BATCH..second)
            .map(|s| Sample {
                time: now(s).wall,
                value: Some(Value::I64(value(index, s))),
                quality: Quality::Good,
            })
            .collect(),
    };
    let telemetry = Telemetry {
        dictionaries: vec![HASH],
        columns: (0..points).map(column).collect(),
        unchanged: Vec::new(),
    };
    let Now { mono, wall } = now(second);
    let stamp = RecordStamp {
        boot: BootId(1),
        mono,
        wall,
    };
    Record::seal_telemetry(stamp, telemetry).unwrap()
}

struct Outage {
    points: u32,
    seconds: u64,
    /// Disk quota.
    quota: u64,
    /// The power goes at this many moments, each in the middle of a thinning where one is under way.
    cuts: u64,
}

/// What a spool holds in the end, and what its claims say.
#[derive(Default)]
pub(super) struct Left {
    /// Per point, by time: second, value.
    held: BTreeMap<u32, Vec<(u32, i32)>>,
    filtered: BTreeMap<u32, u64>,
    lost: BTreeMap<u32, u64>,
    lost_filtered: BTreeMap<u32, u64>,
    unknown: Vec<Claim>,
}

/// A reading: second, value.
pub(super) type Reading = (u64, i64);

impl Outage {
    fn open(
        &self,
        medium: &Arc<Mutex<Medium>>,
        power: &Arc<Mutex<Cut>>,
        epoch: u64,
        second: u64,
    ) -> Core {
        let store = Box::new(CutStore {
            inner: MemStore(Arc::clone(medium)),
            cut: Arc::clone(power),
            at_cut: Box::new(|| ()),
        });
        let mut config = config(Path::new("/nowhere"), self.quota / 5 * 2);
        config.lanes = LaneConfigs::default();
        config.lanes.telemetry.full = WhenFull::Thin;
        // One commit for each batch: the run is about thinning, not about commits.
        config.commit_interval = Duration::from_secs(BATCH);
        config.batch_age = Duration::from_secs(BATCH);
        let epoch = Epoch(epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Core::start(config, BootId(1), store, epoch, now(second)).0
    }

    fn run(&self) -> (Left, Duration) {
        let medium = Arc::new(Mutex::new(Medium::default()));
        let mut power = Arc::default();
        let mut core = self.open(&medium, &power, 1, 0);
        let (mut epoch, mut cut, mut passes) = (1, 0, 0);
        let mut coarsest = Duration::ZERO;
        let mut raw_bytes = 0;
        let started = std::time::Instant::now();
        for second in (BATCH..=self.seconds).step_by(BATCH as usize) {
            let next = (cut + 1) * self.seconds / (self.cuts + 1);
            if cut < self.cuts && second >= next {
                // At another call of a thinning each time.
                power.lock().unwrap().wanted = Some(cut);
            }
            let records = batch(self.points, second);
            raw_bytes += records.iter().map(|r| r.body.len() as u64).sum::<u64>();
            core.append(Lane::Telemetry, records, now(second));
            core.tick(now(second));
            if power.lock().unwrap().dead {
                passes += core.state(now(second)).counters.thinned_records;
                let unsynced = medium.lock().unwrap().unsynced();
                medium.lock().unwrap().power_up(unsynced / 2);
                (epoch, cut) = (epoch + 1, cut + 1);
                power = Arc::default();
                core = self.open(&medium, &power, epoch, second);
            }
            let state = core.state(now(second));
            assert!(
                state.live_bytes <= state.quota_bytes + (1 << 20),
                "{state:?}"
            );
        }
        assert!(core.stop(true, now(self.seconds)));
        let mut core = self.open(&medium, &Arc::default(), epoch + 1, self.seconds);
        let state = core.state(now(self.seconds));
        for lane in state.lanes {
            coarsest = coarsest.max(lane.thinned_to.unwrap_or_default());
        }
        passes += state.counters.thinned_records;
        let readings = u64::from(self.points) * self.seconds;
        println!(
            "{readings} readings, {} bytes each as appended; {} records held, {} KiB live; buckets up to \
             {coarsest:?}; {cut} power cuts; {passes} records thinned; {:?}",
            raw_bytes as f64 / readings as f64,
            state.records,
            state.live_bytes >> 10,
            started.elapsed(),
        );
        (Left::of(&mut core, now(self.seconds)), coarsest)
    }
}

impl Left {
    /// Reads everything.
    pub(super) fn of(core: &mut Core, at: Now) -> Self {
        let mut left = Self::default();
        for lane in [Lane::Telemetry, Lane::Event] {
            for record in all_of(|cursor, limit| core.read(lane, cursor, limit, at)) {
                left.take(&record.body);
            }
        }
        for readings in left.held.values_mut() {
            readings.sort_unstable();
        }
        left
    }

    fn take(&mut self, body: &[u8]) {
        match Record::decode(body).unwrap().body {
            Body::Telemetry(telemetry) => {
                for column in telemetry.columns {
                    *self.filtered.entry(column.index).or_default() += column.filtered;
                    let held = self.held.entry(column.index).or_default();
                    held.extend(column.samples.iter().map(|sample| {
                        let second = sample.time.as_millis() / 1000 - START_S;
                        match sample.value {
                            Some(Value::I64(value)) => {
                                (u32::try_from(second).unwrap(), value as i32)
                            }
                            _ => panic!("{sample:?}"),
                        }
                    }));
                }
            }
            Body::Claims(claims) => {
                for claim in claims {
                    if claim.lane == Lane::Event {
                        continue;
                    }
                    if claim.readings.is_none() {
                        self.unknown.push(claim);
                        continue;
                    }
                    let named: u64 = claim.points.iter().map(|point| point.readings).sum();
                    assert_eq!(claim.readings, Some(named), "{claim:?}");
                    for point in claim.points {
                        *self.lost.entry(point.index).or_default() += point.readings;
                        *self.lost_filtered.entry(point.index).or_default() += point.filtered;
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the power cuts took along is claimed without a count: from, to in seconds.
    pub(super) fn tails(&self) -> Vec<(u64, u64)> {
        let second = |t: Timestamp| u64::try_from(t.as_millis() / 1000 - START_S).unwrap_or(0);
        let of_readings = self.unknown.iter().filter(|c| c.lane == Lane::Telemetry);
        of_readings
            .map(|claim| {
                assert_eq!(claim.reason, LossReason::CrashTail, "{claim:?}");
                (second(claim.from), second(claim.to) + 1)
            })
            .collect()
    }

    /// Of the readings that were taken of each point all are held or told, but for at most `missing_most`
    /// that went with power cuts; what is missing, by point.
    pub(super) fn tells_all(
        &self,
        points: u32,
        taken: impl Fn(u32) -> u64,
        missing_most: u64,
    ) -> Vec<u64> {
        let missing = (0..points).map(|point| {
            let lost = self.lost.get(&point).copied().unwrap_or(0);
            let (told, taken) = (self.held[&point].len() as u64 + lost, taken(point));
            assert!(told <= taken, "point {point}: {told} of {taken}");
            assert!(
                taken - told <= missing_most,
                "point {point}: {told} of {taken}"
            );
            taken - told
        });
        missing.collect()
    }

    /// What is held or told of the filtered counts of a point.
    fn filtered(&self, point: u32) -> u64 {
        let of = |counts: &BTreeMap<u32, u64>| counts.get(&point).copied().unwrap_or(0);
        of(&self.filtered) + of(&self.lost_filtered)
    }

    /// Every bucket of `span` in `seconds` still has its first, last, least and greatest reading at their
    /// times, as `truth` tells them, where no crash tail took a part of it; nothing is there twice.
    pub(super) fn keeps_extremes(
        &self,
        points: impl Iterator<Item = u32>,
        span: Duration,
        seconds: u64,
        truth: impl Fn(u32, u64, u64) -> [Reading; 4],
    ) {
        let (span, gaps) = (span.as_secs(), self.tails());
        let mut judged = 0_u64;
        for point in points {
            let held = &self.held[&point];
            // Buckets of the wall clock.
            let mut from = 0;
            while from < seconds {
                let number = (START_S as u64 + from) / span;
                let to = ((number + 1) * span - START_S as u64).min(seconds);
                let hurt = gaps.iter().any(|gap| gap.0 < to && from < gap.1);
                if !hurt {
                    judged += 1;
                    for reading in truth(point, from, to) {
                        let as_held = (reading.0 as u32, reading.1 as i32);
                        let kept = held.binary_search(&as_held).is_ok();
                        assert!(kept, "point {point}: {reading:?} of {from}..{to} went");
                    }
                }
                from = to;
            }
            for pair in held.windows(2) {
                assert!(pair[0].0 < pair[1].0, "point {point}: {pair:?} twice");
            }
        }
        println!("{judged} buckets of {span} s judged");
        assert!(judged > 20);
    }

    /// Whether every held reading is what was read.
    pub(super) fn is_true(&self, value: impl Fn(u32, u64) -> i64) {
        for (&point, readings) in &self.held {
            let all = |&(second, v): &(u32, i32)| i64::from(v) == value(point, u64::from(second));
            assert!(readings.iter().all(all), "point {point}");
        }
    }
}

/// The truth of a bucket, second by second.
fn truth(point: u32, from: u64, to: u64) -> [Reading; 4] {
    let whole: Vec<_> = (from..to).map(|s| (s, value(point, s))).collect();
    let least = whole.iter().map(|r| r.1).min().unwrap();
    let most = whole.iter().map(|r| r.1).max().unwrap();
    let first_of = |v: i64| *whole.iter().find(|r| r.1 == v).unwrap();
    [
        whole[0],
        whole[whole.len() - 1],
        first_of(least),
        first_of(most),
    ]
}

fn check(outage: &Outage) {
    let (left, coarsest) = outage.run();
    assert_eq!(left.tails().len() as u64, outage.cuts, "{:?}", left.unknown);
    let cut = outage.cuts * 4 * BATCH;
    let missing = left.tells_all(outage.points, |_| outage.seconds, cut);
    for (point, missing) in (0..).zip(&missing) {
        let filtered = left.filtered(point) + missing / BATCH;
        assert_eq!(filtered, outage.seconds / BATCH, "point {point}");
    }
    println!(
        "at most {:?} readings of a point went with the power cuts",
        missing.iter().max()
    );
    left.is_true(value);
    let some = (0..outage.points).step_by(outage.points as usize / 20 + 1);
    let span = coarsest.max(bucket(1));
    left.keeps_extremes(some, span, outage.seconds, truth);
}

#[test]
fn three_days_without_the_cloud_keep_their_extremes_and_tell_every_loss() {
    check(&Outage {
        points: 20,
        seconds: 3 * 24 * 3600,
        quota: 1 << 20,
        cuts: 0,
    });
}

#[test]
fn power_cuts_while_old_readings_are_thinned_cost_their_tails_and_nothing_else() {
    check(&Outage {
        points: 20,
        seconds: 24 * 3600,
        quota: 1 << 20,
        cuts: 6,
    });
}

#[test]
#[ignore = "minutes: the month of `month`, every second of it; a stage of `cargo xtask test --full`"]
fn a_month_of_500_points_at_1_hz_second_by_second_keeps_its_extremes_in_64_mb() {
    check(&Outage {
        points: 500,
        seconds: 30 * 24 * 3600,
        quota: 64 << 20,
        cuts: 3,
    });
}
