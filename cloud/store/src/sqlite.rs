//! The embedded database: SQLite in WAL mode, synchronous=FULL.
//!
//! ```text
//! commit, hello, … ─▶ [WRITER_QUEUE] ─▶ writer thread: the one connection that writes
//! queries          ─▶ [READER_QUEUE] ─▶ READERS threads: snapshots beside the writer
//! export, compactor's reading ─▶ a thread and connection of their own, so they hold nobody up
//! ```
//!
//! Latest values and counts are state in memory (`derived`), shared by writer and readers. Only one
//! process may serve a database (a lock file says so); [`SqliteStore::open_beside`] lets a second
//! one use the registry, the accounts and the queries, as command line tools do.

mod accounts;
mod alarm;
mod claims;
mod commit;
mod compact;
mod estimated;
mod event;
mod export;
mod fold;
mod hello;
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
mod row;
mod schema;
mod threads;
mod traffic;

use crate::derived::GatewayDerived;
use crate::error::StoreError;
use crate::ingest::LiveUpdate;
use protocols_model::{BootId, GatewayId};
use protocols_wire::TimeMap;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use threads::{Pool, Writer};
use tokio::sync::broadcast;

/// Longest payload kept per quarantined input, in bytes.
pub const QUARANTINE_PAYLOAD_BYTES: usize = 4096;

/// Readers: one may be in a long query while others answer.
const READERS: usize = 3;

/// Live updates that a subscriber may be behind: some seconds of a busy system.
const LIVE_QUEUE: usize = 1024;

/// Bounds of the store (design.md P4). The defaults suit thousands of gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most series per gateway; more are refused by name.
    pub series_per_gateway: u64,
    /// Most inputs kept in quarantine per gateway; the oldest go first.
    pub quarantine_per_gateway: u64,
    /// Most alarms noted per gateway; what is over gives way, the oldest first.
    pub alarms_per_gateway: u64,
    /// Most open epochs per gateway; records of more are hinted to come later.
    pub epochs_per_gateway: u64,
    /// When a record is older than twice this (by receive time), it and all of its gateway that are
    /// older than this are turned into blocks.
    pub compact_after: Duration,
    /// Samples and 1-minute rollups older than this are dropped; stamps older than this are suspect.
    pub retention: Duration,
    /// 1-hour and 1-day rollups, events and ledger entries older than this are dropped.
    pub rollup_retention: Duration,
    /// An epoch that a hello no longer lists is closed when nothing of it came for so long.
    pub epoch_grace: Duration,
}

impl Limits {
    const fn alarms(&self) -> alarm::Bounds {
        alarm::Bounds {
            most: self.alarms_per_gateway,
            retention: self.retention,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            series_per_gateway: 100_000,
            quarantine_per_gateway: 1_000,
            alarms_per_gateway: 1_000,
            epochs_per_gateway: 4_096,
            compact_after: Duration::from_secs(5 * 60),
            retention: Duration::from_secs(400 * DAY),
            rollup_retention: Duration::from_secs(10 * 365 * DAY),
            epoch_grace: Duration::from_secs(10 * 60),
        }
    }
}

/// How to open the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Bounds.
    pub limits: Limits,
}

/// The store on one SQLite file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    writer: Writer,
    readers: Pool,
    /// The compactor's reading.
    background: Pool,
    /// One maintenance step at a time: a step reads first and writes later.
    maintaining: Arc<tokio::sync::Mutex<retention::Tidy>>,
}

/// What writer, readers and callers share.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    limits: Limits,
    generation: AtomicU64,
    /// By row id of the gateway.
    derived: RwLock<HashMap<i64, GatewayDerived>>,
    /// Whether `derived` was made. When serving it is at the opening; else at the first question,
    /// for it means reading every record since the last compaction.
    derived_made: Mutex<bool>,
    /// Time maps of boots, for the digest of records before they reach the writer.
    maps: RwLock<HashMap<(GatewayId, BootId), TimeMap>>,
    live: broadcast::Sender<Arc<LiveUpdate>>,
    /// Held while this process serves the database.
    _lock: Option<std::fs::File>,
}

impl Shared {
    /// Makes the derived state, unless that was done.
    fn make_derived(&self, conn: &Connection) -> Result<(), StoreError> {
        let mut made = self
            .derived_made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !*made {
            *self.derived_mut() = replay::derived(conn, self.limits.retention)?;
            *made = true;
        }
        Ok(())
    }

    fn derived(&self) -> RwLockReadGuard<'_, HashMap<i64, GatewayDerived>> {
        self.derived.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn derived_mut(&self) -> RwLockWriteGuard<'_, HashMap<i64, GatewayDerived>> {
        self.derived.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&self, gateway: &GatewayId, boot: BootId) -> Option<TimeMap> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.get(&(gateway.clone(), boot)).copied()
    }

    fn maps_mut(&self) -> RwLockWriteGuard<'_, HashMap<(GatewayId, BootId), TimeMap>> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqliteStore {
    /// Opens the database for serving, making or migrating it where needed. Blocks for as long as
    /// the records since the last compaction take to read.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Newer`], [`StoreError::Open`] with what to do.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        Self::open_with(path, options.limits, Some(lock))
    }

    /// Opens the database beside the process that serves it: for the registry, the accounts and
    /// the queries. Ingest and maintenance fail with [`StoreError::InUse`]; latest values and
    /// counts are as of the first question for them.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Open`] with what to do.
    pub fn open_beside(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        Self::open_with(path, options.limits, None)
    }

    fn open_with(
        path: &Path,
        limits: Limits,
        lock: Option<std::fs::File>,
    ) -> Result<Self, StoreError> {
        let mut conn = connect(path, true)?;
        schema::migrate(&mut conn, path, draw_generation()?)?;
        let generation = read_generation(&conn)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            derived: RwLock::default(),
            derived_made: Mutex::new(false),
            maps: RwLock::new(replay::maps(&conn)?),
            limits,
            generation: AtomicU64::new(generation),
            live: broadcast::Sender::new(LIVE_QUEUE),
            _lock: lock,
        });
        if shared._lock.is_some() {
            shared.make_derived(&conn)?;
        }
        Ok(Self {
            writer: Writer::start(conn, Arc::clone(&shared))?,
            readers: Pool::start(&shared, "store-reader", READERS)?,
            background: Pool::start(&shared, "store-maintain", 1)?,
            maintaining: Arc::default(),
            shared,
        })
    }

    /// Fails where another process serves the database.
    fn serving(&self) -> Result<(), StoreError> {
        if self.shared._lock.is_some() {
            return Ok(());
        }
        Err(StoreError::InUse {
            path: self.shared.path.clone(),
        })
    }

    fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Relaxed)
    }
}

fn read_generation(conn: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT value FROM meta WHERE key = 'generation'";
    let value: i64 = conn
        .query_row(sql, [], |row| row.get(0))
        .map_err(row::failed("reading the generation"))?;
    Ok(value.cast_unsigned())
}

/// 64 random bits: no two databases, and no two restores of one, share a generation.
fn draw_generation() -> Result<u64, StoreError> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| StoreError::Database {
            doing: "drawing a generation",
            source: "the system gives no random bytes".into(),
        })?;
    Ok(u64::from_le_bytes(bytes))
}

/// The lock of the serving process; the system gives it back when the process ends, however.
fn lock(path: &Path) -> Result<std::fs::File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |source: std::io::Error| StoreError::Open {
        path: path.to_owned(),
        why: format!(
            "its lock file {} cannot be used; the folder must exist and be writable",
            name.display()
        ),
        source: Some(Box::new(source)),
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// How long a statement waits for another process' write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

fn connect(path: &Path, writing: bool) -> Result<Connection, StoreError> {
    let flags = if writing {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    let open = |source| open_error(path, source);
    let conn =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(open)?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(open)?;
    // synchronous=FULL: a commit is on disk before it is acknowledged to a gateway (design.md C4).
    // The WAL is cut after a checkpoint, so that a large one does not stay for ever.
    if writing {
        conn.execute_batch(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 67108864;
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32768;",
        )
        .map_err(open)?;
    }
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

/// What is wrong with a file, and what to do.
fn open_error(path: &Path, source: rusqlite::Error) -> StoreError {
    let why = match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            "it is not a SQLite database, or its head is damaged; restore it from a backup or move it away"
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            "it is damaged; restore it from a backup, or move it away to start anew"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds it locked; end that process"
        }
        Some(ErrorCode::CannotOpen) => "the folder must exist and be writable",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "it is not writable for this user"
        }
        Some(ErrorCode::DiskFull) => "the disk is full",
        _ => "the driver refused it",
    };
    StoreError::Open {
        path: path.to_owned(),
        why: why.to_owned(),
        source: Some(Box::new(source)),
    }
}

#[cfg(test)]
mod tests;
