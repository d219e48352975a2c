//! From pinned packages to a compressed image and its list of parts.

use crate::board::Board;
use crate::{disk, root, sbom};
use anyhow::Context as _;
use cross_toolchain::fetch;
use cross_toolchain::lock::{Lock, Pinned};
use cross_toolchain::program;
use cross_toolchain::say::{megabytes, say};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sets of the lock file that an image is made of.
const SETS: [&str; 2] = ["image-base", "image-kernel"];

/// What is wanted.
#[derive(Debug)]
pub struct Order<'a> {
    /// For which machines.
    pub board: Board,
    /// The gateway's package for arm64.
    pub gateway: &'a Path,
    /// `deploy/image`.
    pub deploy: &'a Path,
    /// Where fetched packages are kept.
    pub cache: &'a Path,
    /// The folder that the image goes to.
    pub into: &'a Path,
    /// The one time of everything in the image, seconds since 1970.
    pub time: u64,
}

/// Builds an image and gives the path of the uncompressed one; the compressed one and the list of parts
/// lie beside it.
///
/// # Errors
/// When a package cannot be had, or a tool is missing; the error names it.
pub fn build(lock: &Lock, order: &Order<'_>) -> anyhow::Result<PathBuf> {
    let mut packages: Vec<(Pinned, PathBuf)> = Vec::new();
    for set in SETS {
        let files = lock.set(set)?;
        let paths = fetch::all(&files, order.cache)?;
        packages.extend(files.into_iter().zip(paths));
    }
    let root = root::build(&root::Sources {
        board: order.board,
        packages: &packages,
        gateway: order.gateway,
        deploy: order.deploy,
    })?;
    fs::create_dir_all(order.into).with_context(|| format!("making {}", order.into.display()))?;
    let name = format!("fogline-{}", order.board.name());
    let squashed = order.into.join(format!("{name}.root"));
    say("▸ packing the root");
    disk::squash(&root.tree, order.time, &squashed)?;
    say(format_args!("  {}", megabytes(squashed.metadata()?.len())));
    let image = order.into.join(format!("{name}.img"));
    say("▸ putting the disk together");
    disk::write(
        &disk::Parts {
            esp: &root.esp,
            root: &squashed,
            time: order.time,
        },
        &image,
    )?;
    let version = env!("CARGO_PKG_VERSION");
    let pins: Vec<&Pinned> = packages.iter().map(|(pinned, _)| pinned).collect();
    let list = sbom::list(&pins, version, order.board.name());
    let list = serde_json::to_vec_pretty(&list)?;
    fs::write(order.into.join(format!("{name}.cdx.json")), list)?;
    compress(&image)?;
    Ok(image)
}

/// The second root is the first again: a window as large as the image finds that.
fn compress(image: &Path) -> anyhow::Result<()> {
    say("▸ compressing");
    let packed = image.with_extension("img.zst");
    let mut zstd = Command::new("zstd");
    zstd.args(["--quiet", "--force", "-12", "--long=29", "--threads=1"]);
    program::run(zstd.arg(image).arg("-o").arg(&packed), "zstd")?;
    say(format_args!(
        "  {}",
        megabytes(File::open(&packed)?.metadata()?.len())
    ));
    Ok(())
}
