//! Writing an image to a card or a file, looking at what was written, and giving it the site's files.
//!
//! A disk that is in use is refused; so is one that is larger than cards are, unless that is said to be
//! meant. What was written is read back and compared before the site's files go in.

use crate::disk::DATA_NAME;
use crate::gpt::SECTOR;
use anyhow::{Context as _, bail};
use cross_toolchain::program;
use cross_toolchain::say::{megabytes, say};
use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal as _, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Larger disks are somebody's own.
const SUSPICIOUS: u64 = 256 << 30;
/// Bytes at a time.
const BLOCK: usize = 4 << 20;
/// Files of a site: what they are called on the device.
const IDENTITY: &str = "identity.toml";
const CONFIG: &str = "gateway.toml";

/// What is written where.
#[derive(Debug)]
pub struct Flash<'a> {
    /// The image, plain or with the ending `.zst`.
    pub image: &'a Path,
    /// A device such as `/dev/sdb`, or a file.
    pub to: &'a Path,
    /// A folder with the site's files: `identity.toml` (from `fogline-cloud gateway add`), `gateway.toml`,
    /// and `*.network` where the network is not simply DHCP.
    pub site: Option<&'a Path>,
    /// The disk is meant although it is large.
    pub large: bool,
}

/// Writes, verifies, and puts the site's files on the data partition.
///
/// # Errors
/// Before anything is written: when the target is in use or suspicious, or the site's files are not
/// complete. After: when what is read back is not what was written.
pub fn flash(order: &Flash<'_>) -> anyhow::Result<()> {
    let site = order.site.map(site_files).transpose()?;
    let is_device = check_target(order.to, order.large)?;
    let mut target = OpenOptions::new()
        .read(true)
        .write(true)
        .create(!is_device)
        .truncate(!is_device)
        .open(order.to)
        .with_context(|| format!("opening {}", order.to.display()))?;
    let total = copy(order.image, |block, at| {
        target.seek(SeekFrom::Start(at))?;
        target.write_all(block)?;
        Ok(())
    })
    .context("writing")?;
    target
        .sync_all()
        .context("waiting until the disk has everything")?;
    let mut found = vec![0; BLOCK];
    copy(order.image, |block, at| {
        target.seek(SeekFrom::Start(at))?;
        let found = found
            .get_mut(..block.len())
            .context("invariant: no longer than a block")?;
        target.read_exact(found)?;
        anyhow::ensure!(
            found == block,
            "the disk holds something else at byte {at}: it is worn out"
        );
        Ok(())
    })
    .context("comparing")?;
    say(format_args!("  {} written and compared", megabytes(total)));
    if let Some(files) = site {
        put_site(&mut target, &files)?;
    }
    target.sync_all()?;
    Ok(())
}

/// The site's files, complete and for one gateway.
fn site_files(folder: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for name in [IDENTITY, CONFIG] {
        let path = folder.join(name);
        anyhow::ensure!(
            path.exists(),
            "{} is missing; identity.toml comes from `fogline-cloud gateway add`, gateway.toml is yours",
            path.display()
        );
        files.push((name.to_owned(), path));
    }
    let table = |name: &str| -> anyhow::Result<toml::Table> {
        let text = fs::read_to_string(folder.join(name))?;
        text.parse().with_context(|| format!("reading {name}"))
    };
    let (identity, config) = (table(IDENTITY)?, table(CONFIG)?);
    let bearer = identity.get("gateway").and_then(toml::Value::as_str);
    let configured = config.get("gateway").and_then(|gateway| gateway.get("id"));
    if let (Some(bearer), Some(configured)) = (bearer, configured.and_then(toml::Value::as_str)) {
        anyhow::ensure!(
            bearer == configured,
            "identity.toml is for {bearer}, gateway.toml for {configured}"
        );
    }
    for entry in fs::read_dir(folder)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".network") {
            files.push((name, entry.path()));
        }
    }
    Ok(files)
}

/// Whether the target is a device; refuses one that is mounted or too large.
fn check_target(to: &Path, large: bool) -> anyhow::Result<bool> {
    let Ok(about) = fs::metadata(to) else {
        return Ok(false);
    };
    if !about.file_type().is_block_device() {
        anyhow::ensure!(
            about.is_file(),
            "{} is neither a disk nor a file",
            to.display()
        );
        return Ok(false);
    }
    let device = to.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading what is mounted")?;
    if let Some(place) = mounted(&mounts, &device.to_string_lossy()) {
        bail!("{} is in use at {place}: unmount it first", to.display());
    }
    let size = File::open(&device)?.seek(SeekFrom::End(0))?;
    anyhow::ensure!(
        large || size <= SUSPICIOUS,
        "{} has {}: that is no card; if it is meant, say --large",
        to.display(),
        megabytes(size)
    );
    Ok(true)
}

/// Where a disk or a part of it is mounted.
fn mounted(mounts: &str, device: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (from, place) = (words.next()?, words.next()?);
        let part = from.strip_prefix(device)?;
        let is_part = part
            .trim_start_matches('p')
            .bytes()
            .all(|byte| byte.is_ascii_digit());
        is_part.then(|| place.to_owned())
    })
}

/// Gives the image block by block; returns its length.
fn copy(
    image: &Path,
    mut take: impl FnMut(&[u8], u64) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let packed = image.extension().is_some_and(|end| end == "zst");
    let (mut from, child): (Box<dyn Read>, _) = if packed {
        let mut child = Command::new("zstd")
            .args(["--decompress", "--stdout", "--long=29"])
            .arg(image)
            .stdout(Stdio::piped())
            .spawn()
            .context("running zstd (package zstd)")?;
        let out = child.stdout.take().context("invariant: piped")?;
        (Box::new(out), Some(child))
    } else {
        let file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
        (Box::new(file), None)
    };
    let mut block = vec![0; BLOCK];
    let mut at = 0_u64;
    loop {
        let length = fill(&mut from, &mut block)?;
        if length == 0 {
            break;
        }
        take(block.get(..length).unwrap_or_default(), at)?;
        at += u64::try_from(length)?;
        progress(at);
    }
    if let Some(mut child) = child {
        let status = child.wait()?;
        anyhow::ensure!(
            status.success(),
            "zstd ended with {status}: the image is damaged"
        );
    }
    Ok(at)
}

fn fill(from: &mut dyn Read, block: &mut [u8]) -> anyhow::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest)? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

fn progress(done: u64) {
    if std::io::stderr().is_terminal() {
        let mut out = std::io::stderr().lock();
        let _nobody_looks = write!(out, "\r  {}\x1b[K\r", megabytes(done));
    }
}

/// Makes a file system of the site's files in the data partition: it is empty, nothing is lost.
fn put_site(target: &mut File, files: &[(String, PathBuf)]) -> anyhow::Result<()> {
    say(format_args!("▸ the site's files: {} of them", files.len()));
    let (start, length) = partition(target, DATA_NAME)?;
    // Taken out, changed, put back: `debugfs` works on files, and the target may be a device.
    let mut scratch = tempfile::NamedTempFile::new().context("making a scratch file")?;
    target.seek(SeekFrom::Start(start))?;
    std::io::copy(&mut target.take(length), &mut scratch)?;
    let mut script = String::new();
    let site = "lib/fogline-site";
    for (end, _) in site.match_indices('/').chain([(site.len(), "")]) {
        script += &format!("mkdir {}\n", site.get(..end).unwrap_or_default());
    }
    for (name, path) in files {
        let path = path.canonicalize()?;
        let path = path.to_str().filter(|path| !path.contains(['"', '\n']));
        let path = path.context("a path that is no plain text")?;
        script += &format!("write \"{path}\" {site}/{name}\n");
        // Owners come at the first boot (tmpfiles); until then nobody but root reads.
        script += &format!(
            "sif {site}/{name} mode 0100600\nsif {site}/{name} uid 0\nsif {site}/{name} gid 0\n"
        );
    }
    let mut change = Command::new("debugfs");
    change.args(["-w", "-f", "-"]).arg(scratch.path());
    program::feed(&mut change, script.as_bytes(), "e2fsprogs")?;
    for (name, path) in files {
        let mut show = Command::new("debugfs");
        show.args(["-R", &format!("cat {site}/{name}")]);
        let shown = program::run(show.arg(scratch.path()), "e2fsprogs")?;
        anyhow::ensure!(shown == fs::read(path)?, "{name} did not get onto the disk");
    }
    target.seek(SeekFrom::Start(start))?;
    std::io::copy(&mut File::open(scratch.path())?, target)?;
    Ok(())
}

/// First byte and length of a partition of our images.
///
/// # Errors
/// When the disk has no such partition, or cannot be read.
pub fn partition(disk: &mut File, name: &str) -> anyhow::Result<(u64, u64)> {
    disk.seek(SeekFrom::Start(2 * SECTOR))?;
    let mut table = vec![0; 128 * 128];
    disk.read_exact(&mut table)?;
    // With the zero that ends it: `data` is not `data-b`.
    let wanted: Vec<u8> = name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    for entry in table.chunks_exact(128) {
        let (head, label) = entry.split_at(56);
        let number = |at: usize| {
            let bytes = head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes
                .map(u64::from_le_bytes)
                .context("invariant: an entry has 128 bytes")
        };
        if label.starts_with(&wanted) {
            let (first, last) = (number(32)?, number(40)?);
            return Ok((first * SECTOR, (last + 1 - first) * SECTOR));
        }
    }
    bail!("the image has no partition {name}: it is none of ours")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str =
        "/dev/sda2 / ext4 rw 0 0\n/dev/mmcblk0p1 /boot vfat rw 0 0\nproc /proc proc rw 0 0\n";

    #[test]
    fn a_disk_of_which_a_part_is_mounted_is_in_use() {
        assert_eq!(mounted(MOUNTS, "/dev/sda").as_deref(), Some("/"));
        assert_eq!(mounted(MOUNTS, "/dev/mmcblk0").as_deref(), Some("/boot"));
        assert_eq!(mounted(MOUNTS, "/dev/mmcblk"), None);
        assert_eq!(mounted(MOUNTS, "/dev/sdb"), None);
    }

    fn site(identity: &str, config: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(IDENTITY), identity).unwrap();
        fs::write(dir.path().join(CONFIG), config).unwrap();
        dir
    }

    #[test]
    fn an_identity_of_another_gateway_is_refused_before_anything_is_written() {
        let dir = site(
            "gateway = \"hall-1\"\n",
            "[gateway]\nid = \"hall-2\" # the new one\n",
        );
        let to = dir.path().join("card");
        let error = flash(&Flash {
            image: Path::new("/nowhere.img"),
            to: &to,
            site: Some(dir.path()),
            large: false,
        });
        let error = error.unwrap_err().to_string();
        assert_eq!(
            error,
            "identity.toml is for hall-1, gateway.toml for hall-2"
        );
        assert!(!to.exists());
    }

    #[test]
    fn points_of_a_configuration_are_not_taken_for_its_gateway() {
        let identity = "gateway = \"hall-1\"\n";
        let config = "[device.m]\nid = \"volt\"\n[gateway]\nid = \"hall-1\"\n";
        assert_eq!(site_files(site(identity, config).path()).unwrap().len(), 2);
        let error = site_files(site(identity, "[gateway\n").path()).unwrap_err();
        assert!(format!("{error:#}").contains("gateway.toml"), "{error:#}");
    }

    #[test]
    fn a_site_without_identity_names_where_it_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let error = site_files(dir.path()).unwrap_err().to_string();
        assert!(error.contains("fogline-cloud gateway add"), "{error}");
    }

    #[test]
    fn an_image_is_written_and_compared() {
        let dir = tempfile::tempdir().unwrap();
        let (image, to) = (dir.path().join("a.img"), dir.path().join("card"));
        fs::write(&image, vec![7; BLOCK + 12_345]).unwrap();
        fs::write(&to, "what was there before").unwrap();
        let order = Flash {
            image: &image,
            to: &to,
            site: None,
            large: false,
        };
        flash(&order).unwrap();
        assert_eq!(fs::read(&image).unwrap(), fs::read(&to).unwrap());
    }
}
