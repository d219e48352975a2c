//! Shares of the disk, commit intervals, and what a lane does when it is full.

use super::{at, config, record};
use crate::config::SpoolConfig;
use crate::core::Core;
use crate::lanes::{LaneConfig, LaneConfigs, WhenFull};
use crate::mem_store::{Medium, MemStore};
use crate::record::{Cursor, FetchLimit, Settlement, SpooledRecord};
use crate::state::SpoolAlarm;
use protocols_model::{BootId, Claim, Epoch, Lane, LossReason, SeqRange};
use protocols_wire::{Body, Record};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ALL: FetchLimit = FetchLimit {
    max_bytes: 1 << 30,
    max_records: 1 << 20,
};

fn start(medium: &Arc<Mutex<Medium>>, change: impl Fn(&mut SpoolConfig)) -> Core {
    let mut config = config(Path::new("/nowhere"), 100_000 * 32 / 25);
    config.lanes = LaneConfigs::default();
    change(&mut config);
    let store = Box::new(MemStore(Arc::clone(medium)));
    Core::start(config, BootId(1), store, Epoch(1), at(0)).0
}

fn lane(share_percent: u8, full: WhenFull) -> LaneConfig {
    LaneConfig {
        share_percent,
        full,
        commit: None,
    }
}

fn all(core: &mut Core, lane: Lane) -> Vec<SpooledRecord> {
    core.read(lane, Cursor::START, ALL, at(100_000))
}

fn claims(core: &mut Core) -> Vec<Claim> {
    let events = all(core, Lane::Event);
    let claims = events
        .iter()
        .filter_map(|e| match Record::decode(&e.body).ok()?.body {
            Body::Claims(claims) => Some(claims),
            _ => None,
        });
    claims.flatten().collect()
}

#[test]
fn a_lane_that_keeps_refuses_new_records_into_a_claim_and_takes_some_again_later() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = start(&medium, |_| {});
    for id in 0..60 {
        core.append(Lane::Alarm, vec![record(id, 500)], at(id * 300));
        core.tick(at(id * 300));
    }
    let held = all(&mut core, Lane::Alarm);
    // 5 percent of 93 750 bytes: eight of 566.
    assert_eq!(held.len(), 8);
    assert_eq!(held.last().unwrap().key.seq, 8, "the first ones stay");
    let state = core.state(at(20_000));
    assert!(state.alarms.contains(&SpoolAlarm::Refusing), "{state:?}");
    assert!(!state.alarms.contains(&SpoolAlarm::AtBound));
    assert_eq!(state.last_seq(Lane::Alarm), 60, "each has its seq");
    let claims = claims(&mut core);
    let of_alarms = || claims.iter().filter(|claim| claim.lane == Lane::Alarm);
    let told: u64 = of_alarms().map(|claim| claim.range.count()).sum();
    assert_eq!(told, 52);
    assert!(of_alarms().all(|claim| claim.reason == LossReason::Evicted));
    let stored = held.iter().filter_map(|h| SeqRange::one(h.key.seq));
    let settlement = Settlement {
        epoch: Epoch(1),
        lane: Lane::Alarm,
        stored: stored.collect(),
        refused: Vec::new(),
    };
    core.settle(&settlement, at(21_000));
    core.tick(at(21_000));
    core.append(Lane::Alarm, vec![record(99, 500)], at(21_000));
    assert_eq!(all(&mut core, Lane::Alarm).len(), 1);
    assert!(core.state(at(21_000)).alarms.is_empty());
}

#[test]
fn a_lane_borrows_what_others_leave_and_gives_it_back_when_they_need_it() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = start(&medium, |config| {
        config.lanes.telemetry = lane(75, WhenFull::DropOldest);
    });
    let mut now = 0;
    for id in 0..200 {
        now += 100;
        core.append(Lane::Bulk, vec![record(id, 900)], at(now));
        core.tick(at(now));
    }
    let uses = |core: &Core, lane: Lane| core.state(at(0)).lanes[usize::from(lane.to_index())];
    assert!(uses(&core, Lane::Bulk).bytes > 80_000, "borrows");
    for id in 200..500 {
        now += 100;
        core.append(Lane::Telemetry, vec![record(id, 900)], at(now));
        core.tick(at(now));
    }
    let bulk = uses(&core, Lane::Bulk);
    assert!(bulk.bytes <= bulk.share_bytes, "gives back: {bulk:?}");
    assert!(bulk.bytes + 4000 > bulk.share_bytes, "not more: {bulk:?}");
    let telemetry = uses(&core, Lane::Telemetry);
    assert!(
        telemetry.bytes + 4000 > telemetry.share_bytes,
        "{telemetry:?}"
    );
}

#[test]
fn each_lane_is_on_disk_after_its_own_interval() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = start(&medium, |config| {
        config.lanes.bulk.commit = Some(Duration::from_secs(20));
        config.lanes.event.commit = Some(Duration::from_millis(100));
    });
    let on_disk = |core: &Core| core.on_disk().iter().map(|k| k.lane).collect::<Vec<_>>();
    core.append(Lane::Bulk, vec![record(0, 100)], at(0));
    core.append(Lane::Telemetry, vec![record(1, 100)], at(0));
    core.append(Lane::Event, vec![record(2, 100)], at(0));
    core.tick(at(99));
    assert_eq!(on_disk(&core), []);
    core.tick(at(100));
    assert_eq!(on_disk(&core), [Lane::Event]);
    core.tick(at(2_000));
    assert_eq!(on_disk(&core), [Lane::Event, Lane::Telemetry]);
    core.tick(at(9_999));
    assert_eq!(on_disk(&core).len(), 2);
    core.tick(at(20_000));
    assert_eq!(on_disk(&core).len(), 3);
    let state = core.state(at(20_000));
    assert_eq!(state.commit_interval, Duration::from_secs(20));
}

#[test]
fn what_the_uplink_is_given_from_disk_is_noted_before_and_for_many_at_once() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = start(&medium, |config| {
        config.lanes.telemetry = lane(75, WhenFull::Thin);
    });
    let mut now = 0;
    for id in 0..20 {
        now += 1000;
        core.append(Lane::Telemetry, vec![record(id, 400)], at(now));
        core.tick(at(now));
    }
    now += 5_000;
    core.tick(at(now));
    let ios = medium.lock().unwrap().ios;
    let few = FetchLimit {
        max_bytes: 1 << 20,
        max_records: 3,
    };
    let first = core.fetch(Lane::Telemetry, Cursor::START, few, at(now));
    assert_eq!(medium.lock().unwrap().ios, ios + 1);
    for _ in 0..5 {
        core.fetch(Lane::Telemetry, first[2].cursor, few, at(now));
    }
    assert_eq!(medium.lock().unwrap().ios, ios + 1, "once for many");
    let noted = medium.lock().unwrap().last_tally();
    let noted = String::from_utf8(noted).unwrap();
    assert!(noted.contains("\"sent\":[[1,20]]"), "{noted}");
}

#[test]
fn a_days_limit_on_writing_stretches_every_lane_but_the_first_alarm() {
    let medium = Arc::new(Mutex::new(Medium::default()));
    let mut core = start(&medium, |config| {
        config.max_write_per_day = Some(1 << 20);
    });
    // As if commits cost what they cost on flash: nobody writes to a medium in memory.
    core.cost_of_a_commit(1 << 20);
    let state = core.state(at(0));
    assert_eq!(state.commit_interval, Duration::from_secs(30));
    assert!(state.alarms.contains(&SpoolAlarm::Stretched));
    assert!(state.alarms.contains(&SpoolAlarm::WriteLimit));
    core.append(Lane::Alarm, vec![record(0, 100)], at(1000));
    core.tick(at(1000));
    assert_eq!(core.on_disk().len(), 1, "the first at once");
    core.cost_of_a_commit(1 << 20);
    core.append(Lane::Alarm, vec![record(1, 100)], at(2000));
    core.append(Lane::Telemetry, vec![record(2, 100)], at(2000));
    core.tick(at(10_000));
    assert_eq!(core.on_disk().len(), 1, "the next with the next commit");
    core.tick(at(31_000));
    assert_eq!(core.on_disk().len(), 3);
}
