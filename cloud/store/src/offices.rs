//! Work that one process of an installation does at a time: who does it is decided at the database.
//!
//! Every process of a role may ask for its office, again and again; one has it. When that one ends, is
//! cut off or falls silent, the office is free after [`TERM`] at the latest and the next to ask has it. The
//! work itself must bear two holders for a moment all the same: a process that stood still does not know
//! that its term is over until it asks.

use crate::error::StoreError;
use async_trait::async_trait;
use protocols_model::{Clock, Instant};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
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

/// One process' claim to an office: asks when it is time to, and knows until when it has it.
pub struct Candidate {
    offices: Arc<dyn Offices>,
    office: Office,
    asked: Option<Instant>,
    until: Option<Instant>,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate")
            .field("office", &self.office)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl Candidate {
    /// One that has not asked yet.
    #[must_use]
    pub fn new(offices: Arc<dyn Offices>, office: Office) -> Self {
        Self {
            offices,
            office,
            asked: None,
            until: None,
        }
    }

    /// Whether this process has the office now; asks at most once in [`ASK_EVERY`]. While the database
    /// cannot be asked, what was held is held until its term ends.
    pub async fn holds(&mut self, clock: &dyn Clock) -> bool {
        let now = clock.monotonic();
        if self.asked.is_none_or(|asked| now.since(asked) >= ASK_EVERY) {
            self.asked = Some(now);
            match self.offices.hold(self.office).await {
                // From before the question on: the database counts from after it.
                Ok(held) => self.until = held.then(|| now.plus(TERM)),
                Err(error) => tracing::debug!(office = self.office.as_str(), %error, "not asked"),
            }
        }
        let now = clock.monotonic();
        self.until.is_some_and(|until| now < until)
    }

    /// Gives the office up, if it is held; the next question is due at once.
    pub async fn resign(&mut self) {
        self.asked = None;
        if self.until.take().is_none() {
            return;
        }
        if let Err(error) = self.offices.resign(self.office).await {
            tracing::debug!(office = self.office.as_str(), %error, "not given up; its term ends");
        }
    }
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

    #[derive(Debug)]
    struct Turned(Mutex<Duration>);

    impl Clock for Turned {
        fn monotonic(&self) -> Instant {
            Instant(*self.0.lock().unwrap())
        }
        fn wall(&self) -> protocols_model::Timestamp {
            protocols_model::Timestamp(0)
        }
    }

    #[derive(Debug, Default)]
    struct Database {
        answers: Mutex<Vec<Result<bool, ()>>>,
        asked: Mutex<u32>,
    }

    #[async_trait]
    impl Offices for Database {
        async fn hold(&self, _: Office) -> Result<bool, StoreError> {
            *self.asked.lock().unwrap() += 1;
            let answer = self.answers.lock().unwrap().pop();
            answer.unwrap_or(Err(())).map_err(|()| StoreError::Closed)
        }
        async fn resign(&self, _: Office) -> Result<(), StoreError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_term_ends_by_itself_when_the_database_cannot_be_asked() {
        let database = Arc::new(Database::default());
        database.answers.lock().unwrap().push(Ok(true));
        let clock = Turned(Mutex::new(Duration::from_secs(100)));
        let mut candidate = Candidate::new(database.clone(), Office::Tasks);
        assert!(candidate.holds(&clock).await);
        assert!(candidate.holds(&clock).await);
        assert_eq!(
            *database.asked.lock().unwrap(),
            1,
            "not asked again at once"
        );
        *clock.0.lock().unwrap() += ASK_EVERY;
        assert!(candidate.holds(&clock).await, "not asked, still held");
        *clock.0.lock().unwrap() += TERM;
        assert!(!candidate.holds(&clock).await);
    }
}
