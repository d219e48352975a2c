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
/// The decoders of the wire: what a stranger on the Internet can send.
const WIRE: [&str; 5] = ["envelope", "record", "control", "dictionary", "topic"];
/// The decoders of the field, and the texts that describe it. Whoever sends here stands beside the device, and
/// property tests cover the same functions: a part of the time.
const FIELD: [&str; 5] = ["serial_wire", "serial_text", "layout", "ble", "modbus"];
const FIELD_PART: u64 = 3;
/// Targets that run side by side, one on each core of a small machine.
const AT_ONCE: usize = 2;
/// Longest input: what the wire takes in one go is larger than a frame or a line of a configuration.
const MAX_WIRE: usize = 8192;
const MAX_FIELD: usize = 1024;
/// Memory at which libFuzzer stops a target: a decoder must stay far below.
const RSS_LIMIT_MB: u32 = 1024;

/// The proof that the fuzzer finds bugs: one of so many runs must fail on the planted one, and then the
/// rest are not needed. A single run loses itself elsewhere about one time in three; on a quiet machine
/// the others need a second.
const PLANTED_SEEDS: u32 = 5;
const PLANTED_SECONDS: u32 = 60;

/// Fuzzes every target of the wire for `seconds` and every one of the field for a third of that, starting
/// from the committed seeds; then proves that a planted bug would have been found.
pub(crate) fn run(workspace: &Workspace, seconds: u64) -> anyhow::Result<()> {
    machine::check(Wants {
        cxx_compiler: true,
        ..Wants::default()
    })?;
    let folder = workspace.root().join("tests/fuzz");
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
    let wire = WIRE.map(|name| (name, seconds, MAX_WIRE));
    let field = FIELD.map(|name| (name, seconds.div_ceil(FIELD_PART), MAX_FIELD));
    let all: Vec<_> = wire.into_iter().chain(field).collect();
    for side_by_side in all.chunks(AT_ONCE) {
        let mut runs = Vec::new();
        for (name, seconds, max) in side_by_side {
            let mut run = Command::new(binaries.join(name));
            run.arg(fresh(&target.join("corpus").join(name))?)
                .arg(folder.join("seeds").join(name))
                .arg(format!("-max_total_time={seconds}"))
                .arg(format!("-max_len={max}"))
                .args(["-timeout=10", "-verbosity=0"])
                .arg(format!("-rss_limit_mb={RSS_LIMIT_MB}"))
                .arg(format!("-artifact_prefix={}/{name}-", target.display()));
            runs.push(run);
        }
        let names: Vec<String> = side_by_side
            .iter()
            .map(|(name, seconds, _)| format!("{name} for {seconds} s"))
            .collect();
        let title = format!("fuzzing {}", names.join(" and "));
        step::step(&title, || {
            step::commands(&mut runs.iter_mut().collect::<Vec<_>>())
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
