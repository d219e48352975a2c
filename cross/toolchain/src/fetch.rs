//! Getting a pinned file: from the cache, or over the network, and never one that does not match its sum.
//!
//! A file that the archive has dropped is told apart from a network that does not answer: the first
//! is cured by `cargo xtask lock --update`, the second by trying again.

use crate::lock::Pinned;
use crate::program;
use crate::say::{megabytes, say};
use anyhow::Context as _;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use thiserror::Error;

/// Why a file cannot be had.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The server answers, and does not have it.
    #[error(
        "{name} {version} is no longer at {url}: the archive has replaced it; \
         run `cargo xtask lock --update` and commit cross/lock.toml"
    )]
    Gone {
        /// Package or wheel.
        name: String,
        /// The pinned version.
        version: String,
        /// Where it was.
        url: String,
    },
    /// No answer, or none that helps.
    #[error("cannot fetch {url}: {why}; try again when the network is there")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What the client said.
        why: String,
    },
    /// The file is another one.
    #[error(
        "{url} has the SHA-256 {found}, pinned is {wanted}: do not use it; \
         if the archive explains the change, run `cargo xtask lock --update`"
    )]
    Changed {
        /// Where it came from.
        url: String,
        /// The sum in the lock file.
        wanted: String,
        /// The sum of what came.
        found: String,
    },
}

/// Brings files into `cache` and gives their paths, in order.
///
/// # Errors
/// The first file that cannot be had, by name.
pub fn all(files: &[Pinned], cache: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
    let missing: Vec<_> = files
        .iter()
        .filter(|file| !is_cached(file, &place(file, cache)))
        .collect();
    let total: u64 = missing.iter().map(|file| file.size).sum();
    let mut done = 0_u64;
    for (index, file) in missing.iter().enumerate() {
        say(format_args!(
            "  fetching {} of {}: {} {}, {} ({} of {} so far)",
            index + 1,
            missing.len(),
            file.name,
            file.version,
            megabytes(file.size),
            megabytes(done),
            megabytes(total),
        ));
        one(file, &place(file, cache))?;
        done += file.size;
    }
    Ok(files.iter().map(|file| place(file, cache)).collect())
}

/// Asks whether the archive still has a file, without fetching it.
///
/// # Errors
/// [`FetchError::Gone`] or [`FetchError::Unreachable`].
pub fn still_there(file: &Pinned) -> Result<(), FetchError> {
    curl(file, &["--silent", "--head", "--output", "/dev/null"])
}

fn place(file: &Pinned, cache: &Path) -> PathBuf {
    let sum = file.sha256.get(..16).unwrap_or(&file.sha256);
    cache.join(format!("{sum}-{}", file.file_name()))
}

/// Files get their name in the cache after their sum was checked: there and of the right size is enough.
fn is_cached(file: &Pinned, path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.len() == file.size)
}

fn one(file: &Pinned, path: &Path) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    let output = part.to_str().context("a path that is no text")?;
    let bar = if std::io::stderr().is_terminal() {
        "--progress-bar"
    } else {
        "--silent"
    };
    curl(file, &[bar, "--output", output])?;
    let found = sha256(&part)?;
    if found != file.sha256 {
        fs::remove_file(&part).with_context(|| format!("removing {output}"))?;
        return Err(FetchError::Changed {
            url: file.url.clone(),
            wanted: file.sha256.clone(),
            found,
        }
        .into());
    }
    fs::rename(&part, path).with_context(|| format!("keeping {}", path.display()))
}

fn curl(file: &Pinned, arguments: &[&str]) -> Result<(), FetchError> {
    let unreachable = |why: String| FetchError::Unreachable {
        url: file.url.clone(),
        why,
    };
    let mut command = Command::new("curl");
    command
        .args([
            "--location",
            "--show-error",
            "--retry",
            "5",
            "--retry-delay",
            "2",
        ])
        .args(["--connect-timeout", "30", "--write-out", "%{http_code}"])
        .args(arguments)
        .arg(&file.url)
        // The bar goes to the person, the status comes to us.
        .stderr(std::process::Stdio::inherit());
    let output = command.output().map_err(|error| {
        unreachable(format!("curl does not run ({error}): apt-get install curl"))
    })?;
    let status = String::from_utf8_lossy(&output.stdout);
    match (output.status.success(), status.trim()) {
        (true, "200") => Ok(()),
        (true, "404" | "410") => Err(FetchError::Gone {
            name: file.name.clone(),
            version: file.version.clone(),
            url: file.url.clone(),
        }),
        (true, status) => Err(unreachable(format!("the server answered {status}"))),
        (false, _) => Err(unreachable(format!("curl ended with {}", output.status))),
    }
}

/// A file's SHA-256 in hexadecimal digits.
///
/// # Errors
/// When `sha256sum` cannot read it.
pub fn sha256(path: &Path) -> anyhow::Result<String> {
    let mut sum = Command::new("sha256sum");
    let text = program::run(sum.arg("--binary").arg(path), "coreutils")?;
    let text = String::from_utf8_lossy(&text);
    let sum = text.trim_start_matches('\\').split(' ').next();
    Ok(sum.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// A server that answers every request alike, for as long as the test runs.
    fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok() {
                    let _gone = stream.write_all(answer);
                }
            }
        });
        format!("http://{address}/pool/hello_1_arm64.deb")
    }

    fn pinned(url: String, sha256: &str) -> Pinned {
        Pinned {
            set: "s".into(),
            name: "hello".into(),
            version: "1".into(),
            url,
            size: 5,
            sha256: sha256.into(),
        }
    }

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    const NO: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[test]
    fn a_fetched_file_is_kept_and_not_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = pinned(server(OK), HELLO);
        let path = all(std::slice::from_ref(&file), dir.path()).unwrap();
        assert_eq!(fs::read(path.first().unwrap()).unwrap(), b"hello");
        // Nobody listens there: only the cache can answer.
        file.url = "http://127.0.0.1:9/pool/hello_1_arm64.deb".into();
        assert_eq!(all(&[file], dir.path()).unwrap(), path);
    }

    #[test]
    fn a_file_with_another_sum_is_never_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = pinned(server(OK), &"0".repeat(64));
        let error = all(&[file], dir.path()).unwrap_err();
        assert!(matches!(
            error.downcast_ref(),
            Some(FetchError::Changed { .. })
        ));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_the_archive_dropped_names_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let file = pinned(server(NO), HELLO);
        assert!(matches!(still_there(&file), Err(FetchError::Gone { .. })));
        let error = all(&[file], dir.path()).unwrap_err().to_string();
        assert!(error.contains("hello 1"), "{error}");
        assert!(error.contains("cargo xtask lock --update"), "{error}");
    }
}
