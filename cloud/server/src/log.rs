//! Logs to standard error, results to standard output.

use std::io::{IsTerminal as _, Write as _};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging; `FOGLINE_LOG` filters, in the usual form.
pub(crate) fn start(format: LogFormat) {
    let filter = std::env::var("FOGLINE_LOG").unwrap_or_else(|_| "info,async_nats=warn".to_owned());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if let Err(error) = started {
        say_error(&format!("logging does not start: {error}"));
    }
}

/// One line of a command's result.
pub(crate) fn say(line: &str) {
    // A reader that went away wants no more lines.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// One line for whoever typed the command.
pub(crate) fn say_error(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "fogline-cloud: {line}"));
}
