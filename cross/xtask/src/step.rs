//! What a person sees: one line a step, with the time it took; colour only on a terminal.

use crate::supervise;
use anyhow::Context as _;
use std::io::IsTerminal as _;
use std::process::{Command, ExitStatus};
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
    commands(&mut [command])
}

/// Runs commands side by side, as [`command`] runs one.
pub(crate) fn commands(commands: &mut [&mut Command]) -> anyhow::Result<()> {
    let ended = match supervise::current() {
        Some(watch) => watch.run(commands),
        None => unwatched(commands),
    };
    let shown = |commands: &[&mut Command]| {
        let each: Vec<String> = commands.iter().map(|each| format!("{each:?}")).collect();
        each.join(" and ")
    };
    let ended = ended.with_context(|| format!("running {}", shown(commands)))?;
    for (command, status) in commands.iter().zip(ended) {
        anyhow::ensure!(status.success(), "{command:?} ended with {status}");
    }
    Ok(())
}

fn unwatched(commands: &mut [&mut Command]) -> anyhow::Result<Vec<ExitStatus>> {
    let started: Vec<_> = commands.iter_mut().map(|command| command.spawn()).collect();
    let ended = started.into_iter().map(|child| Ok(child?.wait()?));
    ended.collect()
}

/// What a command prints, if it runs and succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
