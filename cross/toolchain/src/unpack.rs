//! Taking Debian packages and wheels apart into a folder, without installing anything.
//!
//! A folder appears whole or not at all: it is made beside its place and renamed. Its name holds the
//! sums of what is in it, so a new lock file never meets an old folder.

use crate::lock::Pinned;
use crate::say::say;
use crate::{fetch, program};
use anyhow::Context as _;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds a set, fetched and unpacked where it is not there yet.
///
/// # Errors
/// When a file cannot be had or unpacked.
pub fn set(name: &str, files: &[Pinned], cross: &Path) -> anyhow::Result<PathBuf> {
    let place = cross.join("tools").join(format!("{name}-{}", mark(files)));
    if place.exists() {
        return Ok(place);
    }
    say(format_args!("▸ {name}: into {}", place.display()));
    let fetched = fetch::all(files, &cross.join("cache"))?;
    let parent = place.parent().context("invariant: below tools")?;
    fs::create_dir_all(parent)?;
    let making = tempfile::Builder::new()
        .prefix(".making-")
        .tempdir_in(parent)
        .context("making a folder to unpack into")?;
    for (file, path) in files.iter().zip(fetched) {
        say(format_args!("  unpacking {}", file.name));
        let into = making.path();
        match path.extension().and_then(|end| end.to_str()) {
            Some("whl") => wheel(&path, into),
            _ => deb(&path, into),
        }
        .with_context(|| format!("unpacking {}", path.display()))?;
    }
    fs::set_permissions(making.path(), fs::Permissions::from_mode(0o755))?;
    match fs::rename(making.path(), &place) {
        Ok(()) => drop(making.keep()),
        // Somebody else was as far as we are.
        Err(_) if place.exists() => {}
        Err(error) => return Err(error).with_context(|| format!("naming {}", place.display())),
    }
    Ok(place)
}

/// A short name for exactly these files.
fn mark(files: &[Pinned]) -> String {
    // FNV-1a over sums that are themselves collision free: enough to tell our own folders apart.
    let bytes = files.iter().flat_map(|file| file.sha256.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Unpacks a package's files.
///
/// # Errors
/// When it is no Debian package, or `tar` fails.
pub fn deb(path: &Path, into: &Path) -> anyhow::Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--preserve-permissions", "--directory"])
        .arg(into);
    program::feed(&mut tar, &deb_tar(path)?, "tar").map(drop)
}

/// A package's files as an uncompressed `tar`.
///
/// # Errors
/// When it is no Debian package, or is damaged.
pub fn deb_tar(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let (name, length) = find_member(&mut file, "data.tar")?;
    let (unpacker, package) = match name.rsplit('.').next() {
        Some("xz") => ("xz", "xz-utils"),
        Some("gz") => ("gzip", "gzip"),
        Some("zst") => ("zstd", "zstd"),
        _ => anyhow::bail!("its files are packed as {name}, which is not known here"),
    };
    let mut packed = Vec::new();
    file.take(length).read_to_end(&mut packed)?;
    let mut unpack = Command::new(unpacker);
    unpack.args(["--decompress", "--stdout"]);
    program::feed(&mut unpack, &packed, package)
}

/// Finds the first member of an `ar` archive whose name begins so; the file stands at its first byte.
fn find_member(file: &mut File, begin: &str) -> anyhow::Result<(String, u64)> {
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    anyhow::ensure!(&magic == b"!<arch>\n", "it is no Debian package");
    loop {
        let mut header = [0; 60];
        file.read_exact(&mut header)
            .with_context(|| format!("it holds no {begin}"))?;
        let text = String::from_utf8_lossy(&header);
        let name = text
            .get(..16)
            .unwrap_or_default()
            .trim()
            .trim_end_matches('/');
        let length = text.get(48..58).unwrap_or_default().trim();
        let length: u64 = length
            .parse()
            .with_context(|| format!("the length of its member {name}"))?;
        if name.starts_with(begin) {
            return Ok((name.to_owned(), length));
        }
        // Members begin at even places.
        file.seek(SeekFrom::Current(i64::try_from(length + length % 2)?))?;
    }
}

/// Unpacks a wheel; what lies where programs lie becomes one.
fn wheel(path: &Path, into: &Path) -> anyhow::Result<()> {
    let mut extract = Command::new("python3");
    extract.args(["-m", "zipfile", "--extract"]);
    program::run(extract.arg(path).arg(into), "python3")?;
    let zig = into.join("ziglang/zig");
    if zig.exists() {
        make_program(&zig)?;
    }
    for entry in fs::read_dir(into)?.flatten() {
        if let Ok(scripts) = fs::read_dir(entry.path().join("scripts")) {
            for script in scripts.flatten() {
                make_program(&script.path())?;
            }
        }
    }
    Ok(())
}

/// Lets everybody run a file.
///
/// # Errors
/// When it is not there or not ours.
pub fn make_program(path: &Path) -> anyhow::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making {} a program", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, body) in members {
            let length = body.len();
            bytes.extend(
                format!(
                    "{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n",
                    0, 0, 0, 100_644
                )
                .bytes(),
            );
            bytes.extend(*body);
            if length % 2 == 1 {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    #[test]
    fn the_files_of_a_package_are_found_behind_members_of_odd_length() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("usr/bin")).unwrap();
        fs::write(tree.join("usr/bin/hello"), "hi").unwrap();
        let packed = Command::new("tar")
            .args(["--create", "--gzip", "--directory"])
            .arg(&tree)
            .arg(".")
            .output()
            .unwrap();
        let package = dir.path().join("hello.deb");
        let members: [(&str, &[u8]); 3] = [
            ("debian-binary", b"2.0"),
            ("control.tar.gz", b"odd"),
            ("data.tar.gz", &packed.stdout),
        ];
        fs::write(&package, archive(&members)).unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        deb(&package, &out).unwrap();
        assert_eq!(fs::read(out.join("usr/bin/hello")).unwrap(), b"hi");
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (bytes, says) in [
            (b"<html>not found</html>".to_vec(), "no Debian package"),
            (archive(&[("debian-binary", b"2.0\n")]), "no data.tar"),
            (archive(&[("data.tar.lz9", b"?")]), "packed as"),
            (
                archive(&[("data.tar.gz", b"not gzip at all")]),
                "gzip ended with",
            ),
        ] {
            let path = dir.path().join("x.deb");
            fs::write(&path, bytes).unwrap();
            let error = format!("{:#}", deb(&path, dir.path()).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }
}
