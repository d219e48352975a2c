//! Files that appear whole or not at all; those with secrets are readable by their owner alone.
//!
//! A file is written beside its place, synced, and renamed: a crash leaves the old one or the new
//! one. The mode is set when the file is made, so a secret is never readable for a moment.

use crate::error::PkiError;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// Writes a file that only its owner may read, replacing one that is there.
///
/// # Errors
/// [`PkiError::File`].
pub fn write_secret(path: &Path, content: &str) -> Result<(), PkiError> {
    write(path, content, SECRET_MODE)
}

/// Writes a file that everybody may read, replacing one that is there.
///
/// # Errors
/// [`PkiError::File`].
pub fn write_public(path: &Path, content: &str) -> Result<(), PkiError> {
    write(path, content, PUBLIC_MODE)
}

/// Refuses to go on when `path` exists: keys are never overwritten by accident.
///
/// # Errors
/// [`PkiError::Exists`].
pub fn refuse_existing(path: &Path) -> Result<(), PkiError> {
    if path.exists() {
        return Err(PkiError::Exists(path.to_owned()));
    }
    Ok(())
}

/// Reads a text file.
///
/// # Errors
/// [`PkiError::File`].
pub fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|source| PkiError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, content: &str, mode: u32) -> Result<(), PkiError> {
    let failed = |source| PkiError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    // A leftover of a crash may carry another mode: it goes first.
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(beside)
        .map_err(failed)?;
    file.write_all(content.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    drop(file);
    std::fs::rename(beside, path).map_err(failed)?;
    File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_never_readable_by_others_even_over_a_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/secret");
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/secret.new"), "leftover").unwrap();
        write_secret(&path, "one").unwrap();
        write_secret(&path, "two").unwrap();
        assert_eq!(read(&path).unwrap(), "two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!dir.path().join("sub/secret.new").exists());
        assert!(matches!(refuse_existing(&path), Err(PkiError::Exists(_))));
    }
}
