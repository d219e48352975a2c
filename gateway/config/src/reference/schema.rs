//! Declarations as JSON Schema: completion, types, ranges and help in editors. What only shows when
//! parts come together (names, families, bus load) is `check`'s to tell.

use crate::key::kinds::Form;
use crate::key::{Declared, Section};
use serde_json::{Map, Value, json};

const DURATION: &str = r"^[0-9]+(\.[0-9]+)? *(d|h|min|m|s|ms|us)$";
const SIZE: &str = r"^[0-9]+(\.[0-9]+)? *(TiB|GiB|MiB|KiB|TB|GB|MB|kB|B)$";
const NAME: &str = "^[a-z0-9_-]{1,63}$";

/// A schema being made: sections that were met, by name.
#[derive(Default)]
pub(super) struct Schema {
    sections: Map<String, Value>,
}

impl Schema {
    pub(super) fn of(root: &'static Section) -> Value {
        Self::whole(&[root])
    }

    pub(super) fn of_any(roots: &[&'static Section]) -> Value {
        Self::whole(roots)
    }

    fn whole(roots: &[&'static Section]) -> Value {
        let mut schema = Self::default();
        let mut whole = schema.any(roots);
        if let Some(whole) = whole.as_object_mut() {
            let draft = "https://json-schema.org/draft/2020-12/schema";
            whole.insert("$schema".to_owned(), draft.into());
            whole.insert("$defs".to_owned(), schema.sections.into());
        }
        whole
    }

    /// One of the sections.
    fn any(&mut self, sections: &[&'static Section]) -> Value {
        let mut all: Vec<_> = sections.iter().map(|s| self.section(s)).collect();
        if all.len() == 1 {
            all.remove(0)
        } else {
            json!({ "anyOf": all })
        }
    }

    fn section(&mut self, section: &'static Section) -> Value {
        if section.inline {
            return self.object(section);
        }
        let name = slug(section.title);
        if !self.sections.contains_key(&name) {
            // Known before it is made: a section may hold itself.
            self.sections.insert(name.clone(), Value::Null);
            let object = self.object(section);
            self.sections.insert(name.clone(), object);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    fn object(&mut self, section: &'static Section) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for key in section.all() {
            let tag = section.tag.filter(|(name, _)| *name == key.name());
            let value = match tag {
                Some((_, word)) => json!({ "const": word, "description": key.help() }),
                None => self.value(key),
            };
            properties.insert(key.name().to_owned(), value);
            if key.is_required() {
                required.push(key.name());
            }
        }
        let mut object = Map::new();
        object.insert("type".to_owned(), "object".into());
        object.insert("additionalProperties".to_owned(), false.into());
        object.insert("properties".to_owned(), properties.into());
        if !required.is_empty() {
            object.insert("required".to_owned(), required.into());
        }
        if !section.help.is_empty() {
            object.insert("description".to_owned(), section.help.into());
        }
        object.into()
    }

    fn value(&mut self, key: &'static dyn Declared) -> Value {
        let mut value = self.form(&key.form());
        if let Some(value) = value.as_object_mut() {
            value.insert("description".to_owned(), describe(key).into());
            if let Some(default) = key.default_text().and_then(|text| to_json(&text)) {
                value.insert("default".to_owned(), default);
            }
        }
        value
    }

    fn form(&mut self, form: &Form) -> Value {
        match form {
            Form::Text { .. } => json!({ "type": "string" }),
            Form::Words(words) => json!({ "enum": words }),
            Form::Duration(..) => json!({ "type": "string", "pattern": DURATION }),
            Form::Size(..) => json!({ "type": "string", "pattern": SIZE }),
            Form::Whole(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Form::Number {
                bounds: (min, max), ..
            } => {
                let mut value = Map::new();
                value.insert("type".to_owned(), "number".into());
                if *min > f64::MIN {
                    value.insert("minimum".to_owned(), (*min).into());
                }
                if *max < f64::MAX {
                    value.insert("maximum".to_owned(), (*max).into());
                }
                value.into()
            }
            Form::Flag => json!({ "type": "boolean" }),
            Form::FlagOr(word) => json!({ "enum": [true, false, word] }),
            Form::Texts { .. } => json!({ "type": "array", "items": { "type": "string" } }),
            Form::Pair => json!({
                "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2
            }),
            Form::Pairs { .. } => json!({
                "type": "object", "additionalProperties": { "type": "string" }
            }),
            Form::Mapping { .. } => json!({
                "type": "object",
                "additionalProperties": { "type": ["boolean", "number", "string"] }
            }),
            Form::Selectors { .. } => json!({ "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" } },
            ] }),
            Form::Value { .. } => json!({ "type": ["boolean", "number", "string"] }),
            Form::Each(inner) => json!({
                "type": "object", "additionalProperties": self.form(inner)
            }),
            Form::Table(sections) => self.any(sections),
            Form::List(sections) => json!({ "type": "array", "items": self.any(sections) }),
            Form::Named(sections) => json!({
                "type": "object",
                "propertyNames": { "pattern": NAME },
                "additionalProperties": self.any(sections),
            }),
        }
    }
}

/// Help as editors show it: what it means, what is allowed, what holds without it.
fn describe(key: &dyn Declared) -> String {
    let mut text = key.help().to_owned();
    let form = super::show(&key.form());
    if !form.is_empty() {
        text += &format!(" ({form})");
    }
    if !key.otherwise().is_empty() {
        text += &format!("; without it: {}", key.otherwise());
    }
    text
}

fn to_json(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}
