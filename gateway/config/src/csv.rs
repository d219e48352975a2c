//! Point lists as CSV: a header with the names of a point's keys, one point a row.
//!
//! Dialect: comma or semicolon (whichever the header uses), `"` quotes a cell that holds the
//! delimiter (`""` is a quote), `#` starts a comment line. Nested keys are written with a dot:
//! `report.abs`. A cell never spans lines: spreadsheets that do so are refused with the line.

use std::ops::Range;

/// One cell: its text and where it stands in the file.
pub(crate) type Cell = (String, Range<usize>);

/// A row that is not a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) span: Range<usize>,
    pub(crate) why: &'static str,
}

/// The lines of a file that hold cells, split.
pub(crate) fn rows(text: &str) -> Vec<Result<Vec<Cell>, BadRow>> {
    let mut rows = Vec::new();
    let mut offset = 0;
    let mut delimiter = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        // A byte order mark is what spreadsheets leave at the start.
        let skip = content.len() - content.trim_start_matches('\u{feff}').len();
        let content = content.get(skip..).unwrap_or("");
        if !content.trim().is_empty() && !content.trim_start().starts_with('#') {
            let delimiter = *delimiter.get_or_insert(if content.contains(';') { ';' } else { ',' });
            rows.push(split(content, offset + skip, delimiter));
        }
        offset += line.len();
    }
    rows
}

fn split(line: &str, offset: usize, delimiter: char) -> Result<Vec<Cell>, BadRow> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut start = 0;
    let mut quoted = false;
    let mut characters = line.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if quoted {
            if c != '"' {
                cell.push(c);
            } else if characters.peek().is_some_and(|(_, next)| *next == '"') {
                characters.next();
                cell.push('"');
            } else {
                quoted = false;
            }
        } else if c == '"' && cell.trim().is_empty() {
            cell.clear();
            quoted = true;
        } else if c == delimiter {
            cells.push((cell.trim().to_owned(), offset + start..offset + at));
            cell.clear();
            start = at + 1;
        } else {
            cell.push(c);
        }
    }
    if quoted {
        return Err(BadRow {
            span: offset + start..offset + line.len(),
            why: "the quote is not closed on this line",
        });
    }
    cells.push((cell.trim().to_owned(), offset + start..offset + line.len()));
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let plain = |row: Vec<Cell>| row.into_iter().map(|(text, _)| text).collect();
        rows(text)
            .into_iter()
            .map(|row| plain(row.unwrap()))
            .collect()
    }

    #[test]
    fn cells_are_split_at_the_headers_delimiter_and_quotes_protect_it() {
        assert_eq!(
            texts("\u{feff}id;at\r\n# note\r\n\r\n\"a;\"\"b\"; x,y \n"),
            [["id", "at"], ["a;\"b", "x,y"]]
        );
    }

    #[test]
    fn a_cell_knows_where_it_stands_and_an_open_quote_is_refused_with_its_place() {
        let text = "id,at\nu1,\"hr:1";
        let rows = rows(text);
        assert_eq!(rows[0].as_ref().unwrap()[1].1, 3..5);
        let bad = rows[1].as_ref().unwrap_err();
        assert_eq!(text.get(bad.span.clone()), Some("\"hr:1"));
    }
}
