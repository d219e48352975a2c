//! One test for each kind of damage that a power cut, a bad medium or a person can do to the
//! directory. Whatever it is: the spool opens, what can be read comes back byte for byte, and the rest
//! is claimed.

use super::powercut::claims_in;
use super::{all_of, at, config, record};
use crate::core::Core;
use crate::disk::DiskStore;
use crate::record::{Cursor, FetchLimit, Settlement};
use crate::report::OpenReport;
use crate::state::SpoolAlarm;
use protocols_model::{BootId, Claim, Epoch, Lane, LossReason, SeqRange};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const RECORDS: u64 = 600;
const LEN: usize = 4096;
const QUOTA: u64 = 64 << 20;

fn open(dir: &Path, epoch: u64) -> (Core, OpenReport) {
    let config = config(dir, QUOTA);
    let store = Box::new(DiskStore::new(&config));
    Core::start(
        config,
        BootId(1),
        store,
        Epoch(epoch),
        at(1_000_000 * epoch),
    )
}

/// A directory with [`RECORDS`] durable records of epoch 1, left without a clean stop.
struct Filled {
    temp: tempfile::TempDir,
}

impl Filled {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("spool");
        let (mut core, _) = open(&dir, 1);
        for id in 0..RECORDS {
            core.append(Lane::Telemetry, vec![record(id, LEN)], at(1_000_000 + id));
            if id % 100 == 99 {
                core.tick(at(1_003_000 + id));
            }
        }
        core.tick(at(1_010_000));
        assert_eq!(core.on_disk().len() as u64, RECORDS);
        drop(core);
        Self { temp }
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("spool")
    }

    fn buf(&self) -> PathBuf {
        self.dir().join("buf-1")
    }

    fn db(&self) -> PathBuf {
        self.buf().join("db")
    }

    fn snapshots(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(self.buf()).unwrap().map(|e| e.unwrap().path());
        found
            .filter(|p| {
                p.file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with("snap.")
            })
            .collect()
    }

    fn remove_snapshots(&self) {
        for path in self.snapshots() {
            fs::remove_file(path).unwrap();
        }
    }

    /// Makes sure that there is a snapshot: sled writes one when it opens after an unclean stop.
    fn with_snapshot(self) -> Self {
        drop(open(&self.dir(), 2));
        assert!(!self.snapshots().is_empty(), "sled wrote no snapshot");
        self
    }

    fn outcome(&self) -> Outcome {
        let (mut core, report) = open(&self.dir(), 9);
        let mut held = BTreeSet::new();
        let mut claims = Vec::new();
        for lane in Lane::ALL.into_iter().chain(Lane::ALL) {
            let all = all_of(|cursor, limit| core.fetch(lane, cursor, limit, at(9_000_000)));
            for found in all {
                if found.key.epoch == Epoch(1) {
                    assert_eq!(found.body, record(found.key.seq - 1, LEN).body);
                    held.insert(found.key.seq);
                }
                claims.extend(claims_in(&found.body));
            }
        }
        for seq in 1..=RECORDS {
            let claimed = claims.iter().any(|claim: &Claim| {
                claim.epoch == Epoch(1)
                    && claim.lane == Lane::Telemetry
                    && claim.range.contains(seq)
            });
            assert!(
                held.contains(&seq) || claimed,
                "{seq} is neither held nor claimed"
            );
        }
        println!("{} held, {report:?}", held.len());
        Outcome {
            held: held.len() as u64,
            claims,
            report,
            core,
        }
    }
}

struct Outcome {
    held: u64,
    claims: Vec<Claim>,
    report: OpenReport,
    core: Core,
}

impl Outcome {
    fn all_are_held(&self) {
        assert_eq!(self.held, RECORDS);
        assert_eq!(self.report.quarantined, None);
    }

    fn reasons(&self) -> BTreeSet<LossReason> {
        self.claims
            .iter()
            .filter(|claim| claim.lane == Lane::Telemetry && claim.epoch == Epoch(1))
            .map(|claim| claim.reason)
            .collect()
    }
}

fn cut(path: &Path, len: u64) {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len)
        .unwrap();
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn nothing_is_wrong_after_a_mere_kill() {
    let outcome = Filled::new().outcome();
    outcome.all_are_held();
    assert_eq!(outcome.reasons(), BTreeSet::from([LossReason::CrashTail]));
    let tail = outcome
        .claims
        .iter()
        .find(|c| c.lane == Lane::Telemetry)
        .unwrap();
    assert_eq!(tail.range.first(), RECORDS + 1);
    assert!(tail.at_most.is_some());
}

#[test]
fn a_db_cut_by_100_kb_gives_a_clean_prefix_and_claims() {
    let filled = Filled::new();
    filled.remove_snapshots();
    let len = fs::metadata(filled.db()).unwrap().len();
    cut(&filled.db(), len - 100_000);
    filled.outcome();
}

#[test]
fn a_db_cut_to_90_percent_gives_a_clean_prefix_and_claims() {
    let filled = Filled::new();
    filled.remove_snapshots();
    let len = fs::metadata(filled.db()).unwrap().len();
    cut(&filled.db(), len / 10 * 9);
    filled.outcome();
}

#[test]
fn a_db_with_zeros_at_its_end_gives_a_clean_prefix_and_claims() {
    let filled = Filled::new();
    filled.remove_snapshots();
    let len = fs::metadata(filled.db()).unwrap().len();
    overwrite(&filled.db(), len - (2 << 20), &vec![0; 2 << 20]);
    let outcome = filled.outcome();
    assert!(outcome.held < RECORDS);
}

#[test]
fn a_snapshot_with_flipped_bytes_costs_nothing() {
    let filled = Filled::new().with_snapshot();
    for path in filled.snapshots() {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        bytes[middle + 1] ^= 0xff;
        fs::write(&path, bytes).unwrap();
    }
    filled.outcome().all_are_held();
}

#[test]
fn an_empty_snapshot_costs_nothing() {
    let filled = Filled::new().with_snapshot();
    for path in filled.snapshots() {
        fs::write(path, b"").unwrap();
    }
    filled.outcome().all_are_held();
}

#[test]
fn a_snapshot_cut_short_costs_nothing() {
    let filled = Filled::new().with_snapshot();
    for path in filled.snapshots() {
        let len = fs::metadata(&path).unwrap().len();
        cut(&path, len.min(500).min(len / 2));
    }
    filled.outcome().all_are_held();
}

#[test]
fn an_unfinished_snapshot_costs_nothing() {
    for content in [&b""[..], &b"half a snapsh"[..]] {
        let filled = Filled::new();
        fs::write(
            filled.buf().join("snap.000000000000CAFE.generating"),
            content,
        )
        .unwrap();
        let outcome = filled.outcome();
        outcome.all_are_held();
        assert_eq!(outcome.report.notes.len(), 1, "{:?}", outcome.report.notes);
    }
}

#[test]
fn a_hole_of_zeros_in_the_db_is_claimed_and_the_store_set_aside_if_need_be() {
    let filled = Filled::new();
    filled.remove_snapshots();
    let len = fs::metadata(filled.db()).unwrap().len();
    overwrite(&filled.db(), len / 2, &[0; 4096]);
    let outcome = filled.outcome();
    if let Some(place) = &outcome.report.quarantined {
        assert!(place.join("db").is_file(), "kept for export");
        assert!(outcome.reasons().contains(&LossReason::Quarantined));
        assert_eq!(outcome.held, 0);
    }
}

#[test]
fn holes_anywhere_never_keep_the_spool_from_opening() {
    // sled lays its file out a little differently each time: the same hole may hit something that
    // matters or nothing. Six small holes always; then larger ones until one was bad enough.
    let small = (0..6).map(|part| (part, 6, 4 << 10));
    let large = (0..30).map(|part| (part, 30, 256 << 10));
    let mut quarantined = 0;
    for (number, (part, parts, size)) in small.chain(large).enumerate() {
        if number >= 6 && quarantined > 0 {
            break;
        }
        let filled = Filled::new();
        filled.remove_snapshots();
        let len = fs::metadata(filled.db()).unwrap().len();
        overwrite(&filled.db(), len / parts * part, &vec![0; size]);
        quarantined += u32::from(filled.outcome().report.quarantined.is_some());
    }
    assert!(
        quarantined > 0,
        "no hole was bad enough to test the quarantine"
    );
}

#[test]
fn records_of_the_greatest_length_never_become_blob_files() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("spool");
    let (mut core, _) = open(&dir, 1);
    for id in 0..400 {
        let record = record(id, protocols_wire::limits::MAX_RECORD_BYTES);
        core.append(Lane::Telemetry, vec![record], at(1_000_000 + id * 100));
        core.tick(at(1_000_000 + id * 100));
    }
    core.tick(at(1_100_000));
    assert_eq!(core.on_disk().len(), 400);
    let blobs = fs::read_dir(dir.join("buf-1/blobs"))
        .map(Iterator::count)
        .unwrap_or(0);
    assert_eq!(blobs, 0, "sled never syncs blob files");
}

#[test]
fn a_garbage_db_is_set_aside_and_claimed() {
    let filled = Filled::new();
    filled.remove_snapshots();
    fs::write(filled.db(), vec![0xa5; 3 << 20]).unwrap();
    let outcome = filled.outcome();
    assert_eq!(outcome.held, 0);
    assert!(!outcome.reasons().is_empty());
}

#[test]
fn an_empty_or_torn_conf_is_survived() {
    for content in [&b""[..], &b"segment_size: 10"[..]] {
        let filled = Filled::new();
        fs::write(filled.buf().join("conf"), content).unwrap();
        filled.outcome();
    }
}

#[test]
fn a_store_that_vanished_is_claimed() {
    let filled = Filled::new();
    fs::remove_dir_all(filled.buf()).unwrap();
    let outcome = filled.outcome();
    assert_eq!(outcome.held, 0);
    assert!(outcome.reasons().contains(&LossReason::Damaged));
}

#[test]
fn a_current_file_that_is_gone_or_nonsense_is_made_again() {
    for content in [None, Some("buf-77\n"), Some("\0\0\0\0")] {
        let filled = Filled::new();
        let current = filled.dir().join("CURRENT");
        match content {
            None => fs::remove_file(&current).unwrap(),
            Some(text) => fs::write(&current, text).unwrap(),
        }
        filled.outcome().all_are_held();
        assert_eq!(fs::read_to_string(current).unwrap(), "buf-1\n");
    }
}

#[test]
fn a_damaged_tally_is_replaced_by_its_predecessor() {
    let filled = Filled::new();
    fs::write(filled.dir().join("tally"), b"00000000 {}").unwrap();
    let outcome = filled.outcome();
    outcome.all_are_held();
    assert!(outcome.reasons().contains(&LossReason::CrashTail));
}

#[test]
fn without_any_tally_the_keys_tell_what_there_is() {
    let filled = Filled::new();
    fs::remove_file(filled.dir().join("tally")).unwrap();
    fs::remove_file(filled.dir().join("tally.prev")).unwrap();
    let outcome = filled.outcome();
    outcome.all_are_held();
    assert_eq!(outcome.reasons(), BTreeSet::from([LossReason::CrashTail]));
}

#[test]
fn a_left_over_of_a_rotation_is_removed() {
    let filled = Filled::new();
    fs::create_dir(filled.dir().join("buf-2")).unwrap();
    fs::write(filled.dir().join("buf-2/db"), b"half").unwrap();
    filled.outcome().all_are_held();
    assert!(!filled.dir().join("buf-2").exists());
}

#[test]
fn a_damaged_record_is_claimed_set_aside_and_passed_over() {
    // Inside sled the bytes are protected by its own checksum: a value of ours that no longer matches
    // comes from the memory or from a bug. It is planted through the store.
    use crate::store::{Op, SpoolStore as _, Tree};
    let filled = Filled::new();
    let mut store = DiskStore::new(&config(&filled.dir(), QUOTA));
    store.open().unwrap();
    let key = crate::value::key(
        crate::record::Age {
            ordinal: 1,
            epoch: Epoch(1),
        },
        5,
    );
    let tree = Tree::Lane(Lane::Telemetry);
    let mut bytes = store.get(tree, &key).unwrap().unwrap();
    bytes[100] ^= 1;
    store.apply(vec![Op::Put(tree, key, bytes)]).unwrap();
    store.sync().unwrap();
    drop(store);
    let outcome = filled.outcome();
    assert_eq!(outcome.held, RECORDS - 1);
    let claim = outcome
        .claims
        .iter()
        .find(|c| c.reason == LossReason::Damaged)
        .unwrap();
    assert_eq!(
        (claim.epoch, claim.range),
        (Epoch(1), SeqRange::one(5).unwrap())
    );
    let copy = filled
        .dir()
        .join("quarantine/records/0000000000000001-telemetry-5.damaged");
    assert!(copy.is_file());
}

#[test]
fn a_locked_store_is_waited_for_in_memory() {
    let filled = Filled::new();
    let (owner, _) = open(&filled.dir(), 2);
    let (mut core, report) = open(&filled.dir(), 3);
    assert!(report.disk_unusable.is_some());
    let state = core.state(at(3_000_000));
    assert!(state.alarms.contains(&SpoolAlarm::DiskUnusable));
    // The epochs that the small file lists stay listed: the cloud must not close them. Nor others,
    // which only the store would tell.
    assert!(state.unread);
    assert!(
        state
            .held
            .iter()
            .any(|held| held.epoch == Epoch(1) && held.last == RECORDS)
    );
    core.append(Lane::Telemetry, vec![record(7000, 100)], at(3_000_100));
    drop(owner);
    core.tick(at(3_010_000));
    let state = core.state(at(3_010_000));
    assert!(state.alarms.is_empty() && !state.unread, "{state:?}");
    assert_eq!(
        core.on_disk()
            .iter()
            .filter(|key| key.epoch == Epoch(1))
            .count() as u64,
        RECORDS
    );
}

#[test]
fn a_path_that_is_no_directory_leaves_the_spool_in_memory() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("spool");
    fs::write(&dir, b"in the way").unwrap();
    let (mut core, report) = open(&dir, 1);
    assert!(report.disk_unusable.unwrap().contains("spool"));
    core.append(Lane::Telemetry, vec![record(1, 100)], at(1_000_000));
    core.tick(at(1_100_000));
    let limit = FetchLimit {
        max_bytes: 1000,
        max_records: 10,
    };
    let found = core.fetch(Lane::Telemetry, Cursor::START, limit, at(1_100_000));
    assert_eq!(found.len(), 1);
    fs::remove_file(&dir).unwrap();
    core.tick(at(1_300_000));
    assert!(core.state(at(1_300_000)).alarms.is_empty());
    core.tick(at(1_310_000));
    assert_eq!(core.on_disk().len(), 1);
}

#[test]
fn a_restored_copy_never_gives_an_identity_twice() {
    let filled = Filled::new();
    let copy = filled.temp.path().join("copy");
    copy_dir(&filled.dir(), &copy);
    let (mut first, _) = open(&filled.dir(), 11);
    let (mut second, _) = open(&copy, 12);
    first.append(Lane::Telemetry, vec![record(1, 50)], at(11_000_001));
    second.append(Lane::Telemetry, vec![record(2, 50)], at(12_000_001));
    let epochs = |core: &Core| {
        core.in_memory()
            .iter()
            .map(|k| k.epoch)
            .collect::<BTreeSet<_>>()
    };
    assert!(epochs(&first).is_disjoint(&epochs(&second)));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn after_a_quarantine_everything_closes_once_the_claims_are_settled() {
    let filled = Filled::new();
    filled.remove_snapshots();
    fs::write(filled.db(), vec![0xa5; 3 << 20]).unwrap();
    let mut core = filled.outcome().core;
    for lane in Lane::ALL {
        let limit = FetchLimit {
            max_bytes: 1 << 20,
            max_records: 1000,
        };
        for found in core.fetch(lane, Cursor::START, limit, at(9_000_100)) {
            let settlement = Settlement {
                epoch: found.key.epoch,
                lane,
                stored: SeqRange::one(found.key.seq).into_iter().collect(),
                refused: Vec::new(),
            };
            core.settle(&settlement, at(9_000_100));
        }
    }
    let state = core.state(at(9_000_200));
    assert!(
        state.held.iter().all(|held| held.epoch == core.epoch()),
        "{:?}",
        state.held
    );
}
