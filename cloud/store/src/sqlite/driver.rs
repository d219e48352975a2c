//! SQLite behind the seam of [`crate::sql::db`].

use super::schema;
use crate::error::StoreError;
use crate::sql::db::{Arg, Blame, Cell, Cells, Database, DbResult, Each, Error, Row};
use crate::sql::row::{bits, failed};
use crate::sql::{Link, Mode};
use protocols_model::Value;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, params_from_iter};

/// A connection to the file.
#[derive(Debug)]
pub(super) struct SqliteLink {
    conn: Connection,
}

impl SqliteLink {
    pub(super) const fn new(conn: Connection) -> Self {
        Self { conn }
    }
}

impl Link for SqliteLink {
    fn begin(&mut self, mode: Mode) -> Result<(), StoreError> {
        // A snapshot begins with the first statement, a writer's turn at once.
        let sql = match mode {
            Mode::Snapshot => "BEGIN DEFERRED",
            Mode::Write => "BEGIN IMMEDIATE",
        };
        self.conn
            .execute_batch(sql)
            .map_err(|why| failed("beginning a transaction")(error(why)))
    }

    fn conn(&self) -> &(dyn Database + 'static) {
        self
    }

    fn commit(&mut self) -> DbResult<()> {
        self.conn.execute_batch("COMMIT").map_err(error)
    }

    fn rollback(&mut self) {
        // After some failures SQLite has done so by itself.
        if !self.conn.is_autocommit()
            && let Err(why) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %why, "a transaction cannot be rolled back");
        }
    }

    fn elect(&mut self) -> Result<Option<u64>, StoreError> {
        Ok(Some(0))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.conn
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .map_err(|why| failed("closing the database")(error(why)))
    }
}

impl Database for SqliteLink {
    fn execute_args(&self, sql: &str, args: &[Arg<'_>]) -> DbResult<usize> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params_from_iter(args)))
            .map_err(error)
    }

    fn execute_many(&self, sql: &str, rows: &[Vec<Arg<'_>>]) -> DbResult<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut statement = self.conn.prepare_cached(sql).map_err(error)?;
        for row in rows {
            statement.execute(params_from_iter(row)).map_err(error)?;
        }
        Ok(())
    }

    fn query_args(&self, sql: &str, args: &[Arg<'_>], each: Each<'_>) -> DbResult<()> {
        self.stream_args(sql, args, each)
    }

    fn query_many(
        &self,
        sql: &str,
        rows: &[Vec<Arg<'_>>],
        each: &mut dyn FnMut(usize, &Row<'_>) -> DbResult<()>,
    ) -> DbResult<()> {
        let mut statement = self.conn.prepare_cached(sql).map_err(error)?;
        for (at, row) in rows.iter().enumerate() {
            let mut found = statement.query(params_from_iter(row)).map_err(error)?;
            while let Some(row) = found.next().map_err(error)? {
                each(at, &Row(row))?;
            }
        }
        Ok(())
    }

    fn stream_args(&self, sql: &str, args: &[Arg<'_>], each: Each<'_>) -> DbResult<()> {
        let mut statement = self.conn.prepare_cached(sql).map_err(error)?;
        let mut rows = statement.query(params_from_iter(args)).map_err(error)?;
        while let Some(row) = rows.next().map_err(error)? {
            if each(&Row(row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn batch(&self, sql: &str) -> DbResult<()> {
        self.conn.execute_batch(sql).map_err(error)
    }

    fn make_week_tables(&self, week: i64) -> DbResult<()> {
        self.batch(&schema::week_tables(week))
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl rusqlite::ToSql for Arg<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(value),
            Self::Real(value) => ValueRef::Real(value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
            // A column takes any type here.
            Self::Value(Value::Text(text)) => ValueRef::Text(text.as_bytes()),
            Self::Value(Value::Bytes(bytes)) => ValueRef::Blob(bytes),
            Self::Value(number) => bits(number).map_or(ValueRef::Null, ValueRef::Integer),
        }))
    }
}

impl Cells for rusqlite::Row<'_> {
    fn cell(&self, column: usize) -> DbResult<Cell<'_>> {
        Ok(match self.get_ref(column).map_err(error)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Int(value),
            ValueRef::Real(value) => Cell::Real(value),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Cell::Text(text),
                Err(_) => Cell::Blob(text),
            },
            ValueRef::Blob(bytes) => Cell::Blob(bytes),
        })
    }
}

fn error(source: rusqlite::Error) -> Error {
    let blame = match source.sqlite_error_code() {
        Some(
            ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::ParameterOutOfRange,
        ) => Blame::Data,
        _ => Blame::Environment,
    };
    Error::Driver {
        source: Box::new(source),
        blame,
    }
}
