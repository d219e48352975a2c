//! Lines whose devices answer: poll groups in their order, dead devices apart.

use super::exchange::{Fault, is_echo};
use super::{Mode, OPEN_GRACE, Task, grace_after};
use crate::config::{Bus, FieldRef, Message, ValueRules};
use crate::framer::Frame;
use crate::link::LinkEvent;
use crate::listener::reading;
use crate::message::{self, Said};
use protocols_driver::{LinkState, Next, Stopped, Sweep};
use protocols_model::{Instant, PointKey, Reading, Reason, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// Device and message of each poll group of a bus, in its order; those without a point are none.
pub(super) fn groups(bus: &Bus) -> Vec<(usize, usize)> {
    let devices = bus.devices.iter().enumerate();
    let groups = devices.flat_map(|(index, device)| {
        (0..device.messages.len()).map(move |message| (index, message))
    });
    groups
        .filter(|&(device, message)| points(bus, device, message).next().is_some())
        .collect()
}

pub(super) fn message(bus: &Bus, device: usize, message: usize) -> Option<&Message> {
    bus.devices.get(device)?.messages.get(message)
}

/// The points that are read from a message.
pub(super) fn points(
    bus: &Bus,
    device: usize,
    message: usize,
) -> impl Iterator<Item = (PointKey, &FieldRef, &ValueRules)> {
    let points = bus
        .devices
        .get(device)
        .into_iter()
        .flat_map(|device| &device.points);
    points.filter_map(move |point| match &point.read {
        Some((of, field)) if *of == message => Some((point.key, field, &point.value)),
        _ => None,
    })
}

/// What is to be done now on an asked line.
enum Due {
    Poll,
    Probe(usize),
}

impl Task {
    /// Does what is to be done now, or waits for it.
    pub(super) async fn ask(&mut self) -> Result<(), Stopped> {
        let now = self.now();
        self.link.open_if_due(now);
        if self.due(now).is_none() {
            return self.wait_to_ask().await;
        }
        let ctx = Arc::clone(&self.ctx);
        let room = match ctx.turn().await? {
            Next::Order(order) => return self.order(order).await,
            Next::Room(room) => room,
        };
        if let Some(sweep) = self.poll_or_probe().await? {
            room.send(sweep);
        }
        Ok(())
    }

    /// What is due now: waiting for room may have taken a while.
    async fn poll_or_probe(&mut self) -> Result<Option<Sweep>, Stopped> {
        match self.due(self.now()) {
            None => Ok(None),
            Some(Due::Probe(device)) => self.probe(device).await,
            Some(Due::Poll) => self.poll().await,
        }
    }

    fn due(&mut self, now: Instant) -> Option<Due> {
        let Mode::Ask {
            schedule, health, ..
        } = &mut self.mode
        else {
            return None;
        };
        // Polls hold still for a moment while the port is being opened.
        let opening = self.link.opening_since();
        if opening.is_some_and(|since| now.since(since) < OPEN_GRACE) {
            return None;
        }
        let polls = schedule.next_due().is_some_and(|due| due <= now);
        let probe = health.probe(now, !polls).filter(|_| self.link.is_up());
        probe.map(Due::Probe).or_else(|| polls.then_some(Due::Poll))
    }

    async fn wait_to_ask(&mut self) -> Result<(), Stopped> {
        let Mode::Ask {
            schedule, health, ..
        } = &self.mode
        else {
            return Ok(());
        };
        let now = self.ctx.clock.monotonic();
        let patient = self
            .link
            .opening_since()
            .map(|since| since.plus(OPEN_GRACE));
        let poll = schedule
            .next_due()
            .map(|due| patient.map_or(due, |patient| due.max(patient)));
        let probe = health.next_probe().filter(|_| self.link.is_up());
        let until = poll.into_iter().chain(probe).min();
        let pause = until.map_or(Duration::from_hours(1), |until| until.since(now));
        let ctx = Arc::clone(&self.ctx);
        tokio::select! {
            biased;
            () = ctx.stop.cancelled() => Err(Stopped),
            () = ctx.sweeps.closed() => Err(Stopped),
            order = ctx.orders.next() => self.order(order).await,
            event = self.link.event() => {
                match event {
                    LinkEvent::Opened(result) => return self.opened(result).await,
                    LinkEvent::Gone => self.lost(),
                    // Nobody was asked.
                    LinkEvent::Bytes(bytes) => {
                        self.status.counters.stray_bytes.add(bytes.len() as u64);
                    }
                }
                Ok(())
            }
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Polls the group whose turn it is.
    async fn poll(&mut self) -> Result<Option<Sweep>, Stopped> {
        let now = self.now();
        let Mode::Ask {
            schedule,
            health,
            groups,
        } = &mut self.mode
        else {
            return Ok(None);
        };
        let Some(turn) = schedule.turn(now) else {
            return Ok(None);
        };
        self.status.counters.missed_polls.add(turn.missed);
        let Some(&(device, message)) = groups.get(turn.group) else {
            return Ok(None);
        };
        if !self.link.is_up() {
            return Ok(self.bad_sweep(device, message, Reason::LinkDown));
        }
        if health.is_dead(device) {
            self.status.counters.unasked_polls.inc();
            return Ok(self.bad_sweep(device, message, Reason::NotAsked));
        }
        self.question(device, message, false).await
    }

    /// Asks a dead device its first question. The answer is as good as any other.
    async fn probe(&mut self, device: usize) -> Result<Option<Sweep>, Stopped> {
        let Mode::Ask { groups, health, .. } = &mut self.mode else {
            return Ok(None);
        };
        let group = groups.iter().find(|(of, _)| *of == device).copied();
        let Some((_, message)) = group else {
            health.answered(device, self.ctx.clock.monotonic());
            return Ok(None);
        };
        self.status.counters.probes.inc();
        self.question(device, message, true).await
    }

    async fn question(
        &mut self,
        device: usize,
        message: usize,
        is_probe: bool,
    ) -> Result<Option<Sweep>, Stopped> {
        let began = self.now();
        let stop = self.ctx.stop.clone();
        let result = tokio::select! {
            biased;
            () = grace_after(&stop) => return Err(Stopped),
            result = self.fetch(device, message) => result,
        };
        let (now, wall) = (self.now(), self.ctx.clock.wall());
        let bus = Arc::clone(&self.bus);
        let outcome = result.as_ref().map(|_| ()).map_err(|fault| *fault);
        self.settle(device, outcome, now.since(began));
        let readings: Vec<Reading> = match result {
            Ok(said) => points(&bus, device, message)
                .zip(said)
                .map(|((key, _, _), said)| {
                    // Each point that is due gets a reading, also when the answer does not carry it.
                    let missing = Reading::bad(key, wall, Reason::Undecodable);
                    reading(key, wall, said).unwrap_or(missing)
                })
                .collect(),
            // Not a poll: the silence of a dead device is told when it is due.
            Err(_) if is_probe => return Ok(None),
            Err(fault) => self.bad(device, message, fault.reason(), wall),
        };
        Ok(self.sweep(device, now, readings))
    }

    /// Asks for a message: what the answer says of its points. After a failure the line was quiet for a
    /// time-out.
    pub(super) async fn fetch(&mut self, device: usize, index: usize) -> Result<Vec<Said>, Fault> {
        let bus = Arc::clone(&self.bus);
        let Some(message) = message(&bus, device, index) else {
            return Err(Fault::Timeout);
        };
        let start = bus.framing.start_delimiter();
        let ask = message.ask.as_ref();
        let question = ask.and_then(|ask| ask.render(None, bus.checksum.as_ref(), start).ok());
        let patience = bus
            .devices
            .get(device)
            .map_or(Duration::ZERO, |device| device.timeout);
        let question = question.unwrap_or_default();
        let fits = |frame: &Frame| {
            if is_echo(frame, &question) {
                return None;
            }
            let fields = points(&bus, device, index).map(|(_, field, rules)| (field, rules));
            message::read(message, fields, frame.payload())
        };
        let began = self.now();
        let result = self
            .exchange(&question, patience, fits, &mut Vec::new())
            .await;
        match result {
            Err(Fault::Closed) => self.lost(),
            Err(fault) => {
                match fault {
                    Fault::Timeout => self.status.counters.timeouts.inc(),
                    _ => self.status.counters.bad_answers.inc(),
                }
                self.quiet(patience).await;
            }
            Ok(_) => self.link.is_well(),
        }
        let busy = self.now().since(began);
        self.status.counters.busy_microseconds.add_span(busy);
        result
    }

    /// Keeps health and published state up to date after a question that took `cost`.
    fn settle(&mut self, index: usize, outcome: Result<(), Fault>, cost: Duration) {
        let (now, wall) = (self.now(), self.ctx.clock.wall());
        let Mode::Ask { health, .. } = &mut self.mode else {
            return;
        };
        let bus = &self.bus.name;
        let device = self.bus.devices.get(index).map(|device| device.id.as_str());
        match outcome {
            // The line's trouble, not the device's; published already.
            Err(Fault::Closed) => {}
            Err(fault) => {
                if health.failed(index, now, cost) {
                    let reason = fault.reason();
                    self.status.set_link(index, LinkState::Down(reason), wall);
                    tracing::warn!(%bus, device, reason = reason.as_str(), "device is dead; probing it");
                }
            }
            Ok(()) => {
                if health.answered(index, now) {
                    tracing::info!(%bus, device, "device answers again");
                }
                self.status.set_link(index, LinkState::Up, wall);
            }
        }
    }

    /// A bad reading for each point of a group.
    fn bad(&self, device: usize, message: usize, reason: Reason, at: Timestamp) -> Vec<Reading> {
        let points = points(&self.bus, device, message);
        points
            .map(|(key, _, _)| Reading::bad(key, at, reason))
            .collect()
    }

    fn bad_sweep(&self, device: usize, message: usize, reason: Reason) -> Option<Sweep> {
        let readings = self.bad(device, message, reason, self.ctx.clock.wall());
        self.sweep(device, self.now(), readings)
    }
}
