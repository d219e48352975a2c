//! What ingest did, in numbers: for `/metrics`, the status page and readiness.

use crate::pace::HOLDS;
use crate::peers::{Load, Peers};
use crate::source::StreamState;
use protocols_model::Instant;
use protocols_wire::Pace;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the commit latency histogram, milliseconds; the last bucket has none.
pub const COMMIT_BUCKETS_MS: [u64; 8] = [2, 5, 10, 20, 50, 100, 250, 1000];

/// Counters since the process started, and the present state.
#[derive(Debug)]
pub struct IngestStats {
    /// Messages taken from the broker, redelivered ones included.
    pub received: Counter,
    /// Messages committed.
    pub committed: Counter,
    /// Readings newly stored.
    pub readings: Counter,
    /// Records that were covered already.
    pub duplicates: Counter,
    /// Ranges of records refused.
    pub refused: Counter,
    /// Hints to offer a record again later.
    pub retried: Counter,
    /// Inputs set aside.
    pub quarantined: Counter,
    /// Commits that failed: the database was away.
    pub failed_commits: Counter,
    /// Hellos answered.
    pub hellos: Counter,
    /// Hellos that could not be answered.
    pub bad_hellos: Counter,
    /// Acknowledgements sent.
    pub acknowledgements: Counter,
    /// Those that asked a gateway to send backlog more slowly.
    pub slowing: Counter,
    /// The other replicas.
    pub peers: Peers,
    /// Commits that wait to be told, at most [`crate::run()`]'s own bound.
    untold: AtomicU64,
    /// Why stream and consumers cannot be used; none when they can.
    source_trouble: Mutex<Option<String>>,
    store_away: AtomicBool,
    stream: Mutex<StreamState>,
    latency: Mutex<Latency>,
    pace: Mutex<Option<(Pace, Instant)>>,
    load: Mutex<(Load, Instant)>,
}

impl Default for IngestStats {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            committed: Counter::default(),
            readings: Counter::default(),
            duplicates: Counter::default(),
            refused: Counter::default(),
            retried: Counter::default(),
            quarantined: Counter::default(),
            failed_commits: Counter::default(),
            hellos: Counter::default(),
            bad_hellos: Counter::default(),
            acknowledgements: Counter::default(),
            slowing: Counter::default(),
            peers: Peers::new(fastrand::u64(..)),
            untold: AtomicU64::new(0),
            source_trouble: Mutex::new(Some("the broker was not asked yet".to_owned())),
            store_away: AtomicBool::new(false),
            stream: Mutex::default(),
            latency: Mutex::default(),
            pace: Mutex::default(),
            load: Mutex::default(),
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// Commit latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// Commits per bucket of [`COMMIT_BUCKETS_MS`], not summed up; the last one is everything above.
    pub buckets: [u64; COMMIT_BUCKETS_MS.len() + 1],
    /// All of them.
    pub count: u64,
    /// Time in all of them.
    pub sum: Duration,
}

impl Counter {
    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn add_len(&self, more: usize) {
        self.add(u64::try_from(more).unwrap_or(u64::MAX));
    }
}

impl IngestStats {
    /// Whether stream and consumers exist, as of the last look.
    #[must_use]
    pub fn source_ready(&self) -> bool {
        self.source_trouble().is_none()
    }

    /// Why stream and consumers cannot be used, as of the last look.
    #[must_use]
    pub fn source_trouble(&self) -> Option<String> {
        let trouble = self.source_trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Commits that wait to be told.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }

    /// What this replica managed at its last look; nothing when that is long ago.
    #[must_use]
    pub fn load(&self, now: Instant) -> Load {
        let (load, at) = *self.load.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(at) < HOLDS {
            load
        } else {
            Load::default()
        }
    }

    /// Whether no commit failed since one succeeded.
    #[must_use]
    pub fn store_ready(&self) -> bool {
        !self.store_away.load(Ordering::Relaxed)
    }

    /// The broker's stream at the last look.
    #[must_use]
    pub fn stream(&self) -> StreamState {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commit latencies so far.
    #[must_use]
    pub fn latency(&self) -> Latency {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What gateways are told of how fast backlog may come; `None` for no limit. What was found out
    /// long ago, because nothing came since, is said no more.
    #[must_use]
    pub fn pace(&self, now: Instant) -> Option<Pace> {
        let pace = *self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let (pace, at) = pace?;
        (now.since(at) < HOLDS).then_some(pace)
    }

    pub(crate) fn set_pace(&self, pace: Option<Pace>, now: Instant) {
        let pace = pace.map(|pace| (pace, now));
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }

    pub(crate) fn set_load(&self, load: Load, now: Instant) {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner) = (load, now);
    }

    pub(crate) fn set_untold(&self, waiting: usize) {
        let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
        self.untold.store(waiting, Ordering::Relaxed);
    }

    pub(crate) fn set_source_trouble(&self, trouble: Option<String>) {
        let held = self.source_trouble.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(crate) fn set_store_ready(&self, ready: bool) {
        self.store_away.store(!ready, Ordering::Relaxed);
    }

    pub(crate) fn set_stream(&self, state: StreamState) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub(crate) fn committed_in(&self, took: Duration) {
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let place = COMMIT_BUCKETS_MS.partition_point(|bound| *bound < ms);
        if let Some(bucket) = latency.buckets.get_mut(place) {
            *bucket = bucket.saturating_add(1);
        }
        latency.count = latency.count.saturating_add(1);
        latency.sum = latency.sum.saturating_add(took);
    }
}
