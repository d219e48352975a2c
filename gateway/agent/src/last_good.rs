//! The last configuration that worked, kept in the state directory: a broken file must not keep a
//! gateway from coming up (P5).
//!
//! One JSON file with the texts of all files the configuration consisted of, replaced atomically
//! and only when it changed. Secrets are not in it: a configuration only names them. An empty or
//! missing file does not say where the state directory is: a small file beside it does, where that can
//! be written.

use anyhow::Context;
use gateway_config::source::Source;
use gateway_config::{Loaded, Options, load_with};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Its name in the state directory.
pub(crate) const FILE: &str = "last-good.json";

/// Texts of a configuration by path; the first is the main file's.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Saved {
    main: PathBuf,
    files: BTreeMap<PathBuf, String>,
}

/// Keeps the files of a configuration that is in use now.
pub(crate) fn save(state_dir: &Path, files: &[Arc<Source>]) -> anyhow::Result<()> {
    let Some(main) = files.first() else {
        return Ok(());
    };
    let text = |source: &Arc<Source>| (source.path().to_owned(), source.text().to_owned());
    let saved = Saved {
        main: main.path().to_owned(),
        files: files.iter().map(text).collect(),
    };
    let json = serde_json::to_vec(&saved)?;
    let path = state_dir.join(FILE);
    if std::fs::read(&path).is_ok_and(|old| old == json) {
        return Ok(());
    }
    replace(&path, &json).with_context(|| format!("cannot keep {}", path.display()))
}

/// Writes a small file so that after a power cut either the old or the new one is there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Notes beside the configuration where its state is, for the day it does not say so itself.
pub(crate) fn note_place(config: &Path, state_dir: &Path) {
    let note = beside(config);
    let place = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
    let text = place.as_os_str().as_encoded_bytes();
    if std::fs::read(&note).is_ok_and(|old| old == text) {
        return;
    }
    if let Err(error) = replace(&note, text) {
        // Usual where the configuration lies on a medium that nobody writes.
        tracing::debug!(%error, "the state directory is not noted in {}", note.display());
    }
}

/// Where the state of a configuration may be that cannot be used, best guess first. `read` is what
/// could be read from it, or the default.
pub(crate) fn places(config: &Path, read: &Path) -> Vec<PathBuf> {
    let noted = std::fs::read(beside(config)).ok();
    let noted = noted.and_then(|bytes| Some(PathBuf::from(String::from_utf8(bytes).ok()?)));
    let given = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let all = std::iter::once(read.to_owned()).chain(noted).chain(given);
    all.collect()
}

fn beside(config: &Path) -> PathBuf {
    let mut name = config.as_os_str().to_owned();
    name.push(".state-dir");
    PathBuf::from(name)
}

/// Loads the kept configuration; `None` when there is none.
pub(crate) fn load(state_dir: &Path, options: Options) -> Option<Loaded> {
    let json = std::fs::read(state_dir.join(FILE)).ok()?;
    let saved: Saved = serde_json::from_slice(&json)
        .inspect_err(|error| tracing::warn!(%error, "the kept configuration is damaged"))
        .ok()?;
    let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "not kept");
    let read = |path: &Path| saved.files.get(path).cloned().ok_or_else(missing);
    Some(load_with(&saved.main, options, &read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_config::Severity;

    #[test]
    fn what_was_kept_is_loaded_again_with_all_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            unknown_keys: Severity::Warning,
            overload: Severity::Warning,
            memory: None,
        };
        assert!(load(folder.path(), options).is_none());
        let main = "schema = 1\n[gateway]\nid = \"gw\"\n[bus.b]\nkind = \"modbus-tcp\"\naddr = \"h\"\n[device.d]\nbus = \"b\"\nunit = 1\npoints_file = \"p.csv\"\n";
        let files = [
            Source::new("/etc/x/gateway.toml", main),
            Source::new("/etc/x/p.csv", "id,at\na,hr:1\n"),
        ];
        save(folder.path(), &files).unwrap();
        let loaded = load(folder.path(), options).unwrap();
        assert!(loaded.problems.is_empty());
        assert_eq!(loaded.config.unwrap().points.len(), 1);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(load(folder.path(), options).is_none());
    }
}
