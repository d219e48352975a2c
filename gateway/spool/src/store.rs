//! The seam to the disk: a small synchronous store of bytes, and what can go wrong with it.
//!
//! Two implementations: [`crate::disk`] (sled in a directory) and, for the tests, an in-memory model
//! whose crashes and faults are chosen. The rules of the spool stand above this seam, in
//! [`crate::core`]; nothing below it knows what a record is.

use protocols_model::Lane;
use std::io;
use std::path::PathBuf;

/// The fixed trees of a store; never made or dropped at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tree {
    Lane(Lane),
    Dictionaries,
}

impl Tree {
    pub(crate) const ALL: [Self; 5] = [
        Self::Lane(Lane::Alarm),
        Self::Lane(Lane::Event),
        Self::Lane(Lane::Telemetry),
        Self::Lane(Lane::Bulk),
        Self::Dictionaries,
    ];

    /// The tree's name on disk.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Lane(lane) => lane.as_str(),
            Self::Dictionaries => "dictionaries",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Put(Tree, Vec<u8>, Vec<u8>),
    Delete(Tree, Vec<u8>),
}

/// What went wrong, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Another process holds the store.
    #[error("the spool in use by another process: {0}")]
    InUse(String),
    /// The medium does not take or give bytes now: full, read-only, gone, not permitted.
    #[error("{doing}")]
    Io {
        /// What was being done, to what.
        doing: String,
        #[source]
        source: io::Error,
    },
    /// The store contradicts itself or its library gave up; opening it again may help.
    #[error("{doing}: {found}")]
    Damaged {
        /// What was being done, to what.
        doing: String,
        /// What the library said.
        found: String,
    },
}

impl StoreError {
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            doing: doing.into(),
            source,
        }
    }
}

/// How opening went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The store that was there could not be opened and was set aside; this one is empty.
    pub(crate) quarantined: Option<PathBuf>,
    /// What was repaired on the way.
    pub(crate) notes: Vec<String>,
}

/// The disk as the spool sees it.
///
/// Contract: what [`SpoolStore::sync`] covered survives a power cut; of what was applied after it a
/// prefix survives. [`SpoolStore::write_tally`] replaces the small file as a whole and is durable when
/// it returns. After an error every call but [`SpoolStore::open`] may fail; opening again is always
/// allowed.
pub(crate) trait SpoolStore: Send {
    /// Opens the store, or opens it again. What cannot be opened is set aside; an error means that
    /// the medium itself cannot be used now.
    fn open(&mut self) -> Result<Opened, StoreError>;
    /// Sets the open store aside, because reading it failed, and opens an empty one.
    fn condemn(&mut self) -> Result<Opened, StoreError>;
    /// Replaces the store by an empty one; only called when nothing in it is needed.
    fn renew(&mut self) -> Result<(), StoreError>;
    /// Moves everything into a fresh store, which takes less disk; a crash leaves the one or the other.
    fn compact(&mut self) -> Result<(), StoreError>;
    /// Applies changes, in order.
    fn apply(&mut self, ops: Vec<Op>) -> Result<(), StoreError>;
    /// Makes everything applied durable.
    fn sync(&mut self) -> Result<(), StoreError>;
    /// The value under `key`.
    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Shows every key and value of `tree`, in the order of the keys.
    fn scan(&mut self, tree: Tree, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;
    /// The small second file, newest readable copy first; the caller checks them.
    fn read_tally(&mut self) -> Vec<Vec<u8>>;
    /// Replaces the small second file.
    fn write_tally(&mut self, bytes: &[u8]) -> Result<(), StoreError>;
    /// Keeps a copy of a damaged or refused record, in bounded space; best effort.
    fn set_aside(&mut self, name: &str, bytes: &[u8]);
    /// Bytes the store takes on disk, if that can be told.
    fn disk_bytes(&mut self) -> Option<u64>;
    /// Free bytes of the file system, if that can be told.
    fn free_bytes(&mut self) -> Option<u64>;
    /// Closes the store; nothing is synced by this.
    fn close(&mut self);
}
