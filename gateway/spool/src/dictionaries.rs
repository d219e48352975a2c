//! Dictionaries of held records: in memory for the uplink, on disk no later than the first record that
//! uses them, gone when no record does (design.md C6).
//!
//! Pure. The encoded form is what lies on disk under its hash; the hash is the checksum.

use bytes::Bytes;
use protocols_model::DictionaryHash;
use protocols_wire::Dictionary;
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Deref;
use std::sync::Arc;

/// Dictionaries without a record that stay in memory: those of the running configuration and a few
/// before it.
const UNUSED_KEPT: usize = 256;

/// A list of names that many records share; one thin pointer in each of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Names(Arc<List>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct List(Box<[DictionaryHash]>);

impl Deref for Names {
    type Target = [DictionaryHash];

    fn deref(&self) -> &Self::Target {
        &self.0.0
    }
}

impl Borrow<[DictionaryHash]> for Names {
    fn borrow(&self) -> &[DictionaryHash] {
        self
    }
}

#[derive(Debug)]
struct Known {
    dictionary: Dictionary,
    /// Held records that use it.
    records: u64,
    on_disk: bool,
}

/// The dictionaries that held records use, or soon may.
#[derive(Debug, Default)]
pub(crate) struct Dictionaries {
    known: BTreeMap<DictionaryHash, Known>,
    /// Names by last time they were kept, oldest first.
    kept: VecDeque<DictionaryHash>,
    /// One list of names is shared by all records that have it.
    lists: HashSet<Names>,
    /// Uses of dictionaries that were never kept.
    missing: BTreeMap<DictionaryHash, u64>,
}

impl Dictionaries {
    pub(crate) fn keep(&mut self, dictionary: Dictionary, on_disk: bool) {
        let hash = dictionary.hash();
        let records = self.missing.remove(&hash).unwrap_or(0);
        let known = self.known.entry(hash).or_insert(Known {
            dictionary,
            records,
            on_disk: false,
        });
        known.on_disk |= on_disk;
        self.kept.retain(|name| *name != hash);
        self.kept.push_back(hash);
        while self.kept.len() > UNUSED_KEPT {
            if let Some(oldest) = self.kept.pop_front() {
                self.forget_unused(oldest);
            }
        }
    }

    fn forget_unused(&mut self, hash: DictionaryHash) {
        let unused = |known: &Known| known.records == 0 && !known.on_disk;
        if self.known.get(&hash).is_some_and(unused) && !self.kept.contains(&hash) {
            self.known.remove(&hash);
        }
    }

    pub(crate) fn get(&self, hash: DictionaryHash) -> Option<&Dictionary> {
        self.known.get(&hash).map(|known| &known.dictionary)
    }

    /// The shared form of a list of names, for one more record that uses them.
    pub(crate) fn use_list(&mut self, names: Vec<DictionaryHash>) -> Names {
        for name in &names {
            match self.known.get_mut(name) {
                Some(known) => known.records += 1,
                None => *self.missing.entry(*name).or_default() += 1,
            }
        }
        if let Some(list) = self.lists.get(names.as_slice()) {
            return list.clone();
        }
        if self.lists.len() >= UNUSED_KEPT {
            self.lists.retain(|list| Arc::strong_count(&list.0) > 1);
        }
        let list = Names(Arc::new(List(names.into_boxed_slice())));
        self.lists.insert(list.clone());
        list
    }

    /// One record less uses these.
    pub(crate) fn release(&mut self, names: &[DictionaryHash]) {
        for &name in names {
            if let Some(known) = self.known.get_mut(&name) {
                known.records = known.records.saturating_sub(1);
                self.forget_unused(name);
            } else if let Some(uses) = self.missing.get_mut(&name) {
                *uses = uses.saturating_sub(1);
                if *uses == 0 {
                    self.missing.remove(&name);
                }
            }
        }
    }

    /// Those of `names` that are not on disk yet.
    pub(crate) fn not_on_disk<'a>(
        &'a self,
        names: impl IntoIterator<Item = DictionaryHash> + 'a,
    ) -> impl Iterator<Item = (DictionaryHash, Bytes)> + 'a {
        names.into_iter().filter_map(|name| {
            let known = self.known.get(&name).filter(|known| !known.on_disk)?;
            Some((name, known.dictionary.encoded().clone()))
        })
    }

    pub(crate) fn set_on_disk(&mut self, name: DictionaryHash) {
        if let Some(known) = self.known.get_mut(&name) {
            known.on_disk = true;
        }
    }

    /// Nothing is on disk any more.
    pub(crate) fn forget_disk(&mut self) {
        for known in self.known.values_mut() {
            known.on_disk = false;
        }
    }

    /// Those on disk that no record uses; the caller deletes them.
    pub(crate) fn take_unused_on_disk(&mut self) -> Vec<DictionaryHash> {
        let unused: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.on_disk && known.records == 0)
            .map(|(&name, _)| name)
            .collect();
        for &name in &unused {
            if let Some(known) = self.known.get_mut(&name) {
                known.on_disk = false;
            }
            self.forget_unused(name);
        }
        unused
    }

    /// Names that held records use.
    pub(crate) fn used(&self) -> Vec<DictionaryHash> {
        let used = self.known.iter().filter(|(_, known)| known.records > 0);
        used.map(|(&name, _)| name).collect()
    }

    /// Bytes of the dictionaries that held records use.
    pub(crate) fn bytes(&self) -> u64 {
        let used = self.known.values().filter(|known| known.records > 0);
        used.map(|known| known.dictionary.encoded().len() as u64)
            .sum()
    }
}
