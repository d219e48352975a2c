//! Reading a parsed TOML document key by key: every problem is noted with its place, none is thrown.
//!
//! A getter returns `None` both for "not there" and for "there, but wrong"; in the second case the
//! problem is already in the list, so callers go on with a default and all problems are found in
//! one pass. A table is read as one of the sections that are declared for its place; what its section
//! does not declare is unknown, and told with the nearest key that is.

use crate::key::kinds::{Form, Inner, Kind, List, Named, Shape};
use crate::key::{Key, Section};
use crate::notes::Notes;
use crate::problem::Problem;
use crate::source::{Located, Place, Source};
use std::cell::{Cell, RefCell};
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
    /// What it may be.
    sections: &'static [&'static Section],
    /// What of that it is, once that is known.
    chosen: Cell<Option<&'static Section>>,
    /// Every value is text (a CSV row): numbers are read from strings, inner tables are columns that
    /// begin with their name and a dot.
    all_text: bool,
    prefix: String,
    asked: RefCell<Vec<&'static str>>,
}

/// One value being read.
pub(crate) struct Spot<'a> {
    pub(crate) value: &'a DeValue<'a>,
    pub(crate) place: Place,
    pub(crate) name: &'static str,
    pub(crate) all_text: bool,
    notes: &'a Notes<'a>,
}

impl<'a> Spot<'a> {
    /// Another value of the same key, such as an item of a list.
    pub(crate) const fn at(&self, value: &'a DeValue<'a>, place: Place) -> Self {
        Self {
            value,
            place,
            name: self.name,
            all_text: self.all_text,
            notes: self.notes,
        }
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.notes.push(problem);
    }

    /// The value as text, or a note that it is none.
    pub(crate) fn text(&self, allowed: &str) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            let message = format!("expected a text, found {}", show(self.value));
            self.push(Problem::error(&self.place, message, allowed));
        }
        text
    }

    /// Notes that the value is of another kind than it should be.
    pub(crate) fn wrong(&self, allowed: &str) {
        let message = format!(
            "expected {}, found {}",
            first_words(allowed),
            show(self.value)
        );
        self.push(Problem::error(&self.place, message, allowed));
    }

    /// Notes why a text is not what it should be.
    pub(crate) fn misread(&self, text: &str, error: &str, allowed: &str) {
        let message = if error.contains(text) && !text.is_empty() {
            error.to_owned()
        } else {
            format!("{text:?}: {error}")
        };
        self.push(Problem::error(&self.place, message, allowed));
    }

    /// The value when it lies within its bounds.
    pub(crate) fn within<T: PartialOrd>(
        &self,
        found: T,
        min: T,
        max: T,
        allowed: &str,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if found >= min && found <= max {
            return Some(found);
        }
        let side = if found < min { "small" } else { "large" };
        let message = format!("{} is too {side}", show(&found));
        self.push(Problem::error(&self.place, message, allowed));
        None
    }
}

impl<'a> Table<'a> {
    pub(crate) fn root(
        content: &'a DeTable<'a>,
        source: &'a Arc<Source>,
        notes: &'a Notes<'a>,
        sections: &'static [&'static Section],
    ) -> Self {
        Self::at(content, source, notes, (0..0, String::new()), sections)
    }

    pub(crate) fn at(
        content: &'a DeTable<'a>,
        source: &'a Arc<Source>,
        notes: &'a Notes<'a>,
        (span, key): (Range<usize>, String),
        sections: &'static [&'static Section],
    ) -> Self {
        Self {
            content,
            source,
            notes,
            span,
            key,
            sections,
            chosen: Cell::new(None),
            all_text: false,
            prefix: String::new(),
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

    /// What the table is, once that is known.
    pub(crate) fn choose(&self, section: &'static Section) {
        self.chosen.set(Some(section));
    }

    /// The sections it may still be.
    fn sections(&self) -> impl Iterator<Item = &'static Section> {
        let chosen = self.chosen.get();
        let open = self.sections.iter().copied();
        chosen
            .into_iter()
            .chain(open.filter(move |_| chosen.is_none()))
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

    fn find<K: Shape>(&self, key: &Key<K>) -> Option<(&'a DeValue<'a>, Place)> {
        debug_assert!(
            self.sections()
                .any(|section| section.key(key.name).is_some()),
            "`{}` is read and not declared in {:?}",
            key.name,
            self.sections
        );
        self.asked.borrow_mut().push(key.name);
        let found = self.lookup(key.name);
        if found.is_none() && key.required {
            self.missing(key.name, &key.kind.allowed());
        }
        found
    }

    fn lookup(&self, name: &str) -> Option<(&'a DeValue<'a>, Place)> {
        let column;
        let name = if self.prefix.is_empty() {
            name
        } else {
            column = format!("{}{name}", self.prefix);
            &column
        };
        let value = self.content.get(name)?;
        Some((value.get_ref(), self.place_of(value.span(), Some(name))))
    }

    /// Notes that a key is missing.
    pub(crate) fn missing(&self, name: &str, allowed: &str) {
        // A syntax error may have swallowed it: then it is not worth telling.
        if !self.notes.syntax_broken.get() {
            let message = format!("`{name}` is missing");
            self.notes
                .push(Problem::error(&self.place(), message, allowed));
        }
    }

    /// Whether the key is there, right or wrong.
    pub(crate) fn has<K: Shape>(&self, key: &Key<K>) -> bool {
        self.lookup(key.name).is_some()
    }

    /// The value of a key.
    pub(crate) fn get<K: Kind>(&self, key: &Key<K>) -> Option<Located<K::Value>> {
        let (value, place) = self.find(key)?;
        let spot = self.spot(key.name, value, place);
        let value = key.kind.read(&spot)?;
        Some(Located {
            value,
            place: spot.place,
        })
    }

    const fn spot(&self, name: &'static str, value: &'a DeValue<'a>, place: Place) -> Spot<'a> {
        Spot {
            value,
            place,
            name,
            all_text: self.all_text,
            notes: self.notes,
        }
    }

    /// A table inside this one.
    pub(crate) fn table(&self, key: &Key<Inner>) -> Option<Table<'a>> {
        if self.all_text {
            return self.columns(key);
        }
        let (value, place) = self.find(key)?;
        let Some(content) = value.as_table() else {
            self.spot(key.name, value, place).wrong("a table");
            return None;
        };
        // A `[table]` is best shown by its name, an inline table by itself.
        let named = self.content.get_key_value(key.name);
        let header = place.source.text().get(place.span.clone());
        let span = match named.map(|(name, _)| name.span()) {
            Some(name) if !header.is_some_and(|text| text.starts_with('{')) => name,
            _ => place.span,
        };
        Some(Table::at(
            content,
            self.source,
            self.notes,
            (span, place.key),
            key.kind.0,
        ))
    }

    /// In a row of texts an inner table is what its columns say.
    fn columns(&self, key: &Key<Inner>) -> Option<Table<'a>> {
        let prefix = format!("{}{}.", self.prefix, key.name);
        self.asked.borrow_mut().push(key.name);
        let mut names = self.content.keys();
        if !names.any(|name| name.get_ref().starts_with(&prefix)) {
            return None;
        }
        let at = (self.span.clone(), self.key.clone());
        let inner = Table::at(self.content, self.source, self.notes, at, key.kind.0);
        Some(Table {
            prefix,
            ..inner.of_text()
        })
    }

    /// The named tables under `key` (`[bus.plc]`), in the order of the file.
    pub(crate) fn named(&self, key: &Key<Named>) -> Vec<(Located<String>, Table<'a>)> {
        let Some((value, place)) = self.find(key) else {
            return Vec::new();
        };
        let Some(group) = value.as_table() else {
            self.spot(key.name, value, place).wrong("a table");
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (name, value) in group.iter() {
            let found: &str = name.get_ref();
            let place = self.place_of(name.span(), Some(&format!("{}.{found}", key.name)));
            let Some(content) = value.get_ref().as_table() else {
                self.spot(key.name, value.get_ref(), place).wrong("a table");
                continue;
            };
            let at = (name.span(), place.key.clone());
            let table = Table::at(content, self.source, self.notes, at, key.kind.0);
            let name = Located {
                value: found.to_owned(),
                place,
            };
            tables.push((name, table));
        }
        tables.sort_by_key(|(name, _)| name.place.span.start);
        tables
    }

    /// The tables of a list: `points = [ { … }, … ]`.
    pub(crate) fn list(&self, key: &Key<List>) -> Option<Vec<Table<'a>>> {
        let (value, place) = self.find(key)?;
        let Some(array) = value.as_array() else {
            self.spot(key.name, value, place).wrong(&key.kind.allowed());
            return None;
        };
        let mut tables = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let name = format!("{}[{index}]", key.name);
            let place = self.place_of(item.span(), Some(&name));
            let Some(content) = item.get_ref().as_table() else {
                self.spot(key.name, item.get_ref(), place)
                    .wrong("a table: { … }");
                continue;
            };
            let at = (item.span(), place.key);
            tables.push(Table::at(content, self.source, self.notes, at, key.kind.0));
        }
        Some(tables)
    }

    /// Notes every key that is not declared.
    pub(crate) fn finish(self) {
        self.assert_all_read();
        // A key may stand in the wrong table only because its header is broken; columns of an inner
        // table are told by the row they stand in.
        if self.notes.syntax_broken.get() || !self.prefix.is_empty() {
            return;
        }
        let mut allowed = Vec::new();
        for section in self.sections() {
            names(section, self.all_text, "", &mut allowed);
        }
        allowed.sort_unstable();
        allowed.dedup();
        for name in self.content.keys() {
            let found: &str = name.get_ref();
            if allowed.iter().any(|known| known == found) {
                continue;
            }
            let place = self.place_of(name.span(), Some(found));
            let problem = Problem {
                severity: self.notes.unknown_keys,
                ..Problem::error(&place, format!("unknown key `{found}`"), allowed.join(", "))
            };
            self.notes
                .push(problem.suggest(found, allowed.iter().map(String::as_str)));
        }
    }

    /// A declared key that the reader never asks for would be accepted and mean nothing.
    fn assert_all_read(&self) {
        let mut sections = self.sections();
        if let (Some(section), None) = (sections.next(), sections.next()) {
            let asked = self.asked.borrow();
            for key in section.all() {
                debug_assert!(
                    asked.contains(&key.name()),
                    "`{}` of {section:?} is declared and not read",
                    key.name()
                );
            }
        }
    }
}

/// The names a section knows; as columns, those of its inner tables too.
fn names(section: &Section, columns: bool, prefix: &str, out: &mut Vec<String>) {
    for key in section.all() {
        let name = format!("{prefix}{}", key.name());
        match key.form() {
            Form::Table(inner) if columns => {
                for section in inner {
                    names(section, true, &format!("{name}."), out);
                }
            }
            _ => out.push(name),
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
