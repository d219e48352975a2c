//! `run`: what happens before the gateway lives, and the runtime it lives on.

use crate::cli::RunArgs;
use crate::console::{colour_err, warn};
use crate::exit::Exit;
use crate::gateway::{Gateway, Wakers};
use crate::{logs, reload};
use anyhow::Context;
use gateway_config::render;
use tokio::runtime::Builder;

/// Threads for what blocks: name resolution, opening the spool, small files.
const BLOCKING_THREADS: usize = 8;
/// Their stacks; none of this recurses deeply.
const STACK_BYTES: usize = 512 * 1024;

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let chosen = match reload::at_start(&args.config) {
        Ok(chosen) => chosen,
        Err(nothing) => {
            warn(render(&nothing.problems, colour_err()));
            warn("no configuration can be used, and none ran before\n");
            return Ok(Exit::ConfigRefused);
        }
    };
    logs::start(&chosen.config.log);
    for problem in &chosen.problems {
        let at = problem.report();
        tracing::warn!(file = ?at.file, line = at.line, key = at.key, "{}", problem.message);
    }
    if chosen.last_good {
        tracing::error!("the configuration has errors; the last good one runs");
    }
    // One thread for everything but the spool, which has its own: the work is waiting, and a second
    // worker would cost memory and wake-ups.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(STACK_BYTES)
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(async {
        let wakers = Wakers::new().context("cannot listen to signals")?;
        let gateway = Gateway::start(args.config.clone(), chosen).await?;
        gateway.run(wakers).await
    });
    // What still blocks (a name resolution) must not hold the stop.
    runtime.shutdown_background();
    done
}
