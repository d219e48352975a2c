//! Running cargo for another processor: zig links, against an old glibc; compiler and standard library
//! are rustup's where the target is installed there, else Debian's, unpacked.
//!
//! A standard library fits the compiler it was made with and no other, so Debian's comes with Debian's
//! compiler. That one is newer than the version this workspace asks for; the native tests prove the
//! older one.

use crate::lock::Lock;
use crate::say::say;
use crate::target::{Arch, GLIBC};
use crate::{Places, gates, unpack};
use anyhow::Context as _;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that cargo needs for one processor.
#[derive(Debug)]
pub struct Toolchain {
    arch: Arch,
    zig: PathBuf,
    zigbuild: PathBuf,
    /// Debian's compiler; absent where rustup has the target.
    rustc: Option<PathBuf>,
    runner: Option<OsString>,
    target_dir: PathBuf,
    root: PathBuf,
    cache: PathBuf,
}

impl Toolchain {
    /// Fetches and unpacks what is missing.
    ///
    /// # Errors
    /// When something cannot be had; the error says what and what to do.
    pub fn prepare(places: &Places, lock: &Lock, arch: Arch) -> anyhow::Result<Self> {
        anyhow::ensure!(
            cfg!(all(target_arch = "x86_64", target_os = "linux")),
            "tools are pinned for Linux on x86-64 only"
        );
        let cross = places.cross();
        let set = |name: &str| unpack::set(name, &lock.set(name)?, &cross);
        let zig = set("zig")?;
        let rustc = if rustup_has(arch)? {
            say(format_args!(
                "▸ compiler: rustup's, it has {}",
                arch.triple()
            ));
            None
        } else {
            let rustc = debian_rustc(&set("compiler")?, arch, || set(&std_set(arch)))?;
            say(format_args!(
                "▸ compiler: Debian's, unpacked (or: rustup target add {})",
                arch.triple()
            ));
            Some(rustc)
        };
        let cache = cross.join("zig-cache");
        fs::create_dir_all(&cache)?;
        Ok(Self {
            arch,
            zig: zig.join("ziglang/zig"),
            zigbuild: find_program(&zig, "cargo-zigbuild")?,
            rustc,
            runner: None,
            // Apart from native builds: both would throw the other's away.
            target_dir: cross.join("build"),
            root: places.root.clone(),
            cache,
        })
    }

    /// Runs test programs by this command.
    pub fn run_by(&mut self, runner: OsString) {
        self.runner = Some(runner);
    }

    /// A cargo command for the other processor; `verb` is `build`, `test` …
    #[must_use]
    pub fn cargo(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.zigbuild);
        let (major, minor) = GLIBC;
        command
            .current_dir(&self.root)
            .arg(if verb == "build" { "zigbuild" } else { verb })
            .args([
                "--target",
                &format!("{}.{major}.{minor}", self.arch.triple()),
            ])
            .arg("--target-dir")
            .arg(&self.target_dir)
            .env("CARGO_ZIGBUILD_ZIG_PATH", &self.zig)
            .env("ZIG_GLOBAL_CACHE_DIR", &self.cache)
            .env("CARGO_ZIGBUILD_CACHE_DIR", &self.cache)
            // The folder of the native build, which cargo passes on to programs that it runs.
            .env_remove("CARGO_TARGET_DIR");
        if let Some(rustc) = &self.rustc {
            command
                .env("RUSTC", rustc)
                .env("RUSTDOC", rustc.with_file_name("rustdoc"));
        }
        if let Some(runner) = &self.runner {
            command.env(
                format!("CARGO_TARGET_{}_RUNNER", self.arch.variable()),
                runner,
            );
        }
        command
    }

    /// Builds the gateway as it is shipped, with the simulators beside it, and passes it through the gates.
    ///
    /// # Errors
    /// When it does not build, or must not be shipped.
    pub fn gateway(&self) -> anyhow::Result<PathBuf> {
        let mut build = self.cargo("build");
        build.args(["--release", "--locked"]);
        build.args(["--package", "gateway-agent"]);
        build.args(["--bin", "fogline-gateway", "--bin", "fogline-sim"]);
        say(format_args!("▸ fogline-gateway for {}", self.arch.triple()));
        let status = build.status().context("running cargo-zigbuild")?;
        anyhow::ensure!(status.success(), "the build ended with {status}");
        let path = self
            .target_dir
            .join(self.arch.triple())
            .join("release/fogline-gateway");
        gates::check(&path, self.arch)?;
        Ok(path)
    }
}

fn std_set(arch: Arch) -> String {
    format!("std-{}", arch.name())
}

/// Whether the compiler that cargo would use has a standard library for a processor.
fn rustup_has(arch: Arch) -> anyhow::Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", arch.triple()])
        .output()
        .context("running rustc")?;
    let path = String::from_utf8_lossy(&output.stdout);
    let entries = fs::read_dir(path.trim());
    Ok(output.status.success()
        && entries.is_ok_and(|mut entries| {
            entries.any(|entry| {
                let name = entry.map(|entry| entry.file_name());
                name.is_ok_and(|name| name.to_string_lossy().starts_with("libstd-"))
            })
        }))
}

/// Debian's compiler with the standard library for `arch` beside its own, as a program to call.
fn debian_rustc(
    compiler: &Path,
    arch: Arch,
    std_for_arch: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<PathBuf> {
    let rustlib = Path::new("usr/lib/rustlib");
    let here = compiler.join(rustlib).join(arch.triple());
    if !here.exists() {
        let from = std_for_arch()?.join(rustlib).join(arch.triple());
        anyhow::ensure!(from.exists(), "{} has no such target", from.display());
        // Whoever was faster made the same link.
        if let Err(error) = std::os::unix::fs::symlink(&from, &here)
            && !here.exists()
        {
            return Err(error).with_context(|| format!("linking {}", here.display()));
        }
    }
    for name in ["rustc", "rustdoc"] {
        let wrapper = compiler.join(name);
        if !wrapper.exists() {
            let script = format!(
                "#!/bin/sh\nexport LD_LIBRARY_PATH='{}'\nexec '{}' \"$@\"\n",
                compiler.join("usr/lib/x86_64-linux-gnu").display(),
                compiler.join("usr/bin").join(name).display()
            );
            write_program(&wrapper, &script)?;
        }
    }
    Ok(compiler.join("rustc"))
}

/// Writes a script that appears whole or not at all.
pub(crate) fn write_program(path: &Path, script: &str) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, script).with_context(|| format!("writing {}", part.display()))?;
    unpack::make_program(&part)?;
    fs::rename(&part, path).with_context(|| format!("naming {}", path.display()))
}

fn find_program(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path().join("scripts").join(name))
        .find(|path| path.exists())
        .with_context(|| format!("{name} is not in {}", folder.display()))
}
