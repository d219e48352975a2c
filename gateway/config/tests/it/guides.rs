//! The examples in the guides of the families are configurations that work.

use crate::CHECK;
use gateway_config::{load_with, render};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The blocks of a page that are marked as TOML.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line.trim()) {
            (None, "```toml") => open = Some(String::new()),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages: Vec<_> = ["protocols", "gateway"]
        .iter()
        .flat_map(|room| std::fs::read_dir(root.join(room)).unwrap())
        .map(|entry| entry.unwrap().path().join("README.md"))
        .filter(|page| page.is_file())
        .collect();
    pages.sort();
    pages
}

/// The key of a sensor, as whoever follows the guide has put it there: the published one of bthome.io.
fn put_key(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "231d39c1d7cc1ab1aee224cd096db932\n").unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn every_complete_example_of_the_guides_is_accepted_without_a_word() {
    let mut seen = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text) {
            // A part of a file is shown too, and template files, which have no gateway.
            let complete = block.contains("schema = 1") && block.contains("[gateway]");
            let map = block.contains("schema = 1") && !block.contains("[gateway]");
            if !complete && !map {
                continue;
            }
            seen += 1;
            let (bus, device) = if block.contains("kind = \"serial\"") {
                (
                    "kind = \"serial\"\nport = \"/dev/ttyS0\"\nline = \"9600 8N1\"",
                    "",
                )
            } else if block.contains("kind = \"ble\"") {
                ("kind = \"ble\"", "address = \"A4:C1:38:01:02:03\"\n")
            } else {
                ("kind = \"modbus-tcp\"\naddr = \"h\"", "unit = 1\n")
            };
            let around = format!(
                "schema = 1\n[gateway]\nid = \"gw\"\n[bus.b]\n{bus}\n[template.t]\nfile = \"template.toml\"\n[device.d]\nbus = \"b\"\n{device}template = \"t\"\n"
            );
            let main = if complete { block.as_str() } else { &around };
            let folder = page.parent().unwrap();
            let desk = tempfile::tempdir().unwrap();
            for secret in block.split("\"file:").skip(1) {
                put_key(&desk.path().join(secret.split('"').next().unwrap()));
            }
            let loaded = load_with(&desk.path().join("gateway.toml"), CHECK, &|path| {
                let name = path.strip_prefix(desk.path()).unwrap();
                match name.to_str() {
                    Some("gateway.toml") => Ok(main.to_owned()),
                    Some("template.toml") if map => Ok(block.clone()),
                    // What an example names beside itself stands beside the guide.
                    _ => std::fs::read_to_string(folder.join(name)),
                }
            });
            assert!(
                loaded.problems.is_empty(),
                "{}\n{block}\n{}",
                page.display(),
                render(&loaded.problems, false)
            );
        }
    }
    assert!(seen >= 1, "no guide has an example");
}
