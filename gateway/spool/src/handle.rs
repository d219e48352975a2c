//! The async face of the spool: a handle that sends requests to the one thread that owns it.
//!
//! Thin: every rule stands in [`crate::core`]. Requests are answered in order; the channel is
//! bounded, so a slow disk slows the caller down instead of filling the memory.

use crate::record::{Cursor, FetchLimit, SettleOutcome, Settlement, SpooledRecord};
use crate::state::SpoolState;
use protocols_model::{DictionaryHash, Epoch, Lane};
use protocols_wire::{Dictionary, SealedRecord};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests under way at most: enough for a burst of batches from every bus, small enough that
/// what waits here stays far below one commit's worth of records.
pub(crate) const REQUEST_CAPACITY: usize = 64;

/// The spool's thread has ended: after [`SpoolHandle::stop`], or because it failed. A gateway
/// whose spool ended by itself must exit non-zero and be started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the spool has stopped")]
pub struct SpoolStopped;

/// What the thread is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Append(Lane, Vec<SealedRecord>, oneshot::Sender<()>),
    KeepDictionaries(Vec<Dictionary>, oneshot::Sender<()>),
    Dictionaries(Vec<DictionaryHash>, oneshot::Sender<Vec<Dictionary>>),
    Fetch(
        Lane,
        Cursor,
        FetchLimit,
        oneshot::Sender<Vec<SpooledRecord>>,
    ),
    Settle(Settlement, oneshot::Sender<SettleOutcome>),
    Generation(u64, oneshot::Sender<()>),
    BatchAge(Duration, oneshot::Sender<()>),
    /// Whether everything that was read is here.
    Stop(bool, oneshot::Sender<()>),
}

/// A handle to the running spool. Clones speak to the same spool.
#[derive(Debug, Clone)]
pub struct SpoolHandle {
    pub(crate) epoch: Epoch,
    /// Before seq 1 of the current epoch.
    pub(crate) epoch_start: Cursor,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) state: watch::Receiver<Arc<SpoolState>>,
}

impl SpoolHandle {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, SpoolStopped> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(request(answer))
            .await
            .map_err(|_| SpoolStopped)?;
        answered.await.map_err(|_| SpoolStopped)
    }

    /// The epoch that records appended now get.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The place before the first record of the current epoch, in any lane: live sending starts there
    /// without walking through the backlog.
    #[must_use]
    pub const fn epoch_start(&self) -> Cursor {
        self.epoch_start
    }

    /// Appends records to `lane`, in order; each gets the next seq of the current epoch. When this
    /// returns they can be fetched; they are on disk a commit interval later unless settled before
    /// (alarms at once). At the bound the oldest records are evicted and claimed; this never waits for the
    /// uplink.
    ///
    /// # Errors
    /// [`SpoolStopped`] when the spool's thread has ended.
    pub async fn append(&self, lane: Lane, records: Vec<SealedRecord>) -> Result<(), SpoolStopped> {
        self.ask(|answer| Request::Append(lane, records, answer))
            .await
    }

    /// Keeps dictionaries, before the first record that uses them is appended. They are on disk no
    /// later than that record and stay while a record refers to them.
    ///
    /// # Errors
    /// [`SpoolStopped`] when the spool's thread has ended.
    pub async fn keep_dictionaries(
        &self,
        dictionaries: Vec<Dictionary>,
    ) -> Result<(), SpoolStopped> {
        self.ask(|answer| Request::KeepDictionaries(dictionaries, answer))
            .await
    }

    /// The dictionaries with these names; one the spool does not have is left out.
    ///
    /// # Errors
    /// [`SpoolStopped`] when the spool's thread has ended.
    pub async fn dictionaries(
        &self,
        hashes: Vec<DictionaryHash>,
    ) -> Result<Vec<Dictionary>, SpoolStopped> {
        self.ask(|answer| Request::Dictionaries(hashes, answer))
            .await
    }

    /// Records of `lane` behind `after`: oldest epoch first, then by seq, from memory or disk alike.
    /// Settled, evicted and damaged ones are not among them. Empty when there is nothing behind the
    /// cursor (or, while the disk is unusable, nothing in memory).
    ///
    /// # Errors
    /// [`SpoolStopped`] when the spool's thread has ended.
    pub async fn fetch(
        &self,
        lane: Lane,
        after: Cursor,
        limit: FetchLimit,
    ) -> Result<Vec<SpooledRecord>, SpoolStopped> {
        self.ask(|answer| Request::Fetch(lane, after, limit, answer))
            .await
    }

    /// Tells what the cloud settled. Only this lets records go.
    ///
    /// # Errors
    /// [`SpoolStopped`] when the spool's thread has ended.
    pub async fn settle(&self, settlement: Settlement) -> Result<SettleOutcome, SpoolStopped> {
        self.ask(|answer| Request::Settle(settlement, answer)).await
    }

    /// Tells which store the cloud settles in from now on. Another one than before was restored from
    /// a backup: what this gateway let go since then may be missing in it, so everything that is not
    /// held any more is claimed as `cloud restored`, and the cloud strikes what it has. To be told
    /// after the last settlement of the old store and before the first of the new one.
    ///
    /// # Errors
    /// [`SpoolStopped`] when the spool's thread has ended.
    pub async fn store_generation(&self, generation: u64) -> Result<(), SpoolStopped> {
        self.ask(|answer| Request::Generation(generation, answer))
            .await
    }

    /// Tells how long a reading may wait before it is appended, from now on: another configuration runs.
    /// See [`crate::SpoolConfig::batch_age`].
    ///
    /// # Errors
    /// [`SpoolStopped`] when the spool's thread has ended.
    pub async fn set_batch_age(&self, age: Duration) -> Result<(), SpoolStopped> {
        self.ask(|answer| Request::BatchAge(age, answer)).await
    }

    /// What the spool tells about itself; changes wake the receiver.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<Arc<SpoolState>> {
        self.state.clone()
    }

    /// Writes everything to disk, marks the epoch as cleanly ended and ends the thread. Records
    /// appended by other handles behind this call are not taken any more.
    ///
    /// # Errors
    /// [`SpoolStopped`] when `deadline` passed first or the thread had ended: the next start then
    /// claims the crash tail.
    pub async fn stop(self, deadline: Duration) -> Result<(), SpoolStopped> {
        self.end(true, deadline).await
    }

    /// As [`Self::stop`], when something that was read may not have reached the spool: the epoch ends
    /// as after a crash, and the next start claims its tail. So it does when all handles are dropped.
    ///
    /// # Errors
    /// [`SpoolStopped`] when `deadline` passed first or the thread had ended.
    pub async fn stop_incomplete(self, deadline: Duration) -> Result<(), SpoolStopped> {
        self.end(false, deadline).await
    }

    async fn end(self, complete: bool, deadline: Duration) -> Result<(), SpoolStopped> {
        let stop = self.ask(|answer| Request::Stop(complete, answer));
        tokio::time::timeout(deadline, stop)
            .await
            .map_err(|_| SpoolStopped)?
    }
}
