//! The configuration reference and the editors' schema, made from the declarations that the reader
//! itself reads by. Both walk the sections from the root of the file, each once, in the order of the
//! file.

mod schema;

use crate::config::ROOT;
use crate::field::MAP_FILES;
use crate::key::kinds::Form;
use crate::key::{Declared, Group, Section};
use crate::units;
use schema::Schema;
use std::fmt::Write as _;

const INTRODUCTION: &str = "# Configuration reference

Generated from the declarations that the gateway reads its configuration by (`fogline-gateway config reference`);
`fogline-gateway config schema` prints the same as a JSON schema for editors. A complete example with every key:
[gateway.example.toml](gateway.example.toml).
";

/// Everything the reader knows, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut pages = Pages::default();
    pages.section(&ROOT);
    for section in MAP_FILES {
        pages.section(section);
    }
    format!("{INTRODUCTION}{}", pages.text)
}

/// The schema of a configuration file (JSON Schema 2020-12).
#[must_use]
pub fn schema() -> serde_json::Value {
    Schema::of(&ROOT)
}

/// The schema of a template file.
#[must_use]
pub fn template_schema() -> serde_json::Value {
    Schema::of_any(MAP_FILES)
}

/// Sections and shared keys that were told already.
#[derive(Default)]
struct Pages {
    text: String,
    told: Vec<&'static str>,
}

impl Pages {
    fn section(&mut self, section: &'static Section) {
        if section.inline || self.told.contains(&section.title) {
            return;
        }
        self.told.push(section.title);
        self.heading(section.title, section.help);
        if let Some((key, word)) = section.tag {
            self.line(&format!("`{key} = {word:?}`\n"));
        }
        if !section.keys.is_empty() {
            self.table(section.keys.iter().copied());
        }
        for group in section.groups {
            self.line(&format!("And the keys of *{}*.\n", group.title));
        }
        for group in section.groups {
            self.group(group);
        }
        let inner: Vec<_> = section.all().flat_map(|key| inner(&key.form())).collect();
        for section in inner {
            self.section(section);
        }
    }

    fn group(&mut self, group: &'static Group) {
        if self.told.contains(&group.title) {
            return;
        }
        self.told.push(group.title);
        self.heading(group.title, group.help);
        self.table(group.keys.iter().copied());
    }

    fn heading(&mut self, title: &str, help: &str) {
        self.line(&format!("\n## {title}\n"));
        if !help.is_empty() {
            self.line(&format!("{help}\n"));
        }
    }

    fn table(&mut self, keys: impl Iterator<Item = &'static dyn Declared>) {
        self.line("| key | value | default | meaning |");
        self.line("|---|---|---|---|");
        for key in keys {
            self.row("", key);
        }
        self.line("");
    }

    fn row(&mut self, prefix: &str, key: &'static dyn Declared) {
        let name = format!("{prefix}{}", key.name());
        let default = match (key.default_text(), key.is_required()) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "**required**".to_owned(),
            (None, false) => key.otherwise().to_owned(),
        };
        let cells = [
            format!("`{name}`"),
            show(&key.form()),
            default,
            key.help().to_owned(),
        ];
        self.line(&format!(
            "| {} |",
            cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
        ));
        if let Form::Table(sections) = key.form() {
            for section in sections.iter().filter(|section| section.inline) {
                for inner in section.all() {
                    self.row(&format!("{name}."), inner);
                }
            }
        }
    }

    fn line(&mut self, text: &str) {
        writeln!(self.text, "{text}").expect("invariant: writing to a String cannot fail");
    }
}

/// The sections of the tables a key holds.
fn inner(form: &Form) -> Vec<&'static Section> {
    match form {
        Form::Table(sections) | Form::List(sections) | Form::Named(sections) => sections.to_vec(),
        _ => Vec::new(),
    }
}

/// A kind of value for people.
fn show(form: &Form) -> String {
    match form {
        Form::Text { allowed }
        | Form::Texts { allowed }
        | Form::Pairs { allowed }
        | Form::Mapping { allowed }
        | Form::Selectors { allowed }
        | Form::Value { allowed } => (*allowed).to_owned(),
        Form::Each(inner) => format!("table of selectors, each with: {}", show(inner)),
        Form::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("`{word:?}`")).collect();
            words.join(", ")
        }
        Form::Duration(min, max) => format!(
            "duration, {}..{}",
            units::show_duration(*min),
            units::show_duration(*max)
        ),
        Form::Size(min, max) => {
            format!(
                "size, {}..{}",
                units::show_size(*min),
                units::show_size(*max)
            )
        }
        Form::Whole(min, max) => format!("whole number, {min}..{max}"),
        Form::Number { allowed, .. } => (*allowed).to_owned(),
        Form::Flag => "`true`, `false`".to_owned(),
        Form::FlagOr(word) => format!("`true`, `false`, `{word:?}`"),
        Form::Pair => "two numbers, `[0, 500]`".to_owned(),
        Form::Table(_) => "table".to_owned(),
        Form::List(_) => "list of tables".to_owned(),
        Form::Named(_) => "tables by name".to_owned(),
    }
}
