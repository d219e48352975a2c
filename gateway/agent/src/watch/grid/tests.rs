//! The screen against a small model of a terminal: what it shows after each redraw is what was meant.

use super::*;
use proptest::prelude::*;

const COLOUR: Skill = Skill {
    utf8: true,
    colour: true,
};
const MONOCHROME: Skill = Skill {
    utf8: false,
    colour: false,
};

/// A VT100 as far as it is used: it takes what is sent and shows what stands there.
struct Vt {
    cells: Vec<Vec<(char, String)>>,
    at: (usize, usize),
    style: String,
    scrolled: bool,
}

impl Vt {
    fn new(rows: usize, columns: usize) -> Self {
        Self {
            cells: vec![vec![('~', String::new()); columns]; rows],
            at: (0, 0),
            style: String::new(),
            scrolled: false,
        }
    }

    fn take(&mut self, text: &str) {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '\x1b' {
                let (row, column) = self.at;
                self.scrolled |= (row + 1, column + 1) == (self.cells.len(), self.cells[0].len());
                self.cells[row][column] = (c, self.style.clone());
                self.at.1 += 1;
                continue;
            }
            assert_eq!(rest.next(), Some('['));
            let mut parameters = String::new();
            let end = loop {
                match rest.next().unwrap() {
                    c @ ('0'..='9' | ';') => parameters.push(c),
                    c => break c,
                }
            };
            let blank = (' ', String::new());
            match (end, parameters.as_str()) {
                ('H', "") => self.at = (0, 0),
                ('H', place) => {
                    let (row, column) = place.split_once(';').unwrap();
                    let number = |text: &str| text.parse::<usize>().unwrap() - 1;
                    self.at = (number(row), number(column));
                }
                ('J', "2") => self
                    .cells
                    .iter_mut()
                    .flatten()
                    .for_each(|c| *c = blank.clone()),
                ('K', "") => self.cells[self.at.0][self.at.1..].fill(blank),
                ('m', style) => self.style = style.trim_start_matches("0;").to_owned(),
                other => panic!("not a VT100's: {other:?}"),
            }
        }
    }

    fn text(&self) -> Vec<String> {
        let row = |row: &Vec<(char, String)>| row.iter().map(|cell| cell.0).collect::<String>();
        self.cells
            .iter()
            .map(|cells| row(cells).trim_end().to_owned())
            .collect()
    }
}

fn lines(texts: &[&str]) -> Vec<Line> {
    texts
        .iter()
        .map(|text| Line::default().text(text))
        .collect()
}

#[test]
fn only_what_changed_is_sent() {
    let mut screen = Screen::new(COLOUR, 24, 80);
    let whole = screen.show(&lines(&["points 12", "m1/u   230.1 V   good   1s"]));
    assert!(whole.starts_with("\x1b[m\x1b[H\x1b[2J"), "{whole:?}");
    assert_eq!(
        screen.show(&lines(&["points 12", "m1/u   230.1 V   good   1s"])),
        ""
    );
    let second = screen.show(&lines(&["points 12", "m1/u   230.4 V   good   2s"]));
    assert_eq!(
        second, "\x1b[2;12H\x1b[m4\x1b[2;25H2\x1b[H",
        "the cursor, a digit, twice"
    );
}

#[test]
fn a_character_of_a_device_neither_moves_the_cursor_nor_the_columns() {
    let line = Line::default().text("a\x1b[2Jb\rc\u{7}d\u{301}e日f\u{9b}x");
    assert_eq!(line.plain(), "a?[2Jb?c?de?f?x");
}

#[test]
fn a_terminal_that_knows_ascii_alone_gets_nothing_else() {
    let mut screen = Screen::new(MONOCHROME, 2, 40);
    let line = Line::default().put(Style::Bad, "21.5 °C, 3 µΩ, 4 m³, Tür, 日本");
    let sent = screen.show(&[line]);
    assert!(sent.is_ascii(), "{sent:?}");
    assert!(sent.contains("21.5 oC, 3 uO, 4 m3, Tur, ??"), "{sent:?}");
}

#[test]
fn the_last_place_of_the_screen_stays_free_so_that_it_does_not_scroll() {
    let mut screen = Screen::new(COLOUR, 2, 5);
    let mut vt = Vt::new(2, 5);
    let lines = [
        Line::default().text("1234567"),
        Line::default().put(Style::Reverse, "1234567"),
        Line::default().text("below the screen"),
    ];
    vt.take(&screen.show(&lines));
    assert_eq!(vt.text(), ["12345", "1234"]);
    assert!(!vt.scrolled);
}

fn any_lines() -> impl Strategy<Value = Vec<Vec<(u8, String)>>> {
    let part = (0u8..6, "[a-c ]{0,9}");
    proptest::collection::vec(proptest::collection::vec(part, 0..4), 0..6)
}

fn styled(lines: &[Vec<(u8, String)>]) -> Vec<Line> {
    use Style::{Bad, Bold, Good, Plain, Reverse, Warn};
    let style = |n: u8| [Plain, Bold, Reverse, Good, Warn, Bad][usize::from(n)];
    let line = |parts: &Vec<(u8, String)>| {
        let put = |line: Line, (n, text): &(u8, String)| line.put(style(*n), text);
        parts.iter().fold(Line::default(), put)
    };
    lines.iter().map(line).collect()
}

proptest! {
    /// Whatever stood there: what is sent leads to the same screen as drawing it afresh.
    #[test]
    fn what_is_sent_leads_to_the_screen_that_was_wanted(
        screens in proptest::collection::vec(any_lines(), 1..6),
    ) {
        let (mut vt, mut screen) = (Vt::new(5, 20), Screen::new(COLOUR, 5, 20));
        for lines in screens {
            let lines = styled(&lines);
            vt.take(&screen.show(&lines));
            let mut fresh = Vt::new(5, 20);
            fresh.take(&Screen::new(COLOUR, 5, 20).show(&lines));
            prop_assert_eq!(&vt.cells, &fresh.cells);
            prop_assert!(!vt.scrolled);
        }
    }
}
