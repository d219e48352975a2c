//! `sim`: hands over to `fogline-sim`, which comes with the gateway and lies beside it.
//!
//! The simulators are a program of their own: nothing of them is needed where a gateway runs, and
//! its file, most of which is resident, is a tenth smaller without.

use crate::cli::SimArgs;
use crate::exit::Exit;
use anyhow::Context as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

const PROGRAM: &str = "fogline-sim";

/// Becomes the simulator; returns only when that fails.
pub(crate) fn run(args: &SimArgs) -> anyhow::Result<Exit> {
    let here = std::env::current_exe().context("looking where this program is")?;
    let program = here.with_file_name(PROGRAM);
    let failed = Command::new(&program).args(&args.arguments).exec();
    Err(failed).with_context(|| {
        format!(
            "cannot start {}: the simulator is a program of its own and belongs beside {}; the \
             package brings both, and so does \"cargo build --package gateway-agent\"",
            program.display(),
            here.display()
        )
    })
}
