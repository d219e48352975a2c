//! Reading a connected device: in its periods, once to see whether it answers, and what silence means.

use super::{FAILS, Link, Worker};
use crate::driver::FAREWELL;
use crate::gatt::How;
use crate::radio::RadioError;
use protocols_driver::{Room, Stopped};
use protocols_model::{Instant, Reading, Reason};
use std::sync::Arc;

impl Worker {
    /// A group is due, and there is room: its characteristic is read, or its silence told.
    pub(super) async fn poll(&mut self, room: Room<'_>, now: Instant) -> Result<(), Stopped> {
        let shared = Arc::clone(&self.shared);
        let Some(due) = self.due.next() else {
            return Ok(());
        };
        let Some(group) = self.due.take_due(now) else {
            return Ok(());
        };
        let Some(how) = self.plan.groups.get(group).map(|group| group.how) else {
            return Ok(());
        };
        // The schedule keeps its beat; what its turn came too late for is missed.
        let span = how.span().unwrap_or_default();
        let mut next = due.plus(span);
        while next <= now && !span.is_zero() {
            next = next.plus(span);
            shared.status.counters.missed_polls.inc();
        }
        self.due.set(group, next);
        let readings = match (how, &self.link) {
            (How::Read(_), Link::Up(_)) => self.read(group).await?,
            (How::Notify(_), Link::Up(_)) => {
                shared.status.counters.timeouts.inc();
                self.plan.bad(group, shared.wall(), Reason::Timeout)
            }
            (_, Link::Away(_) | Link::Leaving(..) | Link::Connecting(_)) => {
                shared.status.counters.unasked_polls.inc();
                self.plan.bad(group, shared.wall(), self.reason)
            }
        };
        if !readings.is_empty() {
            shared.status.counters.readings.add(readings.len() as u64);
            room.send(self.sweep(readings, shared.now()));
        }
        Ok(())
    }

    /// Reads a group to see whether the device answers. Only an answer is a reading: silence is told when
    /// the group is due.
    pub(super) async fn prove(&mut self, group: usize, room: Room<'_>) -> Result<(), Stopped> {
        self.probe = None;
        let readings = self.read(group).await?;
        if self.failures > 0 || readings.is_empty() {
            return Ok(());
        }
        let now = self.shared.now();
        self.proven(now);
        self.renew(group, now);
        let counters = &self.shared.status.counters;
        counters.readings.add(readings.len() as u64);
        room.send(self.sweep(readings, now));
        Ok(())
    }

    /// Reads the characteristic of a group.
    pub(super) async fn read(&mut self, group: usize) -> Result<Vec<Reading>, Stopped> {
        let shared = Arc::clone(&self.shared);
        let counters = &shared.status.counters;
        let Link::Up(connected) = &self.link else {
            return Ok(Vec::new());
        };
        let Some(place) = connected.places.get(group).copied().flatten() else {
            return Ok(self.plan.bad(group, shared.wall(), Reason::DeviceError));
        };
        counters.requests.inc();
        let reading = tokio::time::timeout(self.gatt.timeout, connected.peer.read(place));
        let result = tokio::select! {
            biased;
            result = reading => result.unwrap_or(Err(RadioError::TimedOut)),
            () = shared.grace() => return Err(Stopped),
        };
        let wall = shared.wall();
        Ok(match result {
            Ok(bytes) => {
                counters.answers.inc();
                counters.bytes_received.add(bytes.len() as u64);
                self.well();
                self.plan.readings(group, &bytes, wall)
            }
            Err(RadioError::Refused(_)) => {
                counters.exceptions.inc();
                self.well();
                self.plan.bad(group, wall, Reason::DeviceError)
            }
            Err(error) => {
                let reason = self.failed(&error);
                self.plan.bad(group, wall, reason)
            }
        })
    }

    /// An operation got no answer. The reason for its readings.
    pub(super) fn failed(&mut self, error: &RadioError) -> Reason {
        let reason = match error {
            RadioError::TimedOut => Reason::Timeout,
            _ => Reason::LinkDown,
        };
        if reason == Reason::Timeout {
            self.shared.status.counters.timeouts.inc();
        }
        self.fails += 1;
        // One that has yet to show that it answers at all is not asked twice.
        if self.fails >= FAILS || self.failures > 0 || reason == Reason::LinkDown {
            self.failures = self.failures.saturating_add(1);
            if reason == Reason::Timeout {
                let now = self.shared.now();
                self.shared.budget.spent(self.gatt.timeout, now);
            }
            let central = self.central.borrow().clone();
            self.lost(reason, &format!("given up: {error}"));
            if let (Some(central), Link::Away(at)) = (central, &self.link) {
                let (address, at) = (self.address, *at);
                // The system may still hold it; the next attempt would find half a connection.
                let leaving = Box::pin(async move {
                    drop(tokio::time::timeout(FAREWELL * 4, central.disconnect(address)).await);
                });
                self.link = Link::Leaving(leaving, at);
            }
        }
        reason
    }
}
