//! Counting: this program under valgrind's callgrind, twice, and the difference.

use crate::stages::Stage;
use anyhow::Context as _;
use std::process::Command;

/// The longer run has so many times the rounds of the shorter one.
const LONGER: u64 = 3;
/// Functions of the C library come in several kinds, chosen by what the processor can; here always the
/// plain ones, so that two machines count the same.
const PLAIN: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM,-RTM",
);

/// Instructions an item of `stage`.
pub(crate) fn per_item(stage: &Stage) -> anyhow::Result<f64> {
    let short = instructions(stage.name, stage.rounds)?;
    let long = instructions(stage.name, stage.rounds * LONGER)?;
    let items = stage.rounds * (LONGER - 1) * stage.items;
    let spent = long.checked_sub(short);
    let spent = spent.with_context(|| format!("{}: more rounds took less", stage.name))?;
    Ok(float(spent) / float(items))
}

/// Instructions of a whole run.
fn instructions(stage: &str, rounds: u64) -> anyhow::Result<u64> {
    let said = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["run", stage, &rounds.to_string()])
        .env(PLAIN.0, PLAIN.1)
        .output()
        .context("running valgrind (Debian: apt-get install valgrind)")?;
    let words = String::from_utf8_lossy(&said.stderr);
    anyhow::ensure!(said.status.success(), "{stage} failed: {}", words.trim());
    collected(&words).with_context(|| format!("callgrind counted nothing: {}", words.trim()))
}

/// What callgrind says it has collected.
fn collected(words: &str) -> Option<u64> {
    let line = words.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

/// The compiler, as it names itself.
pub(crate) fn compiler() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output();
    let said = said.context("asking rustc for its version")?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be printed")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_count_is_found_among_its_words() {
        let words = "==7== Events    : Ir\n==7== Collected : 7247606\n==7==\n";
        assert_eq!(collected(words), Some(7_247_606));
        assert_eq!(collected("==7== nothing"), None);
    }
}
