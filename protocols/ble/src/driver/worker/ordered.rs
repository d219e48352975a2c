//! Writing on order: checked, sent once, confirmed or not, read back where the point says so.

use super::{Link, Worker};
use crate::config::{GattPoint, WriteMode};
use crate::gatt::{Target, payload, same};
use crate::radio::RadioError;
use protocols_driver::{WriteError, WriteOrder, Written};
use protocols_model::Value;
use std::sync::Arc;

impl Worker {
    pub(super) async fn carry_out(&mut self, order: WriteOrder) {
        let outcome = self.write(&order).await;
        order.answer(outcome);
    }

    async fn write(&mut self, order: &WriteOrder) -> Result<Written, WriteError> {
        let shared = Arc::clone(&self.shared);
        let plan = Arc::clone(&self.plan);
        let point = plan.point(order.point).ok_or(WriteError::UnknownPoint)?;
        let mode = point.write.ok_or(WriteError::ReadOnly)?;
        let bytes = payload(point, &order.value)?;
        if shared.now() >= order.begin_before {
            return Err(WriteError::Expired);
        }
        let Link::Up(connected) = &self.link else {
            return Err(WriteError::Unreachable);
        };
        let all = connected.peer.characteristics();
        let place = Target::of(point).find(all);
        let found = place.and_then(|place| Some((place, all.get(place)?)));
        let Some((place, found)) = found else {
            let text = format!("the device has no {}", Target::of(point));
            return Err(WriteError::Refused(text));
        };
        let able = match mode {
            WriteMode::WithResponse => found.write,
            WriteMode::WithoutResponse => found.write_without_response,
        };
        if !able {
            let text = format!("{} cannot be written so", Target::of(point));
            return Err(WriteError::Refused(text));
        }
        shared.status.counters.requests.inc();
        shared.status.counters.bytes_sent.add(bytes.len() as u64);
        let writing = connected.peer.write(place, &bytes, mode);
        let written = tokio::select! {
            biased;
            written = tokio::time::timeout(self.gatt.timeout, writing) => {
                written.unwrap_or(Err(RadioError::TimedOut))
            }
            // Sent perhaps; who waits for it learns that.
            () = shared.grace() => return Err(WriteError::Unknown),
        };
        match written {
            Ok(()) => {}
            Err(RadioError::Refused(text)) => {
                shared.status.counters.exceptions.inc();
                return Err(WriteError::Refused(text));
            }
            Err(error) => {
                self.failed(&error);
                return Err(WriteError::Unknown);
            }
        }
        shared.status.counters.answers.inc();
        self.well();
        let read_back = if point.verify {
            Some(self.verify(point, place, &order.value).await?)
        } else {
            None
        };
        Ok(Written {
            at: shared.wall(),
            read_back,
        })
    }

    /// Reads back what was written. A device that took the value and does not say it again leaves it
    /// unknown.
    async fn verify(
        &mut self,
        point: &GattPoint,
        place: usize,
        value: &Value,
    ) -> Result<Value, WriteError> {
        let shared = Arc::clone(&self.shared);
        let Link::Up(connected) = &self.link else {
            return Err(WriteError::Unknown);
        };
        let reading = tokio::time::timeout(self.gatt.timeout, connected.peer.read(place));
        let read = tokio::select! {
            biased;
            read = reading => read.unwrap_or(Err(RadioError::TimedOut)),
            () = shared.grace() => return Err(WriteError::Unknown),
        };
        let bytes = read.map_err(|error| {
            if !matches!(error, RadioError::Refused(_)) {
                self.failed(&error);
            }
            WriteError::Unknown
        })?;
        let read = point.value.decode(&bytes);
        let read = read.map_err(|_| WriteError::Unknown)?;
        if !same(point, value, &read) {
            return Err(WriteError::NotVerified(read));
        }
        Ok(read)
    }
}
