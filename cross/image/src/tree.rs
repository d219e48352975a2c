//! A root file system in memory: packages are laid over each other, changed, and written as one `tar`.
//!
//! Nothing is mounted and no foreign program runs; owners are numbers in here, so nobody needs to be
//! root. `/bin`, `/sbin` and `/lib` become what they are on current systems: links into `/usr`.

use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::io::Read;
use tar::{Archive, Builder, EntryType, Header};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File(Vec<u8>),
    Link(String),
}

/// A path's content, mode and owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
}

/// The file system; paths are relative and without a leading `./`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// What lies below these belongs below `/usr`.
const MERGED: [&str; 3] = ["bin", "sbin", "lib"];

impl Tree {
    pub(crate) fn new() -> Self {
        let mut tree = Self::default();
        for name in MERGED {
            tree.folder(&format!("usr/{name}"), 0o755);
            tree.link(name, &format!("usr/{name}"));
        }
        tree
    }

    /// Lays the files of a package over what is there; `wanted` chooses by path.
    pub(crate) fn unpack(
        &mut self,
        tar: impl Read,
        wanted: &dyn Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let mut archive = Archive::new(tar);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = place(&String::from_utf8_lossy(&entry.path_bytes()));
            if path.is_empty() || MERGED.contains(&path.as_str()) || !wanted(&path) {
                continue;
            }
            let header = entry.header().clone();
            let link = entry.link_name_bytes();
            let link = link.map(|name| String::from_utf8_lossy(&name).into_owned());
            let kind = match header.entry_type() {
                EntryType::Directory => Kind::Folder,
                EntryType::Symlink => Kind::Link(link.context("a link to nothing")?),
                EntryType::Link => {
                    let to = place(&link.context("a link to nothing")?);
                    let other = self.nodes.get(&to);
                    other
                        .with_context(|| format!("{path} links to {to}"))?
                        .kind
                        .clone()
                }
                EntryType::Regular => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    Kind::File(content)
                }
                other => bail!("{path} is of an unexpected kind: {other:?}"),
            };
            let node = Node {
                kind,
                mode: header.mode()? & 0o7777,
                owner: (header.uid()?, header.gid()?),
            };
            // A folder that is there as a link stays a link.
            let is_link = matches!(
                self.nodes.get(&path),
                Some(Node {
                    kind: Kind::Link(_),
                    ..
                })
            );
            if !(node.kind == Kind::Folder && is_link) {
                self.nodes.insert(path, node);
            }
        }
        Ok(())
    }

    pub(crate) fn folder(&mut self, path: &str, mode: u32) {
        self.put(path, Kind::Folder, mode);
    }

    pub(crate) fn file(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) {
        self.put(path, Kind::File(content.into()), mode);
    }

    pub(crate) fn link(&mut self, path: &str, to: &str) {
        self.put(path, Kind::Link(to.to_owned()), 0o777);
    }

    /// Puts a node and the folders above it.
    fn put(&mut self, path: &str, kind: Kind, mode: u32) {
        let owner = (0, 0);
        for (end, _) in path.match_indices('/') {
            let above = path.get(..end).unwrap_or_default();
            self.nodes.entry(above.to_owned()).or_insert(Node {
                kind: Kind::Folder,
                mode: 0o755,
                owner,
            });
        }
        self.nodes
            .insert(path.to_owned(), Node { kind, mode, owner });
    }

    pub(crate) fn text(&self, path: &str) -> anyhow::Result<String> {
        let bytes = self.bytes(path)?;
        String::from_utf8(bytes.to_vec()).with_context(|| format!("{path} is no text"))
    }

    pub(crate) fn bytes(&self, path: &str) -> anyhow::Result<&[u8]> {
        match self.nodes.get(path) {
            Some(Node {
                kind: Kind::File(content),
                ..
            }) => Ok(content),
            _ => bail!("there is no file {path}"),
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// Removes whatever lies at or below a path.
    pub(crate) fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.nodes
            .retain(|name, _| name != path && !name.starts_with(&below));
    }

    /// Keeps only paths that `wanted` chooses.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.nodes.retain(|path, _| wanted(path));
    }

    /// All files below a folder, with their content.
    pub(crate) fn files_below<'a>(
        &'a self,
        folder: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let files = self
            .nodes
            .iter()
            .filter_map(|(path, node)| match &node.kind {
                Kind::File(content) => Some((path.as_str(), content.as_slice())),
                Kind::Folder | Kind::Link(_) => None,
            });
        files.filter(move |(path, _)| path.starts_with(folder))
    }

    /// The whole as a `tar`, sorted, with one time.
    pub(crate) fn tar(&self, time: u64) -> anyhow::Result<Vec<u8>> {
        let mut builder = Builder::new(Vec::new());
        for (path, node) in &self.nodes {
            let mut header = Header::new_gnu();
            header.set_mode(node.mode);
            header.set_uid(node.owner.0);
            header.set_gid(node.owner.1);
            header.set_mtime(time);
            header.set_size(0);
            match &node.kind {
                Kind::Folder => {
                    header.set_entry_type(EntryType::Directory);
                    builder.append_data(&mut header, format!("{path}/"), std::io::empty())?;
                }
                Kind::Link(to) => {
                    header.set_entry_type(EntryType::Symlink);
                    builder.append_link(&mut header, path, to)?;
                }
                Kind::File(content) => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_size(u64::try_from(content.len())?);
                    builder.append_data(&mut header, path, content.as_slice())?;
                }
            }
        }
        Ok(builder.into_inner()?)
    }
}

/// Where a path of a package goes.
fn place(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if path != first && MERGED.contains(&first) {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(42);
            header.set_size(0);
            match kind {
                EntryType::Regular => {
                    header.set_size(u64::try_from(content.len()).unwrap());
                    builder
                        .append_data(&mut header, path, content.as_bytes())
                        .unwrap();
                }
                EntryType::Directory => {
                    builder
                        .append_data(&mut header, path, std::io::empty())
                        .unwrap();
                }
                _ => builder.append_link(&mut header, path, content).unwrap(),
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn packages_of_both_layouts_meet_below_usr() {
        use EntryType::{Directory, Link, Regular, Symlink};
        let mut tree = Tree::new();
        let old = package(&[
            ("./", Directory, ""),
            ("./lib/", Directory, ""),
            ("./lib/a.so", Regular, "one"),
            ("./usr/lib/b.so", Symlink, "/lib/a.so"),
            ("./bin/tool", Regular, "run"),
            ("./usr/bin/same", Link, "./bin/tool"),
            ("./usr/share/doc/x", Regular, "words"),
        ]);
        tree.unpack(old.as_slice(), &|path| !path.contains("/doc/"))
            .unwrap();
        assert_eq!(tree.bytes("usr/lib/a.so").unwrap(), b"one");
        assert_eq!(tree.bytes("usr/bin/same").unwrap(), b"run");
        assert!(tree.has("lib") && !tree.has("lib/a.so") && !tree.has("usr/share/doc/x"));
        let first = tree.tar(7).unwrap();
        let mut again = Tree::default();
        again.unpack(first.as_slice(), &|_| true).unwrap();
        assert_eq!(again.bytes("usr/lib/a.so").unwrap(), b"one");
        assert_eq!(
            tree.tar(7).unwrap(),
            first,
            "the same tree gives the same bytes"
        );
        assert_eq!(again.nodes.get("usr/bin/tool").unwrap().owner, (0, 42));
    }

    #[test]
    fn what_is_removed_takes_what_is_below_with_it() {
        let mut tree = Tree::new();
        tree.file("var/lib/dpkg/info/x", "1", 0o644);
        tree.file("var/lib/dpkg2", "1", 0o644);
        tree.remove("var/lib/dpkg");
        assert!(!tree.has("var/lib/dpkg/info/x") && tree.has("var/lib/dpkg2"));
    }
}
