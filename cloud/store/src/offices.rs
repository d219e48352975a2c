//! Work that one process of an installation does at a time: who does it is decided at the database.
//!
//! Every process of a role may ask for its office, again and again; one has it. When that one ends, is
//! cut off or falls silent, the office is free after [`TERM`] at the latest and the next to ask has it. The
//! work itself must bear two holders for a moment all the same: a process that stood still does not know
//! that its term is over until it asks.

use crate::error::StoreError;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// An office is held for so long after [`Offices::hold`] was called, and no longer.
pub const TERM: Duration = Duration::from_secs(15);
/// How often a holder should ask again, and another one whether the office is free.
pub const ASK_EVERY: Duration = Duration::from_secs(3);

/// What one process does at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Office {
    /// Compaction, rollups, retention.
    Tasks,
    /// Noting which gateways are connected.
    Sessions,
}

impl Office {
    /// Its name in the database and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Sessions => "sessions",
        }
    }
}

/// Deciding who has an office.
#[async_trait]
pub trait Offices: Send + Sync + 'static {
    /// Takes the office where it is free, keeps it where this process has it; says whether it has it,
    /// from now for [`TERM`].
    ///
    /// # Errors
    /// [`StoreError::Database`]: it is unknown; what was held is held until its term ends.
    async fn hold(&self, office: Office) -> Result<bool, StoreError>;

    /// Gives the office up, so that the next one need not wait for the end of the term.
    ///
    /// # Errors
    /// [`StoreError::Database`]: the term ends by itself.
    async fn resign(&self, office: Office) -> Result<(), StoreError>;
}

/// Offices of processes that share a database file: a lock on a file beside it, which the system takes
/// back when the process ends, however it ends.
#[derive(Debug)]
pub struct FileOffices {
    database: PathBuf,
    held: Mutex<BTreeMap<Office, File>>,
}

impl FileOffices {
    /// Offices of the database at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            database: path.to_owned(),
            held: Mutex::default(),
        }
    }

    fn path(&self, office: Office) -> PathBuf {
        let mut name = self.database.as_os_str().to_owned();
        name.push(format!(".{}.lock", office.as_str()));
        name.into()
    }
}

#[async_trait]
impl Offices for FileOffices {
    async fn hold(&self, office: Office) -> Result<bool, StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains_key(&office) {
            return Ok(true);
        }
        let failed = |source: std::io::Error| StoreError::Database {
            doing: "taking an office",
            source: Box::new(source),
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path(office))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                held.insert(office, file);
                Ok(true)
            }
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    async fn resign(&self, office: Office) -> Result<(), StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Closing the file gives the lock back.
        held.remove(&office);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holds_an_office_until_it_resigns_or_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fogline.db");
        let (one, two) = (FileOffices::new(&path), FileOffices::new(&path));
        assert!(one.hold(Office::Tasks).await.unwrap());
        assert!(one.hold(Office::Tasks).await.unwrap(), "kept");
        assert!(!two.hold(Office::Tasks).await.unwrap());
        assert!(two.hold(Office::Sessions).await.unwrap(), "another office");
        one.resign(Office::Tasks).await.unwrap();
        assert!(two.hold(Office::Tasks).await.unwrap());
        drop(two);
        assert!(one.hold(Office::Tasks).await.unwrap());
    }
}
