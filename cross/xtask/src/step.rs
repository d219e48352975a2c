//! What a person sees: one line a step, with the time it took; colour only on a terminal.

use crate::supervise;
use anyhow::Context as _;
use std::io::IsTerminal as _;
use std::process::Command;
use std::time::Instant;

fn paint(code: &str, text: &str) -> String {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// A plain line.
#[expect(
    clippy::print_stderr,
    reason = "a tool talks on stderr, stdout belongs to results"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// The last line of a task that failed.
pub(crate) fn fail(error: &anyhow::Error) {
    say(&format!("{} {error:#}", paint("1;31", "error:")));
}

/// Runs `work` as a step called `name`.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    say(&format!("{} {name}", paint("1;36", "▸")));
    let started = Instant::now();
    let result = work().with_context(|| name.to_owned())?;
    let seconds = started.elapsed().as_secs_f64();
    say(&format!("{} {name} ({seconds:.1} s)", paint("1;32", "✓")));
    Ok(result)
}

/// Runs a command to its end with our terminal, or under the stage that is running; an error names the
/// command.
pub(crate) fn command(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = match supervise::current() {
        Some(watch) => watch.run(command),
        None => command.status().map_err(Into::into),
    };
    let status = status.with_context(|| format!("running {shown}"))?;
    anyhow::ensure!(status.success(), "{shown} ended with {status}");
    Ok(())
}

/// What a command prints, if it runs and succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
