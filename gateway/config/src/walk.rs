//! Reading a parsed TOML document key by key: typed getters that note every problem with its place.
//!
//! A getter returns `None` both for "not there" and for "there, but wrong"; in the second case the
//! problem is already in the list, so callers go on with a default and all problems are found in
//! one pass. The keys that were asked for are the keys that exist: [`Table::finish`] reports the
//! others, with the nearest one suggested.

use crate::problem::{Problem, Problems, Severity};
use crate::source::{Located, Place, Source};
use crate::units;
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How files are read: from disk, or from a saved copy.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&Path) -> std::io::Result<String>;

/// What all files of one configuration share while they are read.
pub(crate) struct Notes<'a> {
    read: ReadFile<'a>,
    sources: RefCell<Vec<Arc<Source>>>,
    problems: RefCell<Problems>,
    /// Whether unknown keys stop the configuration (`check`) or are ignored aloud (at boot).
    pub(crate) unknown_keys: Severity,
    /// A syntax error may have swallowed keys: then a missing key is not worth telling.
    pub(crate) syntax_broken: Cell<bool>,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(unknown_keys: Severity, read: ReadFile<'a>) -> Self {
        Self {
            read,
            sources: RefCell::default(),
            problems: RefCell::default(),
            unknown_keys,
            syntax_broken: Cell::new(false),
        }
    }

    /// Reads a file that the configuration consists of; `named` is where it is named.
    pub(crate) fn read_file(&self, path: &Path, named: Option<&Place>) -> Option<Arc<Source>> {
        match (self.read)(path) {
            Ok(text) => {
                let source = Source::new(path, text);
                self.sources.borrow_mut().push(Arc::clone(&source));
                Some(source)
            }
            Err(error) => {
                self.push(Problem {
                    severity: Severity::Error,
                    place: named.cloned(),
                    message: format!("cannot read {}: {error}", path.display()),
                    allowed: "a text file of at most 4MiB that this user may read".to_owned(),
                    suggestion: None,
                });
                None
            }
        }
    }

    /// The files that were read.
    pub(crate) fn sources(&self) -> Vec<Arc<Source>> {
        self.sources.borrow().clone()
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.borrow().has_errors()
    }

    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        self.problems.into_inner().into_sorted()
    }
}

/// Parses a document; what is wrong with the syntax is noted, what could be saved is returned.
pub(crate) fn parse<'i>(source: &'i Arc<Source>, notes: &Notes<'_>) -> DeTable<'i> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    for error in errors {
        notes.syntax_broken.set(true);
        let place = Place {
            source: Arc::clone(source),
            span: error.span().unwrap_or(0..0),
            key: String::new(),
        };
        notes.push(Problem::error(&place, error.message(), ""));
    }
    table.into_inner()
}

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

    /// A text.
    pub(crate) fn text(&self, key: &'static str) -> Option<Located<String>> {
        self.parse(key, "a text", |text| Ok::<_, String>(text.to_owned()))
    }

    /// A text that `parse` understands; its error is shown with `allowed`.
    pub(crate) fn parse<T, E: Display>(
        &self,
        key: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let (value, place) = self.get(key)?;
        let Some(text) = value.as_str() else {
            let form = if allowed == "a text" {
                allowed
            } else {
                "a text"
            };
            let message = format!("expected {form}, found {}", show(value));
            self.notes.push(Problem::error(&place, message, allowed));
            return None;
        };
        match parse(text) {
            Ok(value) => Some(Located { value, place }),
            Err(error) => {
                let error = error.to_string();
                let message = if error.contains(text) {
                    error
                } else {
                    format!("{text:?}: {error}")
                };
                self.notes.push(Problem::error(&place, message, allowed));
                None
            }
        }
    }

    /// One of a list of words.
    pub(crate) fn word<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<Located<T>> {
        let found = self.text(key)?;
        let names = || words.iter().map(|(name, _)| *name);
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == found.value) {
            return Some(found.map(|_| *value));
        }
        let message = format!("unknown {key} {:?}", found.value);
        let allowed = names().collect::<Vec<_>>().join(", ");
        self.notes
            .push(Problem::error(&found.place, message, allowed).suggest(&found.value, names()));
        None
    }

    /// A duration within a range.
    pub(crate) fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Located<Duration>> {
        let allowed = format!(
            "{}..{}, {}",
            units::show_duration(*range.start()),
            units::show_duration(*range.end()),
            units::DURATION_FORM
        );
        let found = self.parse(key, &allowed, |text| {
            units::parse_duration(text).ok_or("not a duration")
        })?;
        self.within(found, &range, &allowed, |v| units::show_duration(*v))
    }

    /// A size in bytes within a range.
    pub(crate) fn size(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<Located<u64>> {
        let allowed = format!(
            "{}..{}, {}",
            units::show_size(*range.start()),
            units::show_size(*range.end()),
            units::SIZE_FORM
        );
        let found = self.parse(key, &allowed, |text| {
            units::parse_size(text).ok_or("not a size")
        })?;
        self.within(found, &range, &allowed, |v| units::show_size(*v))
    }

    /// A whole number within a range.
    pub(crate) fn integer(
        &self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<Located<i64>> {
        let allowed = format!("a whole number, {}..{}", range.start(), range.end());
        let (value, place) = self.get(key)?;
        let number = match value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) if self.all_text => text.trim().parse().ok(),
            _ => None,
        };
        let Some(value) = number else {
            self.wrong(&place, value, &allowed);
            return None;
        };
        self.within(Located { value, place }, &range, &allowed, i64::to_string)
    }

    /// A number; whole numbers are taken too.
    pub(crate) fn number(&self, key: &'static str, allowed: &str) -> Option<Located<f64>> {
        let (value, place) = self.get(key)?;
        match as_number(value, self.all_text) {
            Some(value) => Some(Located { value, place }),
            None => {
                self.wrong(&place, value, allowed);
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(
        &self,
        key: &'static str,
        allowed: &str,
    ) -> Option<Located<Vec<Located<String>>>> {
        let (value, place) = self.get(key)?;
        let Some(array) = value.as_array() else {
            self.wrong(&place, value, allowed);
            return None;
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            let place = self.place_of(item.span(), Some(key));
            match item.get_ref().as_str() {
                Some(text) => texts.push(Located {
                    value: text.to_owned(),
                    place,
                }),
                None => self.wrong(&place, item.get_ref(), "a text"),
            }
        }
        Some(Located {
            value: texts,
            place,
        })
    }

    /// Two numbers, the lower first: `[0, 500]`, or `"0..500"` in a point list.
    pub(crate) fn span(&self, key: &'static str) -> Option<Located<(f64, f64)>> {
        const ALLOWED: &str = "two numbers, the lower first: [0, 500]";
        let (value, place) = self.get(key)?;
        let pair = match value {
            DeValue::Array(array) => {
                let mut numbers = array.iter().map(|v| as_number(v.get_ref(), false));
                match (numbers.next(), numbers.next(), numbers.next()) {
                    (Some(Some(low)), Some(Some(high)), None) => Some((low, high)),
                    _ => None,
                }
            }
            DeValue::String(text) if self.all_text => {
                text.split_once("..").and_then(|(low, high)| {
                    Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
                })
            }
            _ => None,
        };
        match pair {
            Some((low, high)) if low < high => Some(Located {
                value: (low, high),
                place,
            }),
            _ => {
                self.wrong(&place, value, ALLOWED);
                None
            }
        }
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

    fn within<T: PartialOrd>(
        &self,
        found: Located<T>,
        range: &RangeInclusive<T>,
        allowed: &str,
        show: impl Fn(&T) -> String,
    ) -> Option<Located<T>> {
        if range.contains(&found.value) {
            return Some(found);
        }
        let side = if found.value < *range.start() {
            "small"
        } else {
            "large"
        };
        let message = format!("{} is too {side}", show(&found.value));
        self.notes
            .push(Problem::error(&found.place, message, allowed));
        None
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

fn as_number(value: &DeValue<'_>, all_text: bool) -> Option<f64> {
    let text = match value {
        // Digits of base 10 parse as a float; other bases are for register addresses.
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        DeValue::String(text) if all_text => text.trim(),
        _ => return None,
    };
    text.parse().ok().filter(|number: &f64| number.is_finite())
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
