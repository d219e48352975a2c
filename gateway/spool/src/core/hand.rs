//! Giving records to the uplink, and remembering which.
//!
//! What was given may be stored in the cloud although nobody here hears of it, so it must never be
//! thinned: its readings would be stored twice. In memory each record carries a mark. Across a crash
//! the small file tells: before a record is given from disk, it and some behind it are noted there; so
//! a healthy uplink, which is given its records from memory, writes nothing. Records given from memory
//! and written to disk afterwards are noted with that commit, and what is on disk beyond the last
//! commit that the file knows counts as given.

use super::{Core, Now};
use crate::book::Mark;
use crate::lanes::WhenFull;
use crate::record::{Age, Cursor, FetchLimit, SpooledRecord};
use crate::tally;
use protocols_model::{Lane, Seq};
use std::collections::BTreeMap;

/// Records noted ahead of those that are given: so many are sent from one writing of the small file,
/// and at most so many count as sent after a crash although they were not.
const NOTED_AHEAD: usize = 256;

impl Core {
    /// Records of `lane` behind `after`, oldest first, for the uplink: it may send them.
    pub(crate) fn fetch(
        &mut self,
        lane: Lane,
        after: Cursor,
        limit: FetchLimit,
        now: Now,
    ) -> Vec<SpooledRecord> {
        let mut found = self.read(lane, after, limit, now);
        if !self.is_rewritten(lane) {
            return found;
        }
        let places: Vec<_> = found.iter().map(|record| record.cursor).collect();
        let ahead = self.ahead(lane, &places);
        if !ahead.is_empty() && !self.note_ahead(lane, &ahead, now) {
            // The disk failed: what is on it cannot be read either, from now on.
            found.retain(|record| self.may_go(lane, record.cursor));
        }
        for record in &found {
            let Cursor { age, seq } = record.cursor;
            let book = self.books.get_mut(&age).map(|book| book.lane_mut(lane));
            if let Some(entry) = book.and_then(|book| book.entries.get_mut(&seq)) {
                entry.mark(Mark::Handed, true);
            }
        }
        found
    }

    /// Whether records of `lane` may become others: thinned readings, joined claims. Of other lanes the
    /// small file says that all may have been sent, should a later configuration thin them.
    pub(super) fn is_rewritten(&self, lane: Lane) -> bool {
        lane == Lane::Event || self.config.lanes.of(lane).full == WhenFull::Thin
    }

    /// Whether a record may be given without a note.
    fn may_go(&self, lane: Lane, place: Cursor) -> bool {
        let book = self.books.get(&place.age).map(|book| book.lane(lane));
        book.and_then(|book| book.entries.get(&place.seq))
            .is_some_and(|entry| {
                entry.pending.is_some() || entry.is(Mark::Noted) || entry.is(Mark::Handed)
            })
    }

    /// What has to be noted before records at `places` are given: they, and some behind them.
    fn ahead(&self, lane: Lane, places: &[Cursor]) -> BTreeMap<Age, Vec<Seq>> {
        let mut ahead: BTreeMap<Age, Vec<Seq>> = BTreeMap::new();
        for place in places.iter().filter(|&&place| !self.may_go(lane, place)) {
            ahead.entry(place.age).or_default().push(place.seq);
        }
        for (age, seqs) in &mut ahead {
            let (Some(book), Some(&last)) = (self.books.get(age), seqs.last()) else {
                continue;
            };
            let behind = book.lane(lane).entries.range(last.saturating_add(1)..);
            let on_disk = behind.filter(|(_, entry)| entry.pending.is_none());
            seqs.extend(on_disk.take(NOTED_AHEAD).map(|(&seq, _)| seq));
        }
        ahead
    }

    /// Notes durably that these may be sent; `false` when the disk failed.
    fn note_ahead(&mut self, lane: Lane, ahead: &BTreeMap<Age, Vec<Seq>>, now: Now) -> bool {
        self.mark_noted(lane, ahead, true);
        match self.billed(Self::write_tally) {
            Ok(()) => true,
            Err(error) => {
                self.mark_noted(lane, ahead, false);
                self.fail(&error, now);
                false
            }
        }
    }

    fn mark_noted(&mut self, lane: Lane, places: &BTreeMap<Age, Vec<Seq>>, on: bool) {
        for (age, seqs) in places {
            let Some(book) = self.books.get_mut(age).map(|book| book.lane_mut(lane)) else {
                continue;
            };
            for seq in seqs {
                if let Some(entry) = book.entries.get_mut(seq) {
                    entry.mark(Mark::Noted, on);
                }
            }
            let sent = tally::ranges(book.maybe_sent());
            book.tally.sent = Some(sent);
        }
    }
}
