//! A store whose power goes in the middle of a thinning, at a chosen call after its decision.

use crate::store::{Op, Opened, SpoolStore, StoreError, Tree};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// When the power goes.
#[derive(Default)]
pub(super) struct Cut {
    /// At so many calls behind the next decision.
    pub(super) wanted: Option<u64>,
    /// So many calls are left.
    left: Option<u64>,
    /// It went: nothing has an effect any more.
    pub(super) dead: bool,
}

/// The inner store, until the power goes.
pub(super) struct CutStore<S> {
    pub(super) inner: S,
    pub(super) cut: Arc<Mutex<Cut>>,
    /// Runs at the moment the power goes.
    pub(super) at_cut: Box<dyn FnMut() + Send>,
}

fn gone() -> StoreError {
    StoreError::Damaged {
        doing: "using the store".to_owned(),
        found: "the power is gone".to_owned(),
    }
}

impl<S> CutStore<S> {
    fn lock(&self) -> MutexGuard<'_, Cut> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that changes something.
    fn step(&mut self) -> Result<(), StoreError> {
        let mut cut = self.lock();
        if cut.dead {
            return Err(gone());
        }
        match &mut cut.left {
            Some(0) => {
                cut.dead = true;
                drop(cut);
                (self.at_cut)();
                Err(gone())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.lock().dead {
            return Err(gone());
        }
        Ok(())
    }
}

impl<S: SpoolStore> SpoolStore for CutStore<S> {
    fn open(&mut self) -> Result<Opened, StoreError> {
        self.step()?;
        self.inner.open()
    }

    fn condemn(&mut self) -> Result<Opened, StoreError> {
        self.step()?;
        self.inner.condemn()
    }

    fn renew(&mut self) -> Result<(), StoreError> {
        self.step()?;
        self.inner.renew()
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        self.step()?;
        self.inner.compact()
    }

    fn apply(&mut self, ops: Vec<Op>) -> Result<(), StoreError> {
        self.step()?;
        self.inner.apply(ops)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.step()?;
        self.inner.sync()
    }

    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.alive()?;
        self.inner.get(tree, key)
    }

    fn scan(&mut self, tree: Tree, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.alive()?;
        self.inner.scan(tree, each)
    }

    fn read_tally(&mut self) -> Vec<Vec<u8>> {
        self.inner.read_tally()
    }

    fn write_tally(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.step()?;
        self.inner.write_tally(bytes)?;
        let decided = String::from_utf8_lossy(bytes).contains("\"prepared\"");
        let mut cut = self.lock();
        if decided && cut.left.is_none() {
            cut.left = cut.wanted.take();
        }
        Ok(())
    }

    fn set_aside(&mut self, name: &str, bytes: &[u8]) {
        self.inner.set_aside(name, bytes);
    }

    fn disk_bytes(&mut self) -> Option<u64> {
        self.inner.disk_bytes()
    }

    fn free_bytes(&mut self) -> Option<u64> {
        self.inner.free_bytes()
    }

    fn close(&mut self) {
        self.inner.close();
    }
}
