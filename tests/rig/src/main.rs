//! `fogline-rig`: runs the whole system for people (`demo`), for the judge (`demo --check`, `chaos`),
//! for end-to-end tests (`stories`) and for the browser tests (`browser`). `cargo xtask` builds it and
//! hands over to it.

mod bearer;
mod browser;
mod chaos;
mod demo;
mod mutant;
mod screen;
mod stories;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

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
    /// Judge the kept folder of an earlier run again.
    Judge {
        /// The folder.
        dir: std::path::PathBuf,
    },
    /// Break the cloud on purpose and prove that the judge notices.
    Mutant,
    /// Run the dashboard's tests in a real browser against the real system.
    Browser,
    /// Tell stories of the whole system and check that they are true.
    Stories(stories::Stories),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().task {
        // The demo is ended by its user and stops in order; everything else is cut short.
        Task::Demo(demo) => demo.run().await,
        Task::Chaos(chaos) => unless_ended(Box::pin(chaos.run())).await,
        Task::Judge { dir } => judge(&dir).await,
        Task::Mutant => unless_ended(Box::pin(mutant::run())).await,
        Task::Browser => unless_ended(Box::pin(browser::run())).await,
        Task::Stories(stories) => unless_ended(Box::pin(stories.run())).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            screen::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs `task` unless we are told to end: then it is dropped, and every process it started with it.
async fn unless_ended(
    task: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
        done = task => done,
    }
}

async fn judge(dir: &std::path::Path) -> anyhow::Result<ExitCode> {
    let binaries = tests_harness::stack::Binaries::from_environment()?;
    let evidence = tests_harness::stack::evidence_in(dir, &binaries).await?;
    let verdict = tests_oracle::judge(&evidence);
    for note in &verdict.notes {
        screen::say(note);
    }
    screen::result(&verdict.to_string());
    Ok(if verdict.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
