//! What can go wrong between a service and its database.
//!
//! An error means: nothing of the call took effect (or, for a time-out of the disk, it is unknown
//! and the call may be repeated: every call is idempotent or says otherwise).

use std::path::PathBuf;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("cannot open the database {path}: {why}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
        /// The driver's error, where there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Another process serves this database.
    #[error("the database {path} is in use by another process; stop it first")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The database was written by a newer version of the program.
    #[error(
        "the database {path} has schema {found}, this program knows up to {known}; install the newer program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Schema version found.
        found: u32,
        /// Newest schema version known.
        known: u32,
    },
    /// The database refused a statement: disk full, I/O error, locked for too long.
    #[error("the database failed while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The driver's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Stored bytes do not decode: the database is damaged.
    #[error("the database holds damaged data: {what}")]
    Damaged {
        /// Which data.
        what: String,
    },
    /// A row that must be unique exists already.
    #[error("{what} exists already")]
    Exists {
        /// Which thing.
        what: String,
    },
    /// The thing named is not there.
    #[error("{what} does not exist")]
    NotFound {
        /// Which thing.
        what: String,
    },
    /// The store was closed, or its writer ended after an earlier error.
    #[error("the store is closed")]
    Closed,
}
