//! The store on a database that speaks SQL: everything that SQLite and `PostgreSQL` have in common,
//! which is everything but their drivers, their tables and how processes hear of each other.
//!
//! ```text
//! commit, hello, … ─▶ [queue] ─▶ writer threads: a connection each, one transaction at a time
//! queries          ─▶ [queue] ─▶ reader threads: snapshots beside the writers
//! maintenance      ─▶ [queue] ─▶ one thread that plans on a snapshot; applied by a writer
//! export           ─▶ a thread and connection of its own, so it holds nobody up
//! ```
//!
//! **Order.** What is written of one gateway is written by one transaction at a time: on SQLite because
//! there is one writer, on `PostgreSQL` because each transaction first locks the rows of its gateways,
//! in the order of their names. So whatever is decided below may take for granted that nothing of the
//! gateway moves meanwhile, numbers of its record rows grow in the order of their commits, and two
//! transactions cannot wait for each other.
//!
//! Latest values and counts are state in memory (`derived`) that follows from the rows. Where this
//! process is the only one that writes, it follows each commit; where others write too, it is brought
//! up to date from the rows before it is used.

mod accounts;
mod alarm;
mod claims;
mod commit;
mod compact;
pub(crate) mod db;
mod estimated;
mod event;
mod export;
mod fold;
pub(crate) mod hello;
mod ingest;
mod known;
mod ledger;
mod maintain;
mod prepare;
mod query;
mod read;
mod registry;
mod replay;
mod retention;
mod retime;
pub(crate) mod row;
pub(crate) mod shared;
pub(crate) mod threads;
mod traffic;
pub(crate) mod week;

pub use shared::Limits;
pub(crate) use shared::Shared;

use crate::error::StoreError;
use db::{Connection, Error};
use std::marker::PhantomData;
use std::sync::Arc;
use threads::Pool;

/// Longest payload kept per quarantined input, in bytes.
pub const QUARANTINE_PAYLOAD_BYTES: usize = 4096;

/// The store on a database; `E` says which. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqlStore<E> {
    shared: Arc<Shared>,
    writers: Pool,
    readers: Pool,
    /// Plans maintenance.
    planner: Pool,
    /// Applies maintenance.
    maintainer: Pool,
    /// One maintenance step at a time: a step reads first and writes later.
    maintaining: Arc<tokio::sync::Mutex<retention::Tidy>>,
    engine: PhantomData<E>,
}

/// What a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
    /// Plans maintenance, and applies it where there is no single writer to do that.
    Maintainer,
}

/// A database that threads can connect to.
pub(crate) trait Engine: Send + Sync + std::fmt::Debug {
    /// Makes a connection.
    fn connect(&self, role: Role) -> Result<Box<dyn Link>, StoreError>;

    /// Fails where this process may only look on.
    fn serving(&self) -> Result<(), StoreError>;

    /// Whether this process alone writes, so that memory can follow its own commits.
    fn is_alone(&self) -> bool;

    /// Tells other processes, and this one, what was committed; never waits.
    fn tell(&self, told: Vec<Told>);
}

/// What others should look at: a gateway of which something was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) gateway: protocols_model::GatewayId,
    pub(crate) changed: Changed,
}

/// What changed besides readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changed {
    pub(crate) events: bool,
    pub(crate) alarms: bool,
    pub(crate) ledger: bool,
}

/// How a transaction sees the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One unmoving state, nothing written.
    Snapshot,
    /// What is committed, and locks on what it writes.
    Write,
}

/// A connection, owned by one thread.
pub(crate) trait Link: Send {
    /// Begins a transaction; makes the connection again where it broke.
    fn begin(&mut self, mode: Mode) -> Result<(), StoreError>;

    /// The connection, inside the transaction.
    fn conn(&self) -> &Connection;

    /// Ends the transaction; on return everything is on disk, and on the standby's where there is one.
    fn commit(&mut self) -> Result<(), Error>;

    /// Ends the transaction without effect.
    fn rollback(&mut self);

    /// Whether maintenance is this connection's to do. The number stays the same for as long as it was
    /// so without a break.
    fn elect(&mut self) -> Result<Option<u64>, StoreError>;

    /// Tidies up before the last connection goes.
    fn close(&mut self) -> Result<(), StoreError>;
}

/// How many threads of each role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threads {
    pub(crate) writers: usize,
    pub(crate) readers: usize,
    /// Whether the maintainer writes itself; else a writer does.
    pub(crate) own_maintainer: bool,
}

impl<E> SqlStore<E> {
    /// A store on an engine whose tables are there.
    pub(crate) fn start(shared: Arc<Shared>, threads: Threads) -> Result<Self, StoreError> {
        let writers = Pool::start(&shared, Role::Writer, threads.writers)?;
        let planner = Pool::start(&shared, Role::Maintainer, 1)?;
        let maintainer = if threads.own_maintainer {
            planner.clone()
        } else {
            writers.clone()
        };
        Ok(Self {
            readers: Pool::start(&shared, Role::Reader, threads.readers)?,
            writers,
            planner,
            maintainer,
            maintaining: Arc::default(),
            engine: PhantomData,
            shared,
        })
    }

    /// Has a reader look at one snapshot.
    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.call(|worker| worker.read(job)).await
    }

    /// Runs statements as they are: what a test does to the database behind the store's back.
    #[cfg(test)]
    pub(crate) async fn raw(&self, sql: String) -> Result<(), StoreError> {
        let doing = "testing";
        let run = move |conn: &Connection| conn.batch(&sql).map_err(row::failed(doing));
        self.write(doing, run).await
    }

    /// Has a writer do `job` in one transaction. It is done again where two transactions were in each
    /// other's way.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        mut job: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writers
            .call(move |worker| worker.write(doing, |work| job(work.conn)))
            .await
    }
}
