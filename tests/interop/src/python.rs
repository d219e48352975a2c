//! Peers from PyPI, in a virtual environment that is made once and used by all tests.

use crate::build::{peers, program};
use anyhow::{Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter of an environment with everything in `peers/requirements.txt`.
///
/// # Errors
/// Python is missing, or the packages could not be installed, as without a network.
pub fn python(scratch: &Path) -> Result<PathBuf> {
    environment(&peers().join("requirements.txt"), &scratch.join("venv"))
}

/// The interpreter of an environment in `folder` with everything that a file of requirements names. It is
/// made anew when they change; tests of several processes may ask at the same time.
///
/// # Errors
/// As [`python`].
pub fn environment(requirements: &Path, folder: &Path) -> Result<PathBuf> {
    let python = program("python3")?;
    let wanted = std::fs::read_to_string(requirements)?;
    std::fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    let lock = File::create(folder.with_extension("lock"))?;
    lock.lock()?;
    let interpreter = folder.join("bin/python");
    let done = folder.join("installed.txt");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }
    run(Command::new(python)
        .args(["-m", "venv", "--clear"])
        .arg(folder))?;
    run(Command::new(&interpreter)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--timeout", "30", "--retries", "2", "-r"])
        .arg(requirements))?;
    std::fs::write(done, wanted)?;
    Ok(interpreter)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().take(3).collect::<Vec<_>>();
        bail!("{command:?} failed: {}", last.join(" / "));
    }
    Ok(())
}
