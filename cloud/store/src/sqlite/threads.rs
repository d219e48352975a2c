//! The threads that own connections, and the bounded queues before them.
//!
//! Jobs are closures; each answers through its own one-shot channel. A caller that goes away leaves
//! its job to be done: whatever was begun is finished. When the last handle is dropped the queues
//! close and the threads end after the jobs they hold.

use super::known::Known;
use super::{Shared, connect};
use crate::error::StoreError;
use crate::maintain::MaintainReport;
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Jobs waiting for the writer; a commit is a group already, so more would only add delay.
const WRITER_QUEUE: usize = 64;
/// Jobs waiting for a reader: more users than that wait in their own requests.
const READER_QUEUE: usize = 256;

/// What the writer thread owns.
pub(super) struct WriterState {
    pub(super) conn: Connection,
    pub(super) shared: Arc<Shared>,
    pub(super) known: Known,
    pub(super) report: MaintainReport,
}

type WriteJob = Box<dyn FnOnce(&mut WriterState) + Send>;
type ReadJob = Box<dyn FnOnce(&Connection) + Send>;

/// Handle of the writer thread.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// Taken at close.
    jobs: Arc<Mutex<Option<mpsc::Sender<WriteJob>>>>,
}

impl Writer {
    pub(super) fn start(conn: Connection, shared: Arc<Shared>) -> Result<Self, StoreError> {
        let (jobs, mut queue) = mpsc::channel::<WriteJob>(WRITER_QUEUE);
        let mut state = WriterState {
            conn,
            shared,
            known: Known::default(),
            report: MaintainReport::default(),
        };
        spawn("store-writer", move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut state);
            }
        })?;
        Ok(Self {
            jobs: Arc::new(Mutex::new(Some(jobs))),
        })
    }

    /// Has the writer do `job` and waits for its answer.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut WriterState) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let jobs = self.lock().clone().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let job: WriteJob = Box::new(move |state| drop(answer.send(job(state))));
        jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Lets no more jobs in.
    pub(super) fn close(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<WriteJob>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handle of the reader threads.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    jobs: mpsc::Sender<ReadJob>,
}

impl Pool {
    pub(super) fn start(
        shared: &Arc<Shared>,
        name: &'static str,
        threads: usize,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel::<ReadJob>(READER_QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let conn = connect(&shared.path, false)?;
            let queue = Arc::clone(&queue);
            spawn(name, move || {
                loop {
                    // One thread waits in the queue, the others for the lock: each gets its turn.
                    let job = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .blocking_recv();
                    let Some(job) = job else { return };
                    job(&conn);
                }
            })?;
        }
        Ok(Self { jobs })
    }

    /// Has a reader do `job` on one snapshot and waits for its answer.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: ReadJob = Box::new(move |conn| {
            let result = snapshot(conn, job);
            drop(answer.send(result));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

/// Runs `job` in a read transaction: all its statements see the same state, so a compaction step
/// in between neither hides a sample nor shows it twice.
pub(super) fn snapshot<T>(
    conn: &Connection,
    job: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let tx = conn
        .unchecked_transaction()
        .map_err(super::row::failed("beginning a read"))?;
    job(&tx)
}

/// Starts a named thread.
pub(super) fn spawn(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Result<(), StoreError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(drop)
        .map_err(|source| StoreError::Database {
            doing: "starting a thread of the store",
            source: Box::new(source),
        })
}
