//! The task around the core: sweeps in, records into the spool, rules' wishes carried out. No rules here.
//!
//! It ends when every sender of sweeps is gone, after what was taken is in the spool; drivers
//! therefore stop first, and nothing in between is lost. A slow spool makes it wait, the full
//! channel makes the drivers wait, and the schedule slips (counted by the drivers as missed polls).

use crate::act::{Hands, Writable};
use crate::ask::Ask;
use crate::core::Pipeline;
use crate::tap::Tap;
use gateway_rules::Effect;
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
    /// Where rules write.
    pub writable: Writable,
    /// Questions and orders of people and other tasks.
    pub asks: mpsc::Receiver<Ask>,
    /// The alarms that must survive a restart, whenever they change.
    pub alarms: watch::Sender<crate::ask::KeptAlarms>,
}

enum Wake {
    Sweeps(usize),
    Due,
    Link(bool),
    Wrote(gateway_rules::engine::Ticket, gateway_rules::Outcome),
    Asked(Option<Ask>),
}

/// Runs until the senders of sweeps are gone and everything taken is in the spool.
///
/// # Errors
/// [`SpoolStopped`] when the spool has gone: the gateway must end and be started again.
pub async fn run(
    mut pipeline: Pipeline,
    inputs: Inputs,
    clock: Arc<dyn Clock>,
) -> Result<(), SpoolStopped> {
    let Inputs {
        mut sweeps,
        spool,
        mut live,
        boot,
        writable,
        mut asks,
        alarms,
    } = inputs;
    let about = pipeline.take_alarm_points();
    let mut task = Task {
        hands: Hands::new(writable, spool, Arc::clone(&clock), boot, about),
        pipeline,
        clock,
        alarms,
        tap: None,
    };
    let dictionaries = task.pipeline.take_dictionaries();
    task.hands.spool.keep_dictionaries(dictionaries).await?;
    task.pipeline.set_live(*live.borrow_and_update());
    let (mut link_known, mut asks_known) = (true, true);
    let mut turn = Vec::with_capacity(TURN);
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    let mut armed: Option<Instant> = None;
    loop {
        let due = task.pipeline.due();
        if let Some(due) = due.filter(|_| due != armed) {
            let wait = due.since(task.clock.monotonic());
            timer.as_mut().reset(tokio::time::Instant::now() + wait);
        }
        armed = due;
        let wake = tokio::select! {
            biased;
            (ticket, outcome) = task.hands.outcome() => Wake::Wrote(ticket, outcome),
            count = sweeps.recv_many(&mut turn, TURN) => Wake::Sweeps(count),
            () = timer.as_mut(), if armed.is_some() => Wake::Due,
            changed = live.changed(), if link_known => Wake::Link(changed.is_ok()),
            ask = asks.recv(), if asks_known => Wake::Asked(ask),
        };
        match wake {
            Wake::Sweeps(0) => break,
            Wake::Sweeps(_) => {
                for sweep in turn.drain(..) {
                    task.take(sweep).await?;
                }
            }
            // The timer may be a hair early against our clock: then it is armed again.
            Wake::Due => armed = None,
            Wake::Link(known) => {
                link_known = known;
                task.pipeline.set_live(*live.borrow_and_update());
            }
            Wake::Wrote(ticket, outcome) => task.wrote(ticket, &outcome).await?,
            Wake::Asked(Some(ask)) => task.answer(ask).await?,
            Wake::Asked(None) => asks_known = false,
        }
        task.work().await?;
    }
    let now = task.clock.monotonic();
    // Once more: what is left of shelvings.
    task.keep_alarms(now);
    task.pipeline.flush(now);
    task.append().await
}

struct Task {
    pipeline: Pipeline,
    hands: Hands,
    clock: Arc<dyn Clock>,
    alarms: watch::Sender<crate::ask::KeptAlarms>,
    /// Who listens to raw readings; as a rule nobody.
    tap: Option<Tap>,
}

impl Task {
    async fn take(&mut self, sweep: Sweep) -> Result<(), SpoolStopped> {
        if let Some(tap) = &mut self.tap
            && !tap.tell(&sweep)
        {
            self.tap = None;
        }
        let mut effects = Vec::new();
        let wall = self.clock.wall();
        let unknown = self
            .pipeline
            .take(sweep.taken, wall, sweep.readings, &mut effects);
        if unknown > 0 {
            tracing::error!(bus = %sweep.bus, device = %sweep.device, unknown,
                "readings of points that the configuration does not have");
        }
        self.follow(effects).await
    }

    /// What is due by time.
    async fn work(&mut self) -> Result<(), SpoolStopped> {
        let now = self.clock.monotonic();
        if self.pipeline.wants_tick(now) {
            let mut effects = Vec::new();
            self.pipeline.tick(now, self.clock.wall(), &mut effects);
            self.follow(effects).await?;
        }
        if self.pipeline.is_due(self.clock.monotonic()) {
            self.append().await?;
        }
        Ok(())
    }

    async fn wrote(
        &mut self,
        ticket: gateway_rules::engine::Ticket,
        outcome: &gateway_rules::Outcome,
    ) -> Result<(), SpoolStopped> {
        let mut effects = Vec::new();
        let now = self.clock.monotonic();
        self.pipeline
            .engine()
            .wrote(now, ticket, outcome, &mut effects);
        self.follow(effects).await
    }

    async fn answer(&mut self, ask: Ask) -> Result<(), SpoolStopped> {
        if let Ask::Listen(listener) = ask {
            self.tap = Some(Tap::new(listener));
            return Ok(());
        }
        let mut effects = Vec::new();
        let (now, wall) = (self.clock.monotonic(), self.clock.wall());
        let changed = ask.answer(&mut self.pipeline, now, wall, &mut effects);
        if changed {
            self.keep_alarms(now);
        }
        self.follow(effects).await
    }

    /// Carries out effects, and the effects of those that cannot begin, which are told and tried later.
    async fn follow(&mut self, mut effects: Vec<Effect>) -> Result<(), SpoolStopped> {
        while !effects.is_empty() {
            if effects.iter().any(|e| matches!(e, Effect::Alarm(_))) {
                self.keep_alarms(self.clock.monotonic());
            }
            let round = std::mem::take(&mut effects);
            let (captures, unbegun) = self.hands.carry_out(round).await?;
            for capture in captures {
                self.pipeline.capture(&capture.points, capture.until);
            }
            let now = self.clock.monotonic();
            for (ticket, outcome) in unbegun {
                let engine = self.pipeline.engine();
                engine.wrote(now, ticket, &outcome, &mut effects);
            }
        }
        Ok(())
    }

    fn keep_alarms(&mut self, now: Instant) {
        let kept = self.pipeline.engine().alarms().snapshot(now);
        self.alarms.send_replace(kept);
    }

    async fn append(&mut self) -> Result<(), SpoolStopped> {
        let records = self.pipeline.seal(RecordStamp {
            boot: self.hands.boot,
            mono: self.clock.monotonic(),
            wall: self.clock.wall(),
        });
        if records.is_empty() {
            return Ok(());
        }
        self.hands.spool.append(Lane::Telemetry, records).await
    }
}

#[cfg(test)]
mod tests;
