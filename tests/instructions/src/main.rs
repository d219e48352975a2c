//! `fogline-instructions`: how many instructions the hot stages take, held against a committed table.
//!
//! ```text
//! check, renew ─▶ valgrind --tool=callgrind ─▶ this program: run STAGE ROUNDS
//!                       └─ instructions of the whole process
//! ```
//!
//! Each stage is run twice, with so many rounds and with three times as many: the difference is what the
//! rounds take, without start and preparation. Counted instructions do not depend on how busy or how fast
//! the machine is. They do depend on compiler, target and profile: the table says what it was made with,
//! and with another compiler the tolerance is wider. `README.md` says how to read and how to renew it.

#![forbid(unsafe_code)]

mod count;
mod stages;
mod table;

use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::{Table, Verdict};

/// What makes the table anew.
const RENEW: &str = if cfg!(debug_assertions) {
    "CARGO_INCREMENTAL=0 cargo run -p tests-instructions -- renew"
} else {
    "cargo xtask bench instructions --renew"
};
const USAGE: &str = "fogline-instructions check | renew | run STAGE ROUNDS";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => check(),
        ["renew"] => renew(),
        ["run", stage, rounds] => {
            stages::run(stage, rounds.parse().context("ROUNDS is a number")?)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => anyhow::bail!("usage: {USAGE}"),
    }
}

/// How this program was built.
const PROFILE: &str = if cfg!(debug_assertions) {
    "dev"
} else {
    "counted"
};

/// The committed table of this kind of machine and build.
fn file() -> PathBuf {
    let name = format!("instructions-{}-{PROFILE}.txt", std::env::consts::ARCH);
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn measure() -> anyhow::Result<Vec<(&'static str, f64)>> {
    let mut all = Vec::new();
    for stage in stages::ALL {
        all.push((stage.name, count::per_item(stage)?));
    }
    Ok(all)
}

/// Prints a row a stage; fails where one takes more than the table allows or is not in it.
fn check() -> anyhow::Result<ExitCode> {
    let file = file();
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "{} cannot be read: for a new kind of machine {RENEW} makes it",
            file.display()
        )
    })?;
    let table = Table::parse(&text)?;
    let compiler = count::compiler()?;
    let tolerance = table.tolerance(&compiler);
    if table.compiler != compiler {
        say(&format!(
            "the table was made with {}, this is {compiler}: {:.0} % are tolerated",
            table.compiler,
            tolerance * 100.0
        ));
    }
    let mut fine = true;
    for (name, found) in measure()? {
        let wanted = table.get(name);
        let verdict = Verdict::of(found, wanted, tolerance);
        fine &= verdict.is_fine();
        let wanted = wanted.map_or_else(|| "-".to_owned(), |wanted| format!("{wanted:.1}"));
        say(&format!(
            "instructions_{name}={found:.1} table={wanted} verdict={verdict}"
        ));
    }
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        say(&format!(
            "a stage takes more than the table allows; if that is meant: {RENEW}"
        ));
        ExitCode::FAILURE
    })
}

fn renew() -> anyhow::Result<ExitCode> {
    let measured = measure()?;
    let text = Table::write(
        &format!("profile {PROFILE}; made by {RENEW}"),
        &count::compiler()?,
        &measured,
    );
    let file = file();
    std::fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
    say(&text);
    say(&format!("written to {}", file.display()));
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the result of a command line tool")]
fn say(line: &str) {
    println!("{line}");
}
