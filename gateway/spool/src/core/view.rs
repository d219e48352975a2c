//! The spool as others see it: what hello, metrics and the uplink are told, and what tests look at.

use super::{Core, Disk, Now};
use crate::book::EpochBook;
use crate::state::{SpoolAlarm, SpoolState};
use protocols_model::Lane;
use std::collections::BTreeSet;
use std::time::Duration;

#[cfg(test)]
use crate::book::Entry;

impl Core {
    /// What hello, metrics and the uplink are told.
    pub(crate) fn state(&self, now: Now) -> SpoolState {
        let mut alarms = BTreeSet::new();
        let mut alarm = |on: bool, alarm: SpoolAlarm| {
            if on {
                alarms.insert(alarm);
            }
        };
        alarm(!self.works(), SpoolAlarm::DiskUnusable);
        alarm(self.at_bound, SpoolAlarm::AtBound);
        alarm(self.growth_cap.is_some(), SpoolAlarm::DiskShort);
        alarm(self.pace.is_stretched(), SpoolAlarm::Stretched);
        alarm(self.claims_full, SpoolAlarm::ClaimsFull);
        alarm(self.thinning, SpoolAlarm::Thinning);
        alarm(self.refusing, SpoolAlarm::Refusing);
        alarm(self.pace.is_over(), SpoolAlarm::WriteLimit);
        let current = self.books.get(&self.current);
        let waiting = current.and_then(|book| {
            let oldest = |lane| book.lane(lane).pending().next().map(|(.., p)| p.appended);
            Lane::ALL.into_iter().filter_map(oldest).min()
        });
        let since = waiting.map_or(Duration::ZERO, |oldest| now.mono.since(oldest));
        let commit_interval = self.longest_interval();
        let exposed = match &self.disk {
            Disk::Works => commit_interval,
            Disk::Fails { .. } => since.max(commit_interval),
        };
        SpoolState {
            epoch: self.current.epoch,
            held: self.books.values().flat_map(EpochBook::held).collect(),
            unread: self.unread,
            dictionaries: self.dictionaries.used(),
            last: Lane::ALL.map(|lane| current.map_or(0, |book| book.lane(lane).last)),
            live_bytes: self.disk_used + self.memory_used,
            quota_bytes: self.config.live_quota_bytes(),
            records: self.books.values().map(EpochBook::records).sum(),
            memory_bytes: self.memory_used,
            commit_interval,
            lanes: Lane::ALL.map(|lane| self.lane_use(lane)),
            gone: Lane::ALL.map(|lane| self.gone_between(lane)),
            loss_window: self.config.batch_age + exposed,
            disk_trouble: self.disk_trouble(),
            alarms,
            counters: self.counters,
        }
    }

    /// As if commits had cost so many bytes of flash each.
    #[cfg(test)]
    pub(crate) fn cost_of_a_commit(&mut self, bytes: u64) {
        for _ in 0..100 {
            self.pace.committed(bytes);
        }
    }

    #[cfg(test)]
    pub(crate) fn on_disk(&self) -> BTreeSet<protocols_model::RecordKey> {
        self.keys(|entry| entry.pending.is_none())
    }

    #[cfg(test)]
    pub(crate) fn in_memory(&self) -> BTreeSet<protocols_model::RecordKey> {
        self.keys(|entry| entry.pending.is_some())
    }

    #[cfg(test)]
    fn keys(&self, which: impl Fn(&Entry) -> bool) -> BTreeSet<protocols_model::RecordKey> {
        let mut keys = BTreeSet::new();
        for book in self.books.values() {
            for lane in Lane::ALL {
                let entries = book.lane(lane).entries.iter();
                let which = entries.filter(|(_, entry)| which(entry));
                keys.extend(which.map(|(&seq, _)| protocols_model::RecordKey {
                    epoch: book.age.epoch,
                    lane,
                    seq,
                }));
            }
        }
        keys
    }

    /// Why the disk cannot be used, while it cannot.
    pub(crate) fn disk_trouble(&self) -> Option<String> {
        match &self.disk {
            Disk::Works => None,
            Disk::Fails { why, .. } => Some(why.clone()),
        }
    }
}
