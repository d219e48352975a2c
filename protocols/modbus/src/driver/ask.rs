//! One question of a bus task, from the plan's request to the readings in the pipeline.
//!
//! Here the rules after an error meet: a request whose answer could be mistaken is asked in another
//! shape, a refusal of that shape falls back to the plan, and whatever happens each point of the
//! request gets one reading, or none because the caller asks again.

use super::{BusTask, OnRefusal, Outcome, poll};
use crate::link::{Fault, Terms};
use crate::plan::{Request, Rules};
use protocols_driver::{CancellationToken, LinkState, Next, Stopped};
use protocols_model::Reason;
use std::sync::Arc;
use std::time::Duration;

/// A transaction under way when the driver is told to stop gets so long to finish; well inside
/// [`protocols_driver::STOP_BOUND`].
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Gateway exceptions 0A and 0B: the unit behind the gateway is not there, which is silence in words.
const GATEWAY_EXCEPTIONS: [u8; 2] = [0x0a, 0x0b];
/// Exceptions "illegal address", "illegal value" and "device failure": with these devices refuse to
/// read addresses that they do not have.
const REFUSALS: [u8; 3] = [0x02, 0x03, 0x04];

/// Those of them that speak of addresses and lengths, from which something can be learned.
const TEACHING: [u8; 2] = [0x02, 0x03];

/// An exception in words (Modbus application protocol 1.1b3, 7).
pub(super) fn exception(code: u8) -> String {
    let words = match code {
        0x01 => "the device does not know this function",
        0x02 => "the device does not have this address",
        0x03 => "the device does not take this value",
        0x04 => "the device failed",
        0x05 => "the device needs more time and has not done it yet",
        0x06 => "the device is busy",
        0x0a => "the gateway has no path to the device",
        0x0b => "the device behind the gateway does not answer",
        _ => "an exception of the device's own",
    };
    format!("exception {code:02X}, {words}")
}

impl BusTask {
    /// Asks a dead unit the cheapest of its questions. The answer is as good as any other; silence
    /// hands over nothing, since the polls say already that nobody answers.
    pub(super) async fn probe(&mut self, unit: usize) -> Result<(), Stopped> {
        let requests = self.groups.iter().filter(|group| group.unit == unit);
        let requests = requests.flat_map(|group| &group.requests);
        let Some(request) = requests.min_by_key(|r| r.shape().bytes).map(Arc::clone) else {
            // A device without points answers nothing and is asked nothing.
            self.health.answered(unit, self.ctx.clock.monotonic());
            return Ok(());
        };
        self.status.counters.probes.inc();
        self.ask(unit, &request, OnRefusal::Report)
            .await
            .map(|_outcome| ())
    }

    /// Asks one planned request, in another shape if an answer to an earlier one might still come.
    /// A refusal hands over nothing when the caller asks in another way.
    pub(super) async fn ask(
        &mut self,
        index: usize,
        request: &Request,
        refusal: OnRefusal,
    ) -> Result<Outcome, Stopped> {
        let (Some(device), Some(unit)) = (self.bus.devices.get(index), self.units.get(index))
        else {
            return Ok(Outcome::Answered);
        };
        let rules = || Rules::new(device, &self.timing, &unit.learned);
        let changed = self.suspects.distinct(device.unit, request, rules);
        let Some(changed) = changed else {
            return self.exchange(index, request, refusal).await;
        };
        if changed.reaches_out {
            let Some(longer) = changed.requests.first() else {
                return Ok(Outcome::Answered);
            };
            // A refusal is an answer too: the line is in step again, and the plan's own request may
            // go out as it is.
            return match self.exchange(index, longer, OnRefusal::FallBack).await? {
                Outcome::Refused => self.exchange(index, request, refusal).await,
                outcome => Ok(outcome),
            };
        }
        let probing = self.health.is_dead(index);
        for (asked, part) in changed.requests.iter().enumerate() {
            let outcome = self.exchange(index, part, OnRefusal::Report).await?;
            let (skip, reason) = match outcome {
                Outcome::Answered | Outcome::Refused => continue,
                Outcome::Postponed if asked == 0 => return Ok(outcome),
                Outcome::Postponed => (asked, Reason::LinkDown),
                Outcome::Failed(_) => (asked + 1, Reason::NotAsked),
            };
            if probing {
                return Ok(Outcome::Failed(reason));
            }
            let rest = changed.requests.iter().skip(skip);
            let rest = rest.flat_map(|part| part.slots.iter().copied());
            let sweep = self.bad_sweep(index, rest, reason);
            self.deliver(sweep).await?;
            return Ok(Outcome::Failed(reason));
        }
        Ok(Outcome::Answered)
    }

    /// One question and its readings, on the terms of [`BusTask::ask`].
    async fn exchange(
        &mut self,
        index: usize,
        request: &Request,
        refusal: OnRefusal,
    ) -> Result<Outcome, Stopped> {
        let ctx = Arc::clone(&self.ctx);
        // Orders come also while nobody takes readings.
        let room = loop {
            match ctx.turn().await? {
                Next::Room(room) => break room,
                Next::Order(order) => Box::pin(self.order(order)).await?,
            }
        };
        let (Some(unit), Some(device)) = (self.units.get_mut(index), self.bus.devices.get(index))
        else {
            return Ok(Outcome::Answered);
        };
        let began = self.ctx.clock.monotonic();
        let answer = tokio::select! {
            biased;
            () = grace_after(&self.ctx.stop) => return Err(Stopped),
            answer = self.link.ask(Terms::of(device), request) => answer,
        };
        match &answer {
            Ok((_, turnaround)) => {
                unit.learned.took(*turnaround);
                unit.learned.answered(request);
            }
            Err(Fault::Exception(code))
                if TEACHING.contains(code) && refusal == OnRefusal::Split =>
            {
                unit.learned.refused(request, *code);
            }
            Err(_) => {}
        }
        let (now, wall) = (self.ctx.clock.monotonic(), self.ctx.clock.wall());
        let bad = |reason| unit.bad(request.slots.iter().copied(), wall, reason);
        let (readings, outcome) = match &answer {
            Ok((data, _)) => (unit.decode(request, data, wall), Outcome::Answered),
            Err(Fault::NotAsked) => return Ok(Outcome::Postponed),
            Err(Fault::Exception(code))
                if REFUSALS.contains(code) && refusal != OnRefusal::Report =>
            {
                (Vec::new(), Outcome::Refused)
            }
            Err(Fault::Exception(code)) if REFUSALS.contains(code) => {
                (bad(Reason::DeviceError), Outcome::Refused)
            }
            Err(Fault::Exception(code)) if !GATEWAY_EXCEPTIONS.contains(code) => {
                (bad(Reason::DeviceError), Outcome::Answered)
            }
            Err(fault) => {
                // An exception here is a gateway's word for silence.
                let reason = poll::reason(*fault).unwrap_or(Reason::Timeout);
                (bad(reason), Outcome::Failed(reason))
            }
        };
        let sweep = unit.sweep(&self.bus.name, now, readings);
        // Whatever answered, if only with an exception, left nothing behind on the line.
        let late = matches!(
            answer,
            Err(Fault::Timeout | Fault::BadAnswer | Fault::Closed)
        );
        self.suspects
            .note(device.unit, late.then(|| request.shape()));
        let fruitless = self.health.is_dead(index) && matches!(outcome, Outcome::Failed(_));
        // First the state, then the readings: who sees the readings sees the state they mean.
        self.settle(index, outcome, now.since(began));
        if !sweep.readings.is_empty() && !fruitless {
            self.status
                .counters
                .readings
                .add(sweep.readings.len() as u64);
            room.send(sweep);
        }
        Ok(outcome)
    }

    /// Keeps health and published state up to date after a request that took `cost`.
    pub(super) fn settle(&mut self, index: usize, outcome: Outcome, cost: Duration) {
        let (now, wall) = (self.ctx.clock.monotonic(), self.ctx.clock.wall());
        let (Some(unit), bus) = (self.units.get(index), &self.bus.name) else {
            return;
        };
        let device = &unit.device;
        if let Outcome::Failed(reason) = outcome {
            if self.health.failed(index, now, cost) {
                self.status.set_link(index, LinkState::Down(reason), wall);
                tracing::warn!(%bus, %device, reason = reason.as_str(), "device is dead; probing it");
            }
        } else {
            if self.health.answered(index, now) {
                tracing::info!(%bus, %device, "device answers again");
            }
            self.status.set_link(index, LinkState::Up, wall);
        }
    }
}

/// Ends [`STOP_GRACE`] after `stop` was cancelled.
pub(super) async fn grace_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}
