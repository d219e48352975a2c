//! Reference and schema say what the reader does.
//!
//! `FOGLINE_UPDATE_EXPECTED=1 cargo test -p gateway-config` writes the committed files anew.

use gateway_config::reference::{reference, schema, template_schema};
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
