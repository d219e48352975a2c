//! Running programs of another processor on this machine, under qemu's user emulation.
//!
//! Good for what is right and wrong; never for how fast or how large.

use crate::lock::Lock;
use crate::target::Arch;
use crate::{Places, unpack};
use std::ffi::OsString;
use std::path::PathBuf;

/// An emulator and the libraries that the emulated programs find.
#[derive(Debug, Clone)]
pub struct Emulator {
    program: PathBuf,
    libraries: PathBuf,
}

impl Emulator {
    /// Fetches and unpacks what is missing.
    ///
    /// # Errors
    /// When something cannot be had.
    pub fn prepare(places: &Places, lock: &Lock, arch: Arch) -> anyhow::Result<Self> {
        let cross = places.cross();
        let set = |name: &str| unpack::set(name, &lock.set(name)?, &cross);
        let program = set("emulator")?.join("usr/bin").join(arch.emulator());
        anyhow::ensure!(program.exists(), "{} is missing", program.display());
        let libraries = set(&format!("libc-{}", arch.name()))?;
        Ok(Self { program, libraries })
    }

    /// The command that a program's path and arguments are appended to.
    #[must_use]
    pub fn runner(&self) -> OsString {
        let mut runner = self.program.clone().into_os_string();
        runner.push(" -L ");
        runner.push(&self.libraries);
        runner
    }
}
