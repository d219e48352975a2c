//! Rows of answers.

use super::Error;

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl Cell<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Int(_) => "a whole number",
            Self::Real(_) => "a float",
            Self::Text(_) => "text",
            Self::Blob(_) => "bytes",
        }
    }
}

/// A driver's row.
pub(crate) trait Cells {
    fn cell(&self, column: usize) -> Result<Cell<'_>, Error>;
}

/// A row, while the query stands at it.
pub(crate) struct Row<'a>(pub(crate) &'a dyn Cells);

impl Row<'_> {
    /// The column, in the type that is wanted.
    pub(crate) fn get<T: FromCell>(&self, column: usize) -> Result<T, Error> {
        let cell = self.0.cell(column)?;
        T::from_cell(cell).ok_or(Error::Column {
            column,
            found: cell.name(),
            expected: T::NAME,
        })
    }

    /// The column as it is.
    pub(crate) fn cell(&self, column: usize) -> Result<Cell<'_>, Error> {
        self.0.cell(column)
    }
}

/// What can be read from a column.
pub(crate) trait FromCell: Sized {
    /// For messages.
    const NAME: &'static str;

    fn from_cell(cell: Cell<'_>) -> Option<Self>;
}

impl FromCell for i64 {
    const NAME: &'static str = "a whole number";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Int(value) => Some(value),
            _ => None,
        }
    }
}

impl FromCell for u32 {
    const NAME: &'static str = "a whole number of 32 bits";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        i64::from_cell(cell).and_then(|value| value.try_into().ok())
    }
}

impl FromCell for u8 {
    const NAME: &'static str = "a whole number of 8 bits";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        i64::from_cell(cell).and_then(|value| value.try_into().ok())
    }
}

impl FromCell for bool {
    const NAME: &'static str = "0 or 1";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        i64::from_cell(cell).map(|value| value != 0)
    }
}

impl FromCell for f64 {
    const NAME: &'static str = "a float";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Real(value) => Some(value),
            _ => None,
        }
    }
}

impl FromCell for String {
    const NAME: &'static str = "text";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Text(value) => Some(value.to_owned()),
            _ => None,
        }
    }
}

impl FromCell for Vec<u8> {
    const NAME: &'static str = "bytes";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Blob(value) => Some(value.to_owned()),
            _ => None,
        }
    }
}

impl<const N: usize> FromCell for [u8; N] {
    const NAME: &'static str = "a fixed number of bytes";

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Blob(value) => value.try_into().ok(),
            _ => None,
        }
    }
}

impl<T: FromCell> FromCell for Option<T> {
    const NAME: &'static str = T::NAME;

    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}
