//! What a driver tells in words: a stage of a repair, a cause, what a person should look at.
//!
//! Link states say *that* a device is away; an event says what the driver saw and what it does about it
//! ("no advertisement for 60 s: the scan is started again"). The gateway takes the events and forwards
//! them in the event lane. Bounded: between two takes the latest [`EVENT_CAPACITY`] are kept, what they
//! pushed out is counted and told along with them.

use protocols_model::Timestamp;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Events of one bus that wait to be taken. A repair has a handful of stages; more at once is noise.
pub const EVENT_CAPACITY: usize = 32;

/// Something that happened on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusEvent {
    /// When it was noticed, wall clock.
    pub at: Timestamp,
    /// What it happened to: the id of a device, an adapter, or the name of the bus.
    pub subject: String,
    /// The cause and what the driver does about it, in a sentence without a full stop. At most 1 KiB is
    /// forwarded.
    pub text: String,
}

/// Events told since they were last taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Oldest first.
    pub events: Vec<BusEvent>,
    /// Older ones that had to make room.
    pub left_out: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<BusEvent>,
    left_out: u64,
}

/// The events of one bus: told by its driver, taken by one reader.
#[derive(Debug, Default)]
pub(crate) struct Events {
    waiting: Mutex<Waiting>,
    news: Notify,
}

impl Events {
    pub(crate) fn tell(&self, event: BusEvent) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.events.len() >= EVENT_CAPACITY {
            waiting.events.pop_front();
            waiting.left_out += 1;
        }
        waiting.events.push_back(event);
        drop(waiting);
        self.news.notify_one();
    }

    pub(crate) fn take(&self) -> Told {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut *waiting);
        Told {
            events: waiting.events.into(),
            left_out: waiting.left_out,
        }
    }

    /// A permit of `Notify` outlives a cancelled wait, so nothing told is slept through.
    pub(crate) async fn told(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> BusEvent {
        BusEvent {
            at: Timestamp(0),
            subject: "hci0".to_owned(),
            text: number.to_string(),
        }
    }

    #[tokio::test]
    async fn what_was_told_before_anybody_waited_is_taken_and_only_once() {
        let events = Events::default();
        events.tell(event(1));
        events.tell(event(2));
        events.told().await;
        assert_eq!(events.take().events, [event(1), event(2)]);
        assert_eq!(events.take(), Told::default());
    }

    #[test]
    fn the_latest_are_kept_and_what_they_pushed_out_is_counted() {
        let events = Events::default();
        for number in 0..EVENT_CAPACITY + 3 {
            events.tell(event(number));
        }
        let told = events.take();
        assert_eq!((told.events.len(), told.left_out), (EVENT_CAPACITY, 3));
        assert_eq!(told.events.first(), Some(&event(3)));
        assert_eq!(events.take().left_out, 0);
    }
}
