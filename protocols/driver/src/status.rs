//! What a driver publishes of its links: read by status, metrics and the hello, at any time.
//!
//! The driver is the only writer. Readers get a copy, or wait for the next change.

use crate::events::Events;
use crate::{BusEvent, Counters, Told};
use protocols_model::{DeviceId, Reason, Timestamp};
use std::sync::Arc;
use tokio::sync::watch;

/// Whether a device answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Not asked yet.
    Unknown,
    /// It answers, if only with exceptions; single failures do not change that.
    Up,
    /// It is dead or its bus is away, for this reason.
    Down(Reason),
}

/// The link to one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLink {
    /// The device.
    pub device: DeviceId,
    /// Its state.
    pub state: LinkState,
    /// Since when it is in this state (wall clock); `None` while unknown.
    pub since: Option<Timestamp>,
}

/// The published state of one bus.
#[derive(Debug)]
pub struct BusStatus {
    bus: Arc<str>,
    /// What the bus counts.
    pub counters: Counters,
    links: watch::Sender<Vec<DeviceLink>>,
    events: Events,
}

impl BusStatus {
    /// The state of a bus that did nothing yet; devices keep this order.
    #[must_use]
    pub fn new(bus: Arc<str>, devices: impl IntoIterator<Item = DeviceId>) -> Self {
        let links = devices.into_iter().map(|device| DeviceLink {
            device,
            state: LinkState::Unknown,
            since: None,
        });
        Self {
            bus,
            counters: Counters::default(),
            links: watch::Sender::new(links.collect()),
            events: Events::default(),
        }
    }

    /// Name of the bus.
    #[must_use]
    pub fn bus(&self) -> &Arc<str> {
        &self.bus
    }

    /// The links now.
    #[must_use]
    pub fn links(&self) -> Vec<DeviceLink> {
        self.links.borrow().clone()
    }

    /// The links, and a way to wait for their next change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Vec<DeviceLink>> {
        self.links.subscribe()
    }

    /// For the driver: tells what happened and what it does about it. Never waits; see [`BusEvent`].
    pub fn tell(&self, at: Timestamp, subject: impl Into<String>, text: impl Into<String>) {
        self.events.tell(BusEvent {
            at,
            subject: subject.into(),
            text: text.into(),
        });
    }

    /// Takes what was told since the last time. There is one reader: the gateway.
    #[must_use]
    pub fn take_events(&self) -> Told {
        self.events.take()
    }

    /// Waits until there may be something to take. Cancel-safe.
    pub async fn told(&self) {
        self.events.told().await;
    }

    /// For the driver: publishes the state of its `index`-th device. Whether it was a change.
    pub fn set_link(&self, index: usize, state: LinkState, now: Timestamp) -> bool {
        self.links
            .send_if_modified(|links| match links.get_mut(index) {
                Some(link) if link.state != state => {
                    link.state = state;
                    link.since = Some(now);
                    true
                }
                _ => false,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_changed_state_wakes_the_readers_and_moves_since() {
        let device = DeviceId::try_new("m1").unwrap();
        let status = BusStatus::new("plc".into(), [device.clone()]);
        let mut watch = status.watch();
        watch.mark_unchanged();
        assert!(status.set_link(0, LinkState::Up, Timestamp(5)));
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        assert!(!status.set_link(0, LinkState::Up, Timestamp(9)));
        assert!(!status.set_link(7, LinkState::Up, Timestamp(9)));
        assert!(!watch.has_changed().unwrap());
        let expected = DeviceLink {
            device,
            state: LinkState::Up,
            since: Some(Timestamp(5)),
        };
        assert_eq!(status.links(), [expected]);
    }
}
