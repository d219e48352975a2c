//! Lines for people on stderr, the result on stdout.

/// A line for people.
#[expect(
    clippy::print_stderr,
    reason = "a tool talks on stderr, stdout belongs to the result"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// The line that a script reads.
#[expect(clippy::print_stdout, reason = "this is the result")]
pub(crate) fn result(text: &str) {
    println!("{text}");
}
