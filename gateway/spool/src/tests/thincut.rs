//! The power cut test for thinning: the real store under the write-recording shim of `powercut`.
//!
//! A child process takes in more readings than fit, so that old ones are thinned again and again. The
//! power goes at many points of what it wrote, most of them in the middle of a pass. Whatever is found
//! then: no reading is there twice, and of each point what is held and what the ledger counts is at
//! least what was durable and at most what was taken.

use super::powercut::{Disk, Event, FATES, Promises, key_text, record_run, say_durable};
use super::{Dice, Mutant, all_of, at, config, readings};
use crate::core::Core;
use crate::disk::DiskStore;
use crate::lanes::LaneConfigs;
use protocols_model::{BootId, Epoch, Lane, LossReason, RecordKey, Value};
use protocols_wire::{Body, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Readings by point.
type Counts = BTreeMap<u32, u64>;

fn open(dir: &Path, epoch: u64, now: u64) -> Core {
    let mut config = config(dir, 200_000);
    config.lanes = LaneConfigs::default();
    let store = Box::new(DiskStore::new(&config));
    let epoch = Epoch(epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Core::start(config, BootId(1), store, epoch, at(now)).0
}

#[test]
#[ignore = "run by the thinning power cut test, in a child process under the shim"]
fn child_thinning() {
    let Ok(root) = std::env::var("SHIM_ROOT") else {
        return;
    };
    let seed: u64 = std::env::var("POWERCUT_SEED").unwrap().parse().unwrap();
    let steps: u64 = std::env::var("POWERCUT_STEPS").unwrap().parse().unwrap();
    let mut promises = Promises(File::create(format!("{root}.promises")).unwrap());
    let mut dice = Dice::new(seed);
    let dir = PathBuf::from(&root);
    let (mut now, mut runs, mut thinned) = (0, 1, 0);
    let mut core = open(&dir, runs, now);
    let mut durable = BTreeSet::new();
    for id in 0..steps {
        let key = RecordKey {
            epoch: core.epoch(),
            lane: Lane::Telemetry,
            seq: core.state(at(now)).last_seq(Lane::Telemetry) + 1,
        };
        let len = 60 + dice.below(190) as usize;
        promises.say(&format!("A {} {id} {len}", key_text(key)));
        core.append(Lane::Telemetry, vec![readings(id, len)], at(now));
        now += dice.below(2500);
        core.tick(at(now));
        say_durable(&core, &mut durable, &mut promises);
        if dice.chance(2) {
            thinned += core.state(at(now)).counters.thinned_records;
            drop(core);
            runs += 1;
            core = open(&dir, runs, now);
        }
    }
    thinned += core.state(at(now)).counters.thinned_records;
    println!("COUNTERS starts {runs}, thinned {thinned}");
    assert!(thinned > steps / 2);
}

/// What was said until a power cut.
#[derive(Default)]
struct Said {
    taken: Counts,
    durable: Counts,
    /// Id and length of the record with this key.
    records: BTreeMap<String, (u64, usize)>,
}

fn add(counts: &mut Counts, len: usize) {
    for index in 0..3 {
        let of_point = (0..len).filter(|n| n % 3 == index).count() as u64;
        *counts.entry(index as u32).or_default() += of_point;
    }
}

impl Said {
    fn note(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let key = words[1..4].join(" ");
        match words[0] {
            "A" => {
                let record = (words[4].parse().unwrap(), words[5].parse().unwrap());
                add(&mut self.taken, record.1);
                assert!(self.records.insert(key, record).is_none());
            }
            "D" => {
                // Thinned records and claims become durable as well: nobody appended them.
                if let Some(&(_, len)) = self.records.get(&key) {
                    add(&mut self.durable, len);
                }
            }
            other => panic!("unknown promise {other}"),
        }
    }

    /// Opens the spool on an image and compares it with what was said.
    fn judge(&self, image: &Path, epoch: u64) {
        let mut core = open(image, epoch, 10_000_000);
        let now = at(10_000_000);
        let mut told = Counts::new();
        let mut seen = BTreeSet::new();
        for lane in [Lane::Telemetry, Lane::Event] {
            for record in all_of(|cursor, limit| core.read(lane, cursor, limit, now)) {
                if let Some(&(id, len)) = self.records.get(&key_text(record.key)) {
                    assert_eq!(readings(id, len).body, record.body, "{:?}", record.key);
                }
                take(&record.body, &mut told, &mut seen);
            }
        }
        for point in 0..3 {
            let of = |counts: &Counts| counts.get(&point).copied().unwrap_or(0);
            let (durable, told, taken) = (of(&self.durable), of(&told), of(&self.taken));
            assert!(
                (durable..=taken).contains(&told),
                "point {point}: {told} held or told, {durable} durable, {taken} taken"
            );
        }
    }
}

fn take(body: &[u8], told: &mut Counts, seen: &mut BTreeSet<i64>) {
    match Record::decode(body).unwrap().body {
        Body::Telemetry(telemetry) => {
            for column in telemetry.columns {
                *told.entry(column.index).or_default() += column.samples.len() as u64;
                for sample in column.samples {
                    let Some(Value::I64(number)) = sample.value else {
                        panic!("{sample:?}");
                    };
                    assert!(seen.insert(number), "a reading is there twice");
                }
            }
        }
        Body::Claims(claims) => {
            for claim in claims.into_iter().filter(|c| c.lane == Lane::Telemetry) {
                if claim.reason == LossReason::CrashTail {
                    continue;
                }
                let lost = [LossReason::Thinned, LossReason::Evicted].contains(&claim.reason);
                assert!(lost && claim.readings.is_some(), "{claim:?}");
                for point in claim.points {
                    *told.entry(point.index).or_default() += point.readings;
                }
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_power_cut_in_the_middle_of_a_thinning_loses_nothing_untold_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let child = "tests::thincut::child_thinning";
    let events = record_run(dir.path(), child, 1, 500, Mutant::None);
    let mut dice = Dice::new(9);
    let decided = |event: &Event| match event {
        Event::Write(.., data) => String::from_utf8_lossy(data).contains("\"prepared\""),
        _ => false,
    };
    let passes: Vec<usize> = (0..events.len()).filter(|&n| decided(&events[n])).collect();
    assert!(passes.len() > 10, "{} passes", passes.len());
    let mut points = BTreeSet::new();
    while points.len() < 60 {
        let pass = passes[dice.below(passes.len() as u64) as usize];
        points.insert(pass + dice.below(40) as usize);
    }
    let (mut disk, mut said) = (Disk::default(), Said::default());
    for (place, event) in events.iter().enumerate() {
        match event {
            Event::Promise(line) => said.note(line),
            _ => disk.apply(event),
        }
        if points.contains(&place) {
            let fate = FATES[dice.below(FATES.len() as u64) as usize];
            println!(
                "power cut after event {place} of {}: {fate:?}",
                events.len()
            );
            let image = dir.path().join(format!("image-{place}"));
            disk.image(&image, fate, &mut dice);
            said.judge(&image, 0xffff_0000 + place as u64);
            fs::remove_dir_all(&image).unwrap();
        }
    }
}
