//! What is wrong is told at once, with place, found and allowed: one file of expected text a case.
//!
//! `FOGLINE_UPDATE_EXPECTED=1 cargo test -p gateway-config` writes the expected texts anew; read the
//! difference before it is committed.

use crate::{CHECK, load_texts};
use gateway_config::render;
use std::path::Path;

/// Companions that cases refer to.
const TEMPLATE: &str =
    "points = [ { id = \"a\", at = \"hr:1\", color = 1 }, { id = \"A\", at = \"hr:2\" } ]\n";
const LIST: &str =
    "id,at,as,skale\nok,hr:1,u16,\nbad,hr:x,u16,2\n,hr:2,u16,\nlong,hr:3,u16,,9\nopen,\"hr:4\n";

#[test]
fn every_broken_configuration_is_explained_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases");
    let update = std::env::var_os("FOGLINE_UPDATE_EXPECTED").is_some();
    let mut cases = 0;
    let mut wrong = String::new();
    let mut entries: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    entries.sort();
    for path in entries
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
    {
        cases += 1;
        let text = std::fs::read_to_string(path).unwrap();
        let mut options = CHECK;
        options.memory = Some(32 << 20);
        let files = [
            ("gateway.toml", text.as_str()),
            ("t.toml", TEMPLATE),
            ("p.csv", LIST),
        ];
        let loaded = load_texts(&files, options);
        let found = render(&loaded.problems, false);
        let expected = path.with_extension("txt");
        if update {
            std::fs::write(&expected, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        if found != expected || found.is_empty() {
            wrong += &format!(
                "== {}\n-- found\n{found}\n-- expected\n{expected}\n",
                path.display()
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(cases >= 8, "only {cases} cases");
}

#[test]
fn the_machine_form_names_file_line_column_key_and_suggestion() {
    let text = "schema = 1\n[gateway]\nid = \"gw\"\nstate_dirr = \"x\"\n";
    let loaded = load_texts(&[("gateway.toml", text)], CHECK);
    let report = serde_json::to_value(loaded.problems[0].report()).unwrap();
    assert_eq!(
        report,
        serde_json::json!({
            "severity": "error",
            "file": "gateway.toml",
            "line": 4,
            "column": 1,
            "key": "gateway.state_dirr",
            "message": "unknown key `state_dirr`",
            "allowed": "clock_file, defaults, gnss, id, labels, memory, state_dir",
            "suggestion": "state_dir",
        })
    );
}

#[test]
fn colour_is_added_only_when_asked_for() {
    let loaded = load_texts(&[("gateway.toml", "schema = 2\n")], CHECK);
    assert!(!render(&loaded.problems, false).contains('\x1b'));
    assert!(render(&loaded.problems, true).contains("\x1b[1;31m"));
}

#[test]
fn a_file_that_is_not_there_is_told_and_nothing_else() {
    let loaded = load_texts(&[], CHECK);
    assert_eq!(loaded.problems.len(), 1);
    assert!(loaded.problems[0].message.contains("gateway.toml"));
}
