//! Peers that are programs of the system, or small C programs of ours on a library of the system.

use anyhow::{Context as _, Result, bail, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program on the path.
///
/// # Errors
/// It is not installed.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name));
    let mut found = found.filter(|file| file.is_file());
    found
        .next()
        .with_context(|| format!("{name} is not installed"))
}

/// `peers/<name>.c`, compiled against a library that `pkg-config` knows. Compiled once: it is kept in
/// `scratch` beside a lock, since tests of several processes may ask at the same time.
///
/// # Errors
/// Compiler or library are missing, or the program does not compile.
pub fn compiled(name: &str, library: &str, scratch: &Path) -> Result<PathBuf> {
    let compiler = program("cc")?;
    let flags = Command::new(program("pkg-config")?)
        .args(["--cflags", "--libs", library])
        .output()?;
    ensure!(
        flags.status.success(),
        "the library {library} is not installed"
    );
    let flags = String::from_utf8(flags.stdout)?;
    std::fs::create_dir_all(scratch)?;
    let lock = File::create(scratch.join(format!("{name}.lock")))?;
    lock.lock()?;
    let source = peers().join(format!("{name}.c"));
    let built = scratch.join(name);
    if is_newer(&built, &source) {
        return Ok(built);
    }
    let fresh = scratch.join(format!("{name}.new"));
    let output = Command::new(compiler)
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&fresh, &source])
        .args(flags.split_whitespace())
        .output()?;
    if !output.status.success() {
        bail!("{name}.c: {}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::rename(&fresh, &built)?;
    Ok(built)
}

/// Sources of our side of the peers.
pub(crate) fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn is_newer(built: &Path, source: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    time(built).is_some_and(|built| Some(built) > time(source))
}
