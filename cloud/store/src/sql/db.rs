//! One narrow way to speak to either database: statements with `?1` parameters, rows of cells.
//!
//! Everything the store decides is written once against [`Connection`]; SQLite and `PostgreSQL` differ
//! in their drivers and in their tables, nowhere else. So statements keep to what both understand, and
//! to types that both have: whole numbers of 64 bits (booleans are 0 and 1), floats, text, bytes.

mod args;
mod cells;

pub(crate) use args::{Arg, Params, ToArg, params};
pub(crate) use cells::{Cell, Cells, Row};

use crate::error::StoreError;
use std::ops::ControlFlow;

/// A connection inside a transaction.
pub(crate) type Connection = dyn Database;

/// A result of a driver.
pub(crate) type DbResult<T> = Result<T, Error>;

/// Takes one row after the other; may break off.
pub(crate) type Each<'a> = &'a mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>, Error>;

/// What an error says about the data that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The same data will fail again.
    Data,
    /// Disk, network, locks: the same data may pass later.
    Environment,
    /// Two transactions stood in each other's way and this one gave in: begin it anew.
    Conflict,
}

/// What a driver answers instead of a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no row where one was expected")]
    NoRows,
    #[error("column {column} holds {found}, expected {expected}")]
    Column {
        column: usize,
        found: &'static str,
        expected: &'static str,
    },
    #[error("{source}")]
    Driver {
        source: Box<dyn std::error::Error + Send + Sync>,
        blame: Blame,
    },
}

impl Error {
    pub(crate) const fn blame(&self) -> Blame {
        match self {
            Self::NoRows | Self::Column { .. } => Blame::Environment,
            Self::Driver { blame, .. } => *blame,
        }
    }
}

/// Blame of an error of the store.
pub(crate) fn blame(error: &StoreError) -> Blame {
    let StoreError::Database { source, .. } = error else {
        return Blame::Environment;
    };
    source
        .downcast_ref::<Error>()
        .map_or(Blame::Environment, Error::blame)
}

/// A driver's connection.
pub(crate) trait Database {
    /// Runs a statement; the number of rows it changed.
    fn execute_args(&self, sql: &str, args: &[Arg<'_>]) -> Result<usize, Error>;

    /// Runs a statement for each row of parameters, in order, without waiting in between.
    fn execute_many(&self, sql: &str, rows: &[Vec<Arg<'_>>]) -> Result<(), Error>;

    /// Runs a query whose answer is small; `each` may use the connection.
    fn query_args(&self, sql: &str, args: &[Arg<'_>], each: Each<'_>) -> Result<(), Error>;

    /// Runs a query for each row of parameters; `each` gets the number of the parameters too, in order.
    fn query_many(
        &self,
        sql: &str,
        rows: &[Vec<Arg<'_>>],
        each: &mut dyn FnMut(usize, &Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// Runs a query of any size in constant memory; `each` may use the connection.
    fn stream_args(&self, sql: &str, args: &[Arg<'_>], each: Each<'_>) -> Result<(), Error>;

    /// Runs statements without parameters.
    fn batch(&self, sql: &str) -> Result<(), Error>;

    /// Makes the tables of a week of blocks and 1-minute rollups.
    fn make_week_tables(&self, week: i64) -> Result<(), Error>;

    /// Whether others write the same database: then rows are locked and memory may be out of date.
    fn is_shared(&self) -> bool;
}

impl Connection {
    /// A statement, to be run with parameters. Drivers keep those that come often prepared.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "so that what follows, which may fail, chains on"
    )]
    pub(crate) fn prepare_cached<'c>(&'c self, sql: &'c str) -> Result<Statement<'c>, Error> {
        Ok(Statement { conn: self, sql })
    }

    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, Error> {
        params.with(|args| self.execute_args(sql, args))
    }

    pub(crate) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        Statement { conn: self, sql }.query_row(params, read)
    }

    /// What a query of a row that is to be written adds: other writers of it wait.
    pub(crate) fn lock_rows(&self) -> &'static str {
        if self.is_shared() {
            " FOR NO KEY UPDATE"
        } else {
            ""
        }
    }
}

/// A statement of a connection.
pub(crate) struct Statement<'c> {
    conn: &'c Connection,
    sql: &'c str,
}

impl Statement<'_> {
    pub(crate) fn execute(&self, params: impl Params) -> Result<usize, Error> {
        params.with(|args| self.conn.execute_args(self.sql, args))
    }

    /// The first row.
    pub(crate) fn query_row<T>(
        &self,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (mut read, mut found) = (Some(read), None);
        params.with(|args| {
            self.conn.query_args(self.sql, args, &mut |row| {
                if let Some(read) = read.take() {
                    found = Some(read(row)?);
                }
                Ok(ControlFlow::Break(()))
            })
        })?;
        found.ok_or(Error::NoRows)
    }

    /// All rows of an answer that is small.
    pub(crate) fn query_map<T>(
        &self,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> DbResult<std::vec::IntoIter<DbResult<T>>> {
        let mut all = Vec::new();
        params.with(|args| {
            self.conn.query_args(self.sql, args, &mut |row| {
                all.push(Ok(read(row)?));
                Ok(ControlFlow::Continue(()))
            })
        })?;
        Ok(all.into_iter())
    }

    pub(crate) fn exists(&self, params: impl Params) -> Result<bool, Error> {
        let found = self.query_row(params, |_| Ok(())).optional()?;
        Ok(found.is_some())
    }

    /// Gives each row of an answer of any size; `fail` says what was being done.
    pub(crate) fn each(
        &self,
        params: impl Params,
        fail: impl Fn(Error) -> StoreError,
        mut each: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.each_until(params, fail, |row| each(row).map(ControlFlow::Continue))
    }

    /// Gives each row of an answer of any size until `each` breaks off.
    pub(crate) fn each_until(
        &self,
        params: impl Params,
        fail: impl Fn(Error) -> StoreError,
        mut each: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut failed = None;
        let done = params.with(|args| {
            self.conn.stream_args(self.sql, args, &mut |row| {
                Ok(each(row).unwrap_or_else(|why| {
                    failed = Some(why);
                    ControlFlow::Break(())
                }))
            })
        });
        match failed {
            Some(why) => Err(why),
            None => done.map_err(fail),
        }
    }
}

/// Takes the absence of a row for an answer.
pub(crate) trait OptionalExtension<T> {
    fn optional(self) -> Result<Option<T>, Error>;
}

impl<T> OptionalExtension<T> for Result<T, Error> {
    fn optional(self) -> Result<Option<T>, Error> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(Error::NoRows) => Ok(None),
            Err(why) => Err(why),
        }
    }
}
