//! `fogline-load`: thousands of simulated gateways against the real broker and cloud.
//!
//! ```text
//! identities ─▶ registry of the running cloud
//!      │
//!      ▼            MQTT over mutual TLS
//! N gateways ══════════════════════════════▶ (HAProxy ▶) broker ─▶ cloud ─▶ database
//!   │   each: hello, dictionary, envelopes, ◀═ acknowledgements       │
//!   │   pings; verifies what it is told                               │ raw export
//!   └──────────────── what was sent ───────── counted against ────────┘
//! ```
//!
//! One process, two threads, one task a gateway. Ramp, steady state, and where asked a flood of
//! connections without a certificate; then everything must settle, every gateway's settlement must be
//! what it sent, and every reading must stand in the database once. Ends well only then.

#![forbid(unsafe_code)]

mod batch;
mod count;
mod descriptors;
mod fleet;
mod flood;
mod identities;
mod meter;
mod mqtt;
mod plan;
mod report;
mod screen;
mod sender;
mod session;

use clap::Parser as _;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let plan = plan::Plan::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let done = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(unless_ended(plan)));
    match done {
        Ok(code) => code,
        Err(error) => {
            screen::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs unless we are told to end: then every process we started ends with it.
async fn unless_ended(plan: plan::Plan) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! { biased;
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
        done = Box::pin(fleet::run(plan)) => done,
    }
}
