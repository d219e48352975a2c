//! From a seq to the spool's cursor before it.
//!
//! The spool orders epochs by age, which their numbers do not tell, and gives out cursors only with
//! records and for the running epoch. Here the cursors seen are kept, one an epoch. An epoch that was
//! never seen is reached from the next older one that was, or from the start of the spool.

use crate::window::Stream;
use gateway_spool::{Cursor, SpooledRecord};
use protocols_model::{Epoch, Seq};
use std::collections::HashMap;

/// Epochs remembered; beyond it all but the running one are forgotten and found again.
const MAX_EPOCHS: usize = 1024;

/// Cursors by epoch.
#[derive(Debug)]
pub(crate) struct Cursors {
    own: (Epoch, Cursor),
    seen: HashMap<Epoch, Cursor>,
}

impl Cursors {
    pub(crate) fn new(own: Epoch, start: Cursor) -> Self {
        Self {
            own: (own, start),
            seen: HashMap::new(),
        }
    }

    fn get(&self, epoch: Epoch) -> Option<Cursor> {
        if epoch == self.own.0 {
            return Some(self.own.1);
        }
        self.seen.get(&epoch).copied()
    }

    /// A cursor from which a fetch meets `seq` of `stream` first, as far as known. `streams` are the
    /// epochs of its lane, oldest first.
    pub(crate) fn before(
        &self,
        stream: Stream,
        seq: Seq,
        streams: impl Iterator<Item = Stream>,
    ) -> Cursor {
        if let Some(cursor) = self.get(stream.epoch) {
            return cursor.behind(seq.saturating_sub(1));
        }
        let older = streams.take_while(|other| *other != stream);
        let last_known = older.filter_map(|other| self.get(other.epoch)).last();
        last_known.map_or(Cursor::START, |cursor| cursor.behind(Seq::MAX))
    }

    /// Remembers where the records' epochs are. Returns whether one was new.
    pub(crate) fn learn(&mut self, records: &[SpooledRecord]) -> bool {
        let mut news = false;
        for record in records {
            let epoch = record.key.epoch;
            if epoch != self.own.0 && !self.seen.contains_key(&epoch) {
                if self.seen.len() >= MAX_EPOCHS {
                    self.seen.clear();
                }
                self.seen.insert(epoch, record.cursor);
                news = true;
            }
        }
        news
    }
}
