//! The production database: `PostgreSQL` 15 or later, any number of processes at once.
//!
//! ```text
//! threads of the store ─▶ driver: a connection each ─▶ the primary (of several hosts: the one on the
//!                                                       highest timeline, never a lower one again)
//! after a commit ─▶ NOTIFY ─▶ LISTEN in every process ─▶ latest values, live updates
//! ```
//!
//! Guarantees beyond [`crate::sql`]: a commit that returned is on the primary's disk and, where
//! `synchronous_standby_names` is set, on the standby's; a server that was promoted over is not
//! believed any more; one process at a time maintains, elected by an advisory lock. A server that goes
//! away fails the calls under way (nothing of them is settled) and is looked for anew by the next.
//! Behind a pooler that hands a connection to another client after each transaction the election
//! would not hold: connect to the server itself.

mod connect;
mod driver;
mod live;
mod offices;
mod options;
mod schema;
mod tls;

pub use offices::PostgresOffices;
pub use options::PostgresOptions;

use crate::error::StoreError;
use crate::generation;
use crate::sql::{Engine, Link, Mode, Role, Shared, SqlStore, Threads, Told, hello};
use connect::Target;
use driver::PostgresLink;
use std::sync::{Arc, Weak};

/// Marks a store as one on `PostgreSQL`.
#[derive(Debug, Clone)]
pub struct Postgres;

/// The store on a `PostgreSQL` database.
pub type PostgresStore = SqlStore<Postgres>;

/// One database, wherever its primary is.
#[derive(Debug)]
struct Cluster {
    target: Arc<Target>,
    live: live::Teller,
}

impl Engine for Cluster {
    fn connect(&self, _: Role) -> Result<Box<dyn Link>, StoreError> {
        Ok(Box::new(PostgresLink::new(Arc::clone(&self.target))))
    }

    fn serving(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn tell(&self, told: Vec<Told>) {
        self.live.tell(told);
    }
}

impl PostgresStore {
    /// Connects, and makes or migrates the tables where needed. Blocks meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Open`] with what to do, [`StoreError::Newer`].
    pub fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        // A thread of its own: the driver must not run inside somebody else's runtime.
        let opened = std::thread::scope(|scope| scope.spawn(|| Self::open_here(options)).join());
        opened.unwrap_or_else(|_| {
            Err(StoreError::Database {
                doing: "opening the database",
                source: "the thread that opened it panicked".into(),
            })
        })
    }

    fn open_here(options: PostgresOptions) -> Result<Self, StoreError> {
        let threads = Threads {
            writers: options.writers.max(1),
            readers: options.readers.max(1),
            own_maintainer: true,
        };
        let limits = options.limits.clone();
        let target = Arc::new(Target::new(options)?);
        let mut link = PostgresLink::new(Arc::clone(&target));
        schema::migrate(&mut link, &target, generation::draw()?)?;
        link.begin(Mode::Snapshot)?;
        let generation = hello::generation(link.conn());
        link.rollback();
        let (live, looks) = live::Teller::start(Arc::clone(&target))?;
        let engine = Cluster {
            target: Arc::clone(&target),
            live,
        };
        let shared = Arc::new(Shared::new(Arc::new(engine), limits, generation?));
        target.remember(Arc::downgrade(&shared));
        link.begin(Mode::Snapshot)?;
        let begun = shared.begin(link.conn());
        link.rollback();
        begun?;
        live::follow(&shared, looks, &target)?;
        Self::start(shared, threads)
    }
}

/// What looks at a store without keeping it open.
type Looker = Weak<Shared>;
