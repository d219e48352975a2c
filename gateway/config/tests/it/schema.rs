//! As much of JSON Schema as our schemas use, to hold a document against one; and which section each
//! table of it is.

use serde_json::Value;

/// A table of the document and the section it is.
#[derive(Debug, Clone)]
pub(crate) struct Met {
    pub(crate) path: Vec<String>,
    pub(crate) section: String,
}

pub(crate) struct Check<'a> {
    schema: &'a Value,
    pub(crate) met: Vec<Met>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(schema: &'a Value) -> Self {
        Self {
            schema,
            met: Vec::new(),
        }
    }

    /// What is wrong with a document.
    pub(crate) fn whole(&mut self, document: &Value) -> Vec<String> {
        self.value(document, self.schema, &[])
    }

    fn value(&mut self, value: &Value, schema: &'a Value, path: &[String]) -> Vec<String> {
        let at = path.join(".");
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let section = name.strip_prefix("#/$defs/").unwrap();
            let wrong = self.value(value, &self.schema["$defs"][section], path);
            if wrong.is_empty() {
                let met = Met {
                    path: path.to_vec(),
                    section: section.to_owned(),
                };
                self.met.push(met);
            }
            return wrong;
        }
        if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
            let mut wrong = Vec::new();
            for schema in any {
                let before = self.met.len();
                let found = self.value(value, schema, path);
                if found.is_empty() {
                    return found;
                }
                self.met.truncate(before);
                wrong.extend(found);
            }
            return wrong;
        }
        let mut wrong = Vec::new();
        let mut refuse = |why: String| wrong.push(format!("{at}: {why}"));
        if schema.get("const").is_some_and(|wanted| wanted != value) {
            refuse(format!("{value} is not {}", schema["const"]));
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array)
            && !words.contains(value)
        {
            refuse(format!("{value} is none of {words:?}"));
        }
        if let Some(kind) = schema.get("type") {
            let kinds: Vec<&str> = match kind {
                Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
                kind => kind.as_str().into_iter().collect(),
            };
            if !kinds.iter().any(|kind| is(value, kind)) {
                refuse(format!("{value} is not of type {kind}"));
            }
        }
        for (bound, low) in [("minimum", true), ("maximum", false)] {
            if let (Some(bound), Some(found)) =
                (schema.get(bound).and_then(Value::as_f64), value.as_f64())
                && (if low { found < bound } else { found > bound })
            {
                refuse(format!("{found} is beyond {bound}"));
            }
        }
        if let Some(object) = value.as_object() {
            for name in schema["required"].as_array().into_iter().flatten() {
                if !object.contains_key(name.as_str().unwrap()) {
                    refuse(format!("{name} is missing"));
                }
            }
            for (name, value) in object {
                let path = [path, std::slice::from_ref(name)].concat();
                let known = schema["properties"].get(name);
                let inner = known.or_else(|| schema.get("additionalProperties"));
                match inner {
                    Some(Value::Bool(false)) => wrong.push(format!("{at}: unknown key {name}")),
                    Some(inner) => wrong.extend(self.value(value, inner, &path)),
                    None => {}
                }
            }
        }
        if let (Some(list), Some(items)) = (value.as_array(), schema.get("items")) {
            for (index, value) in list.iter().enumerate() {
                let path = [path, &[index.to_string()]].concat();
                wrong.extend(self.value(value, items, &path));
            }
        }
        wrong
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => false,
    }
}
