//! What comes into the spool: records with the seqs they are given, and claims about what did not, or will not, stay.

use super::{Core, Now};
use crate::book::{Entry, Mark, Pending};
use crate::claims::{self, Loss};
use crate::failpoint;
use crate::value::OVERHEAD_BYTES;
use protocols_model::{Claim, Lane, LossReason, RefuseReason, Seq, SeqRange};
use protocols_wire::limits::MAX_RECORD_BYTES;
use protocols_wire::{Record, RecordStamp, SealedRecord};

impl Core {
    /// Appends records to `lane` of the running epoch.
    pub(crate) fn append(&mut self, lane: Lane, records: Vec<SealedRecord>, now: Now) {
        let mut refused = Vec::new();
        for record in records {
            if record.body.len() > MAX_RECORD_BYTES {
                // Nothing that long fits a value; its seq is claimed so that nothing waits for it.
                tracing::error!(bytes = record.body.len(), %lane, "record too large, claimed");
                let book = self.book().lane_mut(lane);
                book.last += 1;
                let seq = book.last;
                self.let_go(lane, seq);
                refused.push(Loss {
                    age: self.current,
                    lane,
                    seq,
                    reason: LossReason::Refused(RefuseReason::TooLarge),
                    held: Some((record.summary, Vec::new())),
                });
                continue;
            }
            if self.is_full(lane, &record) {
                refused.push(self.refuse_new(lane, record));
                continue;
            }
            self.push(lane, record, 0, &[], now);
        }
        self.claim_losses(refused, now);
        failpoint::hit("spool.append");
        self.note_at_most(now);
        self.relieve(now);
    }

    /// Appends readings as thinning leaves them at `level`.
    #[cfg(test)]
    pub(crate) fn append_thinned(&mut self, level: u8, records: Vec<SealedRecord>, now: Now) {
        for record in records {
            self.push(Lane::Telemetry, record, level, &[], now);
        }
        self.relieve(now);
    }

    /// Gives `record` the next seq of its lane.
    pub(super) fn push(
        &mut self,
        lane: Lane,
        record: SealedRecord,
        level: u8,
        marks: &[Mark],
        now: Now,
    ) -> Seq {
        let names = Record::dictionaries(&record.body).unwrap_or_default();
        let bytes = size_of(&record, names.len());
        let names = self.dictionaries.use_list(names);
        let pending = Pending {
            body: record.body,
            summary: record.summary,
            appended: now.mono,
        };
        self.memory_used += bytes;
        self.memory_readings = self.memory_readings.saturating_add(pending.readings());
        let mut entry = Entry::new(bytes, level, names, Some(Box::new(pending)));
        for &mark in marks {
            entry.mark(mark, true);
        }
        *self.room_of(lane, entry.claim()) += bytes;
        self.counters.appended += 1;
        let book = self.book().lane_mut(lane);
        book.last += 1;
        let seq = book.last;
        book.entries.insert(seq, entry);
        seq
    }

    /// What is counted of a lane, or of claims.
    pub(super) fn room_of(&mut self, lane: Lane, claim: bool) -> &mut u64 {
        let [alarm, event, telemetry, bulk] = &mut self.lane_bytes;
        match lane {
            _ if claim => &mut self.claim_bytes,
            Lane::Alarm => alarm,
            Lane::Event => event,
            Lane::Telemetry => telemetry,
            Lane::Bulk => bulk,
        }
    }

    pub(super) const fn stamp(&self, now: Now) -> RecordStamp {
        RecordStamp {
            boot: self.boot,
            mono: now.mono,
            wall: now.wall,
        }
    }

    /// Appends `claims` to the event lane; returns the seqs of their records.
    pub(super) fn claim(&mut self, claims: Vec<Claim>, now: Now) -> Option<SeqRange> {
        self.push_claims(claims::seal(self.stamp(now), claims), &[Mark::Claim], now)
    }

    pub(super) fn push_claims(
        &mut self,
        sealed: Vec<(SealedRecord, Vec<Claim>)>,
        marks: &[Mark],
        now: Now,
    ) -> Option<SeqRange> {
        let mut seqs: Option<SeqRange> = None;
        for (record, part) in sealed {
            let epochs = part.iter().map(|claim| claim.epoch).collect();
            let seq = self.push(Lane::Event, record, 0, marks, now);
            self.claims.insert((self.current, seq), epochs);
            self.counters.claims += 1;
            let first = seqs.map_or(seq, SeqRange::first);
            seqs = SeqRange::new(first, seq);
        }
        seqs
    }

    pub(super) fn claim_losses(&mut self, losses: Vec<Loss>, now: Now) -> Option<SeqRange> {
        if losses.is_empty() {
            return None;
        }
        let started = losses
            .iter()
            .filter_map(|loss| Some(self.books.get(&loss.age)?.started))
            .min();
        let from = started.unwrap_or(now.wall).minus(self.config.batch_age);
        let claims = claims::join(losses, (from, now.wall));
        self.claim(claims, now)
    }
}

/// What a record counts while it waits in memory.
pub(super) fn size_of(record: &SealedRecord, names: usize) -> u64 {
    record.body.len() as u64 + OVERHEAD_BYTES + 16 * names as u64
}
