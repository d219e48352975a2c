//! Running programs of another processor on this machine, under qemu's user emulation.
//!
//! Good for what is right and wrong; never for how fast or how large.

use crate::compile::write_program;
use crate::lock::Lock;
use crate::target::Arch;
use crate::{Places, unpack};
use anyhow::Context as _;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What the rig runs beside the gateway, native.
const BESIDE: [&str; 3] = ["fogline-cloud", "fogline-fieldsim", "fogline-rig"];

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

    /// A folder of programs for the rig: the native ones, and among them `gateway` under emulation.
    ///
    /// # Errors
    /// When a native program is missing, or the folder cannot be made.
    pub fn system(&self, native: &Path, gateway: &Path, into: &Path) -> anyhow::Result<()> {
        if into.exists() {
            fs::remove_dir_all(into).with_context(|| format!("emptying {}", into.display()))?;
        }
        fs::create_dir_all(into).with_context(|| format!("making {}", into.display()))?;
        for name in BESIDE {
            let path = native.join(name);
            anyhow::ensure!(path.exists(), "{} is not built", path.display());
            symlink(&path, into.join(name)).with_context(|| format!("linking {name}"))?;
        }
        // `exec`: who kills the script's process kills the gateway.
        let script = format!(
            "#!/bin/sh\nexec '{}' -L '{}' '{}' \"$@\"\n",
            self.program.display(),
            self.libraries.display(),
            gateway.display()
        );
        write_program(&into.join("fogline-gateway"), &script)
    }
}
