//! Reference, schema and example say what the reader does.
//!
//! `FOGLINE_UPDATE_EXPECTED=1 cargo test -p gateway-config` writes the committed files anew.

use crate::CHECK;
use crate::schema::{Check, Met};
use gateway_config::reference::{reference, schema, template_schema};
use gateway_config::{Loaded, load_with, render};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_committed_reference_and_schemas_are_current() {
    let pretty = |value| serde_json::to_string_pretty(&value).unwrap() + "\n";
    for (name, current) in [
        ("REFERENCE.md", reference()),
        ("schema.json", pretty(schema())),
        ("template.schema.json", pretty(template_schema())),
    ] {
        if std::env::var_os("FOGLINE_UPDATE_EXPECTED").is_some() {
            std::fs::write(file(name), &current).unwrap();
        }
        let committed = std::fs::read_to_string(file(name)).unwrap_or_default();
        assert!(
            committed == current,
            "{name} is out of date: FOGLINE_UPDATE_EXPECTED=1 cargo test -p gateway-config"
        );
    }
}

fn example() -> toml::Table {
    let text = std::fs::read_to_string(file("gateway.example.toml")).unwrap();
    text.parse().unwrap()
}

/// The tables of the example, each with the section it is.
fn met(document: &toml::Table) -> (Value, Vec<Met>) {
    let schema = schema();
    let document = serde_json::to_value(document).unwrap();
    let mut check = Check::new(&schema);
    let wrong = check.whole(&document);
    assert_eq!(wrong, Vec::<String>::new());
    let met = check.met;
    (schema, met)
}

#[test]
fn the_example_is_valid_by_the_schema_and_shows_every_kind_of_table() {
    let (schema, met) = met(&example());
    let all: BTreeSet<&str> = schema["$defs"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let seen: BTreeSet<&str> = met.iter().map(|met| met.section.as_str()).collect();
    let missing: Vec<_> = all.difference(&seen).collect();
    // The file's other templates stand in the example as comments or in files.
    assert_eq!(
        missing,
        [
            // Its key would be a secret.
            &"privacy-name-pseudonymise",
            &"template-name-of-serial-devices"
        ]
    );
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let broken: [(&str, &str); 10] = [
        ("filter", "mach"),
        ("derive", "vlaue"),
        ("rule", "whem"),
        ("privacy", "dorp"),
        ("gateway", "colour"),
        ("bus", "adress"),
        ("device", "unitt"),
        ("template", "pionts"),
        ("spool", "maxx"),
        ("log", "levl"),
    ];
    let schema = schema();
    for (table, key) in broken {
        let mut document = example();
        let mut place = document.get_mut(table).unwrap().as_table_mut().unwrap();
        if !["gateway", "spool", "log"].contains(&table) {
            place = place.iter_mut().next().unwrap().1.as_table_mut().unwrap();
        }
        place.insert(key.to_owned(), toml::Value::Integer(1));
        let json = serde_json::to_value(&document).unwrap();
        assert!(
            !Check::new(&schema).whole(&json).is_empty(),
            "{table}.{key}"
        );
        assert!(load_document(&document).config.is_none(), "{table}.{key}");
    }
}

#[test]
fn every_key_of_the_reference_stands_in_the_example() {
    let text = std::fs::read_to_string(file("gateway.example.toml")).unwrap();
    let words: BTreeSet<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
        .collect();
    let mut keys = BTreeSet::new();
    collect_keys(&schema(), &mut keys);
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| !words.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(keys.len() > 100, "{}", keys.len());
}

fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| collect_keys(value, keys));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

fn load_document(document: &toml::Table) -> Loaded {
    let path = file("gateway.example.toml");
    let text = toml::to_string(document).unwrap();
    load_with(&path, CHECK, &|wanted| {
        if wanted == path {
            Ok(text.clone())
        } else {
            std::fs::read_to_string(wanted)
        }
    })
}

/// The document without a key, wherever it stands.
fn without(mut document: toml::Table, key: &str) -> toml::Table {
    fn strip(value: &mut toml::Value, key: &str) {
        match value {
            toml::Value::Table(table) => {
                table.remove(key);
                table.iter_mut().for_each(|(_, value)| strip(value, key));
            }
            toml::Value::Array(list) => list.iter_mut().for_each(|value| strip(value, key)),
            _ => {}
        }
    }
    document.iter_mut().for_each(|(_, value)| strip(value, key));
    document
}

fn meaning(document: &toml::Table) -> Result<String, String> {
    let loaded = load_document(document);
    let refused = || render(&loaded.problems, false);
    loaded
        .config
        .map(|config| format!("{config:?}"))
        .ok_or_else(refused)
}

/// The table at a path of the document.
fn table_at<'d>(document: &'d mut toml::Table, path: &[String]) -> &'d mut toml::Table {
    let (first, rest) = path.split_first().unwrap();
    let mut value = document.get_mut(first).unwrap();
    for step in rest {
        value = match value {
            toml::Value::Array(list) => &mut list[step.parse::<usize>().unwrap()],
            value => value.get_mut(step.as_str()).unwrap(),
        };
    }
    value.as_table_mut().unwrap()
}

#[test]
fn writing_a_default_down_changes_nothing() {
    // Beside what the example says there they mean something else, and are refused.
    const OTHERWISE_SAID: [&str; 4] = ["abs", "response", "scale", "offset"];
    let example = example();
    let (schema, met) = met(&example);
    let mut inherited: BTreeSet<String> = BTreeSet::new();
    collect_keys(&schema["$defs"]["gateway-defaults"], &mut inherited);
    let mut tried = 0;
    for table in met.iter().filter(|table| !table.path.is_empty()) {
        let properties = &schema["$defs"][&table.section]["properties"];
        for (key, about) in properties.as_object().unwrap() {
            let Some(default) = about.get("default") else {
                continue;
            };
            let mut document = example.clone();
            if inherited.contains(key) {
                // An outer level has its say where the inner one is silent: here all are.
                document = without(document, key);
            }
            let plain = meaning(&document).unwrap_or_else(|why| panic!("without {key}\n{why}"));
            let place = table_at(&mut document, &table.path);
            if place.contains_key(key) {
                continue;
            }
            let value = toml::Value::try_from(default.clone()).unwrap();
            place.insert(key.clone(), value);
            match meaning(&document) {
                Ok(found) => {
                    tried += 1;
                    assert!(found == plain, "{:?}.{key} = {default}", table.path);
                }
                Err(why) => assert!(
                    OTHERWISE_SAID.contains(&key.as_str()),
                    "{:?}.{key} = {default}\n{why}",
                    table.path
                ),
            }
        }
    }
    assert!(tried > 150, "{tried}");
}
