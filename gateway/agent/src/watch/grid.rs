//! A screen as cells, and what must be sent to a VT100 to turn one screen into the next.
//!
//! Pure. Only what changed is sent: over a serial console at 9600 baud a whole screen takes two seconds,
//! a second's changes a tenth of one. Nothing beyond a VT100 is used but colours, where they are allowed.
//! A cell holds one printable character of one column: what a device sent can neither move the cursor
//! nor break the columns.

/// How a cell stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Style {
    #[default]
    Plain,
    /// Titles and what matters most.
    Bold,
    /// The bar at the top, the chosen row.
    Reverse,
    /// Well.
    Good,
    /// To be looked at.
    Warn,
    /// Wrong.
    Bad,
}

impl Style {
    /// The sequence that selects it, from whatever was selected before.
    const fn select(self, colour: bool) -> &'static str {
        match (self, colour) {
            (Self::Plain, _) | (Self::Good | Self::Warn, false) => "\x1b[m",
            (Self::Bold, _) | (Self::Bad, false) => "\x1b[0;1m",
            (Self::Reverse, _) => "\x1b[0;7m",
            (Self::Good, true) => "\x1b[0;32m",
            (Self::Warn, true) => "\x1b[0;33m",
            (Self::Bad, true) => "\x1b[0;1;31m",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    character: char,
    style: Style,
}

const BLANK: Cell = Cell {
    character: ' ',
    style: Style::Plain,
};

/// One row, written from left to right.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(Vec<Cell>);

impl Line {
    /// Adds a text.
    pub(crate) fn put(mut self, style: Style, text: &str) -> Self {
        let cells = text.chars().filter_map(printable);
        self.0
            .extend(cells.map(|character| Cell { character, style }));
        self
    }

    /// Adds a text in the usual style.
    pub(crate) fn text(self, text: &str) -> Self {
        self.put(Style::Plain, text)
    }

    /// Adds blanks up to a column; at least one where something stands there already.
    pub(crate) fn to(mut self, column: usize) -> Self {
        if self.0.len() >= column && !self.0.is_empty() {
            self.0.push(BLANK);
        }
        self.0.resize(self.0.len().max(column), BLANK);
        self
    }

    /// Adds a text that ends before `column`, if there is room for it.
    pub(crate) fn ending(self, column: usize, style: Style, text: &str) -> Self {
        let start = column.saturating_sub(text.chars().count());
        self.to(start).put(style, text)
    }

    /// Gives the whole width one style.
    pub(crate) fn painted(mut self, style: Style, width: usize) -> Self {
        self.0.resize(self.0.len().max(width), BLANK);
        self.0.iter_mut().for_each(|cell| cell.style = style);
        self
    }

    /// Its text, for a screen that is only printed.
    pub(crate) fn plain(&self) -> String {
        let text: String = self.0.iter().map(|cell| cell.character).collect();
        text.trim_end().to_owned()
    }
}

/// The character as it can be shown in one column; `None` where it takes none.
fn printable(character: char) -> Option<char> {
    match character {
        ' '..='~' => Some(character),
        // Marks that stand on the character before.
        '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => {
            None
        }
        '\u{a0}'..='\u{52f}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' => Some(character),
        '\u{2070}'..='\u{20bf}' | '\u{2100}'..='\u{22ff}' => Some(character),
        _ => Some('?'),
    }
}

/// The same in ASCII, for terminals and lines that take nothing else.
fn ascii(character: char) -> char {
    match character {
        ' '..='~' => character,
        '\u{b0}' | '\u{ba}' => 'o',
        '\u{b5}' | '\u{3bc}' => 'u',
        '²' => '2',
        '³' => '3',
        '\u{3a9}' | '\u{2126}' => 'O',
        '\u{2010}'..='\u{2015}' | '−' => '-',
        '·' | '•' => '.',
        '×' => 'x',
        'ä' | 'á' | 'à' | 'â' | 'å' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ö' | 'ó' | 'ò' | 'ô' | 'ø' => 'o',
        'ü' | 'ú' | 'ù' | 'û' => 'u',
        'ß' => 's',
        'ñ' => 'n',
        'ç' => 'c',
        '‰' => '%',
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        _ => '?',
    }
}

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skill {
    /// It understands UTF-8.
    pub(crate) utf8: bool,
    /// It shows colours.
    pub(crate) colour: bool,
}

/// What stands on the terminal, as far as we have sent it.
#[derive(Debug)]
pub(crate) struct Screen {
    skill: Skill,
    rows: usize,
    columns: usize,
    /// Nothing is known while empty: the next screen is sent as a whole.
    shown: Vec<Vec<Cell>>,
}

/// Unchanged cells between two changed ones that are sent again rather than passed over: moving the
/// cursor costs at least so much.
const BRIDGE: usize = 5;
/// So many blanks and more at the end of a row are erased with one sequence.
const ERASE: usize = 3;

impl Screen {
    pub(crate) const fn new(skill: Skill, rows: usize, columns: usize) -> Self {
        Self {
            skill,
            rows,
            columns,
            shown: Vec::new(),
        }
    }

    /// What must be sent so that these lines are seen. Lines and columns beyond the terminal are cut.
    pub(crate) fn show(&mut self, lines: &[Line]) -> String {
        let wanted: Vec<Vec<Cell>> = (0..self.rows)
            .map(|row| self.row(lines.get(row), row))
            .collect();
        let mut out = Out {
            text: String::new(),
            at: None,
            style: None,
            colour: self.skill.colour,
        };
        if self.shown.is_empty() {
            out.text += "\x1b[m\x1b[H\x1b[2J";
            out.style = Some(Style::Plain);
            self.shown = vec![vec![BLANK; self.columns]; self.rows];
        }
        for (row, (old, new)) in self.shown.iter().zip(&wanted).enumerate() {
            out.row(row, old, new);
        }
        if !out.text.is_empty() {
            // Where the cursor cannot be hidden it rests in a corner.
            out.go(0, 0);
            out.select(Style::Plain);
        }
        self.shown = wanted;
        out.text
    }

    /// One row as wide as the terminal. The last place of the last row stays free: a character there
    /// scrolls the screen of many a terminal.
    fn row(&self, line: Option<&Line>, row: usize) -> Vec<Cell> {
        let mut cells = line.map_or_else(Vec::new, |line| line.0.clone());
        let last = row + 1 == self.rows;
        cells.truncate(self.columns.saturating_sub(usize::from(last)));
        if !self.skill.utf8 {
            cells
                .iter_mut()
                .for_each(|cell| cell.character = ascii(cell.character));
        }
        cells.resize(self.columns, BLANK);
        cells
    }
}

/// What is sent, and what the terminal's state is then.
struct Out {
    text: String,
    /// Row and column of the cursor, where known.
    at: Option<(usize, usize)>,
    style: Option<Style>,
    colour: bool,
}

impl Out {
    fn row(&mut self, row: usize, old: &[Cell], new: &[Cell]) {
        let differs = |column: &usize| old.get(*column) != new.get(*column);
        let Some(last) = (0..new.len()).rev().find(differs) else {
            return;
        };
        // From here on the new row is blank: one sequence instead of so many blanks.
        let blank_from = new.iter().rposition(|cell| *cell != BLANK);
        let blank_from = blank_from.map_or(0, |at| at + 1);
        let erase = last >= blank_from + ERASE;
        let end = if erase { blank_from } else { last + 1 };
        let mut column = 0;
        while column < end {
            if !differs(&column) {
                column += 1;
                continue;
            }
            let from = self.bridge(row, column, new);
            self.go(row, from);
            for cell in new.get(from..=column).unwrap_or_default() {
                self.put(*cell);
            }
            column += 1;
        }
        if erase {
            let first = (blank_from..last).find(differs).unwrap_or(last);
            self.go(row, first);
            self.select(Style::Plain);
            self.text += "\x1b[K";
        }
    }

    /// Where writing begins so that `column` is reached: at the cursor when it is a little before it.
    fn bridge(&self, row: usize, column: usize, new: &[Cell]) -> usize {
        let Some((at_row, at)) = self.at else {
            return column;
        };
        let between = new.get(at..column).unwrap_or_default();
        let same = between.iter().all(|cell| Some(cell.style) == self.style);
        if at_row == row && at <= column && column - at <= BRIDGE && same {
            at
        } else {
            column
        }
    }

    fn go(&mut self, row: usize, column: usize) {
        if self.at == Some((row, column)) {
            return;
        }
        self.text += &match (row, column) {
            (0, 0) => "\x1b[H".to_owned(),
            _ => format!("\x1b[{};{}H", row + 1, column + 1),
        };
        self.at = Some((row, column));
    }

    fn select(&mut self, style: Style) {
        if self.style != Some(style) {
            self.text += style.select(self.colour);
            self.style = Some(style);
        }
    }

    fn put(&mut self, cell: Cell) {
        self.select(cell.style);
        self.text.push(cell.character);
        // Behind the last column a terminal may wait or go on in the next row: then it is told again.
        self.at = self.at.map(|(row, column)| (row, column + 1));
    }
}

#[cfg(test)]
mod tests;
