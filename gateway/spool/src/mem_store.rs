//! The in-memory model of the disk: what was synced stays, of the rest a chosen prefix, and any call
//! can be made to fail or to be the last before a crash. For the tests only.

use crate::store::{Op, Opened, SpoolStore, StoreError, Tree};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Trees = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// The medium; outlives the stores that are opened on it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Medium {
    durable: Trees,
    unsynced: Vec<Op>,
    tally: Vec<Vec<u8>>,
    pub(crate) set_aside: Vec<String>,
    /// Calls so far that change the medium.
    pub(crate) ios: u64,
    /// The call at which the power goes, and whether its effect still takes place.
    pub(crate) crash_at: Option<(u64, bool)>,
    /// The power is gone: nothing has an effect any more.
    pub(crate) dead: bool,
    /// Every write fails: full.
    pub(crate) full: bool,
    /// The next open finds the store broken beyond repair.
    pub(crate) broken: bool,
    pub(crate) syncs: u64,
    pub(crate) free: Option<u64>,
    /// Most bytes held since the last fresh start: the model's store does not shrink either.
    peak: u64,
}

impl Op {
    const fn len(&self) -> u64 {
        match self {
            Self::Put(.., value) => value.len() as u64,
            Self::Delete(..) => 0,
        }
    }
}

fn apply_to(trees: &mut Trees, op: Op) {
    match op {
        Op::Put(tree, key, value) => drop(trees.insert((tree, key), value)),
        Op::Delete(tree, key) => drop(trees.remove(&(tree, key))),
    }
}

impl Medium {
    fn view(&self) -> Trees {
        let mut trees = self.durable.clone();
        for op in &self.unsynced {
            apply_to(&mut trees, op.clone());
        }
        trees
    }

    /// Counts a call; says whether it happens.
    fn step(&mut self) -> Result<(), StoreError> {
        if self.dead {
            return Err(failure("the power is gone"));
        }
        self.ios += 1;
        if let Some((at, effect)) = self.crash_at
            && self.ios >= at
        {
            self.dead = true;
            if !effect {
                return Err(failure("the power went"));
            }
        }
        if self.full {
            return Err(StoreError::io(
                "writing",
                std::io::Error::from(std::io::ErrorKind::StorageFull),
            ));
        }
        Ok(())
    }

    /// Power is back: `keep` of the unsynced changes, from the first, had reached the medium.
    pub(crate) fn power_up(&mut self, keep: usize) {
        let mut unsynced = std::mem::take(&mut self.unsynced);
        unsynced.truncate(keep);
        for op in unsynced {
            apply_to(&mut self.durable, op);
        }
        self.dead = false;
        self.crash_at = None;
    }

    /// Bytes of the small file.
    pub(crate) fn tally_bytes(&self) -> usize {
        self.tally.first().map_or(0, Vec::len)
    }

    /// The small file.
    pub(crate) fn last_tally(&self) -> Vec<u8> {
        self.tally.last().cloned().unwrap_or_default()
    }

    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Changes one byte of the `nth` value of the lanes; says whether there was one.
    pub(crate) fn damage(&mut self, nth: usize) -> Option<(Tree, Vec<u8>)> {
        let count = self.durable.len();
        let (key, value) = self.durable.iter_mut().nth(nth.checked_rem(count)?)?;
        if !matches!(key.0, Tree::Lane(_)) {
            return None;
        }
        let at = nth % value.len();
        value[at] ^= 0x10;
        Some(key.clone())
    }
}

fn failure(what: &str) -> StoreError {
    StoreError::Damaged {
        doing: "using the model".to_owned(),
        found: what.to_owned(),
    }
}

/// A store on a [`Medium`].
#[derive(Debug, Clone)]
pub(crate) struct MemStore(pub(crate) Arc<Mutex<Medium>>);

impl MemStore {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Medium> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpoolStore for MemStore {
    fn open(&mut self) -> Result<Opened, StoreError> {
        let mut medium = self.lock();
        medium.step()?;
        let mut opened = Opened::default();
        if std::mem::take(&mut medium.broken) {
            medium.durable.clear();
            medium.unsynced.clear();
            opened.quarantined = Some(PathBuf::from("quarantine/store-1"));
        }
        Ok(opened)
    }

    fn condemn(&mut self) -> Result<Opened, StoreError> {
        self.lock().broken = true;
        self.open()
    }

    fn renew(&mut self) -> Result<(), StoreError> {
        let mut medium = self.lock();
        medium.step()?;
        medium.durable.clear();
        medium.unsynced.clear();
        medium.peak = 0;
        Ok(())
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        let mut medium = self.lock();
        medium.step()?;
        let unsynced = std::mem::take(&mut medium.unsynced);
        for op in unsynced {
            apply_to(&mut medium.durable, op);
        }
        medium.peak = 0;
        Ok(())
    }

    fn apply(&mut self, ops: Vec<Op>) -> Result<(), StoreError> {
        for op in ops {
            let mut medium = self.lock();
            medium.step()?;
            medium.unsynced.push(op);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mut medium = self.lock();
        medium.step()?;
        medium.syncs += 1;
        let unsynced = std::mem::take(&mut medium.unsynced);
        for op in unsynced {
            apply_to(&mut medium.durable, op);
        }
        Ok(())
    }

    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let medium = self.lock();
        if medium.dead {
            return Err(failure("the power is gone"));
        }
        let latest = medium.unsynced.iter().rev().find_map(|op| match op {
            Op::Put(t, k, value) if *t == tree && k == key => Some(Some(value.clone())),
            Op::Delete(t, k) if *t == tree && k == key => Some(None),
            _ => None,
        });
        let durable = || medium.durable.get(&(tree, key.to_vec())).cloned();
        Ok(latest.unwrap_or_else(durable))
    }

    fn scan(&mut self, tree: Tree, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let medium = self.lock();
        if medium.dead {
            return Err(failure("the power is gone"));
        }
        for ((_, key), value) in medium.view().iter().filter(|((t, _), _)| *t == tree) {
            each(key, value);
        }
        Ok(())
    }

    fn read_tally(&mut self) -> Vec<Vec<u8>> {
        self.lock().tally.iter().rev().cloned().collect()
    }

    fn write_tally(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut medium = self.lock();
        medium.step()?;
        medium.tally.push(bytes.to_vec());
        let excess = medium.tally.len().saturating_sub(2);
        medium.tally.drain(..excess);
        Ok(())
    }

    fn set_aside(&mut self, name: &str, _bytes: &[u8]) {
        self.lock().set_aside.push(name.to_owned());
    }

    fn disk_bytes(&mut self) -> Option<u64> {
        let mut medium = self.lock();
        // Not the view: what is overwritten or deleted and not synced yet counts twice, as on a disk.
        let durable: u64 = medium
            .durable
            .values()
            .map(|value| value.len() as u64)
            .sum();
        let unsynced: u64 = medium.unsynced.iter().map(|op| op.len()).sum();
        let held = durable + unsynced;
        medium.peak = medium.peak.max(held);
        Some(medium.peak)
    }

    fn free_bytes(&mut self) -> Option<u64> {
        self.lock().free
    }

    fn close(&mut self) {}
}
