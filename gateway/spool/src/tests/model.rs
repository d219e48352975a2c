//! The model test: random actions against a specification of what may happen to a record.
//!
//! The specification knows every record ever appended. At any time each one must be held (and come
//! back byte for byte, in order), settled, or named by a claim; after a crash only what had not been
//! reported durable may be answered by a crash tail; counts in claims are exact; no identity is given
//! twice. `a_crash_at_every_io_…` runs an action list once to count its I/Os, then again for each of
//! them with the power going right before or right after it.

use super::{Dice, Mutant, at, config, record};
use crate::core::Core;
use crate::mem_store::{Medium, MemStore};
use crate::record::{Cursor, FetchLimit, Settlement, SpooledRecord};
use bytes::Bytes;
use protocols_model::{
    BootId, Claim, Epoch, Lane, LossReason, RecordKey, RefuseReason, SeqRange, SeqSet,
};
use protocols_wire::{Body, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, Copy)]
enum Action {
    Append(Lane, u64, usize),
    Settle(Lane, u64),
    Refuse(Lane),
    Advance(u64),
    CleanRestart,
    Crash,
    Full(bool),
    Damage(u64),
    BreakStore,
}

fn lane(dice: &mut Dice) -> Lane {
    match dice.below(10) {
        0 => Lane::Alarm,
        1..=2 => Lane::Event,
        3..=7 => Lane::Telemetry,
        _ => Lane::Bulk,
    }
}

fn action(dice: &mut Dice, faults: bool) -> Action {
    match dice.below(100) {
        0..=39 => Action::Append(
            lane(dice),
            1 + dice.below(4),
            20 + dice.below(1500) as usize,
        ),
        40..=59 => Action::Settle(lane(dice), 1 + dice.below(100)),
        60..=62 => Action::Refuse(lane(dice)),
        63..=84 => Action::Advance(dice.below(3) * 700 + dice.below(700)),
        85..=87 => Action::CleanRestart,
        88..=92 => Action::Crash,
        93..=94 if faults => Action::Full(true),
        95..=96 if faults => Action::Full(false),
        97 if faults => Action::Damage(dice.next()),
        98 if faults => Action::BreakStore,
        _ => Action::Advance(12_000),
    }
}

#[derive(Debug, Clone)]
struct Known {
    body: Bytes,
    readings: u64,
    settled: bool,
    /// Was on disk when the power went or the process ended.
    durable: bool,
}

struct World {
    medium: Arc<Mutex<Medium>>,
    mutant: Mutant,
    core: Core,
    epochs: BTreeSet<Epoch>,
    /// Epochs that the disk has heard of: of one that lived and died while the disk was unusable,
    /// nothing can be left.
    on_record: BTreeSet<Epoch>,
    known: BTreeMap<RecordKey, Known>,
    /// Every claim ever seen, and the record it is in: it counts while that is held or settled.
    claims: Vec<(RecordKey, Claim)>,
    now: u64,
    next_id: u64,
    next_epoch: u64,
    damage_allowed: bool,
    coverage: Coverage,
}

const QUOTA: u64 = 24_000;

impl World {
    fn new(mutant: Mutant) -> Self {
        let medium = Arc::new(Mutex::new(Medium::default()));
        let core = Self::open(&medium, mutant, 1, 0);
        let mut world = Self {
            medium,
            mutant,
            epochs: BTreeSet::from([core.epoch()]),
            on_record: BTreeSet::new(),
            core,
            known: BTreeMap::new(),
            claims: Vec::new(),
            now: 0,
            next_id: 0,
            next_epoch: 2,
            damage_allowed: false,
            coverage: Coverage::default(),
        };
        world.judge();
        world
    }

    fn open(medium: &Arc<Mutex<Medium>>, mutant: Mutant, epoch: u64, now: u64) -> Core {
        let store = Box::new(MemStore(Arc::clone(medium)));
        let mut config = config(Path::new("/nowhere"), QUOTA);
        config.memory_buffer_bytes = 6_000;
        config.rotate_above_bytes = 4_000;
        config.mutant = mutant;
        // Epochs are random: here they only have to differ, and not to rise with time.
        let epoch = Epoch(epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Core::start(config, BootId(1), store, epoch, at(now)).0
    }

    fn keep(&mut self, dice: &mut Dice) {
        let mut medium = self.medium.lock().unwrap();
        let unsynced = medium.unsynced() as u64;
        medium.power_up(dice.below(unsynced + 1) as usize);
    }

    fn start(&mut self) {
        let core = Self::open(&self.medium, self.mutant, self.next_epoch, self.now);
        self.next_epoch += 1;
        self.coverage.add(&self.core);
        self.core = core;
        let fresh = self.epochs.insert(self.core.epoch());
        assert!(fresh, "the epoch was used before");
        self.judge();
    }

    /// Marks what is on disk: a crash may not take it.
    fn note_durable(&mut self) {
        for key in self.core.on_disk() {
            if let Some(known) = self.known.get_mut(&key) {
                known.durable = true;
            }
        }
    }

    fn act(&mut self, action: Action, dice: &mut Dice) {
        match action {
            Action::Append(lane, count, len) => {
                for _ in 0..count {
                    let record = record(self.next_id, len);
                    self.next_id += 1;
                    let before = self.core.state(at(self.now)).last_seq(lane);
                    let readings = record.summary.readings;
                    let key = RecordKey {
                        epoch: self.core.epoch(),
                        lane,
                        seq: before + 1,
                    };
                    let known = Known {
                        body: record.body.clone(),
                        readings,
                        settled: false,
                        durable: false,
                    };
                    let reused = self.known.insert(key, known);
                    assert!(reused.is_none(), "{key:?} was given twice");
                    self.core.append(lane, vec![record], at(self.now));
                    self.learn();
                }
            }
            Action::Settle(lane, percent) => {
                let held = self.fetch_all(lane);
                let mut by_epoch: BTreeMap<Epoch, SeqSet> = BTreeMap::new();
                for record in held.iter().filter(|_| dice.chance(percent)) {
                    by_epoch
                        .entry(record.key.epoch)
                        .or_default()
                        .insert_one(record.key.seq);
                }
                for (epoch, stored) in by_epoch {
                    for (key, known) in &mut self.known {
                        if key.epoch == epoch && key.lane == lane && stored.contains(key.seq) {
                            known.settled = true;
                        }
                    }
                    let settlement = Settlement {
                        epoch,
                        lane,
                        stored,
                        refused: Vec::new(),
                    };
                    let outcome = self.core.settle(&settlement, at(self.now));
                    assert_eq!(outcome.unknown, 0);
                    self.learn();
                }
            }
            Action::Refuse(lane) => {
                if let Some(record) = self.fetch_all(lane).first() {
                    let refused = vec![(
                        SeqRange::one(record.key.seq).unwrap(),
                        RefuseReason::Malformed,
                    )];
                    // A refused claim is answered by nothing: the two sides disagree about claims.
                    let claim = claims_in(&record.body).is_some();
                    if claim {
                        return;
                    }
                    let settlement = Settlement {
                        epoch: record.key.epoch,
                        lane,
                        stored: SeqSet::new(),
                        refused,
                    };
                    self.core.settle(&settlement, at(self.now));
                    self.learn();
                }
            }
            Action::Advance(millis) => {
                let end = self.now + millis;
                loop {
                    let wake = self.core.next_wake().0.as_millis() as u64;
                    self.now = wake.clamp(self.now + 1, end.max(self.now + 1));
                    self.core.tick(at(self.now));
                    self.learn();
                    if self.now >= end {
                        break;
                    }
                }
            }
            Action::CleanRestart => {
                let clean = self.core.stop(true, at(self.now));
                self.learn();
                let dead = self.medium.lock().unwrap().dead;
                if clean && !dead {
                    self.note_durable();
                    let lost: Vec<_> = self
                        .core
                        .in_memory()
                        .into_iter()
                        .filter(|key| self.known.contains_key(key))
                        .collect();
                    assert!(lost.is_empty(), "a clean stop left {lost:?} in memory");
                }
                self.crash(dice);
            }
            Action::Crash => self.crash(dice),
            Action::Full(full) => self.medium.lock().unwrap().full = full,
            Action::Damage(nth) => {
                self.damage_allowed = true;
                self.medium.lock().unwrap().damage(nth as usize);
            }
            Action::BreakStore => {
                self.damage_allowed = true;
                self.medium.lock().unwrap().broken = true;
                self.crash(dice);
            }
        }
        if self.medium.lock().unwrap().dead {
            self.crash(dice);
        }
    }

    fn crash(&mut self, dice: &mut Dice) {
        self.note_durable();
        self.keep(dice);
        self.start();
    }

    fn fetch_all(&mut self, lane: Lane) -> Vec<SpooledRecord> {
        let mut cursor = Cursor::START;
        let mut all: Vec<SpooledRecord> = Vec::new();
        loop {
            let limit = FetchLimit {
                max_bytes: 700,
                max_records: 5,
            };
            let part = self.core.fetch(lane, cursor, limit, at(self.now));
            let Some(last) = part.last() else {
                // Damaged ones may have been stepped over: look once more behind them.
                let again = self.core.fetch(lane, cursor, limit, at(self.now));
                if again.is_empty() {
                    return all;
                }
                continue;
            };
            cursor = last.cursor;
            for record in part {
                if let Some(before) = all.last() {
                    assert!(before.cursor < record.cursor, "order: {:?}", record.key);
                }
                all.push(record);
            }
        }
    }

    /// Looks at everything held, remembers claims, compares bytes.
    fn learn(&mut self) {
        for lane in Lane::ALL {
            for record in self.fetch_all(lane) {
                let claims = claims_in(&record.body);
                if let Some(claims) = claims {
                    assert_eq!(lane, Lane::Event, "claims travel in the event lane");
                    let known = self.known.entry(record.key).or_insert_with(|| Known {
                        body: record.body.clone(),
                        readings: 0,
                        settled: false,
                        durable: false,
                    });
                    assert_eq!(known.body, record.body, "{:?} changed", record.key);
                    for claim in claims {
                        let claim = (record.key, claim);
                        if !self.claims.contains(&claim) {
                            self.check_claim(&claim.1);
                            self.claims.push(claim);
                        }
                    }
                    continue;
                }
                let known = self.known.get(&record.key);
                let known = known.unwrap_or_else(|| panic!("{:?} was never appended", record.key));
                assert_eq!(known.body, record.body, "{:?} changed", record.key);
                assert_eq!(known.readings, record.summary.readings);
            }
        }
    }

    /// Counts in claims are exact where they are given.
    fn check_claim(&self, claim: &Claim) {
        let Some(readings) = claim.readings else {
            return;
        };
        let lost: u64 = self
            .known
            .iter()
            .filter(|(key, _)| {
                (key.epoch, key.lane) == (claim.epoch, claim.lane) && claim.range.contains(key.seq)
            })
            .map(|(_, known)| known.readings)
            .sum();
        assert_eq!(readings, lost, "count of {claim:?}");
    }

    /// Every record ever appended is held, settled or claimed, and by nothing worse than it may be.
    fn judge(&mut self) {
        self.learn();
        let mut held = BTreeSet::new();
        for lane in Lane::ALL {
            held.extend(self.fetch_all(lane).into_iter().map(|record| record.key));
        }
        // Looking may have found damage, and claimed it.
        self.learn();
        let on_disk = self.core.on_disk();
        let unreadable = self.core.disk_trouble().is_some();
        if !unreadable {
            self.on_record.insert(self.core.epoch());
        }
        let current = self.core.epoch();
        let on_record = &self.on_record;
        // Held on a disk that cannot be read now; or of an epoch that only memory ever knew.
        let out_of_sight = |key: &RecordKey| {
            let elsewhere = on_disk.contains(key) || key.epoch != current;
            unreadable && elsewhere || key.epoch != current && !on_record.contains(&key.epoch)
        };
        for (key, known) in &self.known {
            if known.settled || held.contains(key) || out_of_sight(key) {
                continue;
            }
            let mut reasons = self
                .claims
                .iter()
                .filter(|(record, claim)| {
                    (claim.epoch, claim.lane) == (key.epoch, key.lane)
                        && claim.range.contains(key.seq)
                        && (held.contains(record)
                            || self.known[record].settled
                            || unreadable && out_of_sight(record))
                })
                .map(|(_, claim)| claim.reason)
                .peekable();
            assert!(
                reasons.peek().is_some(),
                "{key:?} is neither held nor settled nor claimed"
            );
            if known.durable && !self.damage_allowed {
                assert!(
                    reasons.any(|reason| !matches!(
                        reason,
                        LossReason::CrashTail | LossReason::Damaged | LossReason::Quarantined
                    )),
                    "{key:?} was durable and is gone"
                );
            }
        }
    }

    /// Whatever is settled in the end lets everything close.
    fn drain(&mut self, dice: &mut Dice) {
        self.medium.lock().unwrap().full = false;
        for _ in 0..6 {
            self.act(Action::Advance(61_000), dice);
        }
        self.judge();
        for _ in 0..4 {
            for lane in Lane::ALL {
                self.act(Action::Settle(lane, 100), dice);
            }
            self.act(Action::Advance(12_000), dice);
        }
        let state = self.core.state(at(self.now));
        assert_eq!(state.records, 0, "{state:?}");
        assert_eq!(state.live_bytes, 0, "{state:?}");
        assert!(state.alarms.is_empty(), "{state:?}");
        assert!(
            state
                .held
                .iter()
                .all(|held| held.epoch == self.core.epoch()),
            "old epochs stay open: {:?}",
            state.held
        );
    }
}

fn claims_in(body: &[u8]) -> Option<Vec<Claim>> {
    match Record::decode(body).ok()?.body {
        Body::Claims(claims) => Some(claims),
        _ => None,
    }
}

/// How often what happened, over all cases of a test.
#[derive(Debug, Default)]
struct Coverage {
    restarts: u64,
    evicted: u64,
    damaged: u64,
    refused: u64,
    failed_commits: u64,
    quarantined: u64,
    rotations: u64,
    settled: u64,
    settled_in_memory: u64,
}

impl Coverage {
    fn add(&mut self, core: &Core) {
        let counters = core.state(at(0)).counters;
        self.restarts += 1;
        self.evicted += counters.evicted_records;
        self.damaged += counters.damaged_records;
        self.refused += counters.refused;
        self.failed_commits += counters.failed_commits;
        self.quarantined += counters.quarantined_stores;
        self.rotations += counters.rotations;
        self.settled += counters.settled;
        self.settled_in_memory += counters.settled_in_memory;
    }
}

fn run(seed: u64, steps: usize, faults: bool, coverage: &mut Coverage) {
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let mut world = World::new(Mutant::None);
    for step in 0..steps {
        let action = action(&mut dice, faults);
        println!("{step}: {action:?}");
        world.act(action, &mut dice);
        world.judge();
        let state = world.core.state(at(world.now));
        assert!(
            state.live_bytes <= QUOTA + 8_000,
            "above the bound: {state:?}"
        );
    }
    world.drain(&mut dice);
    world.coverage.add(&world.core);
    let sum = world.coverage;
    coverage.restarts += sum.restarts;
    coverage.evicted += sum.evicted;
    coverage.damaged += sum.damaged;
    coverage.refused += sum.refused;
    coverage.failed_commits += sum.failed_commits;
    coverage.quarantined += sum.quarantined;
    coverage.rotations += sum.rotations;
    coverage.settled += sum.settled;
    coverage.settled_in_memory += sum.settled_in_memory;
}

/// More cases by `FOGLINE_MODEL_CASES`.
fn cases(usual: u64) -> u64 {
    let more = std::env::var("FOGLINE_MODEL_CASES").ok();
    more.and_then(|n| n.parse().ok()).unwrap_or(usual)
}

#[test]
fn whatever_happens_each_record_is_held_settled_or_claimed() {
    let mut coverage = Coverage::default();
    for seed in 0..cases(150) {
        run(seed, 60, false, &mut coverage);
    }
    println!("{coverage:?}");
    assert!(coverage.evicted > 0 && coverage.rotations > 0 && coverage.refused > 0);
    assert!(coverage.settled_in_memory > 0 && coverage.settled_in_memory < coverage.settled);
}

#[test]
fn damage_broken_stores_and_full_disks_are_claimed_too() {
    let mut coverage = Coverage::default();
    for seed in 1_000_000..1_000_000 + cases(150) {
        run(seed, 60, true, &mut coverage);
    }
    println!("{coverage:?}");
    assert!(coverage.damaged > 0 && coverage.quarantined > 0 && coverage.failed_commits > 0);
}

fn run_with_crash_at(
    seed: u64,
    steps: usize,
    crash_at: Option<(u64, bool)>,
    mutant: Mutant,
) -> u64 {
    let mut dice = Dice::new(seed);
    let mut world = World::new(mutant);
    let actions: Vec<_> = (0..steps).map(|_| action(&mut dice, false)).collect();
    world.medium.lock().unwrap().crash_at = crash_at;
    for action in actions {
        world.act(action, &mut dice);
        world.judge();
    }
    let ios = world.medium.lock().unwrap().ios;
    world.drain(&mut dice);
    ios
}

#[test]
fn a_crash_at_every_io_of_a_run_loses_nothing_silently() {
    let mut crashes = 0;
    for seed in 0..cases(3) {
        let ios = run_with_crash_at(seed, 30, None, Mutant::None);
        for io in 1..=ios {
            for effect in [false, true] {
                println!("seed {seed}, crash at {io} of {ios}, effect {effect}");
                run_with_crash_at(seed, 30, Some((io, effect)), Mutant::None);
                crashes += 1;
            }
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 100);
}

#[test]
fn the_model_notices_a_seq_that_is_given_twice() {
    let noticed = std::panic::catch_unwind(|| {
        for seed in 0..20 {
            run_with_crash_at(seed, 60, None, Mutant::SeqReused);
        }
    });
    assert!(noticed.is_err(), "the planted fault went unnoticed");
}
