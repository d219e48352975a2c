//! One poll group's pass, request by request, and what its points get when it cannot go on.

use super::{BusTask, OnRefusal, Outcome};
use crate::link::Fault;
use crate::plan::{self, Request, Rules, Slot};
use crate::schedule::Turn;
use protocols_driver::{Stopped, Sweep};
use protocols_model::Reason;
use std::sync::Arc;

/// What a failed request means for its points; `None` when the device answered.
pub(super) const fn reason(fault: Fault) -> Option<Reason> {
    match fault {
        Fault::BadAnswer => Some(Reason::BadAnswer),
        Fault::NotAsked | Fault::Closed => Some(Reason::LinkDown),
        Fault::Timeout => Some(Reason::Timeout),
        Fault::Exception(_) => None,
    }
}

impl BusTask {
    pub(super) async fn poll(&mut self, turn: Turn) -> Result<(), Stopped> {
        self.status.counters.missed_polls.add(turn.missed);
        let Some(group) = self.groups.get_mut(turn.group) else {
            return Ok(());
        };
        let (Some(unit), Some(device)) =
            (self.units.get(group.unit), self.bus.devices.get(group.unit))
        else {
            return Ok(());
        };
        if turn.begins {
            group.begin(device, &self.timing, &unit.learned);
        }
        let (unit, again) = (group.unit, !group.refusing);
        let Some(request) = group.requests.get(group.cursor).map(Arc::clone) else {
            self.schedule.finish(turn.group);
            return Ok(());
        };
        if self.health.is_dead(unit) {
            self.status.counters.unasked_polls.inc();
            return self.give_up(turn.group, Reason::NotAsked).await;
        }
        if !self.link.is_up() {
            return self.give_up(turn.group, Reason::LinkDown).await;
        }
        // One that cannot be split any more is asked that way too: the refusal teaches.
        let refusal = if again {
            OnRefusal::Split
        } else {
            OnRefusal::Report
        };
        let outcome = self.ask(unit, &request, refusal).await?;
        let parts = match outcome {
            Outcome::Refused if again => self.smaller(unit, &request),
            _ => Vec::new(),
        };
        let Some(group) = self.groups.get_mut(turn.group) else {
            return Ok(());
        };
        match outcome {
            Outcome::Refused if again => {
                // Nothing was handed over yet: asked again in the next turn, in parts.
                if parts.is_empty() {
                    group.cursor += 1;
                    let slots = request.slots.iter().copied();
                    let sweep = self.bad_sweep(unit, slots, Reason::DeviceError);
                    self.deliver(sweep).await?;
                } else {
                    let parts = parts.into_iter().map(Arc::new);
                    group.requests.splice(group.cursor..=group.cursor, parts);
                    return Ok(());
                }
            }
            Outcome::Answered => {
                group.answered = true;
                group.cursor += 1;
            }
            Outcome::Refused => group.cursor += 1,
            // The pass goes on with this request when the link is up, or is given up with the link.
            Outcome::Postponed => return Ok(()),
            Outcome::Failed(reason) => {
                group.cursor += 1;
                let rest = if reason == Reason::LinkDown {
                    reason
                } else {
                    Reason::NotAsked
                };
                return self.give_up(turn.group, rest).await;
            }
        }
        if let Some(group) = self.groups.get_mut(turn.group)
            && group.cursor >= group.requests.len()
        {
            group.complete();
            let answered = group.answered;
            self.schedule.finish(turn.group);
            if let Some(unit) = self.units.get_mut(unit) {
                unit.learned.pass_done(answered);
            }
        }
        Ok(())
    }

    /// The parts that a refused request is asked in.
    fn smaller(&self, unit: usize, request: &Request) -> Vec<Request> {
        let (Some(unit), Some(device)) = (self.units.get(unit), self.bus.devices.get(unit)) else {
            return Vec::new();
        };
        let rules = Rules::new(device, &self.timing, &unit.learned);
        plan::smaller(request, &rules)
    }

    /// Ends a pass: the points of the requests that were not made get a bad reading.
    async fn give_up(&mut self, index: usize, reason: Reason) -> Result<(), Stopped> {
        self.schedule.finish(index);
        let Some(group) = self.groups.get(index) else {
            return Ok(());
        };
        let rest = group.requests.get(group.cursor..).unwrap_or_default();
        let rest = rest
            .iter()
            .flat_map(|request| request.slots.iter().copied());
        let sweep = self.bad_sweep(group.unit, rest, reason);
        self.deliver(sweep).await
    }

    pub(super) fn bad_sweep(
        &self,
        unit: usize,
        slots: impl Iterator<Item = Slot>,
        reason: Reason,
    ) -> Option<Sweep> {
        let unit = self.units.get(unit)?;
        let readings = unit.bad(slots, self.ctx.clock.wall(), reason);
        let taken = self.ctx.clock.monotonic();
        Some(unit.sweep(&self.bus.name, taken, readings)).filter(|s| !s.readings.is_empty())
    }

    /// Hands over what no request was made for.
    pub(super) async fn deliver(&mut self, sweep: Option<Sweep>) -> Result<(), Stopped> {
        if let Some(sweep) = sweep {
            let room = self.ctx.room().await?;
            self.status
                .counters
                .readings
                .add(sweep.readings.len() as u64);
            room.send(sweep);
        }
        Ok(())
    }
}
