//! Reading everything a store holds, once, at a start.
//!
//! Checks every checksum on the way. A store that opens but cannot be read is set aside like one that
//! does not open.

use crate::claims;
use crate::record::Age;
use crate::store::{Opened, SpoolStore, StoreError, Tree};
use crate::value;
use bytes::Bytes;
use protocols_model::{DictionaryHash, Epoch, Lane, LossReason, Seq, SeqRange, SeqSet};
use protocols_wire::{Dictionary, RecordSummary};
use std::collections::{BTreeMap, BTreeSet};

/// Copies of damaged values kept from one scan.
const COPIES_MOST: usize = 100;
/// A record on disk, without its body.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bytes: u64,
    pub(super) claim: bool,
    pub(super) level: u8,
    pub(super) names: Vec<DictionaryHash>,
    pub(super) summary: RecordSummary,
}

/// Everything a store holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) found: BTreeMap<Age, BTreeMap<(Lane, Seq), Found>>,
    pub(super) damaged: Vec<(Age, Lane, Seq)>,
    pub(super) copies: Vec<(String, Vec<u8>)>,
    pub(super) dictionaries: Vec<Dictionary>,
    /// Epochs that the claim records speak of.
    pub(super) claims: BTreeMap<(Age, Seq), BTreeSet<Epoch>>,
    /// Epochs whose crash tail is claimed in the store.
    pub(super) tails: BTreeSet<Epoch>,
    /// What the claim records in the store name as thinned: not missed when it is not there.
    pub(super) explained: BTreeMap<(Epoch, Lane), SeqSet>,
}

impl Scan {
    fn read(store: &mut dyn SpoolStore) -> Result<Self, StoreError> {
        let mut scan = Self::default();
        for lane in Lane::ALL {
            store.scan(Tree::Lane(lane), &mut |key, bytes| {
                scan.add(lane, key, bytes);
            })?;
        }
        store.scan(Tree::Dictionaries, &mut |key, bytes| {
            let read = Dictionary::decode(Bytes::copy_from_slice(bytes)).ok();
            let named = read.filter(|dictionary| dictionary.hash().0 == key);
            scan.dictionaries.extend(named);
        })?;
        Ok(scan)
    }

    /// What is there of one lane of one epoch, damaged or not.
    pub(super) fn seqs(&self, age: Age, lane: Lane) -> SeqSet {
        let found = self.found.get(&age).into_iter().flat_map(BTreeMap::keys);
        let found = found.filter(|(l, _)| *l == lane).map(|&(_, seq)| seq);
        let damaged = self
            .damaged
            .iter()
            .filter(|(a, l, _)| (*a, *l) == (age, lane));
        let seqs = found.chain(damaged.map(|&(.., seq)| seq));
        seqs.filter_map(SeqRange::one).collect()
    }

    fn add(&mut self, lane: Lane, key: &[u8], bytes: &[u8]) {
        let Some((age, seq)) = value::parse_key(key) else {
            tracing::warn!(%lane, "a key in the spool names no record, ignored");
            return;
        };
        let Some(head) = value::head(lane, key, bytes) else {
            self.damaged.push((age, lane, seq));
            if self.copies.len() < COPIES_MOST {
                let name = format!("{}-{lane}-{seq}.damaged", age.epoch);
                self.copies.push((name, bytes.to_vec()));
            }
            return;
        };
        if head.claim {
            let body = value::decode(lane, key, bytes).map(|value| value.body);
            let claims = body
                .and_then(|body| claims::open(&body))
                .unwrap_or_default();
            let tails = claims.iter().filter(|c| c.reason == LossReason::CrashTail);
            self.tails.extend(tails.map(|claim| claim.epoch));
            let thinned = claims.iter().filter(|c| c.reason == LossReason::Thinned);
            for claim in thinned {
                let set = self.explained.entry((claim.epoch, claim.lane));
                set.or_default().insert(claim.range);
            }
            let epochs = claims.iter().map(|claim| claim.epoch).collect();
            self.claims.insert((age, seq), epochs);
        }
        let found = Found {
            bytes: (key.len() + bytes.len()) as u64,
            claim: head.claim,
            level: head.level,
            names: head.dictionaries,
            summary: head.summary,
        };
        self.found
            .entry(age)
            .or_default()
            .insert((lane, seq), found);
    }
}

/// Opens and reads the store; one that opens but cannot be read is set aside as well.
pub(super) fn open_and_read(store: &mut dyn SpoolStore) -> Result<(Opened, Scan), StoreError> {
    let mut opened = store.open()?;
    match Scan::read(store) {
        Ok(scan) => Ok((opened, scan)),
        Err(error) => {
            let again = store.condemn()?;
            opened.notes.push(format!("{error}; set aside"));
            opened.notes.extend(again.notes);
            opened.quarantined = again.quarantined.or(opened.quarantined);
            Scan::read(store).map(|scan| (opened, scan))
        }
    }
}
