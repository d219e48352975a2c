//! Bounds: eviction and what its claims count, full disks, short file systems, rotation, deletion,
//! dictionaries, and that a healthy uplink costs no flash.

use super::{at, config, record};
use crate::config::{SpoolConfig, SpoolConfigError};
use crate::core::Core;
use crate::core::merge::MAX_EPOCHS;
use crate::disk::DiskStore;
use crate::mem_store::{Medium, MemStore};
use crate::record::{Cursor, FetchLimit, Settlement, SpooledRecord};
use crate::state::SpoolAlarm;
use protocols_model::seq::SEQ_MAX;
use protocols_model::{
    BootId, Claim, DeviceId, DictionaryHash, Epoch, Instant, Lane, LossReason, PointDescriptor,
    PointId, PointLoss, Quality, RefuseReason, SeqRange, SeqSet, Timestamp, Value, ValueType,
};
use protocols_wire::{
    Body, Column, Dictionary, Record, RecordStamp, Sample, SealedRecord, Telemetry,
};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ALL: FetchLimit = FetchLimit {
    max_bytes: 1 << 30,
    max_records: 1 << 20,
};

fn on_disk(config: &SpoolConfig, epoch: u64, now: u64) -> Core {
    let store = Box::new(DiskStore::new(config));
    Core::start(config.clone(), BootId(1), store, Epoch(epoch), at(now)).0
}

fn in_model(medium: &Arc<Mutex<Medium>>, live_quota: u64, epoch: u64, now: u64) -> Core {
    let store = Box::new(MemStore(Arc::clone(medium)));
    let config = config(Path::new("/nowhere"), live_quota);
    Core::start(config, BootId(1), store, Epoch(epoch), at(now)).0
}

fn all(core: &mut Core, lane: Lane, now: u64) -> Vec<SpooledRecord> {
    core.fetch(lane, Cursor::START, ALL, at(now))
}

fn claims(core: &mut Core, now: u64) -> Vec<Claim> {
    let events = all(core, Lane::Event, now);
    let decoded = events
        .iter()
        .filter_map(|e| match Record::decode(&e.body).ok()?.body {
            Body::Claims(claims) => Some(claims),
            _ => None,
        });
    decoded.flatten().collect()
}

fn settle_all(core: &mut Core, lane: Lane, now: u64) {
    for found in all(core, lane, now) {
        let settlement = Settlement {
            epoch: found.key.epoch,
            lane,
            stored: SeqRange::one(found.key.seq).into_iter().collect(),
            refused: Vec::new(),
        };
        assert_eq!(core.settle(&settlement, at(now)).unknown, 0);
    }
}

fn dictionary(points: u32) -> Dictionary {
    let point = |n| PointDescriptor {
        device: DeviceId::try_new("meter").unwrap(),
        point: PointId::try_new(&format!("p{n}")).unwrap(),
        value_type: ValueType::I64,
        unit: "V".to_owned(),
        scale: 1.0,
    };
    Dictionary::try_new((0..points).map(point).collect()).unwrap()
}

fn stamp(now: u64) -> RecordStamp {
    RecordStamp {
        boot: BootId(1),
        mono: Instant(Duration::from_millis(now)),
        wall: at(now).wall,
    }
}

/// A record with `samples` readings and 2 filtered of each of the dictionary's first `points` points.
fn telemetry(hash: DictionaryHash, points: u32, samples: u32, now: u64) -> SealedRecord {
    let column = |index| Column {
        dictionary: 0,
        index,
        filtered: 2,
        samples: (0..samples)
            .map(|n| Sample {
                time: Timestamp::from_millis(1_700_000_000_000 + now as i64 + i64::from(n)),
                value: Some(Value::I64(i64::from(index * 7 + n))),
                quality: Quality::Good,
            })
            .collect(),
    };
    let telemetry = Telemetry {
        dictionaries: vec![hash],
        columns: (0..points).map(column).collect(),
        unchanged: Vec::new(),
    };
    let mut sealed = Record::seal_telemetry(stamp(now), telemetry).unwrap();
    assert_eq!(sealed.len(), 1);
    sealed.remove(0)
}

#[test]
fn bulk_goes_first_then_telemetry_then_events_alarms_last_and_claims_never() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 100_000, 1, 0);
    let mut now = 0;
    let mut id = 0;
    for lane in [Lane::Alarm, Lane::Event, Lane::Telemetry, Lane::Bulk] {
        for _ in 0..20 {
            now += 10;
            core.append(lane, vec![record(id, 1000)], at(now));
            id += 1;
        }
    }
    core.tick(at(now + 5000));
    let held = |core: &mut Core| Lane::ALL.map(|lane| all(core, lane, 10_000).len());
    assert_eq!(held(&mut core), [20, 20, 20, 20]);
    let mut seen = Vec::new();
    for _ in 0..100 {
        now += 10;
        core.append(Lane::Alarm, vec![record(id, 1000)], at(now));
        id += 1;
        let [alarm, event, telemetry, bulk] = held(&mut core);
        let events = event - claims_records(&mut core);
        seen.push([alarm, events, telemetry, bulk]);
    }
    for pair in seen.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        assert!(
            after[2] == before[2] || after[3] == 0,
            "telemetry before bulk: {pair:?}"
        );
        assert!(
            after[1] == before[1] || after[2] == 0,
            "events before telemetry: {pair:?}"
        );
        assert!(
            after[0] >= before[0] || after[1] == 0,
            "alarms before events: {pair:?}"
        );
    }
    let last = seen.last().unwrap();
    assert_eq!(last[1..], [0, 0, 0]);
    let state = core.state(at(now));
    assert!(state.alarms.contains(&SpoolAlarm::AtBound));
    assert!(state.live_bytes <= 100_000, "{state:?}");
    assert_eq!(state.counters.evicted_records, 180 - last[0] as u64);
    let claims = claims(&mut core, now);
    let evicted: u64 = claims.iter().map(|claim| claim.range.count()).sum();
    assert_eq!(evicted, state.counters.evicted_records);
    let readings: u64 = claims.iter().map(|claim| claim.readings.unwrap()).sum();
    assert_eq!(readings, state.counters.evicted_readings);
}

fn claims_records(core: &mut Core) -> usize {
    let events = all(core, Lane::Event, 10_000);
    let is_claim = |e: &&SpooledRecord| Record::decode(&e.body).is_ok();
    events.iter().filter(is_claim).count()
}

#[test]
fn an_eviction_claim_counts_readings_and_filtered_per_point() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 60_000, 1, 0);
    let dictionary = dictionary(40);
    core.keep_dictionaries(vec![dictionary.clone()]);
    let mut now = 0;
    for _ in 0..600 {
        now += 100;
        core.append(
            Lane::Telemetry,
            vec![telemetry(dictionary.hash(), 40, 5, now)],
            at(now),
        );
        core.tick(at(now));
    }
    let held = all(&mut core, Lane::Telemetry, now);
    let evicted = 600 - held.len() as u64;
    assert!(evicted > 100);
    assert_eq!(held[0].key.seq, evicted + 1, "the oldest go");
    let mut claims = claims(&mut core, now);
    // Claims that were joined are claimed as replaced, in their own lane.
    claims.retain(|claim| claim.lane == Lane::Telemetry);
    assert!(
        claims.len() < 20,
        "{} claims for {evicted} records",
        claims.len()
    );
    for claim in &claims {
        let records = claim.range.count();
        assert_eq!(claim.reason, LossReason::Evicted);
        assert_eq!(claim.readings, Some(records * 40 * 5));
        assert_eq!(claim.points.len(), 40);
        let expected = |point: &PointLoss| {
            point.dictionary == dictionary.hash()
                && point.readings == records * 5
                && point.filtered == records * 2
        };
        assert!(claim.points.iter().all(expected), "{claim:?}");
    }
}

#[test]
fn claims_stay_within_their_reserve_however_long_the_outage() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 80_000, 1, 0);
    let names: Vec<_> = (0..4).map(|n| dictionary(30 + n)).collect();
    core.keep_dictionaries(names.clone());
    let mut now = 0;
    for n in 0..6_000_u64 {
        now += 100;
        let name = names[(n / 50 % 4) as usize].hash();
        core.append(Lane::Telemetry, vec![telemetry(name, 30, 3, now)], at(now));
        if n % 97 == 0 {
            // Somebody settles here and there, so that ranges do not touch.
            let held = all(&mut core, Lane::Telemetry, now);
            let middle = held[held.len() / 2].key;
            let settlement = Settlement {
                epoch: middle.epoch,
                lane: middle.lane,
                stored: SeqRange::one(middle.seq).into_iter().collect(),
                refused: Vec::new(),
            };
            core.settle(&settlement, at(now));
        }
        core.tick(at(now));
        let state = core.state(at(now));
        assert!(state.live_bytes <= 80_000 + 8_192, "{state:?}");
    }
    let held = all(&mut core, Lane::Telemetry, now);
    assert!(
        held.len() > 100,
        "claims took the room of {} readings",
        held.len()
    );
    let claims = claims(&mut core, now);
    let mut said = SeqSet::new();
    for claim in claims.iter().filter(|c| c.lane == Lane::Telemetry) {
        said.insert(claim.range);
    }
    let first = held[0].key.seq;
    let told = said.held_in(SeqRange::new(1, first - 1).unwrap()).count();
    // Settled ones need no claim.
    assert!(told >= first - 1 - 6_000 / 97 - 1, "{said:?} of {first}");
}

#[test]
fn a_store_that_is_full_keeps_going_in_memory_and_recovers() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 1_000_000, 1, 0);
    core.append(Lane::Telemetry, vec![record(0, 500)], at(0));
    core.tick(at(3_000));
    medium.lock().unwrap().full = true;
    let mut now = 3_000;
    for id in 1..40_000 {
        now += 10;
        core.append(Lane::Telemetry, vec![record(id, 500)], at(now));
        core.tick(at(now));
    }
    let state = core.state(at(now));
    assert!(
        state.alarms.contains(&SpoolAlarm::DiskUnusable),
        "{state:?}"
    );
    assert!(state.memory_bytes <= 8 << 20, "{state:?}");
    assert!(state.counters.evicted_records > 0);
    assert!(
        state.loss_window > Duration::from_secs(100),
        "{:?}",
        state.loss_window
    );
    medium.lock().unwrap().full = false;
    for _ in 0..20 {
        now += 10_000;
        core.tick(at(now));
    }
    let state = core.state(at(now));
    assert!(
        !state.alarms.contains(&SpoolAlarm::DiskUnusable),
        "{state:?}"
    );
    assert_eq!(state.memory_bytes, 0);
    let held = all(&mut core, Lane::Telemetry, now).len() as u64;
    let claims = claims(&mut core, now);
    let claims = claims.iter().filter(|claim| claim.lane == Lane::Telemetry);
    assert_eq!(held + claims.map(|c| c.range.count()).sum::<u64>(), 40_000);
}

#[test]
fn a_full_file_system_is_survived_for_real() {
    let temp = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"])
        .arg(temp.path())
        .output();
    if !mounted.is_ok_and(|out| out.status.success()) {
        println!("NOT TESTED: this user may not mount a tmpfs; the model's full disk stands in");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let mut config = config(&temp.path().join("spool"), 64 << 20);
        config.memory_buffer_bytes = 1 << 20;
        let mut core = on_disk(&config, 1, 0);
        let ballast = temp.path().join("ballast");
        std::fs::write(&ballast, vec![1; 32 << 20]).unwrap();
        let mut now = 0;
        for id in 0..3_000 {
            now += 50;
            core.append(Lane::Telemetry, vec![record(id, 4000)], at(now));
            core.tick(at(now));
        }
        let state = core.state(at(now));
        assert!(state.counters.failed_commits > 0, "{state:?}");
        assert!(state.memory_bytes <= (1 << 20) + 8192, "{state:?}");
        std::fs::remove_file(ballast).unwrap();
        for _ in 0..30 {
            now += 20_000;
            core.tick(at(now));
        }
        let held = all(&mut core, Lane::Telemetry, now).len() as u64;
        let claims = claims(&mut core, now);
        let mut said = SeqSet::new();
        for claim in claims.iter().filter(|c| c.lane == Lane::Telemetry) {
            said.insert(claim.range);
        }
        println!(
            "{held} held, {} claimed, {:?}",
            said.count(),
            core.state(at(now))
        );
        assert!(core.state(at(now)).alarms.is_empty());
        assert!(held > 0);
        assert_eq!(held + said.count(), 3_000);
    });
    let unmounted = std::process::Command::new("umount")
        .arg("-l")
        .arg(temp.path())
        .status();
    assert!(unmounted.unwrap().success());
    outcome.unwrap();
}

#[test]
fn a_file_system_short_of_space_stops_the_growth_but_not_the_flow() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    medium.lock().unwrap().free = Some(1 << 30);
    let mut core = {
        let store = Box::new(MemStore(Arc::clone(&medium)));
        let mut config = config(Path::new("/nowhere"), 50 << 20);
        config.keep_free_bytes = 1 << 20;
        Core::start(config, BootId(1), store, Epoch(1), at(0)).0
    };
    let mut now = 0;
    let mut id = 0;
    let mut fill = |core: &mut Core, count: u64| {
        for _ in 0..count {
            now += 20;
            core.append(Lane::Telemetry, vec![record(id, 4000)], at(now));
            core.tick(at(now));
            id += 1;
        }
        core.state(at(now))
    };
    fill(&mut core, 1000);
    medium.lock().unwrap().free = Some(1000);
    let short = fill(&mut core, 1000);
    assert!(short.alarms.contains(&SpoolAlarm::DiskShort), "{short:?}");
    assert!(short.counters.evicted_records > 0);
    let later = fill(&mut core, 500);
    assert!(later.live_bytes <= short.live_bytes + 100_000, "{later:?}");
    medium.lock().unwrap().free = Some(1 << 30);
    let free = fill(&mut core, 1000);
    assert!(free.alarms.is_empty(), "{free:?}");
    assert!(free.live_bytes > later.live_bytes + (1 << 20));
}

#[test]
fn a_healthy_uplink_costs_no_flash() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 10 << 20, 1, 0);
    let mut now = 0;
    core.append(Lane::Telemetry, vec![record(0, 4000)], at(now));
    settle_all(&mut core, Lane::Telemetry, 100);
    let ios = medium.lock().unwrap().ios;
    // An hour: a record a second, settled 300 ms later.
    for id in 1..3600 {
        now = id * 1000;
        core.append(Lane::Telemetry, vec![record(id, 4000)], at(now));
        core.tick(at(now));
        core.tick(at(now + 250));
        settle_all(&mut core, Lane::Telemetry, now + 300);
        core.tick(at(now + 300));
    }
    let state = core.state(at(now));
    assert_eq!(
        medium.lock().unwrap().ios,
        ios,
        "something was written: {state:?}"
    );
    assert_eq!(state.counters.settled_in_memory, 3600);
    assert_eq!(state.records, 0);
}

#[test]
fn an_alarm_is_on_disk_at_once_and_telemetry_only_when_due() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 10 << 20, 1, 0);
    core.append(Lane::Telemetry, vec![record(0, 100)], at(1000));
    core.append(Lane::Alarm, vec![record(1, 100)], at(1000));
    core.tick(at(1000));
    let lanes = |core: &Core| core.on_disk().iter().map(|k| k.lane).collect::<Vec<_>>();
    assert_eq!(lanes(&core), [Lane::Alarm]);
    core.tick(at(2999));
    assert_eq!(lanes(&core), [Lane::Alarm]);
    assert_eq!(core.next_wake(), at(3000).mono);
    core.tick(at(3000));
    assert_eq!(lanes(&core), [Lane::Alarm, Lane::Telemetry]);
}

#[test]
fn an_empty_large_spool_moves_to_a_fresh_directory_and_the_old_one_goes() {
    let temp = tempfile::tempdir().unwrap();
    let mut config = config(&temp.path().join("spool"), 8 << 20);
    config.rotate_above_bytes = 2 << 20;
    let mut core = on_disk(&config, 1, 0);
    let dictionary = dictionary(10);
    core.keep_dictionaries(vec![dictionary.clone()]);
    let mut now = 0;
    for id in 0..1000 {
        now += 10;
        core.append(Lane::Bulk, vec![record(id, 4000)], at(now));
    }
    now += 5000;
    core.tick(at(now));
    settle_all(&mut core, Lane::Bulk, now);
    now += 20_000;
    core.tick(at(now));
    now += 20_000;
    core.tick(at(now));
    assert_eq!(core.state(at(now)).counters.rotations, 1);
    assert!(!config.dir.join("buf-1").exists());
    let current = std::fs::read_to_string(config.dir.join("CURRENT")).unwrap();
    assert_eq!(current, "buf-2\n");
    core.append(
        Lane::Telemetry,
        vec![telemetry(dictionary.hash(), 3, 1, now)],
        at(now),
    );
    core.tick(at(now + 5000));
    drop(core);
    let mut core = on_disk(&config, 2, now + 6000);
    let found = all(&mut core, Lane::Telemetry, now + 6000);
    assert_eq!(found.len(), 1);
    assert_eq!(core.dictionaries(&found[0].dictionaries), [dictionary]);
}

#[test]
fn a_dictionary_is_on_disk_with_its_first_record_and_goes_with_its_last() {
    let temp = tempfile::tempdir().unwrap();
    let config = config(&temp.path().join("spool"), 8 << 20);
    let mut core = on_disk(&config, 1, 0);
    let (used, unused) = (dictionary(5), dictionary(6));
    core.keep_dictionaries(vec![used.clone(), unused.clone()]);
    core.append(
        Lane::Telemetry,
        vec![telemetry(used.hash(), 5, 1, 0)],
        at(0),
    );
    assert_eq!(core.state(at(0)).dictionaries, [used.hash()]);
    core.tick(at(3000));
    drop(core);
    let mut core = on_disk(&config, 2, 4000);
    let both = [used.hash(), unused.hash()];
    assert_eq!(core.dictionaries(&both), std::slice::from_ref(&used));
    settle_all(&mut core, Lane::Telemetry, 4000);
    assert_eq!(core.state(at(4000)).dictionaries, []);
    core.tick(at(20_000));
    drop(core);
    let core = on_disk(&config, 3, 30_000);
    assert_eq!(core.dictionaries(&both), []);
}

#[test]
fn a_refused_record_is_set_aside_and_claimed_with_its_reason() {
    let temp = tempfile::tempdir().unwrap();
    let config = config(&temp.path().join("spool"), 8 << 20);
    let mut core = on_disk(&config, 1, 0);
    for id in 0..10 {
        core.append(Lane::Telemetry, vec![record(id, 100)], at(id));
    }
    let settlement = Settlement {
        epoch: Epoch(1),
        lane: Lane::Telemetry,
        stored: SeqRange::new(1, 2).into_iter().collect(),
        refused: vec![
            (SeqRange::new(3, 4).unwrap(), RefuseReason::Malformed),
            (SeqRange::new(5, 5).unwrap(), RefuseReason::SeriesLimit),
        ],
    };
    let outcome = core.settle(&settlement, at(100));
    assert_eq!(
        (outcome.settled, outcome.refused, outcome.unknown),
        (2, 3, 0)
    );
    assert_eq!(
        core.settle(&settlement, at(101)),
        Default::default(),
        "sets: said again is said once"
    );
    let claims = claims(&mut core, 100);
    let said: Vec<_> = claims.iter().map(|c| (c.range, c.reason)).collect();
    let refused = |first, last, reason| {
        (
            SeqRange::new(first, last).unwrap(),
            LossReason::Refused(reason),
        )
    };
    assert_eq!(
        said,
        [
            refused(3, 4, RefuseReason::Malformed),
            refused(5, 5, RefuseReason::SeriesLimit)
        ]
    );
    let room = config.dir.join("quarantine/records");
    let copy = std::fs::read(room.join("0000000000000001-telemetry-3.malformed")).unwrap();
    assert_eq!(copy, record(2, 100).body);
    assert_eq!(std::fs::read_dir(room).unwrap().count(), 3);
}

#[test]
fn claims_of_an_epoch_that_the_cloud_has_closed_are_made_again_in_the_running_one_once() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    drop(in_model(&medium, 1_000_000, 1, 0));
    // The second life claims the first one's crash tail, and ends without having told the cloud.
    let mut core = in_model(&medium, 1_000_000, 2, 1000);
    assert!(core.stop(true, at(2000)));
    let mut core = in_model(&medium, 1_000_000, 3, 3000);
    let refuse_all = |core: &mut Core, epoch: u64| {
        let refused = all(core, Lane::Event, 4000).into_iter();
        let refused = refused.filter(|found| found.key.epoch == Epoch(epoch));
        let refused = refused.filter_map(|found| SeqRange::one(found.key.seq));
        let settlement = Settlement {
            epoch: Epoch(epoch),
            lane: Lane::Event,
            stored: SeqSet::new(),
            refused: refused.map(|r| (r, RefuseReason::EpochClosed)).collect(),
        };
        core.settle(&settlement, at(4000)).refused
    };
    let before = claims(&mut core, 4000);
    assert!(!before.is_empty() && before.iter().all(|claim| claim.epoch == Epoch(1)));
    assert!(refuse_all(&mut core, 2) > 0);
    assert_eq!(claims(&mut core, 5000), before, "nothing goes unsaid");
    let events = all(&mut core, Lane::Event, 5000);
    assert!(events.iter().all(|event| event.key.epoch == Epoch(3)));
    // Refused in the running epoch as well, there is nothing left to try.
    refuse_all(&mut core, 3);
    assert!(claims(&mut core, 6000).is_empty());
}

#[test]
fn the_quarantine_of_records_is_bounded() {
    let temp = tempfile::tempdir().unwrap();
    let mut config = config(&temp.path().join("spool"), 32 << 20);
    config.quarantine_bytes = 400_000;
    let mut core = on_disk(&config, 1, 0);
    for id in 0..200 {
        core.append(Lane::Telemetry, vec![record(id, 4000)], at(id));
    }
    let settlement = Settlement {
        epoch: Epoch(1),
        lane: Lane::Telemetry,
        stored: SeqSet::new(),
        refused: vec![(SeqRange::new(1, 200).unwrap(), RefuseReason::TooLarge)],
    };
    assert_eq!(core.settle(&settlement, at(300)).refused, 200);
    let kept = std::fs::read_dir(config.dir.join("quarantine/records")).unwrap();
    let bytes: u64 = kept.map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!((90_000..=100_000).contains(&bytes), "{bytes}");
    assert_eq!(claims(&mut core, 300).len(), 1, "one claim for one run");
}

#[test]
fn settling_what_was_never_appended_is_counted_and_does_nothing() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 1 << 20, 1, 0);
    core.append(Lane::Telemetry, vec![record(0, 100)], at(0));
    let settle = |epoch, first, last| Settlement {
        epoch,
        lane: Lane::Telemetry,
        stored: SeqRange::new(first, last).into_iter().collect(),
        refused: Vec::new(),
    };
    assert_eq!(core.settle(&settle(Epoch(1), 2, 11), at(1)).unknown, 10);
    assert_eq!(core.settle(&settle(Epoch(99), 1, 3), at(1)).unknown, 3);
    assert_eq!(core.state(at(1)).records, 1);
    assert_eq!(core.state(at(1)).counters.unknown_settled, 13);
    // An epoch that was closed lately is no stranger.
    assert!(core.stop(true, at(2)));
    let mut core = in_model(&medium, 1 << 20, 2, 10);
    assert_eq!(core.settle(&settle(Epoch(1), 1, 1), at(11)).unknown, 0);
    assert!(
        core.state(at(11))
            .held
            .iter()
            .all(|held| held.epoch == Epoch(2))
    );
    assert_eq!(core.settle(&settle(Epoch(1), 1, 1), at(12)).unknown, 0);
}

#[test]
fn a_clean_stop_needs_no_claim() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 1 << 20, 1, 0);
    core.append(Lane::Telemetry, vec![record(0, 100)], at(0));
    assert!(core.stop(true, at(1)));
    let mut core = in_model(&medium, 1 << 20, 2, 10);
    assert_eq!(all(&mut core, Lane::Telemetry, 10).len(), 1);
    assert_eq!(claims(&mut core, 10), []);
}

#[test]
fn a_stop_to_which_not_everything_came_is_claimed_behind_what_was_written() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 1 << 20, 1, 0);
    core.append(Lane::Telemetry, vec![record(0, 100)], at(0));
    assert!(core.stop(false, at(1)));
    let mut core = in_model(&medium, 1 << 20, 2, 10);
    assert_eq!(all(&mut core, Lane::Telemetry, 10).len(), 1);
    let tails = claims(&mut core, 10);
    let tail = tails.iter().find(|tail| tail.lane == Lane::Telemetry);
    let tail = tail.unwrap();
    assert_eq!(tail.reason, LossReason::CrashTail);
    assert_eq!((tail.range.first(), tail.range.last()), (2, SEQ_MAX));
}

#[test]
fn an_unclean_stop_claims_each_lanes_tail_and_keeps_the_epoch_open_until_that_is_settled() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 1 << 20, 1, 0);
    core.append(Lane::Telemetry, vec![record(0, 100)], at(0));
    core.tick(at(2000));
    core.append(Lane::Telemetry, vec![record(1, 100)], at(2500));
    drop(core);
    let mut core = in_model(&medium, 1 << 20, 2, 60_000);
    let tails = claims(&mut core, 60_000);
    assert_eq!(tails.len(), 4);
    for tail in &tails {
        let first = if tail.lane == Lane::Telemetry { 2 } else { 1 };
        assert_eq!(tail.reason, LossReason::CrashTail);
        assert_eq!((tail.range.first(), tail.range.last()), (first, u64::MAX));
        assert_eq!(tail.readings, None);
        assert!(tail.at_most.unwrap() >= 4);
        assert!(tail.from <= at(0).wall && tail.to == at(60_000).wall);
    }
    settle_all(&mut core, Lane::Telemetry, 60_100);
    let open = |core: &Core| {
        core.state(at(60_200))
            .held
            .iter()
            .any(|h| h.epoch == Epoch(1))
    };
    assert!(open(&core), "open until its claims are settled");
    settle_all(&mut core, Lane::Event, 60_200);
    assert!(!open(&core));
}

#[test]
fn the_crash_tails_upper_bound_holds_what_was_in_memory() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 10 << 20, 1, 0);
    let mut waiting = 0;
    for id in 0..5000 {
        let record = record(id, 50);
        waiting += record.summary.readings + record.summary.filtered;
        core.append(Lane::Telemetry, vec![record], at(id / 5));
    }
    drop(core);
    let mut core = in_model(&medium, 10 << 20, 2, 60_000);
    let at_most = claims(&mut core, 60_000)[0].at_most.unwrap();
    assert!(
        (waiting..waiting * 10).contains(&at_most),
        "{waiting} {at_most}"
    );
}

#[test]
fn a_crash_tail_reaches_back_as_far_as_the_configuration_that_crashed_held_readings() {
    const LONG: Duration = Duration::from_secs(600);
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = in_model(&medium, 10 << 20, 1, 0);
    // A swinging door of ten minutes, say; the next start finds a configuration without it.
    core.set_batch_age(LONG);
    core.append(Lane::Telemetry, vec![record(1, 50)], at(1));
    core.tick(at(100_000));
    core.append(Lane::Telemetry, vec![record(2, 50)], at(100_001));
    drop(core);
    let mut core = in_model(&medium, 10 << 20, 2, 200_000);
    let claim = claims(&mut core, 200_000).remove(0);
    assert_eq!(claim.reason, LossReason::CrashTail);
    assert!(claim.to.since(claim.from) > LONG, "{claim:?}");
}

#[test]
fn a_quota_that_does_not_fit_the_memory_is_refused_with_the_one_that_does() {
    let mut config = SpoolConfig::new("/nowhere".into());
    assert_eq!(config.validate(), Ok(()));
    config.memory_limit_bytes = Some(64 << 20);
    config.disk_quota_bytes = 1 << 30;
    let errors = config.validate().unwrap_err();
    let [SpoolConfigError::QuotaExceedsMemory { allowed, .. }] = errors[..] else {
        panic!("{errors:?}");
    };
    config.disk_quota_bytes = allowed;
    assert_eq!(config.validate(), Ok(()));
    config.disk_quota_bytes = 1000;
    config.max_commit_interval = Duration::ZERO;
    assert_eq!(config.validate().unwrap_err().len(), 2);
}

#[test]
fn the_offline_tools_count_check_and_export_what_is_held() {
    use crate::offline::{OfflineError, export, stat, verify};
    let temp = tempfile::tempdir().unwrap();
    let config = config(&temp.path().join("spool"), 8 << 20);
    assert!(matches!(stat(temp.path()), Err(OfflineError::NoSpool(_))));
    let mut core = on_disk(&config, 1, 0);
    let dictionary = dictionary(3);
    core.keep_dictionaries(vec![dictionary.clone()]);
    core.append(
        Lane::Telemetry,
        vec![telemetry(dictionary.hash(), 3, 2, 0), record(1, 100)],
        at(0),
    );
    core.tick(at(3000));
    drop(core);
    let found = stat(&config.dir).unwrap();
    assert!(found.tally_readable && found.disk_bytes > 0);
    assert_eq!(found.dictionaries, 1);
    let [epoch] = &found.epochs[..] else {
        panic!("{found:?}");
    };
    assert_eq!(epoch.lanes[0].records, 2);
    assert_eq!(epoch.lanes[0].readings, 6 + record(1, 100).summary.readings);
    let checked = verify(&config.dir).unwrap();
    assert_eq!(checked.records, 2);
    assert_eq!(
        checked.undecodable.len(),
        1,
        "the made-up record is no record"
    );
    assert!(checked.damaged.is_empty() && checked.missing_dictionaries.is_empty());
    let mut out = Vec::new();
    assert_eq!(export(&config.dir, &mut out).unwrap(), 2);
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let reading = &lines[0]["readings"][1];
    assert_eq!(reading["device"], "meter");
    assert_eq!(reading["point"], "p0");
    assert_eq!(reading["value"], 0);
    assert_eq!(lines[1]["kind"], "unknown");
    let core = on_disk(&config, 2, 5000);
    assert!(matches!(verify(&config.dir), Err(OfflineError::InUse(_))));
    drop(core);
}

/// One life of a gateway that never meets the cloud: an event, a reading, a crash.
fn crash_once(medium: &Arc<Mutex<Medium>>, life: u64) {
    let now = life * 10_000;
    let mut core = in_model(medium, 10_000_000, life, now);
    core.append(Lane::Event, vec![record(2 * life, 60)], at(now + 10));
    core.append(
        Lane::Telemetry,
        vec![record(2 * life + 1, 60)],
        at(now + 20),
    );
    core.tick(at(now + 5000));
}

fn epochs(core: &Core, now: u64) -> usize {
    let held = core.state(at(now)).held;
    let epochs: std::collections::BTreeSet<_> = held.iter().map(|held| held.epoch).collect();
    epochs.len()
}

#[test]
fn a_gateway_that_crashes_for_ever_without_the_cloud_lists_a_bounded_number_of_epochs() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let lives = 2 * MAX_EPOCHS as u64;
    let mut most = 0;
    for life in 1..=lives {
        crash_once(&medium, life);
        most = most.max(medium.lock().unwrap().tally_bytes());
    }
    assert!(
        most < 512 * MAX_EPOCHS,
        "{most} bytes are written at each commit"
    );
    let now = (lives + 1) * 10_000;
    let mut core = in_model(&medium, 10_000_000, lives + 1, now);
    assert!(epochs(&core, now) <= MAX_EPOCHS);

    // Each life's reading is held, or within the bound of the claim over its time.
    let held = all(&mut core, Lane::Telemetry, now);
    let lost: u64 = (1..=lives)
        .map(|life| record(2 * life + 1, 60))
        .filter(|record| held.iter().all(|held| held.body != record.body))
        .map(|record| record.summary.readings)
        .sum();
    assert!(lost > 0, "some were given up");
    let claims = claims(&mut core, now);
    let merged = claims.iter().filter(|c| {
        (c.lane, c.reason, c.range.last()) == (Lane::Telemetry, LossReason::Evicted, SEQ_MAX)
    });
    let merged: Vec<_> = merged.collect();
    assert_eq!(merged.len(), 1, "one claim for all of them: {merged:?}");
    assert!(merged[0].at_most.unwrap() >= lost);
    assert_eq!(merged[0].epoch, Epoch(1));
    // Crash tails of those that stay are still claimed one by one.
    let tails = claims.iter().filter(|c| c.reason == LossReason::CrashTail);
    let tails: std::collections::BTreeSet<_> = tails.map(|c| c.epoch).collect();
    assert!(tails.contains(&Epoch(lives)) && tails.len() < MAX_EPOCHS);

    for lane in Lane::ALL {
        settle_all(&mut core, lane, now + 10);
    }
    assert_eq!(epochs(&core, now + 20), 1, "nothing stays open for ever");
}

#[test]
fn a_power_cut_while_epochs_are_merged_leaves_every_reading_held_or_claimed() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    for life in 1..=MAX_EPOCHS as u64 {
        crash_once(&medium, life);
    }
    let now = 10_000_000;
    for step in 1.. {
        let copy = Arc::new(Mutex::new(medium.lock().unwrap().clone()));
        {
            let mut copy = copy.lock().unwrap();
            copy.crash_at = Some((copy.ios + step, step % 2 == 0));
        }
        drop(in_model(&copy, 10_000_000, 1_000_000, now));
        let died = copy.lock().unwrap().dead;
        copy.lock().unwrap().power_up(step as usize % 3);
        let mut core = in_model(&copy, 10_000_000, 1_000_001, now + 10_000);
        let held = all(&mut core, Lane::Telemetry, now + 10_000);
        let claims = claims(&mut core, now + 10_000);
        for life in 1..=MAX_EPOCHS as u64 {
            let is_held = held.iter().any(|held| held.key.epoch == Epoch(life));
            let merged = claims.iter().any(|claim| {
                claim.reason == LossReason::Evicted
                    && claim.range.last() == SEQ_MAX
                    && claim.lane == Lane::Telemetry
            });
            assert!(is_held || merged, "step {step}: life {life}");
        }
        if !died {
            assert!(held.len() < MAX_EPOCHS, "they were merged");
            break;
        }
    }
}
