//! One process for one state directory: a second one would act under the same name, take the spool
//! from the first and its place at the broker.
//!
//! The lock is the system's, on an open file: it ends with the process, however that ends.

use anyhow::bail;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Its name in the state directory.
const FILE: &str = "lock";

/// Takes the state directory for as long as the result lives. A directory that cannot be written is
/// no reason not to start: then nobody else can use it either.
///
/// # Errors
/// When another process has it.
pub(crate) fn take(state_dir: &Path) -> anyhow::Result<Option<File>> {
    let path = state_dir.join(FILE);
    let opened = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => {
            tracing::error!(%error, "cannot lock {}", path.display());
            return Ok(None);
        }
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _unknown = file.read_to_string(&mut owner);
            let dir = state_dir.display();
            bail!(
                "another gateway (pid {}) runs on {dir}; stop it, or set another gateway.state_dir",
                owner.trim()
            );
        }
        Err(TryLockError::Error(error)) => {
            tracing::error!(%error, "cannot lock {}", path.display());
            return Ok(None);
        }
    }
    let written = file.set_len(0).and_then(|()| file.rewind());
    if let Err(error) = written.and_then(|()| writeln!(file, "{}", std::process::id())) {
        tracing::debug!(%error, "the lock does not name its owner");
    }
    Ok(Some(file))
}

/// The process that has the state directory, if one has. For looking: it may end at any time.
pub(crate) fn owner(state_dir: &Path) -> Option<String> {
    let mut file = File::open(state_dir.join(FILE)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _unknown = file.read_to_string(&mut owner);
            Some(owner.trim().to_owned())
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}
