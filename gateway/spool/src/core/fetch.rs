//! Reading: records from memory or disk alike, and what is done about those that are damaged.

use super::{Core, Now};
use crate::book::{Entry, Mark};
use crate::claims::Loss;
use crate::record::{Age, Cursor, FetchLimit, SpooledRecord};
use crate::store::{StoreError, Tree};
use crate::value::{self, Value};
use protocols_model::{Lane, LossReason, RecordKey, Seq};

impl Core {
    /// The record as it is held; `Ok(None)` when its bytes on disk are damaged or gone.
    pub(super) fn load(
        &mut self,
        age: Age,
        lane: Lane,
        seq: Seq,
    ) -> Result<Option<Value>, StoreError> {
        let entry = self
            .books
            .get(&age)
            .and_then(|b| b.lane(lane).entries.get(&seq));
        if let Some(pending) = entry.and_then(|entry| entry.pending.as_deref()) {
            return Ok(Some(Value {
                body: pending.body.clone(),
                summary: pending.summary,
                dictionaries: entry.map(|e| e.names.to_vec()).unwrap_or_default(),
                claim: entry.is_some_and(Entry::claim),
                level: entry.map_or(0, |e| e.level),
            }));
        }
        let key = value::key(age, seq);
        let Some(bytes) = self.store.get(Tree::Lane(lane), &key)? else {
            return Ok(None);
        };
        let decoded = value::decode(lane, &key, &bytes);
        if decoded.is_none() {
            let name = format!("{}-{lane}-{seq}.damaged", age.epoch);
            self.store.set_aside(&name, &bytes);
        }
        Ok(decoded)
    }

    /// Records of `lane` behind `after`, oldest first, for somebody who does not send them.
    pub(crate) fn read(
        &mut self,
        lane: Lane,
        after: Cursor,
        limit: FetchLimit,
        now: Now,
    ) -> Vec<SpooledRecord> {
        let works = self.works();
        let mut keys = Vec::new();
        for (&age, book) in self.books.range(after.age..) {
            let from = if age == after.age { after.seq } else { 0 };
            let behind = book.lane(lane).entries.range(from.saturating_add(1)..);
            let born = behind.filter(|(_, entry)| !entry.is(Mark::Unborn));
            let usable = born.filter(|(_, entry)| works || entry.pending.is_some());
            let room = limit.max_records.max(1) - keys.len();
            keys.extend(usable.take(room).map(|(&seq, _)| (age, seq)));
            if keys.len() >= limit.max_records.max(1) {
                break;
            }
        }
        let mut found: Vec<SpooledRecord> = Vec::new();
        let mut damaged = Vec::new();
        let mut bytes = 0;
        for (age, seq) in keys {
            match self.load(age, lane, seq) {
                Ok(Some(value)) => {
                    bytes += value.body.len();
                    if bytes > limit.max_bytes && !found.is_empty() {
                        break;
                    }
                    found.push(SpooledRecord {
                        key: RecordKey {
                            epoch: age.epoch,
                            lane,
                            seq,
                        },
                        cursor: Cursor { age, seq },
                        body: value.body,
                        dictionaries: value.dictionaries,
                        summary: value.summary,
                    });
                }
                Ok(None) => damaged.push((age, lane, seq)),
                Err(error) => {
                    self.fail(&error, now);
                    break;
                }
            }
        }
        self.claim_damaged(damaged, now);
        found
    }

    /// Claims records whose bytes are no longer what they were; their copies are set aside already.
    pub(super) fn claim_damaged(&mut self, damaged: Vec<(Age, Lane, Seq)>, now: Now) {
        let losses: Vec<_> = damaged
            .iter()
            .map(|&(age, lane, seq)| Loss {
                age,
                lane,
                seq,
                reason: LossReason::Damaged,
                held: None,
            })
            .collect();
        self.counters.damaged_records += losses.len() as u64;
        let lost_claims = damaged
            .iter()
            .any(|&(age, lane, seq)| lane == Lane::Event && self.claims.contains_key(&(age, seq)));
        let behind = self.claim_losses(losses, now);
        for (age, lane, seq) in damaged {
            tracing::error!(epoch = %age.epoch, %lane, seq, "record in the spool is damaged, claimed");
            if let Some(entry) = self.remove(age, lane, seq) {
                self.delete_later((age, lane, seq), entry.bytes(), behind, now);
            }
        }
        if lost_claims {
            let gaps = self.claim_all_gaps(LossReason::Damaged, now);
            self.claim(gaps, now);
        }
    }
}
