//! The disk: boot partition, two roots, data; made as files and put together, without loop devices.

use crate::gpt::{self, Guid, Partition, SECTOR};
use crate::tree::Tree;
use anyhow::Context as _;
use cross_toolchain::program;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;
/// Bytes of the boot partition: two kernels of 30 MB and their first file systems.
const ESP: u64 = 128 * MIB;
/// Bytes of each root: an update may grow to three times of today's.
const ROOT: u64 = 192 * MIB;
/// Bytes of the data partition before it grows to what the medium has.
const DATA: u64 = 64 * MIB;

const KIND_ESP: Guid = Guid(0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B);
const KIND_ROOT: Guid = Guid(0xB921_B045_1DF0_41C3_AF44_4C6F_280D_3FAE);
const KIND_DATA: Guid = Guid(0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4);
/// The same in every image of ours: nothing in them is secret, and two builds are alike.
const DISK: Guid = Guid(0xF061_11E0_0000_4000_8000_0000_0000_0000);

/// Name of the partition that the firmware reads.
pub const ESP_NAME: &str = "esp";
/// Name of the partition that holds everything that changes.
pub const DATA_NAME: &str = "data";

/// What the partitions hold.
pub(crate) struct Parts<'a> {
    /// Files of the boot partition.
    pub(crate) esp: &'a Tree,
    /// The root, as a squashfs.
    pub(crate) root: &'a Path,
    /// The one time of everything in the image, seconds since 1970.
    pub(crate) time: u64,
}

/// Writes an image.
pub(crate) fn write(parts: &Parts<'_>, image: &Path) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir().context("making a scratch folder")?;
    let esp = scratch.path().join("esp");
    make_esp(parts, &esp, scratch.path())?;
    let data = scratch.path().join("data");
    make_data(&data, parts.time)?;
    let root = parts.root.metadata()?.len();
    anyhow::ensure!(
        root <= ROOT,
        "the root has {root} bytes, room is for {ROOT}"
    );

    let mut start = MIB / SECTOR;
    let mut partition = |number: u128, name, kind, bytes: u64| {
        let sectors = bytes / SECTOR;
        let id = Guid(DISK.0 | number);
        let made = Partition {
            name,
            kind,
            id,
            start,
            sectors,
        };
        start += sectors;
        made
    };
    let partitions = [
        partition(1, ESP_NAME, KIND_ESP, ESP),
        partition(2, "root-a", KIND_ROOT, ROOT),
        partition(3, "root-b", KIND_ROOT, ROOT),
        partition(4, DATA_NAME, KIND_DATA, DATA),
    ];
    let sectors = start + MIB / SECTOR;
    let (front, back) = gpt::table(DISK, &partitions, sectors)?;

    let mut out = File::create(image).with_context(|| format!("making {}", image.display()))?;
    out.set_len(sectors * SECTOR)?;
    out.write_all(&front)?;
    out.seek(SeekFrom::Start(
        sectors * SECTOR - u64::try_from(back.len())?,
    ))?;
    out.write_all(&back)?;
    let contents = [esp.as_path(), parts.root, parts.root, data.as_path()];
    for (partition, content) in partitions.iter().zip(contents) {
        out.seek(SeekFrom::Start(partition.start * SECTOR))?;
        copy_sparse(&mut File::open(content)?, &mut out)
            .with_context(|| format!("writing {}", partition.name))?;
    }
    out.sync_all()?;
    Ok(())
}

/// Copies, leaving holes where there are only zeros.
fn copy_sparse(from: &mut File, to: &mut File) -> anyhow::Result<()> {
    let mut block = vec![0; usize::try_from(MIB)?];
    loop {
        let length = from.read(&mut block)?;
        let filled = block.get(..length).unwrap_or_default();
        if length == 0 {
            return Ok(());
        }
        if filled.iter().all(|&byte| byte == 0) {
            to.seek(SeekFrom::Current(i64::try_from(length)?))?;
        } else {
            to.write_all(filled)?;
        }
    }
}

/// A FAT file system with the files; `--invariant` and the one time make it the same each time.
fn make_esp(parts: &Parts<'_>, path: &Path, scratch: &Path) -> anyhow::Result<()> {
    File::create(path)?.set_len(ESP)?;
    let mut make = Command::new("mkfs.vfat");
    make.args(["-F", "32", "-n", "FOGLINE", "-i", "F0611140", "--invariant"]);
    run(make.arg(path), parts.time, "dosfstools")?;
    let staged = scratch.join("staged");
    for (name, content) in parts.esp.files_below("") {
        let place = staged.join(name);
        fs::create_dir_all(place.parent().context("invariant: below the folder")?)?;
        fs::write(&place, content)?;
    }
    // Folders first, in order, then files: `mcopy -s` would take them as the disk gives them.
    let mut folders: Vec<String> = Vec::new();
    for (name, _) in parts.esp.files_below("") {
        for (end, _) in name.match_indices('/') {
            let folder = name.get(..end).unwrap_or_default().to_owned();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    for folder in folders {
        let mut make = Command::new("mmd");
        make.arg("-i").arg(path).arg(format!("::{folder}"));
        run(&mut make, parts.time, "mtools")?;
    }
    for (name, _) in parts.esp.files_below("") {
        let mut copy = Command::new("mcopy");
        copy.arg("-i")
            .arg(path)
            .arg(staged.join(name))
            .arg(format!("::{name}"));
        run(&mut copy, parts.time, "mtools")?;
    }
    Ok(())
}

/// An empty ext4; what belongs into it is made at the first boot.
fn make_data(path: &Path, time: u64) -> anyhow::Result<()> {
    File::create(path)?.set_len(DATA)?;
    let mut make = Command::new("mkfs.ext4");
    make.args([
        "-q",
        "-L",
        DATA_NAME,
        "-m",
        "0",
        "-U",
        "f0611140-0000-4000-8000-000000000004",
    ])
    .args([
        "-E",
        "hash_seed=f0611140-0000-4000-8000-000000000005,lazy_itable_init=0",
    ]);
    run(make.arg(path), time, "e2fsprogs")
}

/// Packs a tree as a squashfs.
pub(crate) fn squash(tree: &Tree, time: u64, path: &Path) -> anyhow::Result<()> {
    let tar = tree.tar(time)?;
    if path.exists() {
        fs::remove_file(path)?;
    }
    let mut pack = Command::new("sqfstar");
    pack.args(["-comp", "zstd", "-b", "256K"])
        .args(["-quiet", "-no-progress", "-no-xattrs", "-exports"])
        .args(["-mkfs-time", &time.to_string()])
        .args(["-all-time", &time.to_string()])
        // It will not be told twice.
        .env_remove("SOURCE_DATE_EPOCH");
    program::feed(pack.arg(path), &tar, "squashfs-tools").map(drop)
}

/// Runs a program that makes or fills a file system, at the one time.
fn run(command: &mut Command, time: u64, package: &str) -> anyhow::Result<()> {
    command
        .env("SOURCE_DATE_EPOCH", time.to_string())
        .env("E2FSPROGS_FAKE_TIME", time.to_string())
        .env("TZ", "UTC")
        .env("MTOOLS_SKIP_CHECK", "1");
    program::run(command, package).map(drop)
}
