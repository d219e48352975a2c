//! What Debian's archive and PyPI hold today: the source of a new lock file.
//!
//! The archive's index is believed only with Debian's signature (`gpgv`, Debian's keyring) and each
//! list only with the sum that the index gives, fetched by that sum: an archive that changes meanwhile
//! cannot mix two states.

pub mod index;
mod resolve;

use crate::lock::{Lock, Pinned, Suite, WantedSet, Wants};
use crate::say::say;
use crate::{fetch, program};
use anyhow::Context as _;
use index::{Package, packages};
use resolve::closure;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian keeps the keys that its archive is signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Looks up everything that is wanted.
///
/// # Errors
/// When an index cannot be had or is not signed, or a package is in none.
pub fn look_up(wants: &Wants, cross: &Path) -> anyhow::Result<Lock> {
    let mut archs: HashMap<String, Vec<Package>> = HashMap::new();
    let mut lock = Lock::default();
    for set in &wants.set {
        if let Some(arch) = &set.arch {
            if !archs.contains_key(arch) {
                archs.insert(arch.clone(), candidates(&wants.suite, arch, cross)?);
            }
            let known = archs.get(arch).map_or(&[][..], Vec::as_slice);
            lock.file.extend(pin(set, known)?);
        }
        for wheel in &set.wheels {
            lock.file.push(pin_wheel(set, wheel)?);
        }
    }
    Ok(lock)
}

fn pin(set: &WantedSet, known: &[Package]) -> anyhow::Result<Vec<Pinned>> {
    let chosen = if set.closure {
        closure(&set.packages, &set.without, known)?
    } else {
        let find = |name: &String| {
            let package = known.iter().find(|package| package.name == *name);
            package.with_context(|| format!("no suite has a package {name}"))
        };
        set.packages
            .iter()
            .map(find)
            .collect::<anyhow::Result<_>>()?
    };
    let pinned = chosen.into_iter().map(|package| Pinned {
        set: set.name.clone(),
        name: package.name.clone(),
        version: package.version.clone(),
        url: package.url.clone(),
        size: package.size,
        sha256: package.sha256.clone(),
    });
    Ok(pinned.collect())
}

/// The highest version of every package of an architecture, over all suites.
fn candidates(suites: &[Suite], arch: &str, cross: &Path) -> anyhow::Result<Vec<Package>> {
    let mut best: HashMap<String, Package> = HashMap::new();
    for suite in suites {
        say(format_args!("▸ what {} has for {arch}", suite.name));
        for package in packages(&list(suite, arch, cross)?, &suite.archive) {
            let better = best.get(&package.name).is_none_or(|known| {
                crate::version::compare(&package.version, &known.version).is_gt()
            });
            if better {
                best.insert(package.name.clone(), package);
            }
        }
    }
    let mut all: Vec<_> = best.into_values().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// The list of packages of one suite and architecture.
fn list(suite: &Suite, arch: &str, cross: &Path) -> anyhow::Result<String> {
    let base = format!("{}/dists/{}", suite.archive, suite.name);
    let release = signed_text(&format!("{base}/InRelease"), cross)?;
    let entry = format!("main/binary-{arch}/Packages.xz");
    let (sha256, size) = index::listed(&release, &entry)
        .with_context(|| format!("the index of {} lists no {entry}", suite.name))?;
    if suite.unsigned.iter().any(|unsigned| unsigned == arch) {
        say(format_args!(
            "  WARNING: the list of {arch} in {} is believed because of TLS alone (wants.toml says why)",
            suite.name
        ));
        return unpack_list(&download(&format!("{base}/{entry}"))?);
    }
    let file = Pinned {
        set: suite.name.clone(),
        name: format!("list of {arch}"),
        version: suite.name.clone(),
        url: format!("{base}/main/binary-{arch}/by-hash/SHA256/{sha256}"),
        size,
        sha256,
    };
    let path = fetch::all(&[file], &cross.join("cache"))?;
    let path = path.first().context("invariant: one file was asked for")?;
    unpack_list(&fs::read(path)?)
}

fn unpack_list(packed: &[u8]) -> anyhow::Result<String> {
    let mut xz = Command::new("xz");
    xz.args(["--decompress", "--stdout", "--format=xz"]);
    let list = program::feed(&mut xz, packed, "xz-utils")?;
    String::from_utf8(list).context("the list is no text")
}

/// Fetches a clear-signed text and gives what was signed.
fn signed_text(url: &str, cross: &Path) -> anyhow::Result<String> {
    let dir = tempfile::tempdir_in(cross).context("making a scratch folder")?;
    let signed: PathBuf = dir.path().join("InRelease");
    fs::write(&signed, download(url)?)?;
    anyhow::ensure!(
        Path::new(KEYRING).exists(),
        "{KEYRING} is missing, so nobody can tell whether the index is Debian's; \
         install the package debian-archive-keyring"
    );
    let output = Command::new("gpgv")
        .args(["--quiet", "--keyring", KEYRING, "--output", "-"])
        .arg(&signed)
        .stderr(Stdio::piped())
        .output()
        .context("running gpgv (package gpgv)")?;
    // Keys of several releases sign; gpgv says success only if it knows them all. A good signature of
    // one that it knows, and none that is bad, is what counts.
    let says = String::from_utf8_lossy(&output.stderr);
    let good = says.contains("Good signature") && !says.contains("BAD signature");
    anyhow::ensure!(good, "{url} is not signed by Debian:\n{says}");
    String::from_utf8(output.stdout).context("the index is no text")
}

fn download(url: &str) -> anyhow::Result<Vec<u8>> {
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--location"])
        .args(["--retry", "5", "--retry-delay", "2"])
        .args(["--connect-timeout", "30"]);
    program::run(curl.arg(url), "curl")
}

fn pin_wheel(set: &WantedSet, wheel: &str) -> anyhow::Result<Pinned> {
    let (name, version) = wheel
        .split_once("==")
        .with_context(|| format!("{wheel} names no version (name==version)"))?;
    say(format_args!("▸ {name} {version} at PyPI"));
    let about = download(&format!("https://pypi.org/pypi/{name}/json"))?;
    let about: serde_json::Value = serde_json::from_slice(&about).context("PyPI's answer")?;
    let platform = set.platform.as_deref().unwrap_or("any");
    let ending = format!("{platform}.whl");
    let releases = about.get("releases");
    let release = releases.and_then(|releases| releases.get(version));
    let urls = release.and_then(|urls| urls.as_array());
    let file = urls
        .into_iter()
        .flatten()
        .find(|file| {
            let name = file.get("filename").and_then(|name| name.as_str());
            name.is_some_and(|name| name.contains("linux") && name.ends_with(&ending))
        })
        .with_context(|| format!("PyPI has no wheel of {wheel} for {platform}"))?;
    let text = |key: &str| file.get(key).and_then(|value| value.as_str());
    // Mirrors give addresses of their own; the path below `packages/` is the same everywhere.
    let path = text("url").and_then(|url| url.rsplit_once("/packages/"));
    let (_, path) = path.context("PyPI's answer has no address")?;
    let digests = file
        .get("digests")
        .and_then(|digests| digests.get("sha256"));
    Ok(Pinned {
        set: set.name.clone(),
        name: name.to_owned(),
        version: version.to_owned(),
        url: format!("https://files.pythonhosted.org/packages/{path}"),
        size: file
            .get("size")
            .and_then(serde_json::Value::as_u64)
            .context("PyPI's answer has no size")?,
        sha256: digests
            .and_then(|digest| digest.as_str())
            .context("PyPI's answer has no sum")?
            .to_owned(),
    })
}
