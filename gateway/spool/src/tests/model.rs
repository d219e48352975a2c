//! The model test: random actions against a specification of what may happen to a record.
//!
//! Telemetry of a run that thins is readings with numbers of their own; a model of the cloud stores what
//! was sent, also late and after a crash, strikes claims, and notices a reading that comes twice. In the
//! end, per point: taken = stored + in the ledger, and filtered counts arrived once.
//!
//! The specification knows every record ever appended. At any time each one must be held (and come
//! back byte for byte, in order), settled, or named by a claim; after a crash only what had not been
//! reported durable may be answered by a crash tail; counts in claims are exact; no identity is given
//! twice. `a_crash_at_every_io_…` runs an action list once to count its I/Os, then again for each of
//! them with the power going right before or right after it.

use super::{Dice, Mutant, at, config, readings, record};
use crate::core::{Core, Now};
use crate::lanes::{LaneConfigs, WhenFull};
use crate::mem_store::{Medium, MemStore};
use crate::record::{Cursor, FetchLimit, Settlement, SpooledRecord};
use bytes::Bytes;
use protocols_model::{
    BootId, Claim, Epoch, Lane, LossReason, RecordKey, RefuseReason, SeqRange, SeqSet, Value,
};
use protocols_wire::{Body, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, Copy)]
enum Action {
    Append(Lane, u64, usize),
    Settle(Lane, u64),
    /// The uplink is given some records: from now on they may arrive at any time, or never.
    HandOut(Lane, u64, bool),
    /// Of what is under way so many percent arrive, and so many are lost.
    Arrive(u64, u64),
    /// The cloud says what it has.
    Hello,
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

/// As [`action`], for a spool that thins: an uplink that comes and goes.
fn thinning_action(dice: &mut Dice, faults: bool) -> Action {
    match dice.below(100) {
        0..=44 => Action::Append(
            Lane::Telemetry,
            1 + dice.below(4),
            5 + dice.below(150) as usize,
        ),
        45..=49 => Action::Append(lane(dice), 1 + dice.below(2), 20 + dice.below(600) as usize),
        50..=57 => Action::HandOut(lane(dice), 1 + dice.below(6), dice.chance(30)),
        58..=61 => Action::Arrive(dice.below(101), dice.below(30)),
        62..=63 => Action::Hello,
        64..=66 => Action::Settle(lane(dice), 1 + dice.below(60)),
        67..=86 => Action::Advance(dice.below(3) * 700 + dice.below(700)),
        87..=89 => Action::CleanRestart,
        90..=93 => Action::Crash,
        94 if faults => Action::Full(true),
        95..=96 if faults => Action::Full(false),
        97 if faults => Action::Damage(dice.next()),
        98 if faults => Action::BreakStore,
        _ => Action::Advance(12_000),
    }
}

/// Readings and filtered counts by point.
type Counts = BTreeMap<u32, (u64, u64)>;

fn add(counts: &mut Counts, more: &Counts) {
    for (&point, &(readings, filtered)) in more {
        let sum = counts.entry(point).or_default();
        sum.0 += readings;
        sum.1 += filtered;
    }
}

/// What a record of readings holds: each reading's number, and the counts.
fn contents(body: &[u8]) -> Option<(Vec<(u32, i64)>, Counts)> {
    let Body::Telemetry(telemetry) = Record::decode(body).ok()?.body else {
        return None;
    };
    let (mut ids, mut counts) = (Vec::new(), Counts::new());
    for column in telemetry.columns {
        let count = (column.samples.len() as u64, column.filtered);
        add(&mut counts, &Counts::from([(column.index, count)]));
        ids.extend(column.samples.iter().map(|sample| match sample.value {
            Some(Value::I64(id)) => (column.index, id),
            _ => panic!("a reading without its number"),
        }));
    }
    Some((ids, counts))
}

/// An entry of the ledger.
#[derive(Debug)]
struct Lost {
    epoch: Epoch,
    lane: Lane,
    reason: LossReason,
    seqs: SeqSet,
    /// `None` where the claim could not count.
    counts: Option<Counts>,
}

/// The other side.
#[derive(Debug, Default)]
struct Cloud {
    stored: BTreeMap<RecordKey, Counts>,
    ids: BTreeSet<(u32, i64)>,
    ledger: Vec<Lost>,
    /// Two claims overlap in part: their counts are upper bounds.
    overlapping: bool,
    /// A record was stored and thinned as well.
    thinned_stored: Vec<RecordKey>,
}

impl Cloud {
    fn covered(&self, epoch: Epoch, lane: Lane) -> SeqSet {
        let mut covered = SeqSet::new();
        for key in self
            .stored
            .keys()
            .filter(|key| (key.epoch, key.lane) == (epoch, lane))
        {
            covered.insert_one(key.seq);
        }
        for lost in self
            .ledger
            .iter()
            .filter(|lost| (lost.epoch, lost.lane) == (epoch, lane))
        {
            covered.union(&lost.seqs);
        }
        covered
    }

    fn store(&mut self, key: RecordKey, body: &[u8]) {
        if self.stored.contains_key(&key) {
            return;
        }
        let (ids, counts) = contents(body).unwrap_or_default();
        for id in ids {
            assert!(
                self.ids.insert(id),
                "reading {id:?} is stored twice, now in {key:?}"
            );
        }
        for lost in &mut self.ledger {
            if (lost.epoch, lost.lane) == (key.epoch, key.lane) && lost.seqs.contains(key.seq) {
                lost.seqs.remove(SeqRange::one(key.seq).unwrap());
                if is_thinned(lost) {
                    self.thinned_stored.push(key);
                }
                strike(lost, &counts);
            }
        }
        self.stored.insert(key, counts);
        for claim in claims_in(body).unwrap_or_default() {
            self.enter(claim);
        }
    }

    fn enter(&mut self, claim: Claim) {
        let mut counts = Counts::new();
        for point in &claim.points {
            add(
                &mut counts,
                &Counts::from([(point.index, (point.readings, point.filtered))]),
            );
        }
        let mut lost = Lost {
            epoch: claim.epoch,
            lane: claim.lane,
            reason: claim.reason,
            seqs: [claim.range].into_iter().collect(),
            counts: claim.readings.map(|_| counts),
        };
        let mut known = false;
        for other in self
            .ledger
            .iter()
            .filter(|l| (l.epoch, l.lane) == (claim.epoch, claim.lane))
        {
            for &range in other.seqs.held_in(claim.range).ranges() {
                known = true;
                lost.seqs.remove(range);
            }
        }
        for (key, counts) in &self.stored {
            if (key.epoch, key.lane) == (claim.epoch, claim.lane) && lost.seqs.contains(key.seq) {
                lost.seqs.remove(SeqRange::one(key.seq).unwrap());
                if is_thinned(&lost) {
                    self.thinned_stored.push(*key);
                }
                strike(&mut lost, counts);
            }
        }
        if lost.seqs.is_empty() {
            lost.counts = Some(Counts::new());
        }
        self.overlapping |= known && !lost.seqs.is_empty() && lost.counts.is_some();
        self.ledger.push(lost);
    }
}

/// Claims that were joined are named as thinned too, in their own lane; those joined across gaps speak of
/// what lies between as well, and do not count.
fn is_thinned(lost: &Lost) -> bool {
    lost.reason == LossReason::Thinned && lost.lane == Lane::Telemetry && lost.counts.is_some()
}

fn strike(lost: &mut Lost, stored: &Counts) {
    let Some(counts) = &mut lost.counts else {
        return;
    };
    for (point, (readings, filtered)) in stored {
        if let Some(count) = counts.get_mut(point) {
            count.0 = count.0.saturating_sub(*readings);
            count.1 = count.1.saturating_sub(*filtered);
        }
    }
    if lost.seqs.is_empty() {
        counts.clear();
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
    thins: bool,
    cloud: Cloud,
    /// Given to the uplink, and still under way.
    flying: Vec<SpooledRecord>,
    /// Readings and filtered counts of every record ever seen.
    contents: BTreeMap<RecordKey, Counts>,
    /// Of what was appended.
    taken: Counts,
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
    was_full: bool,
    /// Nothing is looked at but where it has to be: after a crash, before something is settled, in the end.
    quiet: bool,
    coverage: Coverage,
}

const QUOTA: u64 = 24_000;
/// Room for claims that need not be joined until they cannot count any more.
const THIN_QUOTA: u64 = 48_000;

impl World {
    fn new(mutant: Mutant, thins: bool) -> Self {
        let medium = Arc::new(Mutex::new(Medium::default()));
        let core = Self::open(&medium, mutant, thins, 1, 0);
        let mut world = Self {
            medium,
            mutant,
            thins,
            cloud: Cloud::default(),
            flying: Vec::new(),
            contents: BTreeMap::new(),
            taken: Counts::new(),
            epochs: BTreeSet::from([core.epoch()]),
            on_record: BTreeSet::new(),
            core,
            known: BTreeMap::new(),
            claims: Vec::new(),
            now: 0,
            next_id: 0,
            next_epoch: 2,
            damage_allowed: false,
            was_full: false,
            quiet: false,
            coverage: Coverage::default(),
        };
        world.judge();
        world
    }

    fn open(
        medium: &Arc<Mutex<Medium>>,
        mutant: Mutant,
        thins: bool,
        epoch: u64,
        now: u64,
    ) -> Core {
        let store = Box::new(MemStore(Arc::clone(medium)));
        // As many live bytes: a spool that thins takes more disk for them.
        let quota = if thins { THIN_QUOTA * 32 / 25 } else { QUOTA };
        let mut config = config(Path::new("/nowhere"), quota);
        config.memory_buffer_bytes = 6_000;
        config.rotate_above_bytes = 4_000;
        config.mutant = mutant;
        if thins {
            config.lanes = LaneConfigs::default();
            config.lanes.telemetry.full = WhenFull::Thin;
        }
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
        let core = Self::open(
            &self.medium,
            self.mutant,
            self.thins,
            self.next_epoch,
            self.now,
        );
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
                    let record = if self.thins && lane == Lane::Telemetry {
                        readings(self.next_id, len)
                    } else {
                        record(self.next_id, len)
                    };
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
                    if let Some((_, counts)) = contents(&record.body) {
                        add(&mut self.taken, &counts);
                        self.contents.insert(key, counts);
                    }
                    self.core.append(lane, vec![record], at(self.now));
                    self.learn();
                }
            }
            Action::Settle(lane, percent) => {
                self.look();
                let held = self.send_all(lane);
                let mut by_epoch: BTreeMap<Epoch, SeqSet> = BTreeMap::new();
                for record in held.iter().filter(|_| dice.chance(percent)) {
                    self.cloud.store(record.key, &record.body);
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
            Action::HandOut(lane, count, late) => {
                let mut cursor = Cursor::START;
                if late {
                    // Live first: what was appended last.
                    cursor = self.core.epoch_start();
                }
                let limit = FetchLimit {
                    max_bytes: 1 << 20,
                    max_records: count as usize,
                };
                let given = self.core.fetch(lane, cursor, limit, at(self.now));
                self.flying.extend(given);
                self.learn();
            }
            Action::Arrive(arrive, lose) => {
                for record in std::mem::take(&mut self.flying) {
                    if dice.chance(arrive) {
                        self.cloud.store(record.key, &record.body);
                    } else if !dice.chance(lose) {
                        self.flying.push(record);
                    }
                }
            }
            Action::Hello => {
                self.look();
                for held in self.core.state(at(self.now)).held {
                    let stored = self.cloud.covered(held.epoch, held.lane);
                    for (key, known) in &mut self.known {
                        let ours = (key.epoch, key.lane) == (held.epoch, held.lane);
                        known.settled |= ours && stored.contains(key.seq);
                    }
                    let settlement = Settlement {
                        epoch: held.epoch,
                        lane: held.lane,
                        stored,
                        refused: Vec::new(),
                    };
                    self.core.settle(&settlement, at(self.now));
                }
                self.learn();
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
            Action::Full(full) => {
                self.was_full |= full;
                self.medium.lock().unwrap().full = full;
            }
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
        let quiet = std::mem::replace(&mut self.quiet, false);
        self.start();
        self.quiet = quiet;
    }

    /// All of a lane, without being asked to send it.
    fn fetch_all(&mut self, lane: Lane) -> Vec<SpooledRecord> {
        self.walk(lane, Core::read)
    }

    /// All of a lane, to be sent.
    fn send_all(&mut self, lane: Lane) -> Vec<SpooledRecord> {
        self.walk(lane, Core::fetch)
    }

    fn walk(
        &mut self,
        lane: Lane,
        get: impl Fn(&mut Core, Lane, Cursor, FetchLimit, Now) -> Vec<SpooledRecord>,
    ) -> Vec<SpooledRecord> {
        let mut cursor = Cursor::START;
        let mut all: Vec<SpooledRecord> = Vec::new();
        loop {
            let limit = FetchLimit {
                max_bytes: 700,
                max_records: 5,
            };
            let part = get(&mut self.core, lane, cursor, limit, at(self.now));
            let Some(last) = part.last() else {
                // Damaged ones may have been stepped over: look once more behind them.
                let again = get(&mut self.core, lane, cursor, limit, at(self.now));
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
        if !self.quiet {
            self.look();
        }
    }

    fn look(&mut self) {
        for lane in Lane::ALL {
            for record in self.fetch_all(lane) {
                let claims = if lane == Lane::Event {
                    claims_in(&record.body)
                } else {
                    None
                };
                if let Some(claims) = claims {
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
                if self.thins && !self.known.contains_key(&record.key) {
                    let (_, counts) = contents(&record.body)
                        .unwrap_or_else(|| panic!("{:?} was never appended", record.key));
                    assert_eq!(lane, Lane::Telemetry);
                    self.coverage.thinned += 1;
                    self.contents.insert(record.key, counts);
                    let known = Known {
                        body: record.body.clone(),
                        readings: record.summary.readings,
                        settled: false,
                        durable: false,
                    };
                    self.known.insert(record.key, known);
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
        // Of thinned records the sum is what counts: see the end of the run.
        if self.thins && claim.reason == LossReason::Thinned {
            return;
        }
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
        if self.quiet {
            return;
        }
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
        // A disk that was full is tried again after a minute at most.
        for _ in 0..if self.was_full || self.damage_allowed {
            6
        } else {
            1
        } {
            self.act(Action::Advance(61_000), dice);
        }
        self.quiet = false;
        self.judge();
        self.act(Action::Arrive(70, 100), dice);
        for _ in 0..4 {
            self.act(Action::Hello, dice);
            for lane in Lane::ALL {
                self.act(Action::Settle(lane, 100), dice);
            }
            self.act(Action::Advance(12_000), dice);
        }
        self.balance();
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

impl World {
    /// In the end: taken = stored + lost, for each point, and filtered counts as well.
    fn balance(&mut self) {
        // Of an epoch that lived and died while the disk was full nothing is left to balance.
        if !self.thins || self.damage_allowed || self.was_full {
            return;
        }
        assert_eq!(self.cloud.thinned_stored, [], "what was sent was thinned");
        // Nothing waits for ever: each cursor is whole up to its end.
        for &epoch in &self.epochs {
            for lane in Lane::ALL {
                let covered = self.cloud.covered(epoch, lane);
                assert!(covered.ranges().len() <= 1, "{epoch} {lane}: {covered:?}");
                assert!(covered.is_empty() || covered.watermark() > 0);
            }
        }
        if self.cloud.overlapping {
            self.coverage.overlapping += 1;
            return;
        }
        let mut found = Counts::new();
        let mut bound = false;
        for counts in self.cloud.stored.values() {
            add(&mut found, counts);
        }
        for lost in &self.cloud.ledger {
            if let Some(counts) = &lost.counts {
                add(&mut found, counts);
                continue;
            }
            // What of these lives on in thinner records is counted there too.
            bound |= lost.reason == LossReason::Thinned && lost.lane == Lane::Telemetry;
            for (key, counts) in &self.contents {
                if (key.epoch, key.lane) == (lost.epoch, lost.lane) && lost.seqs.contains(key.seq) {
                    add(&mut found, counts);
                }
            }
        }
        if bound {
            self.coverage.overlapping += 1;
            let covers = |(point, taken): (&u32, &(u64, u64))| {
                found
                    .get(point)
                    .is_some_and(|f| f.0 >= taken.0 && f.1 >= taken.1)
            };
            assert!(self.taken.iter().all(covers), "{:#?}", self.cloud.ledger);
            return;
        }
        assert_eq!(found, self.taken, "{:#?}", self.cloud.ledger);
        self.coverage.balanced += 1;
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
    /// Thinned records seen.
    thinned: u64,
    /// Runs in the end of which every reading was accounted for.
    balanced: u64,
    /// Runs in which two claims overlapped, or could not count: bounds are all there is.
    overlapping: u64,
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

fn run(seed: u64, steps: usize, faults: bool, thins: bool, coverage: &mut Coverage) {
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let mut world = World::new(Mutant::None, thins);
    for step in 0..steps {
        let action = if thins {
            thinning_action(&mut dice, faults)
        } else {
            action(&mut dice, faults)
        };
        println!("{step}: {action:?}");
        world.act(action, &mut dice);
        world.judge();
        let state = world.core.state(at(world.now));
        assert!(
            state.live_bytes
                <= if thins {
                    THIN_QUOTA + 16_000
                } else {
                    QUOTA + 8_000
                },
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
    coverage.thinned += sum.thinned;
    coverage.balanced += sum.balanced;
    coverage.overlapping += sum.overlapping;
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
        run(seed, 60, false, false, &mut coverage);
    }
    println!("{coverage:?}");
    assert!(coverage.evicted > 0 && coverage.rotations > 0 && coverage.refused > 0);
    assert!(coverage.settled_in_memory > 0 && coverage.settled_in_memory < coverage.settled);
}

#[test]
fn damage_broken_stores_and_full_disks_are_claimed_too() {
    let mut coverage = Coverage::default();
    for seed in 1_000_000..1_000_000 + cases(150) {
        run(seed, 60, true, false, &mut coverage);
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
    let mut world = World::new(mutant, false);
    let actions: Vec<_> = (0..steps).map(|_| action(&mut dice, false)).collect();
    run_actions(&mut world, actions, crash_at, &mut dice)
}

/// A long outage: appends only, then an uplink that comes and goes.
fn thin_with_crash_at(seed: u64, crash_at: Option<(u64, bool)>, mutant: Mutant) -> (u64, Coverage) {
    let mut dice = Dice::new(seed);
    let mut world = World::new(mutant, true);
    world.quiet = crash_at.is_some();
    let mut actions = Vec::new();
    for _ in 0..16 {
        actions.push(Action::Append(Lane::Telemetry, 4, 130));
        actions.push(Action::Advance(2_100));
        if dice.chance(30) {
            actions.push(Action::HandOut(Lane::Telemetry, 3, dice.chance(50)));
        }
    }
    actions.extend((0..12).map(|_| thinning_action(&mut dice, false)));
    let ios = run_actions(&mut world, actions, crash_at, &mut dice);
    (ios, world.coverage)
}

fn run_actions(
    world: &mut World,
    actions: Vec<Action>,
    crash_at: Option<(u64, bool)>,
    dice: &mut Dice,
) -> u64 {
    world.medium.lock().unwrap().crash_at = crash_at;
    for action in actions {
        world.act(action, dice);
        world.judge();
    }
    let ios = world.medium.lock().unwrap().ios;
    world.drain(dice);
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

#[test]
fn thinning_loses_nothing_silently_and_stores_nothing_twice() {
    let mut coverage = Coverage::default();
    for seed in 2_000_000..2_000_000 + cases(30) {
        run(seed, 90, false, true, &mut coverage);
    }
    println!("{coverage:?}");
    assert!(coverage.thinned > 0 && coverage.evicted > 0);
    assert!(coverage.balanced > 3 * coverage.overlapping);
}

#[test]
fn thinning_on_full_disks_and_damaged_stores_stores_nothing_twice() {
    let mut coverage = Coverage::default();
    for seed in 3_000_000..3_000_000 + cases(20) {
        run(seed, 90, true, true, &mut coverage);
    }
    println!("{coverage:?}");
    assert!(coverage.thinned > 0 && coverage.failed_commits > 0);
}

#[test]
fn a_crash_at_every_io_of_a_thinning_leaves_the_old_records_or_the_new_ones() {
    let (mut crashes, mut balanced, mut thinned) = (0, 0, 0);
    for seed in 0..cases(1) {
        let (ios, _) = thin_with_crash_at(seed, None, Mutant::None);
        for io in 1..=ios {
            for effect in [false, true] {
                println!("seed {seed}, crash at {io} of {ios}, effect {effect}");
                let at = Some((io, effect));
                let (_, coverage) = thin_with_crash_at(seed, at, Mutant::None);
                crashes += 1;
                balanced += coverage.balanced;
                thinned += coverage.thinned;
            }
        }
    }
    println!("{crashes} crashes, {balanced} balanced, {thinned} thinned records seen");
    assert!(crashes > 100 && thinned > crashes);
    assert!(balanced * 10 > crashes * 9);
}

#[test]
fn the_model_notices_that_what_was_handed_out_is_thinned() {
    let noticed = std::panic::catch_unwind(|| {
        for seed in 0..20 {
            thin_with_crash_at(seed, None, Mutant::ThinsWhatWasHandedOut);
        }
    });
    assert!(noticed.is_err(), "the planted fault went unnoticed");
}

#[test]
fn the_model_notices_a_thinning_that_is_not_written_down_first() {
    let noticed = std::panic::catch_unwind(|| {
        let (ios, _) = thin_with_crash_at(0, None, Mutant::PassUnnoted);
        for io in 1..=ios {
            thin_with_crash_at(0, Some((io, false)), Mutant::PassUnnoted);
        }
    });
    assert!(noticed.is_err(), "the planted fault went unnoticed");
}
