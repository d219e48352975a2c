//! The messages that were taken from the broker and are not settled. Pure.
//!
//! Packets are acknowledged in the order in which they came, as MQTT asks: one that is settled early
//! waits for those before it. Of a connection that ended nothing can be acknowledged any more; what it
//! brought stays in hand until it is committed, so that the bound holds.

use protocols_model::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// The hand.
#[derive(Debug)]
pub(super) struct Hand {
    held: VecDeque<Held>,
    /// Number of the first one held.
    first: u64,
    unsettled: usize,
    bytes: usize,
    most: (usize, usize),
}

#[derive(Debug)]
struct Held {
    /// To be acknowledged over the present connection; `None` for `QoS 0`, or when that is gone.
    packet: Option<u16>,
    bytes: usize,
    since: Instant,
    settled: bool,
}

impl Hand {
    /// An empty hand for so many messages and bytes.
    pub(super) const fn new(messages: usize, bytes: usize) -> Self {
        Self {
            held: VecDeque::new(),
            first: 0,
            unsettled: 0,
            bytes: 0,
            most: (messages, bytes),
        }
    }

    /// Takes a message; gives its number.
    pub(super) fn take(&mut self, packet: Option<u16>, bytes: usize, now: Instant) -> u64 {
        let number = self.first + u64::try_from(self.held.len()).unwrap_or(u64::MAX);
        self.held.push_back(Held {
            packet,
            bytes,
            since: now,
            settled: false,
        });
        self.unsettled += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        number
    }

    /// Settles a message; gives the packets that can be acknowledged now, in order.
    pub(super) fn settle(&mut self, number: u64) -> Vec<u16> {
        let place = number.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let held = place.and_then(|place| self.held.get_mut(place));
        if let Some(held) = held.filter(|held| !held.settled) {
            held.settled = true;
            self.unsettled -= 1;
            self.bytes = self.bytes.saturating_sub(held.bytes);
        }
        let mut packets = Vec::new();
        while self.held.front().is_some_and(|held| held.settled) {
            packets.extend(self.held.pop_front().and_then(|held| held.packet));
            self.first += 1;
        }
        packets
    }

    /// The connection ended: what it brought is acknowledged to nobody.
    pub(super) fn disconnected(&mut self) {
        for held in &mut self.held {
            held.packet = None;
        }
    }

    /// Whether nothing more should be taken.
    pub(super) fn is_full(&self) -> bool {
        // What is settled and waits for its turn to be acknowledged counts as well.
        self.held.len() >= self.most.0 || self.bytes >= self.most.1
    }

    /// Messages not settled.
    pub(super) fn pending(&self) -> u64 {
        u64::try_from(self.unsettled).unwrap_or(u64::MAX)
    }

    /// How long the oldest one has waited.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        let oldest = self.held.iter().find(|held| !held.settled);
        oldest.map_or(Duration::ZERO, |held| now.since(held.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    #[test]
    fn packets_are_acknowledged_in_the_order_in_which_they_came() {
        let mut hand = Hand::new(10, 1000);
        let numbers: Vec<u64> = [11, 12, 13]
            .map(|packet| hand.take(Some(packet), 10, at(0)))
            .to_vec();
        assert_eq!(hand.settle(numbers[1]), [0_u16; 0]);
        assert_eq!(hand.settle(numbers[1]), [0_u16; 0], "twice is once");
        assert_eq!(hand.pending(), 2);
        assert_eq!(hand.settle(numbers[0]), [11, 12]);
        assert_eq!(hand.settle(numbers[0]), [0_u16; 0], "long gone");
        assert_eq!(hand.settle(numbers[2]), [13]);
        assert_eq!(hand.pending(), 0);
    }

    #[test]
    fn what_a_connection_brought_that_ended_is_acknowledged_to_nobody() {
        let mut hand = Hand::new(10, 1000);
        let old = hand.take(Some(1), 10, at(0));
        hand.disconnected();
        let new = hand.take(Some(1), 10, at(1));
        assert_eq!(hand.settle(new), [0_u16; 0]);
        assert_eq!(hand.settle(old), [1], "the new one's alone");
    }

    #[test]
    fn the_hand_is_full_by_messages_or_by_bytes_until_something_is_settled() {
        let mut hand = Hand::new(2, 100);
        let first = hand.take(None, 100, at(5));
        assert!(hand.is_full());
        assert_eq!(hand.waited(at(25)), Duration::from_millis(20));
        hand.settle(first);
        assert!(!hand.is_full());
        assert_eq!(hand.waited(at(25)), Duration::ZERO);
        hand.take(None, 1, at(5));
        let last = hand.take(None, 1, at(5));
        assert!(hand.is_full());
        hand.settle(last);
        assert!(hand.is_full(), "it waits for the one before it");
    }
}
