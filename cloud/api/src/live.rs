//! The live stream: from the store's commits to every open page (design.md P3).
//!
//! ```text
//! store.subscribe() ─▶ run ─▶ ring (coalesce, number, remember) ─▶ broadcast ─▶ one stream a page
//! ```
//!
//! One task owns the way in and never waits for a page: a page that falls behind by
//! [`BEHIND_LIMIT`] frames is cut off and resumes from the ring. When the task itself missed commits,
//! the ring starts a new life and everybody is told *gap*, so that nobody believes old values.

mod cadence;
pub(crate) mod ring;

use crate::app::AppState;
use crate::views::LatestView;
use cadence::Cadence;
use cloud_store::{Latest, LiveUpdate};
use protocols_model::Timestamp;
use ring::{Changed, Frame, Resume, Ring, Update};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// A frame at most so often: 4 Hz, as fast as people read.
const FRAME_EVERY: Duration = Duration::from_millis(250);
/// Frames a page may be behind: 16 seconds, then it resumes from the ring.
const BEHIND_LIMIT: usize = 64;
/// Open pages on one server.
const MAX_STREAMS: usize = 512;
/// Series whose usual pause is remembered; 100 bytes each.
const MAX_CADENCES: usize = 200_000;

/// What a page is told.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// Something changed.
    Frame(Arc<Frame>),
    /// Something was missed: fetch afresh. Streams go on from this id.
    Gap(String),
}

/// What a page gets when it opens its stream.
#[derive(Debug)]
pub(crate) struct Joined {
    /// Id to resume from if nothing else is ever received.
    pub(crate) newest: String,
    /// What it missed; none when it must fetch afresh.
    pub(crate) missed: Option<Vec<Arc<Frame>>>,
    /// What comes.
    pub(crate) messages: broadcast::Receiver<Message>,
    /// Its place among the open pages.
    pub(crate) place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Memory {
    ring: Ring,
    cadences: HashMap<i64, Cadence>,
}

/// The live stream of one server.
#[derive(Debug)]
pub(crate) struct Live {
    memory: Mutex<Memory>,
    messages: broadcast::Sender<Message>,
    places: Arc<Semaphore>,
    lives: AtomicU64,
}

impl Live {
    pub(crate) fn new() -> Self {
        let life = fastrand::u64(..);
        Self {
            memory: Mutex::new(Memory {
                ring: Ring::new(life),
                cadences: HashMap::new(),
            }),
            messages: broadcast::Sender::new(BEHIND_LIMIT),
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            lives: AtomicU64::new(life),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Nothing in the memory is left half-done by a panic.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Open streams.
    pub(crate) fn streams(&self) -> u64 {
        u64::try_from(MAX_STREAMS.saturating_sub(self.places.available_permits())).unwrap_or(0)
    }

    /// Latest values as the API shows them.
    pub(crate) fn views(&self, latest: &[Latest]) -> Vec<LatestView> {
        let memory = self.memory();
        latest
            .iter()
            .map(|latest| {
                let cadence = memory
                    .cadences
                    .get(&latest.series.0)
                    .copied()
                    .unwrap_or_default();
                LatestView::new(latest, cadence.stale_after_ms())
            })
            .collect()
    }

    /// Opens a stream after the frame with the id `last`; `None` when all places are taken.
    pub(crate) fn join(&self, last: Option<&str>) -> Option<Joined> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let memory = self.memory();
        // Subscribed under the lock: no frame falls between what is resumed and what comes.
        let messages = self.messages.subscribe();
        let missed = match last.map(|id| memory.ring.resume(id)) {
            None => Some(Vec::new()),
            Some(Resume::Frames(frames)) => Some(frames),
            Some(Resume::Gap) => None,
        };
        Some(Joined {
            newest: memory.ring.newest_id(),
            missed,
            messages,
            place,
        })
    }

    /// The id of the frame with this number.
    pub(crate) fn id(&self, number: u64) -> String {
        self.memory().ring.id(number)
    }

    fn note(&self, update: &LiveUpdate) {
        let mut memory = self.memory();
        for latest in &update.values {
            let series = latest.series.0;
            if memory.cadences.len() < MAX_CADENCES || memory.cadences.contains_key(&series) {
                memory
                    .cadences
                    .entry(series)
                    .or_default()
                    .note(shown_at(latest).as_millis());
            }
            let cadence = memory.cadences.get(&series).copied().unwrap_or_default();
            let view = LatestView::new(latest, cadence.stale_after_ms());
            let json = serde_json::to_string(&view).unwrap_or_default();
            memory.ring.note(Update {
                series,
                gateway: update.gateway.clone(),
                json,
            });
        }
        if update.events || update.alarms || update.ledger {
            let lists = Changed {
                events: update.events,
                alarms: update.alarms,
                ledger: update.ledger,
            };
            memory.ring.changed(&update.gateway, lists);
        }
    }

    fn seal(&self) {
        let mut memory = self.memory();
        if let Some(frame) = memory.ring.seal() {
            // Nobody listening is fine.
            drop(self.messages.send(Message::Frame(frame)));
        }
    }

    fn missed(&self) {
        let life = self.lives.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut memory = self.memory();
        memory.ring = Ring::new(life);
        drop(self.messages.send(Message::Gap(memory.ring.newest_id())));
    }
}

/// When a value was last known to hold.
fn shown_at(latest: &Latest) -> Timestamp {
    let confirmed = latest.confirmed.map(|confirmed| confirmed.at);
    confirmed.map_or(latest.time, |at| at.max(latest.time))
}

/// Feeds the live stream until `stop`.
pub(crate) async fn run(state: Arc<AppState>, stop: CancellationToken) {
    let mut commits = state.store.subscribe();
    let mut frames = tokio::time::interval(FRAME_EVERY);
    frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = frames.tick() => state.live.seal(),
            commit = commits.recv() => match commit {
                Ok(update) => state.live.note(&update),
                Err(RecvError::Lagged(commits)) => {
                    tracing::warn!(commits, "the live stream missed commits; pages fetch afresh");
                    state.live.missed();
                }
                Err(RecvError::Closed) => {
                    tracing::warn!("the store ended; the live stream stands still");
                    return;
                }
            },
        }
    }
}
