//! What a binary must be before it is packed: for the right machine, for old systems, alone, small.

use crate::elf;
use crate::say::{megabytes, say};
use crate::target::{Arch, GLIBC};
use anyhow::Context as _;
use std::path::Path;

/// Bytes that the gateway's stripped binary may have: it must fit small boards twice.
pub const MAX_BYTES: u64 = 8_000_000;

/// Libraries that every system with glibc has. libdbus and all others are linked in.
const ALLOWED: [&str; 9] = [
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libutil.so.1",
    "ld-linux-aarch64.so.1",
    "ld-linux-armhf.so.3",
    "ld-linux-x86-64.so.2",
];

/// Checks the gateway's binary and says what it found.
///
/// # Errors
/// All gates that it does not pass, at once.
pub fn check(path: &Path, arch: Arch) -> anyhow::Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let found = elf::read(&bytes).with_context(|| format!("reading {}", path.display()))?;
    let size = u64::try_from(bytes.len())?;
    let faults = faults(&found, size, arch);
    anyhow::ensure!(
        faults.is_empty(),
        "{} must not be shipped:\n  {}",
        path.display(),
        faults.join("\n  ")
    );
    let (major, minor) = elf::newest_glibc(&found.versions).unwrap_or(GLIBC);
    say(format_args!(
        "  {} ({}): {} bytes, glibc {major}.{minor}, needs {}",
        arch.name(),
        megabytes(size),
        size,
        found.needed.join(" ")
    ));
    Ok(())
}

fn faults(found: &elf::Elf, size: u64, arch: Arch) -> Vec<String> {
    let mut faults = Vec::new();
    if found.machine != arch.elf_machine() {
        let (is, wanted) = (found.machine, arch.elf_machine());
        faults.push(format!(
            "its machine type is {is}, {} is {wanted}",
            arch.name()
        ));
    }
    match elf::newest_glibc(&found.versions) {
        Some(newest) if newest > GLIBC => faults.push(format!(
            "it needs glibc {}.{}, allowed is {}.{}",
            newest.0, newest.1, GLIBC.0, GLIBC.1
        )),
        Some(_) => {}
        None => faults.push("it asks for no version of glibc: it was linked otherwise".into()),
    }
    for name in &found.needed {
        if !ALLOWED.contains(&name.as_str()) {
            faults.push(format!("it needs {name}, which not every system has"));
        }
    }
    if found.has_symbols {
        faults.push("it is not stripped".into());
    }
    if size > MAX_BYTES {
        faults.push(format!("it has {size} bytes, allowed are {MAX_BYTES}"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> elf::Elf {
        elf::Elf {
            machine: 183,
            needed: vec!["libc.so.6".into(), "libm.so.6".into()],
            versions: vec!["GLIBC_2.17".into(), "GLIBC_2.31".into()],
            has_symbols: false,
        }
    }

    #[test]
    fn a_good_binary_passes() {
        assert!(faults(&good(), MAX_BYTES, Arch::Aarch64).is_empty());
    }

    #[test]
    fn each_gate_closes() {
        let close = |change: &dyn Fn(&mut elf::Elf), size| {
            let mut elf = good();
            change(&mut elf);
            faults(&elf, size, Arch::Aarch64).join("; ")
        };
        assert!(close(&|elf| elf.machine = 62, 1).contains("machine type is 62"));
        assert!(close(&|elf| elf.versions.push("GLIBC_2.34".into()), 1).contains("glibc 2.34"));
        assert!(close(&|elf| elf.versions.clear(), 1).contains("no version"));
        assert!(close(&|elf| elf.needed.push("libdbus-1.so.3".into()), 1).contains("libdbus-1"));
        assert!(close(&|elf| elf.has_symbols = true, 1).contains("not stripped"));
        assert!(close(&|_| {}, MAX_BYTES + 1).contains("8000001 bytes"));
    }
}
