//! `fogline-bench`: the numbers, measured on the real system beside a yardstick.
//!
//! ```text
//! field (100 units × 100 registers) ─▶ gateway │ yardstick ─▶ counting link ─▶ broker ─▶ cloud ─▶ SQLite
//!            │ answer log                  │ /proc               │ bytes                          │ watched
//!            └──────────── what was read, when ─── figures ──────┴────── what is stored, when ────┘
//! ```
//!
//! Part by part ([`plan`]); most need this system, the serial line only its simulator. Gateway and
//! yardstick take turns (A/B/A/B) in one run against the same broker, so that a slow or busy machine slows
//! both; driver and ideal master share one line. Nothing is believed because a component says so: readings
//! are counted in the simulator's answer log and in the database. `README.md` says how to read the result.
//! A figure that could not be measured is said to be so and fails the run; it is never guessed.

#![forbid(unsafe_code)]

mod broker;
mod config;
mod database;
mod drives;
mod families;
mod far;
mod field;
mod figures;
mod filters;
mod fleet;
mod ingest;
mod intake;
mod line;
mod machine;
mod outage;
mod plan;
mod reaction;
mod report;
mod rig;
mod turns;
mod write;
mod yardstick;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tests_harness::measure;

/// Measures Fogline beside a bare yardstick.
#[derive(Debug, Parser)]
#[command(name = "fogline-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    plan: plan::Plan,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be the yardstick (started by the benchmark itself).
    #[command(hide = true)]
    Yardstick(yardstick::Yardstick),
    /// Be the bare sender (started by the benchmark itself).
    #[command(hide = true)]
    Bulk(far::Bulk),
    /// Be the bare sender's other end (started by the benchmark itself).
    #[command(hide = true)]
    Sink(far::Sink),
}

fn main() -> anyhow::Result<ExitCode> {
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "another provider was installed before");
    let cli = Cli::parse();
    match cli.role {
        // One thread, as the gateway has.
        Some(Role::Yardstick(args)) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(yardstick::run(args)),
        Some(Role::Bulk(bulk)) => bulk.run(),
        Some(Role::Sink(sink)) => sink.run(),
        None => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(cli.plan.run()),
    }
}
