//! The task around the core: sweeps in, records into the spool. No rules here.
//!
//! It ends when every sender of sweeps is gone, after what was taken is in the spool; drivers
//! therefore stop first, and nothing in between is lost. A slow spool makes it wait, the full
//! channel makes the drivers wait, and the schedule slips (counted by the drivers as missed polls).

use crate::core::Pipeline;
use gateway_spool::{SpoolHandle, SpoolStopped};
use protocols_driver::Sweep;
use protocols_model::{BootId, Clock, Instant, Lane};
use protocols_wire::RecordStamp;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Sweeps that may wait for the pipeline: a burst of every device of a large gateway, at 125
/// readings each below a megabyte.
pub const SWEEP_CAPACITY: usize = 128;

/// Sweeps taken in one turn, before the timer and the link are looked at again.
const TURN: usize = 32;

/// What the task runs with.
#[derive(Debug)]
pub struct Inputs {
    /// From the drivers; their clones of the sender keep the task alive.
    pub sweeps: mpsc::Receiver<Sweep>,
    /// Where records go.
    pub spool: SpoolHandle,
    /// Whether the uplink is live: decides the age of batches.
    pub live: watch::Receiver<bool>,
    /// The boot that stamps name.
    pub boot: BootId,
}

enum Wake {
    Sweeps(usize),
    Due,
    Link(bool),
}

/// Runs until the senders of sweeps are gone and everything taken is in the spool.
///
/// # Errors
/// [`SpoolStopped`] when the spool has gone: the gateway must end and be started again.
pub async fn run(
    mut pipeline: Pipeline,
    mut inputs: Inputs,
    clock: Arc<dyn Clock>,
) -> Result<(), SpoolStopped> {
    let dictionaries = pipeline.take_dictionaries();
    inputs.spool.keep_dictionaries(dictionaries).await?;
    pipeline.set_live(*inputs.live.borrow_and_update());
    let mut link_known = true;
    let mut turn = Vec::with_capacity(TURN);
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    let mut armed: Option<Instant> = None;
    loop {
        let due = pipeline.due();
        if let Some(due) = due.filter(|_| due != armed) {
            let wait = due.since(clock.monotonic());
            timer.as_mut().reset(tokio::time::Instant::now() + wait);
        }
        armed = due;
        let wake = tokio::select! {
            biased;
            count = inputs.sweeps.recv_many(&mut turn, TURN) => Wake::Sweeps(count),
            () = timer.as_mut(), if armed.is_some() => Wake::Due,
            changed = inputs.live.changed(), if link_known => Wake::Link(changed.is_ok()),
        };
        match wake {
            Wake::Sweeps(0) => break,
            Wake::Sweeps(_) => {
                for sweep in turn.drain(..) {
                    let unknown = pipeline.take(sweep.taken, sweep.readings);
                    if unknown > 0 {
                        tracing::error!(bus = %sweep.bus, device = %sweep.device, unknown,
                            "readings of points that the configuration does not have");
                    }
                }
            }
            // The timer may be a hair early against our clock: then it is armed again.
            Wake::Due => armed = None,
            Wake::Link(known) => {
                link_known = known;
                pipeline.set_live(*inputs.live.borrow_and_update());
            }
        }
        if pipeline.is_due(clock.monotonic()) {
            append(&mut pipeline, &inputs, clock.as_ref()).await?;
        }
    }
    append(&mut pipeline, &inputs, clock.as_ref()).await
}

async fn append(
    pipeline: &mut Pipeline,
    inputs: &Inputs,
    clock: &dyn Clock,
) -> Result<(), SpoolStopped> {
    let records = pipeline.seal(RecordStamp {
        boot: inputs.boot,
        mono: clock.monotonic(),
        wall: clock.wall(),
    });
    if records.is_empty() {
        return Ok(());
    }
    inputs.spool.append(Lane::Telemetry, records).await
}

#[cfg(test)]
mod tests;
