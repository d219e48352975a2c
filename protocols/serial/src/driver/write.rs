//! Orders: a value put into its command, sent once, and confirmed in the way the point says.

use super::exchange::Fault;
use super::{Mode, Task};
use crate::config::{Bus, Confirm, Device, Point, Write};
use crate::framer::Frame;
use crate::message::{Said, text_of};
use protocols_driver::{WriteError, WriteOrder, Written};
use protocols_model::{PointKey, Value};
use std::sync::Arc;
use std::time::Duration;

/// What reading back may differ by, as a part of the value: what devices with seven digits round.
const RELATIVE: f64 = 1e-6;
/// Time that a device gets to take a command before it is asked what it made of it.
const SETTLE: Duration = Duration::from_millis(50);

impl Task {
    pub(super) async fn write(&mut self, order: WriteOrder) {
        let outcome = self.carry_out(&order).await;
        order.answer(outcome);
    }

    async fn carry_out(&mut self, order: &WriteOrder) -> Result<Written, WriteError> {
        let bus = Arc::clone(&self.bus);
        let (index, device, point) = find(&bus, order.point).ok_or(WriteError::UnknownPoint)?;
        let write = point.write.as_ref().ok_or(WriteError::ReadOnly)?;
        if order.begin_before <= self.now() {
            return Err(WriteError::Expired);
        }
        let bytes = self.command(point, write, &order.value)?;
        let dead = matches!(&self.mode, Mode::Ask { health, .. } if health.is_dead(index));
        if dead || !self.link.is_up() {
            return Err(WriteError::Unreachable);
        }
        match &write.confirm {
            Confirm::Answer { expect, refused } => {
                let fits = |frame: &Frame| {
                    let text = text_of(frame.payload())?;
                    if expect.regex().is_match(&text) {
                        return Some(Ok(()));
                    }
                    let refused = refused.as_ref()?.regex().is_match(&text);
                    refused.then(|| Err(WriteError::Refused(text.into_owned())))
                };
                let mut others = Vec::new();
                let result = self
                    .exchange(&bytes, device.timeout, fits, &mut others)
                    .await;
                for frame in others {
                    self.heard(&frame);
                }
                match result {
                    Ok(outcome) => outcome.map(|()| self.written(None)),
                    Err(fault) => Err(self.unknown(fault, device.timeout).await),
                }
            }
            Confirm::ReadBack => {
                self.send_alone(&bytes).await?;
                self.quiet(SETTLE).await;
                let back = self
                    .read_back(index, point)
                    .await
                    .ok_or(WriteError::Unknown)?;
                if agrees(&order.value, &back, resolution(point, write)) {
                    Ok(self.written(Some(back)))
                } else {
                    Err(WriteError::NotVerified(back))
                }
            }
            Confirm::None => {
                self.send_alone(&bytes).await?;
                Err(WriteError::Unknown)
            }
        }
    }

    /// The bytes that write a value.
    fn command(&self, point: &Point, write: &Write, value: &Value) -> Result<Vec<u8>, WriteError> {
        let bad = |text: String| WriteError::BadValue(text);
        let rules = &point.value;
        let mut raw = value.clone();
        if write.command.has_value() {
            let (of, found) = (point.value_type(), value.value_type());
            if of != found {
                return Err(bad(format!(
                    "it takes {}, not {}",
                    of.as_str(),
                    found.as_str()
                )));
            }
            if let (Err(_), Some(range)) = (rules.in_range(value.clone()), &rules.range) {
                let (from, to) = (range.start(), range.end());
                return Err(bad(format!("its range is {from} to {to}")));
            }
            if let Some(mapped) = rules.unmapped(value) {
                raw = mapped.map_err(bad)?;
            }
        }
        let start = self.bus.framing.start_delimiter();
        let bytes = write.command.render(
            Some((&raw, &rules.scale)),
            self.bus.checksum.as_ref(),
            start,
        );
        bytes.map_err(|error| bad(error.to_string()))
    }

    /// Sends a command that nothing answers.
    async fn send_alone(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.status.counters.requests.inc();
        if self.send(bytes).await.is_err() {
            self.lost();
            return Err(WriteError::Unknown);
        }
        Ok(())
    }

    async fn read_back(&mut self, device: usize, point: &Point) -> Option<Value> {
        let (message, _) = point.read.as_ref()?;
        let said = self.fetch(device, *message).await.ok()?;
        let bus = Arc::clone(&self.bus);
        let mut all = super::ask::points(&bus, device, *message).zip(said);
        let found = all.find(|((key, _, _), _)| *key == point.key);
        match found {
            Some((_, Said::Value(value, _))) => Some(value),
            _ => None,
        }
    }

    /// What was sent is never repeated, and its late confirmation is not the next one's.
    async fn unknown(&mut self, fault: Fault, patience: Duration) -> WriteError {
        match fault {
            Fault::Closed => self.lost(),
            Fault::Timeout => self.status.counters.timeouts.inc(),
            Fault::BadAnswer => self.status.counters.bad_answers.inc(),
        }
        if self.link.is_up() && self.bus.is_asked() {
            self.quiet(patience).await;
        }
        WriteError::Unknown
    }

    fn written(&self, read_back: Option<Value>) -> Written {
        Written {
            at: self.ctx.clock.wall(),
            read_back,
        }
    }
}

/// A point with its device and the device's index.
fn find(bus: &Bus, key: PointKey) -> Option<(usize, &Device, &Point)> {
    let mut devices = bus.devices.iter().enumerate();
    devices.find_map(|(index, device)| {
        let point = device.points.iter().find(|point| point.key == key)?;
        Some((index, device, point))
    })
}

/// The step between two values that point and command can tell apart, in engineering units.
fn resolution(point: &Point, write: &Write) -> f64 {
    let read = match &point.read {
        Some((_, crate::config::FieldRef::Bytes(field))) => field.scale().factor().abs(),
        _ => 0.0,
    };
    let factor = point.value.scale.factor().abs();
    let sent = write.command.step().map_or(0.0, |step| step * factor);
    let scaled = if point.value.scale.is_identity() {
        0.0
    } else {
        factor
    };
    read.max(sent).max(scaled)
}

fn agrees(written: &Value, back: &Value, resolution: f64) -> bool {
    match (written, back) {
        (Value::F64(a), Value::F64(b)) => {
            (a - b).abs() <= (resolution / 2.0).max(a.abs() * RELATIVE)
        }
        _ => written == back,
    }
}
