//! What a cluster leaves behind whose owner was killed: processes, namespaces with their devices, mounted
//! disks. Found by a mark in its folder and removed.

use crate::disk;
use anyhow::Context as _;
use std::path::Path;
use tests_net::leftovers;

/// The mark's name in the cluster's folder.
const FILE: &str = "mark";

/// How the names of all hosts and devices of one cluster begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// One that nobody uses: a device's name has 15 characters, so it is short.
    #[must_use]
    pub fn new() -> Self {
        Self(format!("fc{:x}", std::process::id()))
    }

    /// The mark.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.0
    }

    /// Writes it down.
    ///
    /// # Errors
    /// Where there is one already, or it cannot be written.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let file = dir.join(FILE);
        anyhow::ensure!(
            !file.exists(),
            "{} belongs to another cluster: `cargo xtask cluster down` takes it away",
            dir.display()
        );
        Ok(std::fs::write(file, &self.0)?)
    }

    /// The mark of the cluster whose folder this is, if it has one.
    #[must_use]
    pub fn read(dir: &Path) -> Option<Self> {
        let tag = std::fs::read_to_string(dir.join(FILE)).ok()?;
        // Whatever begins with this is removed: nothing but a mark of ours will do.
        let is_ours = tag.len() > 2 && tag.starts_with("fc");
        is_ours.then_some(Self(tag))
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self::new()
    }
}

/// Removes what is left of the cluster whose folder this is, and says what that was. The folder itself,
/// with logs and evidence, stays.
///
/// # Errors
/// What the system says.
pub fn sweep(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut swept = Vec::new();
    let Some(mark) = Mark::read(dir) else {
        return Ok(swept);
    };
    for namespace in leftovers::namespaces(mark.tag())? {
        let processes = leftovers::processes(&namespace)?.len();
        leftovers::remove(&namespace)?;
        swept.push(format!("{namespace} with {processes} processes"));
    }
    let dir = dir.canonicalize().context("finding the cluster's folder")?;
    for mounted in disk::mounted_below(&dir)? {
        disk::unmount(&mounted)?;
        swept.push(format!("the disk {}", mounted.display()));
    }
    std::fs::remove_file(dir.join(FILE)).context("removing the mark")?;
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mark_of_ours_is_taken_for_one_and_two_clusters_cannot_share_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(dir.path()), None);
        for other in ["", "fc", "eth"] {
            std::fs::write(dir.path().join(FILE), other).unwrap();
            assert_eq!(Mark::read(dir.path()), None, "{other:?}");
        }
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        let mark = Mark::new();
        mark.write(dir.path()).unwrap();
        assert_eq!(Mark::read(dir.path()), Some(mark.clone()));
        assert!(mark.write(dir.path()).is_err());
    }
}
