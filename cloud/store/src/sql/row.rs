//! Values and sums as columns. Numbers are stored as the whole number with the same bits: SQLite would
//! turn a NaN into NULL and a large u64 into a float.

use super::db::{Arg, Cell, DbResult, Error, Row, ToArg as _};
use crate::error::StoreError;
use crate::summary::Summary;
use protocols_model::{Quality, Timestamp, Value, ValueType};
use std::sync::Arc;

/// The value of a column of a series of type `kind`.
///
/// A driver without columns of any type keeps a value as bytes: of a number, the 64 bits of it.
pub(super) fn value(column: Cell<'_>, kind: ValueType) -> Option<Value> {
    match (column, kind) {
        (Cell::Int(bits), kind) => number(bits, kind),
        (Cell::Text(text), ValueType::Text) => Some(Value::Text(Arc::from(text))),
        (Cell::Blob(bytes), ValueType::Text) => std::str::from_utf8(bytes)
            .ok()
            .map(|text| Value::Text(Arc::from(text))),
        (Cell::Blob(bytes), ValueType::Bytes) => Some(Value::Bytes(Arc::from(bytes))),
        (Cell::Blob(bytes), kind) => {
            let bits = bytes.try_into().ok()?;
            number(i64::from_le_bytes(bits), kind)
        }
        _ => None,
    }
}

fn number(bits: i64, kind: ValueType) -> Option<Value> {
    match kind {
        ValueType::Bool => Some(Value::Bool(bits != 0)),
        ValueType::I64 => Some(Value::I64(bits)),
        ValueType::U64 => Some(Value::U64(bits.cast_unsigned())),
        ValueType::F64 => Some(Value::F64(f64::from_bits(bits.cast_unsigned()))),
        ValueType::Text | ValueType::Bytes => None,
    }
}

/// The bits of a number; nothing for text and bytes.
pub(crate) fn bits(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(value) => Some(i64::from(*value)),
        Value::I64(value) => Some(*value),
        Value::U64(value) => Some(value.cast_signed()),
        Value::F64(value) => Some(value.to_bits().cast_signed()),
        Value::Text(_) | Value::Bytes(_) => None,
    }
}

/// A quality as a column.
pub(super) fn quality(code: i64) -> Quality {
    let known = u8::try_from(code).ok().and_then(Quality::from_code);
    known.unwrap_or(Quality::Uncertain(protocols_model::Reason::Undecodable))
}

/// Columns of a rollup row after `series, start`, in the order of the tables.
pub(super) fn rollup_args(summary: &Summary) -> [Arg<'_>; 11] {
    let time = |end: &Option<(Timestamp, Value)>| {
        end.as_ref().map_or(Arg::Null, |(time, _)| Arg::Int(time.0))
    };
    [
        Arg::Int(summary.count.cast_signed()),
        Arg::Int(summary.bad.cast_signed()),
        Arg::Int(summary.valued.cast_signed()),
        Arg::Real(summary.sum),
        optional(summary.min.as_ref()),
        optional(summary.max.as_ref()),
        time(&summary.first),
        optional(summary.first.as_ref().map(|(_, value)| value)),
        time(&summary.last),
        optional(summary.last.as_ref().map(|(_, value)| value)),
        summary
            .bad_quality
            .map_or(Arg::Null, |(_, quality)| Arg::Int(quality.to_code().into())),
    ]
}

/// A value, or nothing, as a parameter.
pub(super) fn optional(value: Option<&Value>) -> Arg<'_> {
    value.map_or(Arg::Null, |value| value.to_arg())
}

/// Reads `start` and a [`Summary`] from a row `start, count, … bad_quality`.
pub(super) fn rollup(row: &Row<'_>, kind: ValueType) -> DbResult<(Timestamp, Summary)> {
    let start = Timestamp(row.get(0)?);
    let end = |time: usize, value: usize| -> DbResult<Option<(Timestamp, Value)>> {
        let time: Option<i64> = row.get(time)?;
        let value = self::value(row.cell(value)?, kind);
        Ok(time.map(Timestamp).zip(value))
    };
    let bad: Option<i64> = row.get(11)?;
    let summary = Summary {
        count: row.get::<i64>(1)?.cast_unsigned(),
        bad: row.get::<i64>(2)?.cast_unsigned(),
        valued: row.get::<i64>(3)?.cast_unsigned(),
        // A sum of infinities may be no number, which SQLite keeps as NULL.
        sum: row.get::<Option<f64>>(4)?.unwrap_or(f64::NAN),
        min: value(row.cell(5)?, kind),
        max: value(row.cell(6)?, kind),
        first: end(7, 8)?,
        last: end(9, 10)?,
        bad_quality: bad.map(|code| (start, quality(code))),
    };
    Ok((start, summary))
}

/// An error of the driver while `doing`.
pub(crate) fn failed(doing: &'static str) -> impl Fn(Error) -> StoreError + Copy {
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
