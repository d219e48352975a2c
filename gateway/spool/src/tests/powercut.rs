//! The power cut test: the real store under a write-recording shim (`tests/powercut/shim.c`).
//!
//! A child process (this test binary, executed again) runs a scenario with the shim preloaded and
//! writes down, in the same order, what it promised: appended, durable, settled. From the log an image is
//! rebuilt for many points of the run: everything before the last sync of each file, a random subset of
//! the writes after it (torn at sectors), and of the changes to directories a random prefix behind the
//! last directory sync. The spool is opened on each image and must keep every promise.
//! Planted faults (`sync_data` left out, seqs given twice) must be noticed.

use super::{Dice, Mutant, all_of, at, config, record};
use crate::core::Core;
use crate::disk::DiskStore;
use crate::record::{Cursor, FetchLimit, Settlement};
use crate::state::SpoolCounters;
use protocols_model::{BootId, Claim, Epoch, Lane, LossReason, RecordKey, SeqSet};
use protocols_wire::{Body, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const SECTOR: usize = 512;

// ---- the child: a scenario and its promises ------------------------------------------------------

pub(super) struct Promises(pub(super) File);

impl Promises {
    pub(super) fn say(&mut self, line: &str) {
        let whole = format!("{line}\n");
        self.0.write_all(whole.as_bytes()).unwrap();
    }
}

pub(super) fn key_text(key: RecordKey) -> String {
    format!("{} {} {}", key.epoch, key.lane, key.seq)
}

fn open(dir: &Path, epoch: u64, mutant: Mutant, now: u64) -> Core {
    let mut config = config(dir, 300_000);
    config.mutant = mutant;
    config.memory_buffer_bytes = 120_000;
    config.rotate_above_bytes = 1_500_000;
    let store = Box::new(DiskStore::new(&config));
    let epoch = Epoch(epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (core, report) = Core::start(config, BootId(1), store, epoch, at(now));
    assert_eq!(report.disk_unusable, None, "{report:?}");
    core
}

#[test]
#[ignore = "run by the power cut tests, in a child process under the shim"]
fn child_scenario() {
    let Ok(root) = std::env::var("SHIM_ROOT") else {
        return;
    };
    let seed: u64 = std::env::var("POWERCUT_SEED").unwrap().parse().unwrap();
    let steps: u64 = std::env::var("POWERCUT_STEPS").unwrap().parse().unwrap();
    let mutant = match std::env::var("POWERCUT_MUTANT").unwrap().as_str() {
        "SyncSkipped" => Mutant::SyncSkipped,
        "SeqReused" => Mutant::SeqReused,
        _ => Mutant::None,
    };
    let mut promises = Promises(File::create(format!("{root}.promises")).unwrap());
    let mut dice = Dice::new(seed);
    let (mut now, mut id, mut runs) = (0_u64, 0_u64, 1_u64);
    let dir = PathBuf::from(&root);
    let mut core = open(&dir, seed * 1000 + runs, mutant, now);
    promises.say(&format!("E {}", core.epoch()));
    let mut durable = BTreeSet::new();
    let mut sums = SpoolCounters::default();
    let phase = |step: u64| step * 4 / steps.max(1);
    for step in 0..steps {
        // Quarters: outage, drain, outage, drain to empty.
        let draining = phase(step) % 2 == 1;
        match dice.below(100) {
            0..=54 if !draining => {
                for _ in 0..=dice.below(4) {
                    let lane = match dice.below(8) {
                        0 => Lane::Alarm,
                        1 => Lane::Event,
                        2 => Lane::Bulk,
                        _ => Lane::Telemetry,
                    };
                    let len = 40 + dice.below(6000) as usize;
                    let key = RecordKey {
                        epoch: core.epoch(),
                        lane,
                        seq: core.state(at(now)).last_seq(lane) + 1,
                    };
                    promises.say(&format!("A {} {id} {len}", key_text(key)));
                    core.append(lane, vec![record(id, len)], at(now));
                    id += 1;
                }
            }
            0..=60 => {
                let lane = Lane::ALL[dice.below(4) as usize];
                let most = if draining { 64 } else { 2 };
                let limit = FetchLimit {
                    max_bytes: 1 << 20,
                    max_records: most,
                };
                let held = core.fetch(lane, Cursor::START, limit, at(now));
                let mut stored: BTreeMap<Epoch, SeqSet> = BTreeMap::new();
                for record in held {
                    for claim in claims_in(&record.body) {
                        promises.say(&claim_text(&claim));
                    }
                    promises.say(&format!("S {}", key_text(record.key)));
                    let set = stored.entry(record.key.epoch).or_default();
                    set.insert_one(record.key.seq);
                }
                for (epoch, stored) in stored {
                    let settlement = Settlement {
                        epoch,
                        lane,
                        stored,
                        refused: Vec::new(),
                    };
                    core.settle(&settlement, at(now));
                }
            }
            61..=96 => {
                now += dice.below(4000);
                core.tick(at(now));
            }
            97 => {
                runs += 1;
                add(&mut sums, &core, now);
                drop(core);
                core = open(&dir, seed * 1000 + runs, mutant, now);
                promises.say(&format!("E {}", core.epoch()));
            }
            98 => {
                assert!(core.stop(true, at(now)));
                say_durable(&core, &mut durable, &mut promises);
                runs += 1;
                add(&mut sums, &core, now);
                core = open(&dir, seed * 1000 + runs, mutant, now);
                promises.say(&format!("E {}", core.epoch()));
            }
            _ => {
                now += 15_000;
                core.tick(at(now));
            }
        }
        say_durable(&core, &mut durable, &mut promises);
    }
    add(&mut sums, &core, now);
    println!(
        "COUNTERS starts {runs}, commits {}, evicted {}, rotations {}, settled {}, damaged {}",
        sums.commits, sums.evicted_records, sums.rotations, sums.settled, sums.damaged_records
    );
}

fn add(sums: &mut SpoolCounters, core: &Core, now: u64) {
    let counters = core.state(at(now)).counters;
    sums.commits += counters.commits;
    sums.evicted_records += counters.evicted_records;
    sums.rotations += counters.rotations;
    sums.settled += counters.settled;
    sums.damaged_records += counters.damaged_records;
}

/// Says what has become durable by now.
pub(super) fn say_durable(core: &Core, said: &mut BTreeSet<RecordKey>, promises: &mut Promises) {
    let mut text = String::new();
    for key in core.on_disk() {
        if said.insert(key) {
            writeln!(text, "D {}", key_text(key)).unwrap();
        }
    }
    if !text.is_empty() {
        promises.0.write_all(text.as_bytes()).unwrap();
    }
}

/// The claims that a record holds, if it holds any.
pub(super) fn claims_in(body: &[u8]) -> Vec<Claim> {
    match Record::decode(body).map(|record| record.body) {
        Ok(Body::Claims(claims)) => claims,
        _ => Vec::new(),
    }
}

fn claim_text(claim: &Claim) -> String {
    let (first, last) = (claim.range.first(), claim.range.last());
    let reason = claim.reason.to_index();
    format!("K {} {} {first} {last} {reason}", claim.epoch, claim.lane)
}

// ---- the log ---------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
pub(super) enum Event {
    Create(PathBuf, u64),
    Write(u64, u64, Vec<u8>),
    Truncate(u64, u64),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    Mkdir(PathBuf),
    Rmdir(PathBuf),
    SyncFile(u64),
    SyncDir,
    Promise(String),
}

fn read_log(log: &[u8], root: &str) -> Vec<Event> {
    let promises = format!("{root}.promises");
    let mut events = Vec::new();
    let mut rest = log;
    let mut promise_inode = None;
    let mut said = String::new();
    while !rest.is_empty() {
        let word = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_ne_bytes(rest[at..at + 8].try_into().unwrap());
        let (kind, a, b, len) = (
            word(0),
            word(4) as usize,
            word(8) as usize,
            word(12) as usize,
        );
        let (inode, offset) = (long(16), long(24));
        let path = |at: usize, len: usize| {
            let text = std::str::from_utf8(&rest[at..at + len]).unwrap();
            PathBuf::from(text.strip_prefix(root).unwrap().trim_start_matches('/'))
        };
        let text = std::str::from_utf8(&rest[32..32 + a]).unwrap();
        let data = rest[32 + a + b..32 + a + b + len].to_vec();
        if text == promises {
            promise_inode = Some(inode);
            if kind == 2 {
                said.push_str(std::str::from_utf8(&data).unwrap());
                while let Some((line, more)) = said.split_once('\n') {
                    events.push(Event::Promise(line.to_owned()));
                    said = more.to_owned();
                }
            }
        } else {
            assert!(
                Some(inode) != promise_inode || inode == 0,
                "inode taken for the promises'"
            );
            let path = || path(32, a);
            events.push(match kind {
                1 => Event::Create(path(), inode),
                2 => Event::Write(inode, offset, data),
                3 => Event::Truncate(inode, offset),
                4 => {
                    let to = std::str::from_utf8(&rest[32 + a..32 + a + b]).unwrap();
                    let to = to.strip_prefix(root).unwrap().trim_start_matches('/');
                    Event::Rename(path(), PathBuf::from(to))
                }
                5 => Event::Unlink(path()),
                6 => Event::Mkdir(path()),
                7 => Event::Rmdir(path()),
                8 => Event::SyncFile(inode),
                9 => Event::SyncDir,
                _ => {
                    rest = &rest[32 + a + b + len..];
                    continue;
                }
            });
        }
        rest = &rest[32 + a + b + len..];
    }
    events
}

// ---- the file system as a power cut leaves it ----------------------------------------------------------

#[derive(Debug, Clone, Default)]
struct FileState {
    durable: Vec<u8>,
    /// Since the last sync: writes (offset, data), and cuts (offset, none).
    pending: Vec<(u64, Option<Vec<u8>>)>,
}

impl FileState {
    fn put(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
        if content.len() < offset + data.len() {
            content.resize(offset + data.len(), 0);
        }
        content[offset..offset + data.len()].copy_from_slice(data);
    }

    fn sync(&mut self) {
        for (offset, data) in std::mem::take(&mut self.pending) {
            match data {
                Some(data) => Self::put(&mut self.durable, offset as usize, &data),
                None => self.durable.resize(offset as usize, 0),
            }
        }
    }

    /// What may be found after the power cut.
    fn found(&self, fate: Fate, dice: &mut Dice) -> Vec<u8> {
        let mut content = self.durable.clone();
        let count = self.pending.len() as u64;
        let prefix = dice.below(count + 1);
        for (place, (offset, data)) in self.pending.iter().enumerate() {
            let survives = match fate {
                Fate::Nothing => false,
                Fate::Everything => true,
                Fate::Prefix => (place as u64) < prefix,
                Fate::AnySubset | Fate::Torn => dice.chance(50),
            };
            if !survives {
                continue;
            }
            let Some(data) = data else {
                content.resize(*offset as usize, 0);
                continue;
            };
            if !matches!(fate, Fate::Torn) {
                Self::put(&mut content, *offset as usize, data);
                continue;
            }
            for (sector, bytes) in data.chunks(SECTOR).enumerate() {
                if dice.chance(50) {
                    Self::put(&mut content, *offset as usize + sector * SECTOR, bytes);
                }
            }
        }
        content
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Nothing,
    Everything,
    Prefix,
    AnySubset,
    Torn,
}

pub(super) const FATES: [Fate; 5] = [
    Fate::Nothing,
    Fate::Everything,
    Fate::Prefix,
    Fate::AnySubset,
    Fate::Torn,
];

/// A directory entry: a file by its number, or a directory.
type Tree = BTreeMap<PathBuf, Option<usize>>;

#[derive(Debug, Default)]
pub(super) struct Disk {
    files: Vec<FileState>,
    by_inode: BTreeMap<u64, usize>,
    tree: Tree,
    /// Changes to directories since the last directory sync, in order.
    pending: Vec<(Event, Option<usize>)>,
}

fn change(tree: &mut Tree, event: &Event, file: Option<usize>) {
    match event {
        Event::Create(path, _) => drop(tree.insert(path.clone(), file)),
        Event::Mkdir(path) => drop(tree.insert(path.clone(), None)),
        Event::Unlink(path) | Event::Rmdir(path) => drop(tree.remove(path)),
        Event::Rename(from, to) => {
            let moved: Vec<_> = tree
                .keys()
                .filter(|p| p.starts_with(from))
                .cloned()
                .collect();
            for path in moved {
                let node = tree.remove(&path).unwrap();
                let tail = path.strip_prefix(from).unwrap();
                let path = if tail.as_os_str().is_empty() {
                    to.clone()
                } else {
                    to.join(tail)
                };
                tree.insert(path, node);
            }
        }
        _ => {}
    }
}

impl Disk {
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Create(_, inode) => {
                self.files.push(FileState::default());
                let file = self.files.len() - 1;
                self.by_inode.insert(*inode, file);
                self.pending.push((event.clone(), Some(file)));
            }
            Event::Write(inode, offset, data) => {
                let file = self.by_inode[inode];
                self.files[file].pending.push((*offset, Some(data.clone())));
            }
            Event::Truncate(inode, len) => {
                let file = self.by_inode[inode];
                self.files[file].pending.push((*len, None));
            }
            Event::SyncFile(inode) => {
                let file = self.by_inode[inode];
                self.files[file].sync();
            }
            Event::SyncDir => {
                for (event, file) in std::mem::take(&mut self.pending) {
                    change(&mut self.tree, &event, file);
                }
            }
            Event::Promise(_) => {}
            _ => self.pending.push((event.clone(), None)),
        }
    }

    /// Writes down what may be found after a power cut now.
    pub(super) fn image(&self, dir: &Path, fate: Fate, dice: &mut Dice) {
        let mut tree = self.tree.clone();
        let survive = match fate {
            Fate::Nothing => 0,
            Fate::Everything => self.pending.len(),
            _ => dice.below(self.pending.len() as u64 + 1) as usize,
        };
        for (event, file) in &self.pending[..survive] {
            change(&mut tree, event, *file);
        }
        fs::create_dir_all(dir).unwrap();
        for (path, node) in tree {
            let path = dir.join(path);
            match node {
                None => fs::create_dir_all(&path).unwrap(),
                Some(file) => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(&path, self.files[file].found(fate, dice)).unwrap();
                }
            }
        }
    }
}

// ---- the judge -----------------------------------------------------------------------------------------

#[derive(Debug, Default, Clone)]
struct Promised {
    /// Key text → id, length.
    appended: BTreeMap<String, (u64, usize)>,
    durable: BTreeSet<String>,
    settled: BTreeSet<String>,
    epochs: BTreeSet<Epoch>,
    /// Epoch, lane, first, last, reason.
    claimed: Vec<(String, String, u64, u64, u8)>,
}

impl Promised {
    fn note(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<_> = line.split(' ').collect();
        match words[0] {
            "E" => {
                if !self.epochs.insert(Epoch::from_hex(words[1]).unwrap()) {
                    return Err(format!("epoch {} was used twice", words[1]));
                }
            }
            "A" => {
                let value = (words[4].parse().unwrap(), words[5].parse().unwrap());
                if self.appended.insert(words[1..4].join(" "), value).is_some() {
                    return Err(format!("{} was given twice", words[1..4].join(" ")));
                }
            }
            "D" => drop(self.durable.insert(words[1..4].join(" "))),
            "S" => drop(self.settled.insert(words[1..4].join(" "))),
            "K" => self.claimed.push((
                words[1].to_owned(),
                words[2].to_owned(),
                words[3].parse().unwrap(),
                words[4].parse().unwrap(),
                words[5].parse().unwrap(),
            )),
            other => panic!("unknown promise {other}"),
        }
        Ok(())
    }
}

/// Opens the spool on an image and compares it with what was promised.
fn judge(dir: &Path, promised: &Promised, seed: u64) -> Result<(), String> {
    let epoch = 0xffff_0000 + seed;
    let opened = std::panic::catch_unwind(|| open(dir, epoch, Mutant::None, 1_000_000));
    let mut core = opened.map_err(|_| "the spool did not open".to_owned())?;
    if promised.epochs.contains(&core.epoch()) {
        return Err("the epoch was used before".to_owned());
    }
    let mut held = BTreeSet::new();
    let mut claims = promised.claimed.clone();
    let now = at(1_000_000);
    // Twice: fetching one lane may claim damage in the event lane.
    for lane in Lane::ALL.into_iter().chain(Lane::ALL) {
        for found in all_of(|cursor, limit| core.fetch(lane, cursor, limit, now)) {
            let name = key_text(found.key);
            for claim in claims_in(&found.body) {
                claims.push((
                    claim.epoch.to_string(),
                    claim.lane.to_string(),
                    claim.range.first(),
                    claim.range.last(),
                    claim.reason.to_index(),
                ));
            }
            if let Some(&(id, len)) = promised.appended.get(&name)
                && record(id, len).body != found.body
            {
                return Err(format!("{name} changed"));
            }
            held.insert(name);
        }
    }
    for name in promised.appended.keys() {
        if held.contains(name) || promised.settled.contains(name) {
            continue;
        }
        let words: Vec<_> = name.split(' ').collect();
        let seq: u64 = words[2].parse().unwrap();
        let mut reasons = claims.iter().filter(|(epoch, lane, first, last, _)| {
            epoch == words[0] && lane == words[1] && (*first..=*last).contains(&seq)
        });
        let evicted = LossReason::Evicted.to_index();
        if promised.durable.contains(name) {
            if !reasons.clone().any(|claim| claim.4 == evicted) {
                let said: Vec<_> = reasons.map(|claim| claim.4).collect();
                return Err(format!(
                    "{name} was durable and is gone; claims say {said:?}"
                ));
            }
        } else if reasons.next().is_none() {
            return Err(format!("{name} is neither held nor settled nor claimed"));
        }
    }
    Ok(())
}

// ---- the tests -----------------------------------------------------------------------------------------

fn build_shim(dir: &Path) -> PathBuf {
    let shim = dir.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/powercut/shim.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&shim)
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler, `cc`, is needed to build the shim");
    assert!(built.success());
    shim
}

/// Runs the ignored test `child` under the shim; everything it wrote and promised, in order.
pub(super) fn record_run(
    dir: &Path,
    child: &str,
    seed: u64,
    steps: u64,
    mutant: Mutant,
) -> Vec<Event> {
    let root = dir.join("spool");
    let log = dir.join("log");
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg(child)
        .env("LD_PRELOAD", build_shim(dir))
        .env("SHIM_ROOT", &root)
        .env("SHIM_LOG", &log)
        .env("POWERCUT_SEED", seed.to_string())
        .env("POWERCUT_STEPS", steps.to_string())
        .env("POWERCUT_MUTANT", format!("{mutant:?}"))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{out}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    if let Some(line) = out.lines().find(|line| line.contains("COUNTERS")) {
        println!("{line}");
    }
    read_log(&fs::read(log).unwrap(), root.to_str().unwrap())
}

/// Cuts the power `cuts` times in a recorded run; the first promise that is broken, if any.
fn cut_power(seed: u64, steps: u64, cuts: u64, mutant: Mutant) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let child = "tests::powercut::child_scenario";
    let events = record_run(dir.path(), child, seed, steps, mutant);
    let io = |event: &Event| !matches!(event, Event::Promise(_));
    let ios = events.iter().filter(|event| io(event)).count();
    let syncs = events
        .iter()
        .filter(|event| matches!(event, Event::SyncFile(_) | Event::SyncDir))
        .count();
    println!("seed {seed}: {ios} I/Os, {syncs} syncs, {cuts} cuts");
    let mut dice = Dice::new(seed + 77);
    let mut points: BTreeSet<usize> = BTreeSet::new();
    while (points.len() as u64) < cuts.min(events.len() as u64) {
        points.insert(dice.below(events.len() as u64 + 1) as usize);
    }
    let mut hits: BTreeMap<String, u64> = BTreeMap::new();
    let mut disk = Disk::default();
    let mut promised = Promised::default();
    for (place, event) in events.iter().enumerate() {
        if let Event::Promise(line) = event {
            promised.note(line)?;
        } else {
            disk.apply(event);
        }
        if !points.contains(&place) {
            continue;
        }
        let fate = FATES[dice.below(FATES.len() as u64) as usize];
        *hits.entry(format!("{fate:?}")).or_default() += 1;
        let image = dir.path().join(format!("image-{place}"));
        disk.image(&image, fate, &mut dice);
        judge(&image, &promised, place as u64)
            .map_err(|what| format!("seed {seed}, after event {place} ({fate:?}): {what}"))?;
        fs::remove_dir_all(&image).unwrap();
    }
    println!("what was left after the last syncs: {hits:?}");
    Ok(())
}

/// More by `FOGLINE_POWERCUTS`.
fn cuts() -> u64 {
    let more = std::env::var("FOGLINE_POWERCUTS").ok();
    more.and_then(|n| n.parse().ok()).unwrap_or(60)
}

#[test]
fn a_power_cut_at_any_point_breaks_no_promise() {
    let seeds = std::env::var("FOGLINE_POWERCUT_SEEDS").ok();
    let seeds: u64 = seeds.and_then(|n| n.parse().ok()).unwrap_or(3);
    for seed in 1..=seeds {
        cut_power(seed, 400, cuts(), Mutant::None).unwrap();
    }
}

#[test]
fn the_power_cut_test_notices_a_missing_sync() {
    let noticed = (1..=6).any(|seed| match cut_power(seed, 120, 40, Mutant::SyncSkipped) {
        Ok(()) => false,
        Err(what) => {
            println!("noticed: {what}");
            true
        }
    });
    assert!(noticed, "the planted fault went unnoticed");
}

#[test]
fn the_power_cut_test_notices_a_seq_that_is_given_twice() {
    let noticed = (1..=6).any(|seed| match cut_power(seed, 240, 0, Mutant::SeqReused) {
        Ok(()) => false,
        Err(what) => {
            println!("noticed: {what}");
            true
        }
    });
    assert!(noticed, "the planted fault went unnoticed");
}
