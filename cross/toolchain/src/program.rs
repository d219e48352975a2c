//! Running the programs of this machine that do the work: `tar`, `mkfs`, `git` and the like.
//!
//! One form for all: what it was called with, how it ended and what it complained of stand in the error, and
//! a program that is missing names its package.

use anyhow::Context as _;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program without input; gives its output. `package` is where a missing one comes from.
///
/// # Errors
/// When it is missing or does not end well.
pub fn run(command: &mut Command, package: &str) -> anyhow::Result<Vec<u8>> {
    finish(command.stdin(Stdio::null()), package)
}

/// What a program makes of `input`.
///
/// # Errors
/// As [`run`].
pub fn feed(command: &mut Command, input: &[u8], package: &str) -> anyhow::Result<Vec<u8>> {
    // A file, not a pipe: nobody has to read and write at once.
    let mut file = tempfile::tempfile().context("making a scratch file")?;
    file.write_all(input)?;
    file.rewind()?;
    finish(command.stdin(file), package)
}

fn finish(command: &mut Command, package: &str) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("running {name} (package {package})"))?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{name} ended with {}: {}\n  it was called as {command:?}",
        output.status,
        complaints.trim()
    );
    Ok(output.stdout)
}

/// The one time that stands in everything we make: what `SOURCE_DATE_EPOCH` says, else the last commit's,
/// seconds since 1970.
///
/// # Errors
/// When neither is to be had.
pub fn source_date(sources: &Path) -> anyhow::Result<u64> {
    if let Ok(time) = std::env::var("SOURCE_DATE_EPOCH") {
        return time
            .parse()
            .context("SOURCE_DATE_EPOCH is no number of seconds");
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(sources);
    let text = run(&mut git, "git").context("no commit tells the time: set SOURCE_DATE_EPOCH")?;
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    text.parse()
        .context("no commit tells the time of the sources: set SOURCE_DATE_EPOCH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_its_input_and_gives_its_output() {
        let large = vec![b'x'; 1 << 20];
        assert_eq!(
            feed(&mut Command::new("cat"), &large, "coreutils").unwrap(),
            large
        );
        let told = run(Command::new("echo").arg("hello"), "coreutils").unwrap();
        assert_eq!(told, b"hello\n");
    }

    #[test]
    fn what_went_wrong_is_said_in_the_programs_words() {
        let mut refuse = Command::new("sh");
        refuse.args(["-c", "echo no room >&2; exit 3"]);
        let error = run(&mut refuse, "dash").unwrap_err().to_string();
        assert!(error.contains("no room") && error.contains('3'), "{error}");
        let missing = run(&mut Command::new("no-such-program"), "its-package").unwrap_err();
        assert!(
            missing.to_string().contains("package its-package"),
            "{missing}"
        );
    }
}
