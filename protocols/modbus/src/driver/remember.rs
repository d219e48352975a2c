//! What the devices have taught, kept across restarts of the driver.
//!
//! Read before the first request and written rarely: it can all be found out again, and flash wears.

use super::BusTask;
use crate::config::Bus;
use crate::learned::{Memory, Snapshot};
use protocols_model::Instant;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What was learned is saved so long after it was, and at the end.
const SAVE_EVERY: Duration = Duration::from_mins(15);

/// A disk that takes longer is left to itself: the driver has others to answer to, and must end within
/// [`protocols_driver::STOP_BOUND`].
const SAVE_BOUND: Duration = Duration::from_secs(1);

/// What is kept, and when it was.
pub(super) struct Remember {
    memory: Option<Arc<dyn Memory>>,
    saved: Snapshot,
    save_at: Instant,
}

impl Remember {
    pub(super) const fn nothing() -> Self {
        Self {
            memory: None,
            saved: Snapshot::empty(),
            save_at: Instant(Duration::ZERO),
        }
    }

    /// What was saved last; nothing when that cannot be read, with a warning.
    pub(super) async fn load(memory: Option<Arc<dyn Memory>>, bus: &Bus, now: Instant) -> Self {
        let Some(memory) = memory else {
            return Self::nothing();
        };
        let keeper = Arc::clone(&memory);
        let loaded = tokio::task::spawn_blocking(move || keeper.load()).await;
        let bus = &bus.name;
        let saved = match loaded.map_err(io::Error::from).flatten() {
            Ok(Some(bytes)) => Snapshot::from_bytes(&bytes)
                .inspect_err(|error| tracing::warn!(%bus, %error, "starting without"))
                .unwrap_or_default(),
            Ok(None) => Snapshot::default(),
            Err(error) => {
                tracing::warn!(%bus, %error, "what was learned cannot be read; starting without");
                Snapshot::default()
            }
        };
        Self {
            memory: Some(memory),
            saved,
            save_at: now.plus(SAVE_EVERY),
        }
    }

    pub(super) const fn snapshot(&self) -> &Snapshot {
        &self.saved
    }
}

impl BusTask {
    /// Saves when it is time to.
    pub(super) async fn remember(&mut self, now: Instant) {
        if self.remember.memory.is_some() && now >= self.remember.save_at {
            self.remember.save_at = now.plus(SAVE_EVERY);
            self.save().await;
        }
    }

    /// Saves what is new.
    pub(super) async fn save(&mut self) {
        let Some(memory) = &self.remember.memory else {
            return;
        };
        let learned = self.units.iter().map(|unit| &unit.learned);
        let snapshot = Snapshot::of(self.bus.devices.iter().zip(learned));
        if snapshot.says_the_same_as(&self.remember.saved) {
            return;
        }
        let (keeper, bytes) = (Arc::clone(memory), snapshot.to_bytes());
        let saving = tokio::task::spawn_blocking(move || keeper.save(&bytes));
        let saved = match tokio::time::timeout(SAVE_BOUND, saving).await {
            Ok(saved) => saved.map_err(io::Error::from).flatten(),
            Err(elapsed) => Err(elapsed.into()),
        };
        match saved {
            Ok(()) => self.remember.saved = snapshot,
            Err(error) => {
                tracing::warn!(bus = %self.bus.name, %error, "what was learned cannot be saved");
            }
        }
    }
}
