//! `fogline-cross`: what `cargo xtask cross` and `cargo xtask lock` hand over to.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use cross_toolchain::compile::Toolchain;
use cross_toolchain::emulator::Emulator;
use cross_toolchain::fetch::{FetchError, still_there};
use cross_toolchain::lock::{Lock, Wants, changes};
use cross_toolchain::say::{result, say};
use cross_toolchain::target::Arch;
use cross_toolchain::{Places, debian, gates};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Builds for ARM.
#[derive(Debug, Parser)]
#[command(name = "fogline-cross")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the gateway as it is shipped; print its path.
    Build {
        /// For which processor.
        arch: Arch,
    },
    /// Run cargo for another processor; tests run under qemu.
    Cargo {
        /// For which processor.
        arch: Arch,
        /// What cargo is told: `test -p protocols-wire`.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Build the gateway and make a folder of programs for the rig, with that gateway under qemu.
    System {
        /// For which processor.
        arch: Arch,
        /// The folder of the native programs.
        native: PathBuf,
        /// The folder to make.
        into: PathBuf,
    },
    /// Pass a binary through the gates.
    Gates {
        /// For which processor.
        arch: Arch,
        /// The binary.
        binary: PathBuf,
    },
    /// What is pinned: check that it is still there, or look everything up anew.
    Lock {
        /// Look up what is wanted and write the lock file.
        #[arg(long)]
        update: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    let places = Places::find()?;
    match task {
        Task::Build { arch } => {
            let lock = Lock::read(&places.lock())?;
            let binary = Toolchain::prepare(&places, &lock, arch)?.gateway()?;
            result(binary.display());
            Ok(())
        }
        Task::Cargo { arch, arguments } => cargo(&places, arch, &arguments),
        Task::System { arch, native, into } => {
            let lock = Lock::read(&places.lock())?;
            let gateway = Toolchain::prepare(&places, &lock, arch)?.gateway()?;
            Emulator::prepare(&places, &lock, arch)?.system(&native, &gateway, &into)
        }
        Task::Gates { arch, binary } => gates::check(&binary, arch),
        Task::Lock { update: true } => update(&places),
        Task::Lock { update: false } => check(&places),
    }
}

fn cargo(places: &Places, arch: Arch, arguments: &[OsString]) -> anyhow::Result<()> {
    let lock = Lock::read(&places.lock())?;
    let mut toolchain = Toolchain::prepare(places, &lock, arch)?;
    let (verb, rest) = arguments.split_first().context("nothing for cargo to do")?;
    let verb = verb.to_str().context("cargo has no such command")?;
    if matches!(verb, "test" | "run") {
        toolchain.run_by(Emulator::prepare(places, &lock, arch)?.runner());
    }
    let status = toolchain
        .cargo(verb)
        .args(rest)
        .status()
        .context("running cargo-zigbuild")?;
    anyhow::ensure!(status.success(), "cargo ended with {status}");
    Ok(())
}

fn update(places: &Places) -> anyhow::Result<()> {
    fs::create_dir_all(places.cross())?;
    let wants = Wants::read(&places.wants())?;
    let old = Lock::read(&places.lock()).unwrap_or_default();
    let mut new = debian::look_up(&wants, &places.cross())?;
    let changed = changes(&old, &new);
    fs::write(places.lock(), new.render()?).context("writing cross/lock.toml")?;
    if changed.is_empty() {
        say("nothing has changed");
    }
    for line in changed {
        result(line);
    }
    Ok(())
}

/// A pin that the archive has dropped is an error; a network that does not answer is not the pin's fault.
fn check(places: &Places) -> anyhow::Result<()> {
    let lock = Lock::read(&places.lock())?;
    let mut gone = Vec::new();
    for file in &lock.file {
        match still_there(file) {
            Ok(()) => {}
            Err(error @ FetchError::Gone { .. }) => gone.push(error.to_string()),
            Err(error) => say(format_args!("not checked: {error}")),
        }
    }
    anyhow::ensure!(
        gone.is_empty(),
        "pins that are gone:\n  {}",
        gone.join("\n  ")
    );
    say(format_args!(
        "{} pinned files are where they were",
        lock.file.len()
    ));
    Ok(())
}
