//! `fogline-cloud`: ingest, auth, API and maintenance of one installation, and the commands that
//! set it up.
//!
//! ```text
//! init ─▶ pki/ broker/ data/ cloud.toml      run ─▶ roles: ingest · auth · api · tasks
//! gateway add ─▶ gateways/{id}.toml          export ─▶ every stored reading, the ledger
//! ```

#![forbid(unsafe_code)]

mod broker;
mod cli;
mod commands;
mod config;
mod database;
mod export;
mod foreign;
mod health;
mod init;
mod log;
mod metrics;
mod nodes;
mod roles;
mod run;
mod surroundings;
mod tasks;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    // First thing of all: everything that speaks TLS takes this provider. It fails only when one is
    // installed already, which nothing before could have done.
    drop(rustls::crypto::ring::default_provider().install_default());
    let arguments = cli::Arguments::parse();
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::say_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: cli::Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(Box::pin(cli::dispatch(arguments)));
    // Threads that still wait for a file or a name must not keep the process.
    runtime.shutdown_background();
    result
}
