//! Fuzzing on stable Rust: libFuzzer with the coverage instrumentation passed by hand.
//!
//! The sanitizers need a nightly compiler; finding panics, hangs and over-long allocations does not.

use crate::machine::{self, Wants};
use crate::step;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `cargo fuzz` would pass, minus the sanitizer.
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1";
/// The decoders of the wire.
pub(crate) const TARGETS: [&str; 5] = ["envelope", "record", "control", "dictionary", "topic"];
/// Memory at which libFuzzer stops a target: a decoder must stay far below.
const RSS_LIMIT_MB: u32 = 1024;

/// The proof that the fuzzer finds bugs: one of so many runs must fail on the planted one, and then the
/// rest are not needed. A single run loses itself elsewhere about one time in three; on a quiet machine
/// the others need a second.
const PLANTED_SEEDS: u32 = 5;
const PLANTED_SECONDS: u32 = 60;

/// Fuzzes every target for `seconds`, starting from the committed seeds; then proves that a planted
/// bug would have been found.
pub(crate) fn run(workspace: &Workspace, seconds: u64) -> anyhow::Result<()> {
    machine::check(Wants {
        cxx_compiler: true,
        ..Wants::default()
    })?;
    let folder = workspace.root().join("protocols/wire/fuzz");
    let target = workspace.target().join("fuzz");
    let triple = host()?;
    step::step("building the fuzz targets", || {
        step::command(
            workspace
                .cargo(&["build", "--release", "--locked", "--target", &triple])
                .current_dir(&folder)
                .env("CARGO_TARGET_DIR", &target)
                .env("RUSTFLAGS", INSTRUMENTATION),
        )
    })?;
    let binaries = target.join(&triple).join("release");
    for name in TARGETS {
        let found = fresh(&target.join("corpus").join(name))?;
        step::step(&format!("fuzzing {name} for {seconds} s"), || {
            step::command(
                Command::new(binaries.join(name))
                    .arg(&found)
                    .arg(folder.join("seeds").join(name))
                    .arg(format!("-max_total_time={seconds}"))
                    .args(["-max_len=8192", "-timeout=10", "-verbosity=0"])
                    .arg(format!("-rss_limit_mb={RSS_LIMIT_MB}"))
                    .arg(format!("-artifact_prefix={}/{name}-", target.display())),
            )
        })?;
    }
    step::step("finding a planted bug", || {
        for seed in 1..=PLANTED_SEEDS {
            let found = fresh(&target.join("corpus/planted"))?;
            let run = Command::new(binaries.join("planted"))
                .arg(&found)
                .arg(folder.join("seeds/topic"))
                .arg(format!("-max_total_time={PLANTED_SECONDS}"))
                .arg(format!("-seed={seed}"))
                .args(["-max_len=64", "-verbosity=0"])
                .arg(format!("-artifact_prefix={}/planted-", target.display()))
                .output()?;
            if String::from_utf8_lossy(&run.stderr).contains("the planted bug was found") {
                return Ok(());
            }
        }
        anyhow::bail!("{PLANTED_SEEDS} runs of {PLANTED_SECONDS} s missed the planted bug")
    })
}

fn fresh(folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

fn host() -> anyhow::Result<String> {
    let text = step::output(Command::new("rustc").arg("-vV")).unwrap_or_default();
    let host = text
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned));
    host.ok_or_else(|| anyhow::anyhow!("rustc -vV names no host"))
}
