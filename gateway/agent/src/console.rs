//! What the commands say to people: the one place that writes to the terminal.
//!
//! A reader that went away (`| head`) is no error.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// Writes to standard output.
pub(crate) fn say(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _reader_gone = write!(out, "{text}").and_then(|()| out.flush());
}

/// Writes an error and its causes to standard error.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut out = std::io::stderr().lock();
    let _reader_gone = writeln!(out, "fogline-gateway: {error:#}");
}

/// Writes to standard error.
pub(crate) fn warn(text: impl Display) {
    let mut out = std::io::stderr().lock();
    let _reader_gone = write!(out, "{text}");
}

/// Whether standard output may be coloured.
pub(crate) fn colour_out() -> bool {
    std::io::stdout().is_terminal() && allowed()
}

/// Whether standard error may be coloured.
pub(crate) fn colour_err() -> bool {
    std::io::stderr().is_terminal() && allowed()
}

fn allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Shows on the terminal how far a long step is; nothing where nobody looks. Gone when it is done.
pub(crate) fn progress(done: usize, all: usize, what: &str) {
    const WIDTH: usize = 30;
    if !std::io::stderr().is_terminal() {
        return;
    }
    if done >= all {
        warn("\r\x1b[K");
        return;
    }
    let filled = WIDTH * done / all.max(1);
    let bar = "#".repeat(filled) + &"-".repeat(WIDTH - filled);
    warn(format_args!("\r[{bar}] {done}/{all} {what}\x1b[K"));
}
