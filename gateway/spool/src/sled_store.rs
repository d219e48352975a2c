//! sled, and nothing but sled: the only file that names it.
//!
//! What bites in sled 0.34.7 and what is done about it here: a panic inside it becomes an error; its
//! `flush` is `sync_file_range`, so `sync` adds `File::sync_data` on the `db` file; the cache is set
//! (the default is 1 GiB); its flusher thread is off, so nothing is written that nobody asked for.
//! Segments are 1 MiB: sled puts a leaf (up to 17 values) larger than a quarter of a segment into a
//! blob file that it never fsyncs, and 17 records of 8 KiB that do not compress are 145 KiB.

use crate::store::{Op, StoreError, Tree};
use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const CACHE_BYTES: u64 = 8 * 1024 * 1024;
const SEGMENT_BYTES: usize = 1024 * 1024;
/// Values per sled batch: bounds what one batch holds in memory.
const BATCH: usize = 64;

/// An open sled database with the spool's trees.
pub(crate) struct SledDb {
    // Fields drop in order: the trees before the database, so that the lock goes with it.
    trees: BTreeMap<Tree, sled::Tree>,
    db: sled::Db,
    file: File,
    dir: PathBuf,
}

impl std::fmt::Debug for SledDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledDb")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Runs `body`; a panic of the library becomes an error.
fn guarded<T>(
    doing: &str,
    dir: &Path,
    body: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    let doing = || format!("{doing} {}", dir.display());
    // After a panic the database is thrown away as a whole, so no broken state is looked at.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(classify(doing(), error)),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(StoreError::Damaged {
                doing: doing(),
                found: format!("panic in the storage library: {text}"),
            })
        }
    }
}

fn classify(doing: String, error: sled::Error) -> StoreError {
    match error {
        // sled reports a held lock as an I/O error of kind `Other` with this text.
        sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            StoreError::InUse(source.to_string())
        }
        // These are what sled makes of a file that ends too early or holds nonsense.
        sled::Error::Io(source)
            if matches!(
                source.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData
            ) =>
        {
            StoreError::Damaged {
                doing,
                found: source.to_string(),
            }
        }
        sled::Error::Io(source) => StoreError::Io { doing, source },
        other => StoreError::Damaged {
            doing,
            found: other.to_string(),
        },
    }
}

impl SledDb {
    /// Opens or makes the database in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let (db, trees) = guarded("opening", dir, || {
            let db = sled::Config::new()
                .path(dir)
                .mode(sled::Mode::LowSpace)
                .cache_capacity(CACHE_BYTES)
                .segment_size(SEGMENT_BYTES)
                .use_compression(false)
                .print_profile_on_drop(false)
                .flush_every_ms(None)
                .open()?;
            let mut trees = BTreeMap::new();
            for tree in Tree::ALL {
                trees.insert(tree, db.open_tree(tree.as_str())?);
            }
            Ok((db, trees))
        })?;
        let path = dir.join("db");
        let file = File::open(&path)
            .map_err(|e| StoreError::io(format!("opening {}", path.display()), e))?;
        Ok(Self {
            trees,
            db,
            file,
            dir: dir.to_owned(),
        })
    }

    fn tree(&self, tree: Tree) -> Result<&sled::Tree, StoreError> {
        self.trees.get(&tree).ok_or_else(|| StoreError::Damaged {
            doing: format!(
                "looking for tree {} in {}",
                tree.as_str(),
                self.dir.display()
            ),
            found: "the tree was not opened".to_owned(),
        })
    }

    /// Applies changes in order; changes of one tree that follow each other go as one batch.
    pub(crate) fn apply(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let mut ops = ops.into_iter().peekable();
        while let Some(first) = ops.peek() {
            let (Op::Put(tree, ..) | Op::Delete(tree, _)) = first;
            let tree = *tree;
            let mut batch = sled::Batch::default();
            let same = |op: &Op| matches!(op, Op::Put(t, ..) | Op::Delete(t, _) if *t == tree);
            for _ in 0..BATCH {
                match ops.next_if(same) {
                    Some(Op::Put(_, key, value)) => batch.insert(key, value),
                    Some(Op::Delete(_, key)) => batch.remove(key),
                    None => break,
                }
            }
            let target = self.tree(tree)?;
            guarded("writing to", &self.dir, || target.apply_batch(batch))?;
        }
        Ok(())
    }

    /// Puts everything into `other` as well, some values at a time.
    pub(crate) fn copy_to(&self, other: &Self) -> Result<(), StoreError> {
        for tree in Tree::ALL {
            let (from, to) = (self.tree(tree)?, other.tree(tree)?);
            let mut values = from.iter().peekable();
            while values.peek().is_some() {
                guarded("moving on from", &self.dir, || {
                    let mut batch = sled::Batch::default();
                    for value in values.by_ref().take(BATCH) {
                        let (key, value) = value?;
                        batch.insert(key, value);
                    }
                    to.apply_batch(batch)
                })?;
            }
        }
        Ok(())
    }

    /// Makes everything applied durable, on the medium and not only in the system's cache.
    pub(crate) fn sync(&self, data: bool) -> Result<(), StoreError> {
        guarded("flushing", &self.dir, || self.db.flush())?;
        if data {
            self.file
                .sync_data()
                .map_err(|e| StoreError::io(format!("syncing {}", self.dir.display()), e))?;
        }
        Ok(())
    }

    pub(crate) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let target = self.tree(tree)?;
        let found = guarded("reading", &self.dir, || target.get(key))?;
        Ok(found.map(|value| value.to_vec()))
    }

    pub(crate) fn scan(
        &self,
        tree: Tree,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let target = self.tree(tree)?;
        guarded("reading", &self.dir, || {
            for item in target {
                let (key, value) = item?;
                each(&key, &value);
            }
            Ok(())
        })
    }

    pub(crate) fn size(&self) -> Result<u64, StoreError> {
        guarded("measuring", &self.dir, || self.db.size_on_disk())
    }
}
