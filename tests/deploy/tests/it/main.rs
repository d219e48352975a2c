//! The files of `deploy/`, tried with the tools that read them.

mod agreement;
mod ansible;
mod chart;
mod compose;
mod guides;
mod hosts;
mod monitoring;
mod units;

use tests_deploy::Tools;

/// The tools, or why they cannot be had.
fn tools() -> anyhow::Result<Tools> {
    Tools::get(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")))
}
