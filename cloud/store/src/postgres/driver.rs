//! `PostgreSQL` behind the seam of [`crate::sql::db`]: one session, driven by the thread that owns it.
//!
//! Statements are prepared once per session. Where a statement runs for many rows, all of them are sent
//! before the first answer is awaited.

mod values;

use super::connect::{Session, Target};
use super::schema;
use crate::error::StoreError;
use crate::sql::db::{Arg, Blame, Database, DbResult, Each, Error, Row};
use crate::sql::row::failed;
use crate::sql::{Link, Mode};
use futures::future::try_join_all;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};
use values::{Parameter, parameters};

/// A statement that is not answered within this is given up with its connection: the server stands
/// still. Whether it took effect is then unknown, and everything here may be done again.
const PATIENCE: Duration = Duration::from_secs(120);
/// Statements kept prepared per session; beyond it they are prepared anew.
const PREPARED: usize = 512;
/// Statements sent before the first answer is awaited.
const AHEAD: usize = 256;
/// Rows of a large answer fetched at a time.
const PAGE: usize = 64;

/// Held by the one process that maintains ("FOGLMNT").
const MAINTENANCE: i64 = 0x46_4f47_4c4d_4e54;

/// A session, made when it is first needed and again where it broke.
pub(super) struct PostgresLink {
    target: Arc<Target>,
    /// Made in the thread that uses it.
    runtime: Option<Runtime>,
    session: Option<Session>,
    statements: RefCell<HashMap<String, Statement>>,
    /// A statement of this transaction failed: it must not be committed.
    broken: Cell<bool>,
    /// The session is of no use any more.
    lost: Cell<bool>,
    /// Maintenance was this session's to do.
    elected: bool,
    cursors: Cell<u32>,
}

impl PostgresLink {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            runtime: None,
            session: None,
            statements: RefCell::default(),
            broken: Cell::new(false),
            lost: Cell::new(false),
            elected: false,
            cursors: Cell::new(0),
        }
    }

    /// A session that is alive as far as is known; a new one forgets the election.
    fn ensure(&mut self) -> Result<(), StoreError> {
        let usable = self.session.as_ref().is_some_and(|session| {
            !session.client.is_closed() && !self.target.is_outdated(session.timeline)
        });
        if usable && !self.lost.get() {
            return Ok(());
        }
        let runtime = match &self.runtime {
            Some(runtime) => runtime,
            None => {
                let made = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|source| StoreError::Database {
                        doing: "starting the driver",
                        source: Box::new(source),
                    })?;
                self.runtime.insert(made)
            }
        };
        self.session = None;
        self.statements.borrow_mut().clear();
        let session = runtime.block_on(self.target.connect())?;
        self.session = Some(session);
        self.lost.set(false);
        Ok(())
    }

    /// Lets the session do something; what fails leaves its marks.
    fn run<'s, T, F>(&'s self, job: impl FnOnce(&'s Client) -> F) -> DbResult<T>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let (Some(runtime), Some(session)) = (&self.runtime, &self.session) else {
            return Err(gone());
        };
        let work = async { tokio::time::timeout(PATIENCE, job(&session.client)).await };
        let done = runtime.block_on(work);
        let result = match done {
            Ok(result) => result.map_err(error),
            Err(_) => {
                self.lost.set(true);
                Err(Error::Driver {
                    source: "the server does not answer".into(),
                    blame: Blame::Environment,
                })
            }
        };
        if result.is_err() {
            self.broken.set(true);
            if session.client.is_closed() {
                self.lost.set(true);
            }
        }
        result
    }

    fn prepared(&self, sql: &str) -> DbResult<Statement> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let text = numbered(sql);
        let statement = self.run(|client| async move { client.prepare(&text).await })?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= PREPARED {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn simple(&self, sql: &str) -> DbResult<()> {
        self.run(|client| client.batch_execute(sql))
    }

    fn pages(&self, name: &str, each: Each<'_>) -> DbResult<()> {
        let fetch = format!("FETCH {PAGE} FROM {name}");
        loop {
            let rows = self.run(|client| client.query(fetch.as_str(), &[]))?;
            for row in &rows {
                if each(&Row(row))?.is_break() {
                    return Ok(());
                }
            }
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }
}

impl Link for PostgresLink {
    fn begin(&mut self, mode: Mode) -> Result<(), StoreError> {
        let sql = match mode {
            Mode::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Mode::Write => {
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
                 SET LOCAL idle_in_transaction_session_timeout = '20s'"
            }
        };
        let fail = failed("beginning a transaction");
        let before = self.session.as_ref().map(|session| session.number);
        self.ensure()?;
        self.broken.set(false);
        let mut begun = self.simple(sql);
        if begun.is_err() && self.lost.get() {
            // It broke while nobody used it.
            self.ensure()?;
            self.broken.set(false);
            begun = self.simple(sql);
        }
        let now = self.session.as_ref().map(|session| session.number);
        if self.elected && now != before {
            self.elected = false;
            self.rollback();
            return Err(fail(gone()));
        }
        begun.map_err(fail)
    }

    fn conn(&self) -> &(dyn Database + 'static) {
        self
    }

    fn commit(&mut self) -> DbResult<()> {
        if self.broken.get() {
            // The server would answer COMMIT with a rollback, and call that a success.
            return Err(Error::Driver {
                source: "a statement of the transaction failed".into(),
                blame: Blame::Environment,
            });
        }
        self.simple("COMMIT")
    }

    fn rollback(&mut self) {
        if !self.lost.get() && self.session.is_some() && self.simple("ROLLBACK").is_err() {
            self.lost.set(true);
        }
        if self.lost.get() {
            // The runtime drives the connection: with it the socket closes at once, and the server
            // gives back what the transaction held.
            self.session = None;
            self.runtime = None;
        }
    }

    fn elect(&mut self) -> Result<Option<u64>, StoreError> {
        let fail = failed("asking whose maintenance is");
        let before = self.session.as_ref().map(|session| session.number);
        self.ensure()?;
        let now = self.session.as_ref().map(|session| session.number);
        if self.elected && now == before {
            return Ok(now);
        }
        let mut won = false;
        self.query_args(
            "SELECT pg_try_advisory_lock(?1)",
            &[Arg::Int(MAINTENANCE)],
            &mut |row| {
                won = row.get(0)?;
                Ok(std::ops::ControlFlow::Break(()))
            },
        )
        .map_err(fail)?;
        self.elected = won;
        Ok(now.filter(|_| won))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.session = None;
        Ok(())
    }
}

impl Database for PostgresLink {
    fn execute_args(&self, sql: &str, args: &[Arg<'_>]) -> DbResult<usize> {
        let statement = self.prepared(sql)?;
        let rows = self.run(|client| client.execute_raw(&statement, parameters(args)))?;
        Ok(usize::try_from(rows).unwrap_or(usize::MAX))
    }

    fn execute_many(&self, sql: &str, rows: &[Vec<Arg<'_>>]) -> DbResult<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let statement = &self.prepared(sql)?;
        for some in rows.chunks(AHEAD) {
            self.run(|client| {
                let sent = some
                    .iter()
                    .map(|row| client.execute_raw(statement, parameters(row)));
                try_join_all(sent)
            })?;
        }
        Ok(())
    }

    fn query_args(&self, sql: &str, args: &[Arg<'_>], each: Each<'_>) -> DbResult<()> {
        let statement = self.prepared(sql)?;
        let args: Vec<Parameter<'_>> = parameters(args).collect();
        let args = values::borrowed(&args);
        let rows = self.run(|client| client.query(&statement, &args))?;
        for row in &rows {
            if each(&Row(row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn query_many(
        &self,
        sql: &str,
        rows: &[Vec<Arg<'_>>],
        each: &mut dyn FnMut(usize, &Row<'_>) -> DbResult<()>,
    ) -> DbResult<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let statement = &self.prepared(sql)?;
        let mut at = 0;
        for some in rows.chunks(AHEAD) {
            let answers = self.run(|client| {
                let sent = some.iter().map(|row| {
                    let args: Vec<Parameter<'_>> = parameters(row).collect();
                    async move { client.query(statement, &values::borrowed(&args)).await }
                });
                try_join_all(sent)
            })?;
            for answer in &answers {
                for row in answer {
                    each(at, &Row(row))?;
                }
                at += 1;
            }
        }
        Ok(())
    }

    /// Through a cursor of the server: `each` may use the connection between two pages.
    fn stream_args(&self, sql: &str, args: &[Arg<'_>], each: Each<'_>) -> DbResult<()> {
        let number = self.cursors.get().wrapping_add(1);
        self.cursors.set(number);
        let name = format!("c{number}");
        let declare = numbered(&format!("DECLARE {name} NO SCROLL CURSOR FOR {sql}"));
        self.run(|client| client.execute_raw(declare.as_str(), parameters(args)))?;
        let done = self.pages(&name, each);
        if done.is_ok() {
            self.simple(&format!("CLOSE {name}"))?;
        }
        done
    }

    fn batch(&self, sql: &str) -> DbResult<()> {
        self.simple(sql)
    }

    fn make_week_tables(&self, week: i64) -> DbResult<()> {
        self.simple(&schema::week_tables(week))
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// Parameters are `?1` in what both databases share, `$1` here. No text in a statement has a question
/// mark.
fn numbered(sql: &str) -> String {
    sql.replace('?', "$")
}

fn gone() -> Error {
    Error::Driver {
        source: "the connection broke".into(),
        blame: Blame::Environment,
    }
}

fn error(source: tokio_postgres::Error) -> Error {
    let blame = match source.code() {
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => {
            Blame::Conflict
        }
        // Classes of data that cannot be, of rules broken, and of what is too large.
        Some(code)
            if ["22", "23", "54"]
                .iter()
                .any(|class| code.code().starts_with(class)) =>
        {
            Blame::Data
        }
        _ => Blame::Environment,
    };
    Error::Driver {
        source: Box::new(source),
        blame,
    }
}
