//! The disk of a host: an image of its own, so that it can be full, and so that losing power costs exactly
//! what was not synced.
//!
//! A killed process is no power cut: what it wrote waits in the kernel and reaches the disk all the same.
//! Here the file system is shut down first, without writing anything more (what `ext4` offers for just this
//! test), and mounted anew: its journal is replayed, everything synced is there, nothing else need be.

use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `ext4`'s request to shut down, and the way: nothing is flushed, not even the journal.
const SHUT_DOWN: &str = "import fcntl, os, sys, struct
folder = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(folder, 0x8004587d, struct.pack('I', 2))";

/// A mounted disk; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// Makes a disk of so many megabytes as `folder`; the image, which is sparse, lies beside.
    ///
    /// # Errors
    /// What the tools say.
    pub fn make(folder: &Path, megabytes: u64) -> anyhow::Result<Self> {
        let image = folder.with_extension("img");
        std::fs::create_dir_all(folder)?;
        std::fs::File::create(&image)?.set_len(megabytes * 1024 * 1024)?;
        let text = image.to_string_lossy();
        // No reserved blocks: full is full for root as well.
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &text])?;
        let disk = Self {
            image,
            folder: folder.to_owned(),
        };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Power is lost and comes back; nobody may have a file of it open.
    ///
    /// # Errors
    /// What the tools say.
    pub fn lose_power(&self) -> anyhow::Result<()> {
        let folder = self.folder.to_string_lossy();
        run("python3", &["-c", SHUT_DOWN, &folder])?;
        unmount(&self.folder)?;
        // Whoever on this machine made a mount namespace of its own meanwhile holds a copy of the mount, and
        // with it the file system that was shut down: the same image would bring that one back.
        let after = self.image.with_extension("after");
        let (from, to) = (self.image.to_string_lossy(), after.to_string_lossy());
        run("cp", &["--sparse=always", &from, &to])?;
        std::fs::rename(&after, &self.image).context("replacing the image of a disk")?;
        self.mount()
    }

    /// Fills what is free.
    ///
    /// # Errors
    /// What the system says, beside that the disk is full.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut file = std::fs::File::create(self.filler())?;
        let block = [0; 64 * 1024];
        loop {
            match std::io::Write::write_all(&mut file, &block) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("filling a disk"),
            }
        }
    }

    /// Frees what [`Self::fill`] took.
    ///
    /// # Errors
    /// What the system says.
    pub fn free(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.filler()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether [`Self::fill`] was the last word.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.filler().exists()
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    fn mount(&self) -> anyhow::Result<()> {
        let (image, folder) = (self.image.to_string_lossy(), self.folder.to_string_lossy());
        run("mount", &["-o", "loop", &image, &folder])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(unmount(&self.folder));
    }
}

/// Everything mounted below a folder, innermost first.
///
/// # Errors
/// Where the system does not say.
pub fn mounted_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mounts = std::fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut found: Vec<PathBuf> = places
        .map(PathBuf::from)
        .filter(|place| place.starts_with(folder))
        .collect();
    found.sort_by_key(|place| std::cmp::Reverse(place.components().count()));
    Ok(found)
}

/// Takes a disk away, also where something still has a file of it open.
///
/// # Errors
/// What `umount` says.
pub fn unmount(folder: &Path) -> anyhow::Result<()> {
    run("umount", &["--lazy", &folder.to_string_lossy()])
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let said = Command::new(program).args(arguments).output();
    let said = said.with_context(|| format!("running {program}"))?;
    let words = String::from_utf8_lossy(&said.stderr);
    anyhow::ensure!(
        said.status.success(),
        "{program} {}: {}",
        arguments.last().copied().unwrap_or_default(),
        words.trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write as _;

    /// A disk, or why there is none: mounting takes root.
    fn disk(dir: &Path) -> Option<Disk> {
        let required = std::env::var_os("FOGLINE_REQUIRE_NET").is_some();
        match Disk::make(&dir.join("disk"), 16) {
            Ok(disk) => Some(disk),
            Err(error) => {
                assert!(!required, "{error:#}");
                eprintln!("not tested: {error:#}");
                None
            }
        }
    }

    #[test]
    fn losing_power_costs_what_was_not_synced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let Some(disk) = disk(dir.path()) else { return };
        let mut synced = File::create(disk.folder().join("synced")).unwrap();
        synced.write_all(b"here to stay").unwrap();
        synced.sync_all().unwrap();
        let mut waiting = File::create(disk.folder().join("waiting")).unwrap();
        waiting.write_all(b"gone").unwrap();
        drop((synced, waiting));
        disk.lose_power().unwrap();
        let kept = std::fs::read(disk.folder().join("synced")).unwrap();
        assert_eq!(kept, b"here to stay");
        assert!(!disk.folder().join("waiting").exists());
    }

    #[test]
    fn a_disk_that_somebody_else_still_sees_comes_back_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let Some(disk) = disk(dir.path()) else { return };
        // Sees every mount there is now, until its input ends.
        let mut other = Command::new("unshare")
            .args(["--mount", "sh", "-c", "echo there; read end"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        let there = other.stdout.as_mut().unwrap();
        std::io::Read::read_exact(there, &mut said).unwrap();
        disk.lose_power().unwrap();
        std::fs::write(disk.folder().join("file"), "works").unwrap();
        drop(other.stdin.take());
        other.wait().unwrap();
    }

    #[test]
    fn a_full_disk_takes_nothing_until_it_is_freed_and_is_gone_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let Some(disk) = disk(dir.path()) else { return };
        let write = || std::fs::write(disk.folder().join("more"), [1; 100_000]);
        disk.fill().unwrap();
        assert!(disk.is_full() && write().is_err());
        disk.free().unwrap();
        write().unwrap();
        assert_eq!(mounted_below(dir.path()).unwrap(), [disk.folder()]);
        drop(disk);
        assert!(mounted_below(dir.path()).unwrap().is_empty());
    }
}
