//! Values and sums as columns. Numbers are stored as the INTEGER with the same bits: SQLite would
//! turn a NaN into NULL and a large u64 into a float.

use crate::error::StoreError;
use crate::summary::Summary;
use protocols_model::{Quality, Timestamp, Value, ValueType};
use rusqlite::Row;
use rusqlite::types::{Value as Sql, ValueRef};
use std::sync::Arc;

/// A value as a column.
pub(super) fn to_sql(value: Option<&Value>) -> Sql {
    match value {
        None => Sql::Null,
        Some(Value::Bool(value)) => Sql::Integer(i64::from(*value)),
        Some(Value::I64(value)) => Sql::Integer(*value),
        Some(Value::U64(value)) => Sql::Integer(value.cast_signed()),
        Some(Value::F64(value)) => Sql::Integer(value.to_bits().cast_signed()),
        Some(Value::Text(text)) => Sql::Text(text.as_ref().to_owned()),
        Some(Value::Bytes(bytes)) => Sql::Blob(bytes.to_vec()),
    }
}

/// The value of a column of a series of type `kind`.
pub(super) fn from_sql(column: ValueRef<'_>, kind: ValueType) -> Option<Value> {
    match (column, kind) {
        (ValueRef::Integer(value), ValueType::Bool) => Some(Value::Bool(value != 0)),
        (ValueRef::Integer(value), ValueType::I64) => Some(Value::I64(value)),
        (ValueRef::Integer(value), ValueType::U64) => Some(Value::U64(value.cast_unsigned())),
        (ValueRef::Integer(value), ValueType::F64) => {
            Some(Value::F64(f64::from_bits(value.cast_unsigned())))
        }
        (ValueRef::Text(text), ValueType::Text) => std::str::from_utf8(text)
            .ok()
            .map(|text| Value::Text(Arc::from(text))),
        (ValueRef::Blob(bytes), ValueType::Bytes) => Some(Value::Bytes(Arc::from(bytes))),
        _ => None,
    }
}

/// A quality as a column.
pub(super) fn quality(code: i64) -> Quality {
    let known = u8::try_from(code).ok().and_then(Quality::from_code);
    known.unwrap_or(Quality::Uncertain(protocols_model::Reason::Undecodable))
}

/// Columns of a rollup row after `series, start`, in the order of the tables.
pub(super) fn rollup_params(summary: &Summary) -> [Sql; 11] {
    let time = |end: &Option<(Timestamp, Value)>| {
        end.as_ref()
            .map_or(Sql::Null, |(time, _)| Sql::Integer(time.0))
    };
    let value = |end: &Option<(Timestamp, Value)>| to_sql(end.as_ref().map(|(_, value)| value));
    [
        Sql::Integer(summary.count.cast_signed()),
        Sql::Integer(summary.bad.cast_signed()),
        Sql::Integer(summary.valued.cast_signed()),
        Sql::Real(summary.sum),
        to_sql(summary.min.as_ref()),
        to_sql(summary.max.as_ref()),
        time(&summary.first),
        value(&summary.first),
        time(&summary.last),
        value(&summary.last),
        summary.bad_quality.map_or(Sql::Null, |(_, quality)| {
            Sql::Integer(quality.to_code().into())
        }),
    ]
}

/// Reads `start` and a [`Summary`] from a row `start, count, … bad_quality`.
pub(super) fn rollup(row: &Row<'_>, kind: ValueType) -> rusqlite::Result<(Timestamp, Summary)> {
    let start = Timestamp(row.get(0)?);
    let end = |time: usize, value: usize| -> rusqlite::Result<Option<(Timestamp, Value)>> {
        let time: Option<i64> = row.get(time)?;
        let value = from_sql(row.get_ref(value)?, kind);
        Ok(time.map(Timestamp).zip(value))
    };
    let bad: Option<i64> = row.get(11)?;
    let summary = Summary {
        count: row.get::<_, i64>(1)?.cast_unsigned(),
        bad: row.get::<_, i64>(2)?.cast_unsigned(),
        valued: row.get::<_, i64>(3)?.cast_unsigned(),
        // A sum of infinities may be no number, which SQLite keeps as NULL.
        sum: row.get::<_, Option<f64>>(4)?.unwrap_or(f64::NAN),
        min: from_sql(row.get_ref(5)?, kind),
        max: from_sql(row.get_ref(6)?, kind),
        first: end(7, 8)?,
        last: end(9, 10)?,
        bad_quality: bad.map(|code| (start, quality(code))),
    };
    Ok((start, summary))
}

/// An error of the driver while `doing`.
pub(super) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| StoreError::Database {
        doing,
        source: Box::new(source),
    }
}

/// Damaged data in the database.
pub(super) fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged {
        what: what.to_string(),
    }
}
