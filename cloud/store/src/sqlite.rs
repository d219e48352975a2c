//! The embedded database: SQLite in WAL mode, synchronous=FULL, one writer.
//!
//! Only one process may serve a database (a lock file says so); [`SqliteStore::open_beside`] lets a
//! second one use the registry, the accounts and the queries, as command line tools do.

mod driver;
mod schema;

use crate::error::StoreError;
use crate::generation;
use crate::sql::{Engine, Limits, Link, Role, Shared, SqlStore, Threads, Told, hello};
use driver::SqliteLink;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Readers: one may be in a long query while others answer.
const READERS: usize = 3;

/// How to open the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Bounds.
    pub limits: Limits,
}

/// Marks a store as one on SQLite.
#[derive(Debug, Clone)]
pub struct Sqlite;

/// The store on one SQLite file.
pub type SqliteStore = SqlStore<Sqlite>;

/// One SQLite file.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Held while this process serves the database.
    lock: Option<std::fs::File>,
}

impl Engine for File {
    fn connect(&self, role: Role) -> Result<Box<dyn Link>, StoreError> {
        let conn = connect(&self.path, role == Role::Writer)?;
        Ok(Box::new(SqliteLink::new(conn)))
    }

    fn serving(&self) -> Result<(), StoreError> {
        if self.lock.is_some() {
            return Ok(());
        }
        Err(StoreError::InUse {
            path: self.path.clone(),
        })
    }

    fn is_alone(&self) -> bool {
        self.lock.is_some()
    }

    /// Nobody else listens.
    fn tell(&self, _: Vec<Told>) {}
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
    /// the queries. Ingest and maintenance fail with [`StoreError::InUse`].
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
        schema::migrate(&mut conn, path, generation::draw()?)?;
        let link = SqliteLink::new(conn);
        let generation = hello::generation(link.conn())?;
        let engine = File {
            path: path.to_owned(),
            lock,
        };
        let shared = Arc::new(Shared::new(Arc::new(engine), limits, generation));
        shared.begin(link.conn())?;
        Self::start(
            shared,
            Threads {
                writers: 1,
                readers: READERS,
                own_maintainer: false,
            },
        )
    }
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
