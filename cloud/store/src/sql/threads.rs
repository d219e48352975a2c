//! The threads that own connections, and the bounded queues before them.
//!
//! Jobs are closures; each answers through its own one-shot channel. A caller that goes away leaves
//! its job to be done: whatever was begun is finished. When the last handle is dropped the queues
//! close and the threads end after the jobs they hold.

use super::db::{Blame, Connection, blame};
use super::known::Known;
use super::row::failed;
use super::{Link, Mode, Role, Shared};
use crate::error::StoreError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Jobs waiting for a writer; a commit is a group already, so more would only add delay.
const WRITER_QUEUE: usize = 64;
/// Jobs waiting for a reader: more users than that wait in their own requests.
const READER_QUEUE: usize = 256;

/// How often a transaction is begun anew that stood in another's way.
const CONFLICTS: usize = 5;

/// What a thread owns.
pub(super) struct Worker {
    pub(super) link: Box<dyn Link>,
    pub(super) shared: Arc<Shared>,
    known: Known,
}

/// A transaction under way, and what its thread has in memory.
pub(super) struct Work<'a> {
    pub(super) conn: &'a Connection,
    pub(super) shared: &'a Shared,
    pub(super) known: &'a mut Known,
}

impl Worker {
    /// Does `job` in one transaction, and again where another's was in the way.
    pub(super) fn write<T>(
        &mut self,
        doing: &'static str,
        mut job: impl FnMut(&mut Work<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut conflicts = 0;
        loop {
            let result = self.attempt(doing, &mut job);
            let conflict = |why: &StoreError| blame(why) == Blame::Conflict;
            if !result.as_ref().is_err_and(conflict) || conflicts == CONFLICTS {
                return result;
            }
            conflicts += 1;
        }
    }

    fn attempt<T>(
        &mut self,
        doing: &'static str,
        job: &mut impl FnMut(&mut Work<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.link.begin(Mode::Write)?;
        let done = job(&mut Work {
            conn: self.link.conn(),
            shared: &self.shared,
            known: &mut self.known,
        });
        let done = done.and_then(|value| {
            self.link.commit().map_err(failed(doing))?;
            Ok(value)
        });
        if done.is_err() {
            // What was entered went back with the transaction.
            self.known.clear();
            self.link.rollback();
        }
        done
    }

    /// Does `job` on a snapshot: all its statements see the same state, so a compaction step in
    /// between neither hides a sample nor shows it twice.
    pub(super) fn read<T>(
        &mut self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.link.begin(Mode::Snapshot)?;
        let done = job(self.link.conn());
        self.link.rollback();
        done
    }
}

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// Handle of the threads of one role.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    /// Taken at close.
    jobs: Arc<Mutex<Option<mpsc::Sender<Job>>>>,
}

impl Pool {
    pub(super) fn start(
        shared: &Arc<Shared>,
        role: Role,
        threads: usize,
    ) -> Result<Self, StoreError> {
        let (name, length) = match role {
            Role::Writer => ("store-writer", WRITER_QUEUE),
            Role::Reader => ("store-reader", READER_QUEUE),
            Role::Maintainer => ("store-maintain", 1),
        };
        let (jobs, queue) = mpsc::channel::<Job>(length);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let mut worker = Worker {
                link: shared.engine.connect(role)?,
                shared: Arc::clone(shared),
                known: Known::default(),
            };
            let queue = Arc::clone(&queue);
            spawn(name, move || {
                loop {
                    // One thread waits in the queue, the others for the lock: each gets its turn.
                    let job = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .blocking_recv();
                    let Some(job) = job else { return };
                    job(&mut worker);
                }
            })?;
        }
        Ok(Self {
            jobs: Arc::new(Mutex::new(Some(jobs))),
        })
    }

    /// Has a thread do `job` and waits for its answer.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Worker) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let jobs = self.lock().clone().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |worker| drop(answer.send(job(worker))));
        jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Lets no more jobs in.
    pub(super) fn close(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `job` on a snapshot of a connection of its own, in a thread of its own.
pub(super) fn aside(
    shared: &Arc<Shared>,
    name: &'static str,
    job: impl FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    let mut worker = Worker {
        link: shared.engine.connect(Role::Reader)?,
        shared: Arc::clone(shared),
        known: Known::default(),
    };
    spawn(name, move || {
        // The job tells its own caller what failed.
        drop(worker.read(job));
    })
}

/// Starts a named thread.
pub(crate) fn spawn(
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
