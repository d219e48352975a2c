//! `fogline-gateway`: reads devices, buffers offline, reports to the cloud.
//!
//! The story of `run`: configuration → spool → pipeline → drivers → uplink, until a signal; then
//! drivers → pipeline flush → uplink drain → spool close, each within its deadline. The other
//! commands look at a configuration, a running gateway, a spool or a device; only `write` acts.

#![forbid(unsafe_code)]

mod alarm_file;
mod alarms;
mod boot;
mod boots;
mod check;
mod cli;
mod clock_watch;
mod config_command;
mod console;
mod control;
mod events;
mod exit;
mod explain;
mod field;
mod find;
mod gateway;
mod generation;
mod http;
mod human;
mod last_good;
mod limiter;
mod links;
mod lock;
mod logs;
mod machine;
mod metrics;
mod point_names;
mod processing;
mod record;
mod reload;
mod replay;
mod service;
mod sim;
mod snapshot;
mod spool_command;
mod spool_plan;
mod spool_watch;
mod status;
mod supervisor;
mod systemd;
mod time_sources;
mod uplink;
mod watch;

use clap::Parser;
use cli::find::{ProbeCommand, ScanCommand};
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
        Command::Alarms(args) => alarms::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Spool(command) => spool_command::run(&command),
        Command::Explain(args) => explain::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Read(args) => find::read::run(&args),
        Command::Write(args) => find::write::run(&args),
        Command::Probe(ProbeCommand::Modbus(args)) => find::probe_modbus::run(&args),
        Command::Probe(ProbeCommand::Serial(args)) => find::probe_serial::run(&args),
        Command::Scan(ScanCommand::Ble(args)) => find::scan_ble::run(&args),
        Command::Config(command) => config_command::run(&command),
        Command::Sim(args) => sim::run(&args),
    };
    let exit = done.unwrap_or_else(|error| {
        console::complain(&error);
        Exit::Failed
    });
    exit.into()
}
