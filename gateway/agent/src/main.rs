//! `fogline-gateway`: reads devices, buffers offline, reports to the cloud.
//!
//! The story of `run`: configuration → spool → pipeline → drivers → uplink, until a signal; then
//! drivers → pipeline flush → uplink drain → spool close, each within its deadline. The other
//! commands look at a configuration, a running gateway or a spool, and change nothing.

#![forbid(unsafe_code)]

mod alarm_file;
mod boot;
mod check;
mod cli;
mod clock_watch;
mod console;
mod events;
mod exit;
mod field;
mod gateway;
mod generation;
mod http;
mod last_good;
mod limiter;
mod links;
mod lock;
mod logs;
mod machine;
mod metrics;
mod processing;
mod reload;
mod service;
mod sim;
mod snapshot;
mod spool_command;
mod spool_watch;
mod status;
mod supervisor;
mod systemd;
mod uplink;

use clap::Parser;
use cli::{Cli, Command};
use exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: whoever makes a TLS configuration later finds exactly one provider.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "another provider was installed before");
    let done = match Cli::parse().command {
        Command::Run(args) => service::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Spool(command) => spool_command::run(&command),
        Command::Sim(args) => sim::run(&args),
    };
    let exit = done.unwrap_or_else(|error| {
        console::complain(&error);
        Exit::Failed
    });
    exit.into()
}
