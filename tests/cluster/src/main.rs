//! `fogline-cluster`: raises a cluster on this machine and breaks it. `cargo xtask cluster` builds it and
//! hands over to it.
//!
//! `up` starts a process of its own that owns the cluster (`serve`); every other command talks to it over a
//! socket in the cluster's folder. `down` works without it as well.

mod cli;
mod serve;

use clap::Parser as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
