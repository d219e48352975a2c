//! Logs to standard error, results to standard output.

use std::io::{IsTerminal as _, Write as _};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged where nobody says otherwise.
const USUAL: &str = "info,async_nats=warn";

/// Starts logging; `FOGLINE_LOG` filters (`debug,cloud_ingest=trace`). One that cannot be read is named
/// and changes nothing.
pub(crate) fn start(format: LogFormat) {
    let asked = std::env::var("FOGLINE_LOG").ok();
    let read = asked.as_deref().map(str::parse::<Targets>);
    if let Some(Err(error)) = &read {
        say_error(&format!(
            "FOGLINE_LOG is not a filter such as `debug,cloud_ingest=trace`: {error}"
        ));
    }
    let filter = read
        .and_then(Result::ok)
        .or_else(|| USUAL.parse().ok())
        .unwrap_or_default();
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let all = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => all.with(lines).try_init(),
        LogFormat::Json => all.with(lines.json()).try_init(),
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
