//! A configuration file's text, and places in it: what lets every problem name file, line and column.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    text: String,
    /// Byte offset of the first character of each line.
    lines: Vec<usize>,
}

/// Line and column as people count them, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Source {
    /// Makes a source of `text`, called `path` in messages.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        let text = text.into();
        let starts = text.match_indices('\n').map(|(offset, _)| offset + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Arc::new(Self {
            path: path.into(),
            text,
            lines,
        })
    }

    /// Its name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where a byte offset lies.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let line = self
            .lines
            .partition_point(|&start| start <= offset)
            .saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or("");
        Position {
            line: line + 1,
            column: before.chars().count() + 1,
        }
    }

    /// The text of a line (from 1), without its end.
    #[must_use]
    pub fn line(&self, line: usize) -> &str {
        let start = line.checked_sub(1).and_then(|index| self.lines.get(index));
        let Some(rest) = start.and_then(|&start| self.text.get(start..)) else {
            return "";
        };
        rest.lines().next().unwrap_or("")
    }
}

/// A place in a file and the key path that leads there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Arc<Source>,
    /// Bytes from..to.
    pub span: Range<usize>,
    /// For example `device.meter1.unit`.
    pub key: String,
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> Located<T> {
    /// Another value at the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located {
            value: change(self.value),
            place: self.place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_from_one_and_columns_in_characters() {
        let source = Source::new("f", "a = 1\nö = \"x\"\n");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(6), Position { line: 2, column: 1 });
        // `ö` is two bytes and one column.
        assert_eq!(source.position(9), Position { line: 2, column: 3 });
        assert_eq!(source.line(2), "ö = \"x\"");
        assert_eq!(source.line(99), "");
    }
}
