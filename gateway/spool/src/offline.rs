//! Looking into a spool that no gateway runs on: `spool stat`, `verify` and `export`.
//!
//! Works on a spool directory or on one store of it, such as `quarantine/store-1`. sled's lock says
//! whether a gateway is running: then nothing is touched and [`OfflineError::InUse`] comes back. Nothing
//! is repaired, settled or deleted; opening may only let sled replay its own log.

mod export;

pub use export::export;

use crate::disk::{QUARANTINE, current_store, patiently, store_numbers};
use crate::record::Age;
use crate::sled_store::SledDb;
use crate::store::{StoreError, Tree};
use crate::tally::Tally;
use crate::value;
use bytes::Bytes;
use protocols_model::{DictionaryHash, Epoch, Lane, RecordKey, Seq, Timestamp};
use protocols_wire::{Dictionary, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Why a spool cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// There is no spool.
    #[error("{0} holds no spool: neither CURRENT nor a store is there")]
    NoSpool(PathBuf),
    /// A gateway runs on it.
    #[error(
        "the spool in {0} is in use; stop the gateway first, or ask it: `fogline-gateway status`"
    )]
    InUse(PathBuf),
    /// The store cannot be opened or read.
    #[error("the store in {store} cannot be read: {why}")]
    Unreadable {
        /// Which one.
        store: PathBuf,
        /// What the storage library said.
        why: String,
    },
    /// The output cannot be written.
    #[error("writing the export failed")]
    Output(#[source] std::io::Error),
}

/// What a spool holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The store that was read.
    pub store: PathBuf,
    /// Bytes the store takes on disk.
    pub disk_bytes: u64,
    /// Whether the small second file could be read.
    pub tally_readable: bool,
    /// Per epoch, oldest first.
    pub epochs: Vec<EpochStat>,
    /// Dictionaries kept.
    pub dictionaries: u64,
    /// Stores that were set aside, oldest first.
    pub quarantined_stores: Vec<PathBuf>,
    /// Damaged and refused records that were set aside.
    pub quarantined_records: u64,
}

/// One epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStat {
    /// The epoch.
    pub epoch: Epoch,
    /// When it started, when it was last written, and whether it ended with a clean stop; `None`
    /// where the small second file does not list it.
    pub known: Option<(Timestamp, Timestamp, bool)>,
    /// Its lanes that hold something.
    pub lanes: Vec<LaneStat>,
}

/// One lane of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneStat {
    /// The lane.
    pub lane: Lane,
    /// Records held.
    pub records: u64,
    /// Of those, entries of the loss ledger.
    pub claims: u64,
    /// Kept readings in them.
    pub readings: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lowest seq held.
    pub first: Seq,
    /// Highest seq held.
    pub last: Seq,
}

/// What a check of every record found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// Records looked at.
    pub records: u64,
    /// Records whose checksum does not match.
    pub damaged: Vec<RecordKey>,
    /// Records that are what was appended, but are no records of a format this program knows.
    pub undecodable: Vec<RecordKey>,
    /// Dictionaries that records use and the spool does not hold.
    pub missing_dictionaries: Vec<DictionaryHash>,
    /// Keys that name no record.
    pub alien_keys: u64,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.damaged.is_empty()
            && self.undecodable.is_empty()
            && self.missing_dictionaries.is_empty()
            && self.alien_keys == 0
    }
}

/// An open store and where it is.
struct Store {
    path: PathBuf,
    db: SledDb,
}

impl Store {
    fn open(dir: &Path) -> Result<Self, OfflineError> {
        let path = if dir.join("db").is_file() {
            dir.to_owned()
        } else {
            current_store(dir).ok_or_else(|| OfflineError::NoSpool(dir.to_owned()))?
        };
        match patiently(&path) {
            Ok(db) => Ok(Self { path, db }),
            Err(StoreError::InUse(_)) => Err(OfflineError::InUse(dir.to_owned())),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    fn scan(&self, tree: Tree, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), OfflineError> {
        let scanned = self.db.scan(tree, each);
        scanned.map_err(|error| unreadable(&self.path, &error))
    }

    fn dictionaries(&self) -> Result<BTreeMap<DictionaryHash, Dictionary>, OfflineError> {
        let mut found = BTreeMap::new();
        self.scan(Tree::Dictionaries, &mut |_, bytes| {
            if let Ok(dictionary) = Dictionary::decode(Bytes::copy_from_slice(bytes)) {
                found.insert(dictionary.hash(), dictionary);
            }
        })?;
        Ok(found)
    }
}

fn unreadable(store: &Path, error: &StoreError) -> OfflineError {
    OfflineError::Unreadable {
        store: store.to_owned(),
        why: error.to_string(),
    }
}

/// Counts what the spool in `dir` holds.
///
/// # Errors
/// [`OfflineError`] where there is no spool, a gateway runs on it, or the store cannot be read.
pub fn stat(dir: &Path) -> Result<Stat, OfflineError> {
    let store = Store::open(dir)?;
    let mut lanes: BTreeMap<Age, Vec<LaneStat>> = BTreeMap::new();
    for lane in Lane::ALL {
        store.scan(Tree::Lane(lane), &mut |key, bytes| {
            let Some((age, seq)) = value::parse_key(key) else {
                return;
            };
            let head = value::head(lane, key, bytes);
            let stats = lanes.entry(age).or_default();
            if stats.last().is_none_or(|stat| stat.lane != lane) {
                stats.push(LaneStat {
                    lane,
                    records: 0,
                    claims: 0,
                    readings: 0,
                    bytes: 0,
                    first: seq,
                    last: seq,
                });
            }
            if let Some(stat) = stats.last_mut() {
                stat.records += 1;
                stat.claims += u64::from(head.as_ref().is_some_and(|head| head.claim));
                stat.readings += head.map_or(0, |head| head.summary.readings);
                stat.bytes += (key.len() + bytes.len()) as u64;
                stat.last = seq;
            }
        })?;
    }
    let tally = ["tally", "tally.prev"]
        .iter()
        .find_map(|name| Tally::decode(&std::fs::read(dir.join(name)).ok()?));
    let mut known = BTreeMap::new();
    for epoch in tally.iter().flat_map(|tally| &tally.epochs) {
        known.insert(epoch.age, (epoch.started, epoch.durable, epoch.clean));
        lanes.entry(epoch.age).or_default();
    }
    let epochs = lanes.into_iter().map(|(age, lanes)| EpochStat {
        epoch: age.epoch,
        known: known.get(&age).copied(),
        lanes,
    });
    let room = dir.join(QUARANTINE);
    let records = std::fs::read_dir(room.join("records"));
    let disk_bytes = store.db.size();
    Ok(Stat {
        disk_bytes: disk_bytes.map_err(|error| unreadable(&store.path, &error))?,
        tally_readable: tally.is_some(),
        epochs: epochs.collect(),
        dictionaries: store.dictionaries()?.len() as u64,
        quarantined_stores: store_numbers(&room)
            .into_iter()
            .map(|(_, path)| path)
            .collect(),
        quarantined_records: records.map_or(0, |found| found.count() as u64),
        store: store.path,
    })
}

/// Checks every record of the spool in `dir`: checksum, format, dictionaries.
///
/// # Errors
/// [`OfflineError`] where there is no spool, a gateway runs on it, or the store cannot be read.
pub fn verify(dir: &Path) -> Result<Verification, OfflineError> {
    let store = Store::open(dir)?;
    let dictionaries = store.dictionaries()?;
    let mut found = Verification::default();
    let mut missing = BTreeSet::new();
    for lane in Lane::ALL {
        store.scan(Tree::Lane(lane), &mut |key, bytes| {
            let Some((age, seq)) = value::parse_key(key) else {
                found.alien_keys += 1;
                return;
            };
            found.records += 1;
            let name = RecordKey {
                epoch: age.epoch,
                lane,
                seq,
            };
            let Some(value) = value::decode(lane, key, bytes) else {
                found.damaged.push(name);
                return;
            };
            if Record::decode(&value.body).is_err() {
                found.undecodable.push(name);
            }
            let lacking = |hash: &DictionaryHash| !dictionaries.contains_key(hash);
            missing.extend(value.dictionaries.into_iter().filter(lacking));
        })?;
    }
    found.missing_dictionaries = missing.into_iter().collect();
    Ok(found)
}
