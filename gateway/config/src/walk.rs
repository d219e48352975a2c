//! Reading a parsed TOML document key by key: typed getters that note every problem with its place.
//!
//! A getter returns `None` both for "not there" and for "there, but wrong"; in the second case the
//! problem is already in the list, so callers go on with a default and all problems are found in
//! one pass. The keys that were asked for are the keys that exist: [`Table::finish`] reports the
//! others, with the nearest one suggested.

mod values;

use crate::notes::Notes;
use crate::problem::Problem;
use crate::source::{Located, Place, Source};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table being read.
pub(crate) struct Table<'a> {
    content: &'a DeTable<'a>,
    source: &'a Arc<Source>,
    notes: &'a Notes<'a>,
    /// Where the table is named.
    span: Range<usize>,
    key: String,
    /// Every value is text (a CSV row): numbers are read from strings.
    all_text: bool,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(crate) fn root(
        content: &'a DeTable<'a>,
        source: &'a Arc<Source>,
        notes: &'a Notes<'a>,
    ) -> Self {
        Self::at(content, source, notes, 0..0, String::new())
    }

    pub(crate) fn at(
        content: &'a DeTable<'a>,
        source: &'a Arc<Source>,
        notes: &'a Notes<'a>,
        span: Range<usize>,
        key: String,
    ) -> Self {
        Self {
            content,
            source,
            notes,
            span,
            key,
            all_text: false,
            asked: RefCell::default(),
        }
    }

    /// The same table, its values being text only.
    pub(crate) fn of_text(mut self) -> Self {
        self.all_text = true;
        self
    }

    pub(crate) const fn notes(&self) -> &'a Notes<'a> {
        self.notes
    }

    /// Whether this is a row of texts.
    pub(crate) const fn is_of_text(&self) -> bool {
        self.all_text
    }

    /// The table's own place.
    pub(crate) fn place(&self) -> Place {
        self.place_of(self.span.clone(), None)
    }

    fn place_of(&self, span: Range<usize>, key: Option<&str>) -> Place {
        let key = match key {
            None => self.key.clone(),
            Some(key) if self.key.is_empty() => key.to_owned(),
            Some(key) => format!("{}.{key}", self.key),
        };
        Place {
            source: Arc::clone(self.source),
            span,
            key,
        }
    }

    fn get(&self, key: &'static str) -> Option<(&'a DeValue<'a>, Place)> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let value = self.content.get(key)?;
        Some((value.get_ref(), self.place_of(value.span(), Some(key))))
    }

    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// Notes that `key` holds something else than it should.
    fn wrong(&self, place: &Place, value: &DeValue<'_>, allowed: &str) {
        let message = format!("expected {}, found {}", first_words(allowed), show(value));
        self.notes.push(Problem::error(place, message, allowed));
    }

    /// A table inside this one.
    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        let (value, place) = self.get(key)?;
        match value.as_table() {
            Some(content) => Some(self.inner(content, key, place)),
            None => {
                self.wrong(&place, value, "a table");
                None
            }
        }
    }

    fn inner(&self, content: &'a DeTable<'a>, key: &str, place: Place) -> Table<'a> {
        // A `[table]` is best shown by its name, an inline table by itself.
        let named = self.content.get_key_value(key).map(|(name, _)| name.span());
        let header = place.source.text().get(place.span.clone());
        let span = match named {
            Some(name) if !header.is_some_and(|text| text.starts_with('{')) => name,
            _ => place.span,
        };
        Table::at(content, self.source, self.notes, span, place.key)
    }

    /// The named tables under `key` (`[bus.plc]`), in the order of the file.
    pub(crate) fn named(&self, key: &'static str) -> Vec<(Located<String>, Table<'a>)> {
        let Some(group) = self.table(key) else {
            return Vec::new();
        };
        group.entries("a table")
    }

    /// All entries that are tables, in the order of the file, with their names.
    fn entries(&self, allowed: &str) -> Vec<(Located<String>, Table<'a>)> {
        let mut tables = Vec::new();
        for (name, value) in self.content.iter() {
            let place = self.place_of(name.span(), Some(name.get_ref()));
            match value.get_ref().as_table() {
                Some(content) => {
                    let table = Table::at(
                        content,
                        self.source,
                        self.notes,
                        name.span(),
                        place.key.clone(),
                    );
                    let name = Located {
                        value: name.get_ref().to_string(),
                        place,
                    };
                    tables.push((name, table));
                }
                None => self.wrong(&place, value.get_ref(), allowed),
            }
        }
        tables.sort_by_key(|(name, _)| name.place.span.start);
        tables
    }

    /// All entries that are texts, in the order of the file: `{ fast = "1s" }`.
    pub(crate) fn pairs(&self, allowed: &str) -> Vec<(Located<String>, Located<String>)> {
        let mut pairs = Vec::new();
        for (name, value) in self.content.iter() {
            let at = self.place_of(name.span(), Some(name.get_ref()));
            let place = self.place_of(value.span(), Some(name.get_ref()));
            match value.get_ref().as_str() {
                Some(text) => pairs.push((
                    Located {
                        value: name.get_ref().to_string(),
                        place: at,
                    },
                    Located {
                        value: text.to_owned(),
                        place,
                    },
                )),
                None => self.wrong(&place, value.get_ref(), allowed),
            }
        }
        pairs.sort_by_key(|(name, _)| name.place.span.start);
        pairs
    }

    /// The tables of a list: `points = [ { … }, … ]`.
    pub(crate) fn list(&self, key: &'static str) -> Option<Vec<Table<'a>>> {
        let (value, place) = self.get(key)?;
        let Some(array) = value.as_array() else {
            self.wrong(&place, value, "a list of tables: [ { … }, … ]");
            return None;
        };
        let mut tables = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let key = format!("{key}[{index}]");
            match item.get_ref().as_table() {
                Some(content) => {
                    let place = self.place_of(item.span(), Some(&key));
                    tables.push(Table::at(
                        content,
                        self.source,
                        self.notes,
                        item.span(),
                        place.key,
                    ));
                }
                None => {
                    let place = self.place_of(item.span(), Some(&key));
                    self.wrong(&place, item.get_ref(), "a table: { … }");
                }
            }
        }
        Some(tables)
    }

    /// Notes that `key` is missing, unless it is there (and then wrong, which is noted already).
    pub(crate) fn require<T>(
        &self,
        key: &'static str,
        value: Option<Located<T>>,
        allowed: &str,
    ) -> Option<Located<T>> {
        if value.is_none() && !self.has(key) && !self.notes.syntax_broken.get() {
            let message = format!("`{key}` is missing");
            self.notes
                .push(Problem::error(&self.place(), message, allowed));
        }
        value
    }

    /// Notes every key that nothing asked for.
    pub(crate) fn finish(self) {
        if self.notes.syntax_broken.get() {
            // A key may stand in the wrong table only because its header is broken.
            return;
        }
        let asked = self.asked.borrow();
        for name in self.content.keys() {
            let found: &str = name.get_ref();
            if asked.contains(&found) {
                continue;
            }
            let place = self.place_of(name.span(), Some(found));
            let mut allowed = asked.clone();
            allowed.sort_unstable();
            let problem = Problem {
                severity: self.notes.unknown_keys,
                ..Problem::error(&place, format!("unknown key `{found}`"), allowed.join(", "))
            };
            self.notes
                .push(problem.suggest(found, asked.iter().copied()));
        }
    }
}

/// What an allowed text says before its examples.
fn first_words(allowed: &str) -> &str {
    allowed.split([',', ':']).next().unwrap_or(allowed)
}

/// A value as written, shortened.
fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let short: String = text.chars().take(40).collect();
            format!("the text {short:?}")
        }
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => format!("{value}"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A row of a point list as a table of texts: empty cells are absent keys.
pub(crate) fn row(
    cells: impl Iterator<Item = (String, Range<usize>, String, Range<usize>)>,
) -> DeTable<'static> {
    let mut table = DeTable::new();
    for (name, name_span, text, span) in cells {
        if !text.is_empty() {
            table.insert(
                Spanned::new(name_span, name.into()),
                Spanned::new(span, DeValue::String(text.into())),
            );
        }
    }
    table
}
