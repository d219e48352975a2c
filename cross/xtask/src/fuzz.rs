//! Fuzzing on stable Rust: libFuzzer with the coverage instrumentation passed by hand.
//!
//! The sanitizers need a nightly compiler; finding panics, hangs and over-long allocations does not.

use crate::step;
use crate::workspace::Workspace;
use std::process::Command;

/// What `cargo fuzz` would pass, minus the sanitizer.
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1";
/// The decoders of the wire.
pub(crate) const TARGETS: [&str; 5] = ["envelope", "record", "control", "dictionary", "topic"];
/// Memory at which libFuzzer stops a target: a decoder must stay far below.
const RSS_LIMIT_MB: u32 = 512;

/// Fuzzes every target for `seconds`, starting from the committed corpus.
pub(crate) fn run(workspace: &Workspace, seconds: u64) -> anyhow::Result<()> {
    let folder = workspace.root().join("protocols/wire/fuzz");
    let target = workspace.target().join("fuzz");
    let triple = host()?;
    step::step("building the fuzz targets", || {
        step::command(
            workspace
                .cargo(&["build", "--release", "--target", &triple])
                .current_dir(&folder)
                .env("CARGO_TARGET_DIR", &target)
                .env("RUSTFLAGS", INSTRUMENTATION),
        )
    })?;
    for name in TARGETS {
        let found = target.join("corpus").join(name);
        std::fs::create_dir_all(&found)?;
        step::step(&format!("fuzzing {name} for {seconds} s"), || {
            step::command(
                Command::new(target.join(&triple).join("release").join(name))
                    .arg(&found)
                    .arg(folder.join("corpus").join(name))
                    .arg(format!("-max_total_time={seconds}"))
                    .arg(format!("-rss_limit_mb={RSS_LIMIT_MB}"))
                    .arg("-timeout=5")
                    .arg("-verbosity=0")
                    .arg("-print_final_stats=1")
                    .arg(format!("-artifact_prefix={}/", target.display())),
            )
        })?;
    }
    Ok(())
}

fn host() -> anyhow::Result<String> {
    let text = step::output(Command::new("rustc").arg("-vV")).unwrap_or_default();
    let host = text
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned));
    host.ok_or_else(|| anyhow::anyhow!("rustc -vV names no host"))
}
