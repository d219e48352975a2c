//! `fogline-rig`: runs the whole system for people (`demo`), for the judge (`demo --check`, `chaos`)
//! and for the browser tests (`browser`). `cargo xtask` builds it and hands over to it.

mod browser;
mod chaos;
mod demo;
mod screen;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs the whole system on this machine. Use `cargo xtask`, which builds what this needs.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run until Ctrl-C, or with --check until the judge has spoken.
    Demo(demo::Demo),
    /// One fault a round, then the judge.
    Chaos(chaos::Chaos),
    /// Run the dashboard's tests in a real browser against the real system.
    Browser,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo(demo) => demo.run().await,
        Task::Chaos(chaos) => chaos.run().await,
        Task::Browser => browser::run().await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            screen::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
