//! The cloud comes back with the database of a backup: what was let go since is claimed, once.

use super::{at, config, record};
use crate::core::Core;
use crate::mem_store::{Medium, MemStore};
use crate::record::{Cursor, FetchLimit, Settlement};
use protocols_model::seq::SEQ_MAX;
use protocols_model::{BootId, Claim, Epoch, Lane, LossReason, SeqRange, SeqSet};
use protocols_wire::{Body, Record};
use std::path::Path;
use std::sync::{Arc, Mutex};

type Disk = Arc<Mutex<Medium>>;

fn start(disk: &Disk, epoch: u64, now: u64) -> Core {
    let store = Box::new(MemStore(Arc::clone(disk)));
    let config = config(Path::new("/nowhere"), 1_000_000);
    Core::start(config, BootId(1), store, Epoch(epoch), at(now)).0
}

fn append(core: &mut Core, count: u64, now: u64) {
    let records = (0..count).map(|id| record(id, 100)).collect();
    core.append(Lane::Telemetry, records, at(now));
}

fn settle(core: &mut Core, epoch: u64, lane: Lane, first: u64, last: u64, now: u64) {
    let stored: SeqSet = SeqRange::new(first, last).into_iter().collect();
    let settlement = Settlement {
        epoch: Epoch(epoch),
        lane,
        stored,
        refused: Vec::new(),
    };
    core.settle(&settlement, at(now));
}

fn restored(core: &mut Core, now: u64) -> Vec<Claim> {
    let limit = FetchLimit {
        max_bytes: 1 << 20,
        max_records: 1000,
    };
    let events = core.fetch(Lane::Event, Cursor::START, limit, at(now));
    let claims = events
        .iter()
        .flat_map(|event| match Record::decode(&event.body).unwrap().body {
            Body::Claims(claims) => claims,
            _ => Vec::new(),
        });
    claims
        .filter(|claim| claim.reason == LossReason::CloudRestored)
        .collect()
}

fn named(claims: &[Claim]) -> Vec<(u64, Lane, u64, u64)> {
    let mut named: Vec<_> = claims
        .iter()
        .map(|c| (c.epoch.0, c.lane, c.range.first(), c.range.last()))
        .collect();
    named.sort_unstable();
    named
}

#[test]
fn what_was_let_go_is_claimed_once_when_the_cloud_settles_in_another_store() {
    let disk = Disk::default();
    let mut core = start(&disk, 1, 0);
    append(&mut core, 10, 10);
    core.store_generation(5, at(20));
    settle(&mut core, 1, Lane::Telemetry, 1, 6, 30);
    core.store_generation(5, at(40));
    assert!(
        restored(&mut core, 50).is_empty(),
        "the same store as before"
    );

    core.store_generation(6, at(60));
    let claims = restored(&mut core, 70);
    assert_eq!(named(&claims), [(1, Lane::Telemetry, 1, 6)]);
    assert_eq!(claims[0].readings, None, "nobody can count them any more");
    assert!(claims[0].from <= at(10).wall && claims[0].to >= at(30).wall);
    core.store_generation(6, at(80));
    assert_eq!(restored(&mut core, 90), claims);

    // The power goes: claims and generation are on disk together.
    drop(core);
    let mut core = start(&disk, 2, 100);
    core.store_generation(6, at(110));
    assert_eq!(restored(&mut core, 120), claims);
}

#[test]
fn a_restore_while_the_gateway_was_off_is_noticed_and_covers_epochs_that_were_done_with() {
    let disk = Disk::default();
    let mut core = start(&disk, 1, 0);
    core.store_generation(5, at(10));
    append(&mut core, 4, 20);
    settle(&mut core, 1, Lane::Telemetry, 1, 4, 30);
    assert!(core.stop(true, at(40)));
    // The next one ends without a stop; its crash tail is claimed and settled.
    let mut core = start(&disk, 2, 50);
    append(&mut core, 3, 60);
    core.tick(at(5000));
    settle(&mut core, 2, Lane::Telemetry, 1, 3, 5010);
    drop(core);
    let mut core = start(&disk, 3, 6000);
    // Its deletion had not reached the disk: held, sent and settled once more.
    settle(&mut core, 2, Lane::Telemetry, 1, 3, 6010);
    settle(&mut core, 3, Lane::Event, 1, 1, 6010);
    assert!(
        core.state(at(6020))
            .held
            .iter()
            .all(|h| h.epoch == Epoch(3))
    );
    assert!(core.stop(true, at(6030)));

    let mut core = start(&disk, 4, 7000);
    core.store_generation(6, at(7010));
    let claims = named(&restored(&mut core, 7020));
    let unclean = Lane::ALL.map(|lane| (2, lane, 1, SEQ_MAX));
    let mut expected = vec![(1, Lane::Telemetry, 1, 4)];
    expected.extend(unclean);
    expected.push((3, Lane::Event, 1, 1));
    assert_eq!(claims, expected);
}

#[test]
fn a_crash_before_the_claims_are_durable_has_them_made_again() {
    for effect in [false, true] {
        for step in 1.. {
            let disk = Disk::default();
            let mut core = start(&disk, 1, 0);
            core.store_generation(5, at(10));
            append(&mut core, 4, 20);
            core.tick(at(5000));
            settle(&mut core, 1, Lane::Telemetry, 1, 3, 5010);
            core.tick(at(20_000));
            let reached = {
                let mut medium = disk.lock().unwrap();
                medium.crash_at = Some((medium.ios + step, effect));
                medium.ios
            };
            core.store_generation(6, at(20_020));
            drop(core);
            let mut medium = disk.lock().unwrap();
            let died = medium.dead;
            assert!(died || medium.ios > reached);
            medium.power_up(0);
            drop(medium);
            let mut core = start(&disk, 2, 21_000);
            core.store_generation(6, at(21_010));
            let claims = named(&restored(&mut core, 21_020));
            assert!(
                claims.iter().any(|&(epoch, lane, first, last)| {
                    (epoch, lane, first) == (1, Lane::Telemetry, 1) && last >= 3
                }),
                "step {step}, effect {effect}: {claims:?}"
            );
            if !died {
                break;
            }
        }
    }
}
