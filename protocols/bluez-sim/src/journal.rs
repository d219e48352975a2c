//! What really went over the air, as the sensors know it: the truth an oracle holds the gateway against.
//!
//! A record stands for something that a client of `BlueZ` was told or has asked. What nobody could hear (no
//! discovery, a repeat that the controller filters) is not in it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocols_model::Timestamp;

use crate::names::{Address, Uuid};
use crate::sensor::Advert;

/// So many records are kept: 200 sensors at 1 Hz for a quarter of an hour. Older ones are counted away.
pub const JOURNAL_CAPACITY: usize = 200_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// 1, 2, 3 … without gaps.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// On which adapter.
    pub adapter: String,
    /// With which sensor; `None` for what concerns the adapter.
    pub address: Option<Address>,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An advertisement was handed out.
    Advert {
        /// Its content.
        advert: Advert,
        /// Whether a fault had spoiled it.
        spoiled: bool,
    },
    /// A notification was handed out.
    Notified {
        /// Of which characteristic.
        characteristic: Uuid,
        /// The value.
        value: Vec<u8>,
    },
    /// A value was read.
    Read {
        /// Of which characteristic.
        characteristic: Uuid,
        /// The value.
        value: Vec<u8>,
    },
    /// A value was written.
    Written {
        /// Of which characteristic.
        characteristic: Uuid,
        /// The value.
        value: Vec<u8>,
        /// Whether the sensor accepted it.
        accepted: bool,
    },
    /// A client asked to connect.
    ConnectAsked,
    /// The link is up or down.
    Connected(bool),
    /// A client began to listen to a characteristic, or ended that.
    Listening {
        /// To which.
        characteristic: Uuid,
        /// Begun or ended.
        on: bool,
    },
    /// A client started or stopped discovery, and was allowed to.
    Discovery(bool),
    /// A client switched the adapter on or off, or tried to.
    Power(bool),
}

/// Called with each record, on the simulator's thread: it must not block.
pub type OnRecord = Arc<dyn Fn(&Record) + Send + Sync>;

/// The record of what happened; clones share it.
#[derive(Clone, Default)]
pub struct Journal {
    inner: Arc<Mutex<Inner>>,
    on_record: Option<OnRecord>,
}

#[derive(Default)]
struct Inner {
    records: VecDeque<Record>,
    last: u64,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("records", &self.lock().last)
            .finish_non_exhaustive()
    }
}

impl Journal {
    pub(crate) fn new(on_record: Option<OnRecord>) -> Self {
        Self {
            inner: Arc::default(),
            on_record,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Plain data: a panic while it was held leaves at worst one record out.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(
        &self,
        at: Timestamp,
        adapter: &str,
        address: Option<Address>,
        event: Event,
    ) {
        let record = {
            let mut inner = self.lock();
            inner.last += 1;
            let record = Record {
                number: inner.last,
                at,
                adapter: adapter.to_owned(),
                address,
                event,
            };
            if inner.records.len() == JOURNAL_CAPACITY {
                inner.records.pop_front();
            }
            inner.records.push_back(record.clone());
            record
        };
        if let Some(on_record) = &self.on_record {
            on_record(&record);
        }
    }

    /// How many records there were in all, also those no longer kept.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lock().last
    }

    /// What `pick` makes of the records kept, oldest first.
    pub fn select<T>(&self, pick: impl FnMut(&Record) -> Option<T>) -> Vec<T> {
        self.lock().records.iter().filter_map(pick).collect()
    }

    /// How many of the records kept fit.
    pub fn count(&self, fits: impl Fn(&Record) -> bool) -> usize {
        self.lock()
            .records
            .iter()
            .filter(|record| fits(record))
            .count()
    }
}
