//! Parameters and cells as the server wants and sends them.

use crate::sql::db::{Arg, Cell, Cells, DbResult, Error};
use crate::sql::row::bits;
use bytes::BytesMut;
use protocols_model::Value;
use std::error::Error as AnyError;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A parameter, in the type that the statement gives it.
#[derive(Debug)]
pub(super) struct Parameter<'a>(Arg<'a>);

/// Parameters of a statement.
pub(super) fn parameters<'a>(
    args: &'a [Arg<'a>],
) -> impl ExactSizeIterator<Item = Parameter<'a>> + 'a {
    args.iter().map(|arg| Parameter(*arg))
}

/// The same, as some calls want them.
pub(super) fn borrowed<'p>(parameters: &'p [Parameter<'_>]) -> Vec<&'p (dyn ToSql + Sync)> {
    let one = |parameter: &'p Parameter<'_>| -> &'p (dyn ToSql + Sync) { parameter };
    parameters.iter().map(one).collect()
}

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn AnyError + Sync + Send>> {
        match self.0 {
            Arg::Null => Ok(IsNull::Yes),
            Arg::Int(value) if *kind == Type::INT4 => i32::try_from(value)?.to_sql(kind, out),
            Arg::Int(value) if *kind == Type::BOOL => (value != 0).to_sql(kind, out),
            Arg::Int(value) => value.to_sql(&expect(kind, &Type::INT8)?, out),
            Arg::Real(value) => value.to_sql(&expect(kind, &Type::FLOAT8)?, out),
            // The one character that text here cannot hold.
            Arg::Text(text) if text.contains('\0') => {
                text.replace('\0', "\u{fffd}").to_sql(kind, out)
            }
            Arg::Text(text) => text.to_sql(kind, out),
            Arg::Blob(bytes) => bytes.to_sql(&expect(kind, &Type::BYTEA)?, out),
            Arg::Value(Value::Text(text)) => text.as_bytes().to_sql(kind, out),
            Arg::Value(Value::Bytes(bytes)) => bytes.as_ref().to_sql(kind, out),
            Arg::Value(number) => match bits(number) {
                Some(bits) => bits.to_le_bytes().as_slice().to_sql(kind, out),
                None => Ok(IsNull::Yes),
            },
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The statement's own mistake is told, not sent.
fn expect(found: &Type, wanted: &Type) -> Result<Type, String> {
    if found == wanted {
        return Ok(found.clone());
    }
    Err(format!("a parameter is {found}, not {wanted}"))
}

impl Cells for Row {
    fn cell(&self, column: usize) -> DbResult<Cell<'_>> {
        let kind = self
            .columns()
            .get(column)
            .map(tokio_postgres::Column::type_);
        let cell = match kind {
            Some(&Type::INT8) => read::<i64>(self, column)?.map(Cell::Int),
            Some(&Type::INT4) => read::<i32>(self, column)?.map(|value| Cell::Int(value.into())),
            Some(&Type::BOOL) => read::<bool>(self, column)?.map(|value| Cell::Int(value.into())),
            Some(&Type::FLOAT8) => read::<f64>(self, column)?.map(Cell::Real),
            Some(&Type::TEXT) => read::<&str>(self, column)?.map(Cell::Text),
            Some(&Type::BYTEA) => read::<&[u8]>(self, column)?.map(Cell::Blob),
            _ => {
                return Err(Error::Column {
                    column,
                    found: "a type that is not used here",
                    expected: "a number, text or bytes",
                });
            }
        };
        Ok(cell.unwrap_or(Cell::Null))
    }
}

fn read<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> DbResult<Option<T>> {
    row.try_get(column).map_err(super::error)
}
