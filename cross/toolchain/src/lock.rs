//! `wants.toml` and `lock.toml`: what is wanted, and what exactly that is.
//!
//! Both are strict: a key nobody knows is an error. The lock file is sorted, so that an update shows
//! in a diff as what it changed.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wants {
    /// Parts of Debian's archive, asked together: the highest version wins.
    pub suite: Vec<Suite>,
    /// Groups of files that are unpacked together.
    pub set: Vec<WantedSet>,
}

/// A part of Debian's archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Address of the archive.
    pub archive: String,
    /// Name below `dists/`.
    pub name: String,
    /// Architectures whose list is not the one that the signed index names; each is a known fault of
    /// the archive, and said aloud at every update.
    #[serde(default)]
    pub unsigned: Vec<String>,
}

/// A group of files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedSet {
    /// Its name.
    pub name: String,
    /// Debian's name of the architecture; absent for wheels.
    #[serde(default)]
    pub arch: Option<String>,
    /// Debian packages.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Whether what the packages depend on is wanted too.
    #[serde(default)]
    pub closure: bool,
    /// Packages that are not wanted although something depends on them.
    #[serde(default)]
    pub without: Vec<String>,
    /// Wheels of PyPI as `name==version`.
    #[serde(default)]
    pub wheels: Vec<String>,
    /// The processor of the wheels; they are for Linux.
    #[serde(default)]
    pub platform: Option<String>,
}

/// What exactly was found.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Every file, by set and name.
    #[serde(default)]
    pub file: Vec<Pinned>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// The group it belongs to.
    pub set: String,
    /// Package or wheel.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it is.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Pinned {
    /// The last part of its address.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }
}

impl Wants {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        parse(path)
    }
}

impl Lock {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        parse(path)
    }

    /// The files of one group.
    ///
    /// # Errors
    /// When there are none.
    pub fn set(&self, name: &str) -> anyhow::Result<Vec<Pinned>> {
        let files: Vec<_> = self
            .file
            .iter()
            .filter(|f| f.set == name)
            .cloned()
            .collect();
        anyhow::ensure!(
            !files.is_empty(),
            "the lock file has no set {name}; cargo xtask lock --update"
        );
        Ok(files)
    }

    /// The file's text.
    ///
    /// # Errors
    /// When it cannot be written as TOML.
    pub fn render(&mut self) -> anyhow::Result<String> {
        self.file
            .sort_by(|a, b| (&a.set, &a.name).cmp(&(&b.set, &b.name)));
        let body = toml::to_string(self).context("writing the lock file")?;
        Ok(format!(
            "# Made by `cargo xtask lock --update` from wants.toml. Do not edit.\n\n{body}"
        ))
    }
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> anyhow::Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// What changed from one lock file to the next, one line a file.
#[must_use]
pub fn changes(old: &Lock, new: &Lock) -> Vec<String> {
    let find = |lock: &Lock, file: &Pinned| {
        let same = |f: &&Pinned| f.set == file.set && f.name == file.name;
        lock.file.iter().find(same).cloned()
    };
    let mut lines = Vec::new();
    for file in &new.file {
        let (set, name, version) = (&file.set, &file.name, &file.version);
        match find(old, file) {
            None => lines.push(format!("{set}: {name} {version} is new")),
            Some(before) if before.version != *version => {
                lines.push(format!("{set}: {name} {} -> {version}", before.version));
            }
            Some(before) if before != *file => {
                lines.push(format!("{set}: {name} {version} is another file now"));
            }
            Some(_) => {}
        }
    }
    for file in &old.file {
        if find(new, file).is_none() {
            lines.push(format!("{}: {} is no longer wanted", file.set, file.name));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(name: &str, version: &str) -> Pinned {
        Pinned {
            set: "compiler".into(),
            name: name.into(),
            version: version.into(),
            url: format!("https://example.org/pool/{name}_{version}.deb"),
            size: 1,
            sha256: "00".into(),
        }
    }

    #[test]
    fn a_lock_file_is_read_as_it_was_written_and_sorted() {
        let mut lock = Lock {
            file: vec![pinned("zlib", "2"), pinned("abc", "1")],
        };
        let text = lock.render().unwrap();
        let read: Lock = toml::from_str(&text).unwrap();
        assert_eq!(read.file, vec![pinned("abc", "1"), pinned("zlib", "2")]);
    }

    #[test]
    fn every_change_is_named() {
        let old = Lock {
            file: vec![pinned("a", "1"), pinned("b", "1"), pinned("c", "1")],
        };
        let mut other = pinned("c", "1");
        other.sha256 = "11".into();
        let new = Lock {
            file: vec![pinned("b", "2"), other, pinned("d", "1")],
        };
        assert_eq!(
            changes(&old, &new),
            [
                "compiler: b 1 -> 2",
                "compiler: c 1 is another file now",
                "compiler: d 1 is new",
                "compiler: a is no longer wanted",
            ]
        );
        assert!(changes(&old, &old).is_empty());
    }

    #[test]
    fn the_lock_file_in_the_tree_holds_what_is_wanted() {
        let places = crate::Places::find().unwrap();
        let wants = Wants::read(&places.wants()).unwrap();
        let lock = Lock::read(&places.lock()).unwrap();
        for set in wants.set {
            let files = lock.set(&set.name).unwrap();
            for package in &set.packages {
                assert!(files.iter().any(|f| f.name == *package), "{package}");
            }
            for file in files {
                assert_eq!(file.sha256.len(), 64, "{}", file.name);
                assert!(file.url.starts_with("https://"), "{}", file.url);
            }
        }
    }
}
