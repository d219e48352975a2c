//! Orders: values to write, ahead of every poll.
//!
//! An order that is expired, of no device of ours, not allowed, or for a device that cannot be reached is
//! answered without a byte on the wire: a dead device is found alive by its probes, never by a write that
//! it might carry out late. What was sent is sent once: without a confirmation the answer is `Unknown`,
//! whatever the reason, and the bus goes through the same silence as after a read that failed.

use super::{BusTask, ask, poll};
use crate::command::{self, Command, Steps};
use crate::config::{Device, Point, Space};
use crate::link::{Data, Fault, Terms};
use crate::plan::{Request, Slot};
use protocols_driver::{Stopped, WriteError, WriteOrder, Written};
use protocols_model::{PointKey, Reason, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A point is read back so often before it counts as not written: some devices take a moment to apply
/// what they have confirmed.
const READ_BACK_TRIES: u32 = 3;
/// And so long lies between.
const READ_BACK_PAUSE: Duration = Duration::from_millis(100);

/// Where the points stand that may be written: unit and point, by their key.
#[derive(Debug, Default)]
pub(super) struct Targets(HashMap<PointKey, (usize, usize)>);

impl Targets {
    /// All points of these devices. A gateway has many points and writes few of them: those that are
    /// read only are looked for when somebody asks.
    pub(super) fn new(devices: &[Device]) -> Self {
        let all = devices.iter().enumerate().flat_map(|(unit, device)| {
            let points = device.points.iter().enumerate();
            let writable = points.filter(|(_, point)| point.write.is_some());
            writable.map(move |(index, point)| (point.key, (unit, index)))
        });
        Self(all.collect())
    }
}

/// What is done for one order.
struct Job {
    unit: usize,
    point: usize,
    value: Value,
    steps: Steps,
    verify: bool,
}

/// How far it got.
enum Done {
    /// Confirmed; with what the answer said of the registers.
    Confirmed(Option<Vec<u16>>),
    /// Sent to all, which nobody confirms.
    Broadcast,
}

impl BusTask {
    /// Carries an order out, or keeps it while the bus is just being opened.
    pub(super) async fn order(&mut self, order: WriteOrder) -> Result<(), Stopped> {
        let now = self.ctx.clock.monotonic();
        if now >= order.begin_before {
            order.answer(Err(WriteError::Expired));
            return Ok(());
        }
        let job = match self.job(&order) {
            Ok(job) => job,
            Err(error) => {
                order.answer(Err(error));
                return Ok(());
            }
        };
        if !self.link.is_up() {
            if self.may_turn(now) {
                order.answer(Err(WriteError::Unreachable));
            } else {
                self.held = Some(order);
            }
            return Ok(());
        }
        if self.health.is_dead(job.unit) {
            order.answer(Err(WriteError::Unreachable));
            return Ok(());
        }
        let began = now;
        let stop = self.ctx.stop.clone();
        let outcome = tokio::select! {
            biased;
            // The order goes unanswered, which reads as unknown.
            () = ask::grace_after(&stop) => return Err(Stopped),
            outcome = self.carry_out(&job) => outcome,
        };
        let now = self.ctx.clock.monotonic();
        match outcome {
            // The connection was gone before anything was sent: made again, then the order again.
            Err((WriteError::Unreachable, _)) => {
                self.held = Some(order);
                return Ok(());
            }
            Err((error, fault)) => {
                if let Some(reason) = fault.and_then(poll::reason) {
                    self.settle(job.unit, super::Outcome::Failed(reason), now.since(began));
                } else {
                    self.settle(job.unit, super::Outcome::Answered, now.since(began));
                }
                let bus = &self.bus.name;
                match &error {
                    // Values may be private: whoever placed the order is told, logs are not.
                    WriteError::NotVerified(_) => {
                        tracing::warn!(%bus, "a point was written and reads otherwise");
                    }
                    error => tracing::warn!(%bus, %error, "point not written"),
                }
                order.answer(Err(error));
            }
            Ok(written) => {
                self.settle(job.unit, super::Outcome::Answered, now.since(began));
                order.answer(Ok(written));
            }
        }
        Ok(())
    }

    fn target(&self, key: PointKey) -> Result<(usize, usize), WriteError> {
        if let Some(target) = self.targets.0.get(&key) {
            return Ok(*target);
        }
        let mut points = self.bus.devices.iter().flat_map(|device| &device.points);
        Err(if points.any(|point| point.key == key) {
            WriteError::ReadOnly
        } else {
            WriteError::UnknownPoint
        })
    }

    fn place(&self, unit: usize, point: usize) -> Option<(&Device, &Point)> {
        let device = self.bus.devices.get(unit)?;
        Some((device, device.points.get(point)?))
    }

    /// What an order asks for, checked.
    fn job(&self, order: &WriteOrder) -> Result<Job, WriteError> {
        let (unit, index) = self.target(order.point)?;
        let (device, point) = self.place(unit, index).ok_or(WriteError::UnknownPoint)?;
        let write = point.write.ok_or(WriteError::ReadOnly)?;
        let codec = self.units.get(unit).and_then(|unit| unit.codec(index));
        let codec = codec.ok_or(WriteError::UnknownPoint)?;
        let encoded = codec.encode(&order.value);
        let encoded = encoded.map_err(|error| WriteError::BadValue(error.to_string()))?;
        let with = write.with.unwrap_or(device.quirks.write_with);
        Ok(Job {
            unit,
            point: index,
            value: order.value.clone(),
            steps: command::steps(point.address, encoded, with, device.quirks.bit_writes),
            verify: write.verify,
        })
    }

    /// Everything on the wire for one order. `Unreachable` only while nothing was sent.
    async fn carry_out(&mut self, job: &Job) -> Result<Written, (WriteError, Option<Fault>)> {
        let none = || (WriteError::UnknownPoint, None);
        let (device, point) = self.place(job.unit, job.point).ok_or_else(none)?;
        let (terms, broadcast) = (
            Terms::of(device),
            device.is_broadcast(self.bus.transport.is_rtu()),
        );
        let back = Request {
            space: point.address.space,
            start: point.address.register,
            count: point.width(),
            slots: vec![Slot {
                point: job.point,
                offset: 0,
                width: point.width(),
            }],
            has_gap: false,
        };
        let commands = match &job.steps {
            Steps::Commands(commands) => commands.clone(),
            Steps::ReadModifyWrite {
                register,
                bits,
                with,
            } => {
                let before = self.register(terms, *register).await?;
                let after = bits.over(before).ok_or_else(none)?;
                command::whole_register(*register, after, *with)
            }
        };
        let done = if broadcast {
            self.send_to_all(terms, &commands).await?
        } else {
            self.send(terms, &commands).await?
        };
        let at = self.ctx.clock.wall();
        match done {
            Done::Broadcast => Err((WriteError::Unconfirmed, None)),
            Done::Confirmed(read) if job.verify => {
                let read_back = Some(self.verified(job, terms, &back, read).await?);
                Ok(Written { at, read_back })
            }
            Done::Confirmed(_) => Ok(Written {
                at,
                read_back: None,
            }),
        }
    }

    /// What stands in a register before some of its bits are changed. Nothing is written yet, so every
    /// failure means that nothing was sent that could change anything.
    async fn register(
        &mut self,
        terms: Terms,
        register: u16,
    ) -> Result<u16, (WriteError, Option<Fault>)> {
        let request = Request {
            space: Space::Holding,
            start: register,
            count: 1,
            slots: Vec::new(),
            has_gap: false,
        };
        match self.link.ask(terms, &request).await {
            Ok((Data::Words(words), _)) if words.len() == 1 => {
                self.suspects.note(terms.unit, None);
                Ok(words.first().copied().unwrap_or_default())
            }
            Ok(_) => Err((WriteError::Refused("no register".to_owned()), None)),
            Err(Fault::NotAsked) => Err((WriteError::Unreachable, None)),
            Err(Fault::Exception(code)) => {
                let text = format!("{}, when the register was read", ask::exception(code));
                Err((WriteError::Refused(text), None))
            }
            Err(fault) => {
                self.suspects.note(terms.unit, Some(request.shape()));
                let text =
                    "it did not answer when the register was read before; nothing was written";
                Err((WriteError::Refused(text.to_owned()), Some(fault)))
            }
        }
    }

    async fn send_to_all(
        &mut self,
        terms: Terms,
        commands: &[Command],
    ) -> Result<Done, (WriteError, Option<Fault>)> {
        for (sent, command) in commands.iter().enumerate() {
            match self.link.broadcast(terms, command).await {
                Ok(()) => {}
                Err(Fault::NotAsked) if sent == 0 => return Err((WriteError::Unreachable, None)),
                Err(fault) => return Err((WriteError::Unknown, Some(fault))),
            }
        }
        Ok(Done::Broadcast)
    }

    async fn send(
        &mut self,
        terms: Terms,
        commands: &[Command],
    ) -> Result<Done, (WriteError, Option<Fault>)> {
        let mut held = None;
        for (sent, command) in commands.iter().enumerate() {
            match self.link.write(terms, command).await {
                Ok(read) => held = read,
                Err(Fault::NotAsked) if sent == 0 => return Err((WriteError::Unreachable, None)),
                Err(Fault::Exception(code)) => {
                    let mut text = ask::exception(code);
                    if code == 1 {
                        text.push_str(&hint(command));
                    }
                    if sent > 0 {
                        let all = commands.len();
                        text.push_str(&format!("; {sent} of {all} registers were written before"));
                    }
                    return Err((WriteError::Refused(text), None));
                }
                Err(fault) => return Err((WriteError::Unknown, Some(fault))),
            }
        }
        Ok(Done::Confirmed(held))
    }

    /// Reads the point back until it is what was written, a few times.
    async fn verified(
        &mut self,
        job: &Job,
        terms: Terms,
        request: &Request,
        mut read: Option<Vec<u16>>,
    ) -> Result<Value, (WriteError, Option<Fault>)> {
        let mut seen = None;
        for again in 0..READ_BACK_TRIES {
            if again > 0 {
                tokio::time::sleep(READ_BACK_PAUSE).await;
            }
            let data = match read.take() {
                Some(words) => Data::Words(words),
                None => match self.link.ask(terms, request).await {
                    Ok((data, _)) => data,
                    Err(Fault::Exception(code)) => {
                        let text = format!("{}, when it was read back", ask::exception(code));
                        return Err((WriteError::Refused(text), None));
                    }
                    Err(Fault::NotAsked) => return Err((WriteError::Unknown, Some(Fault::Closed))),
                    Err(fault) => {
                        self.suspects.note(terms.unit, Some(request.shape()));
                        return Err((WriteError::Unknown, Some(fault)));
                    }
                },
            };
            let unit = self.units.get(job.unit);
            let codec = unit.and_then(|unit| unit.codec(job.point));
            let value = codec.map(|codec| match &data {
                Data::Words(words) => codec.decode(words),
                Data::Bits(bits) => bits
                    .first()
                    .map(|bit| codec.decode_bit(*bit))
                    .ok_or(Reason::Undecodable),
            });
            if let (Some(codec), Some(Ok(value))) = (codec, value) {
                if codec.is_same(&job.value, &value) {
                    return Ok(value);
                }
                seen = Some(value);
            }
        }
        Err(match seen {
            Some(value) => (WriteError::NotVerified(value), None),
            None => (WriteError::Unknown, None),
        })
    }
}

/// What to configure when a device does not know a function.
fn hint(command: &Command) -> String {
    let advice = match command.function() {
        22 => {
            "; bits can be written by bit_writes = \"read-modify-write\" where nobody else writes the register"
        }
        5 | 6 => "; write_with = \"multiple\" writes by functions 15 and 16",
        15 | 16 => "; write_with = \"single\" writes by functions 5 and 6",
        _ => "; write_with = \"auto\" does without function 23",
    };
    advice.to_owned()
}

/// So that the task's orders can be shared with a driver that follows it.
pub(super) type Held = Option<WriteOrder>;

/// The order to begin with: one that was kept, or the next in the queue.
pub(super) fn next(held: &mut Held, ctx: &Arc<protocols_driver::DriverContext>) -> Held {
    held.take().or_else(|| ctx.orders.try_next())
}
