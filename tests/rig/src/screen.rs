//! What the rig shows: lines on stderr, results on stdout, a status block that rewrites itself on a
//! terminal and is a line every few seconds in a pipe.

use std::io::{IsTerminal as _, Write as _};

/// A line for people.
#[expect(
    clippy::print_stderr,
    reason = "a tool talks on stderr, stdout belongs to results"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// The one line that a script reads.
#[expect(clippy::print_stdout, reason = "this is the result")]
pub(crate) fn result(text: &str) {
    println!("{text}");
}

/// A block of lines that is shown again and again.
#[derive(Debug, Default)]
pub(crate) struct Block {
    shown: usize,
}

impl Block {
    /// Shows the block; on a terminal in place of the one before.
    pub(crate) fn show(&mut self, lines: &[String]) {
        let mut out = std::io::stderr().lock();
        if std::io::stderr().is_terminal() && self.shown > 0 {
            let _gone = write!(out, "\x1b[{}A", self.shown);
        }
        let clear = if std::io::stderr().is_terminal() {
            "\x1b[2K"
        } else {
            ""
        };
        for line in lines {
            let _gone = writeln!(out, "{clear}{line}");
        }
        self.shown = lines.len();
    }

    /// How often the block should be shown, in seconds.
    pub(crate) fn every_seconds(&self) -> u64 {
        if std::io::stderr().is_terminal() {
            1
        } else {
            10
        }
    }
}

/// Bold, where it can be seen.
pub(crate) fn bold(text: &str) -> String {
    let plain = !std::io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some();
    if plain {
        text.to_owned()
    } else {
        format!("\x1b[1m{text}\x1b[0m")
    }
}
