//! What a power cut or a dying card does to files: cut short, zeroed, flipped.

use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Damages one file of a spool at random.
pub(crate) fn one_file(spool: &Path, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    let mut files = Vec::new();
    gather(spool, &mut files)?;
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} holds no files", spool.display());
    let path = files.swap_remove(random.usize(..files.len()));
    let mut bytes = std::fs::read(&path)?;
    match random.u8(0..3) {
        0 => bytes.truncate(random.usize(..=bytes.len())),
        1 => {
            let from = random.usize(..=bytes.len());
            bytes
                .iter_mut()
                .skip(from)
                .take(4096)
                .for_each(|byte| *byte = 0);
        }
        _ => {
            for _ in 0..16.min(bytes.len()) {
                let place = random.usize(..bytes.len());
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= random.u8(1..);
                }
            }
        }
    }
    std::fs::write(&path, bytes).with_context(|| format!("damaging {}", path.display()))
}

fn gather(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, files)?;
        } else if entry.metadata()?.len() > 0 {
            files.push(path);
        }
    }
    Ok(())
}
