//! What a link does to packets in one direction: pure, time as an argument.
//!
//! A packet waits in line for the wire, takes its time on it, and arrives a delay later. Order is kept. A
//! line that is too long drops at its end, as routers do.

use std::collections::VecDeque;
use std::time::Duration;

/// Packets in flight in one direction; what comes on top is dropped. Far above any bandwidth times delay
/// of a test.
const MAX_IN_FLIGHT: usize = 16_384;

/// How bad a link is, in one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Time a packet is under way, beside its time on the wire.
    pub delay: Duration,
    /// Part of the packets that vanish, 0 to 1.
    pub loss: f64,
    /// Bits a second; `None` for as fast as the machine.
    pub rate: Option<u64>,
    /// Bytes that may wait for the wire.
    pub queue: usize,
    /// Nothing passes.
    pub cut: bool,
}

impl Shape {
    /// A link that does nothing to packets.
    pub const CLEAN: Self = Self {
        delay: Duration::ZERO,
        loss: 0.0,
        rate: None,
        queue: 64 * 1024,
        cut: false,
    };

    /// Half of a round trip to each side.
    #[must_use]
    pub fn round_trip(self, round_trip: Duration) -> Self {
        Self {
            delay: round_trip / 2,
            ..self
        }
    }
}

/// What passed and what did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Packets delivered.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that were lost on purpose.
    pub lost: u64,
    /// Packets for which the line was too long.
    pub dropped: u64,
}

/// One direction of a link.
#[derive(Debug)]
pub struct Direction {
    shape: Shape,
    rng: fastrand::Rng,
    /// When the wire is free.
    free_at: Duration,
    in_flight: VecDeque<(Duration, Vec<u8>)>,
    passed: Passed,
}

impl Direction {
    /// An idle direction; the seed decides which packets are lost.
    #[must_use]
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self {
            shape,
            rng: fastrand::Rng::with_seed(seed),
            free_at: Duration::ZERO,
            in_flight: VecDeque::new(),
            passed: Passed::default(),
        }
    }

    /// From now on it is like this; what is under way arrives as it would have, unless it is cut.
    pub fn set(&mut self, shape: Shape) {
        if shape.cut {
            self.clear();
        }
        self.shape = shape;
    }

    /// How it is.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Everything under way is lost.
    pub fn clear(&mut self) {
        self.passed.lost += self.in_flight.len() as u64;
        self.in_flight.clear();
    }

    /// A packet arrives at `now`, counted from any origin that does not change.
    pub fn offer(&mut self, now: Duration, packet: &[u8]) {
        if self.shape.cut || self.rng.f64() < self.shape.loss {
            self.passed.lost += 1;
            return;
        }
        let start = self.free_at.max(now);
        let on_wire = |bytes: usize| match self.shape.rate {
            None => Duration::ZERO,
            Some(rate) => Duration::from_secs_f64(bytes as f64 * 8.0 / rate.max(1) as f64),
        };
        let waits = start.saturating_sub(now);
        if waits > on_wire(self.shape.queue) || self.in_flight.len() >= MAX_IN_FLIGHT {
            self.passed.dropped += 1;
            return;
        }
        self.free_at = start + on_wire(packet.len());
        let arrives = self.free_at + self.shape.delay;
        // A delay that was just lowered must not let a packet overtake.
        let last = self.in_flight.back().map_or(Duration::ZERO, |(at, _)| *at);
        self.in_flight
            .push_back((arrives.max(last), packet.to_vec()));
    }

    /// When the next packet arrives at the other end.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.in_flight.front().map(|(at, _)| *at)
    }

    /// The next packet that has arrived by `now`.
    pub fn take(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.due()? > now {
            return None;
        }
        let (_, packet) = self.in_flight.pop_front()?;
        self.passed.packets += 1;
        self.passed.bytes += packet.len() as u64;
        Some(packet)
    }

    /// What passed so far.
    #[must_use]
    pub const fn passed(&self) -> Passed {
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn direction(change: impl FnOnce(&mut Shape)) -> Direction {
        let mut shape = Shape::CLEAN;
        change(&mut shape);
        Direction::new(shape, 7)
    }

    #[test]
    fn packets_take_their_time_on_the_wire_and_arrive_in_order_a_delay_later() {
        let mut link = direction(|s| {
            s.rate = Some(8_000);
            s.delay = 300 * MS;
        });
        link.offer(Duration::ZERO, &[1; 100]);
        link.offer(Duration::ZERO, &[2; 100]);
        assert_eq!(link.due(), Some(400 * MS));
        assert_eq!(link.take(399 * MS), None);
        assert_eq!(link.take(400 * MS).unwrap()[0], 1);
        assert_eq!(link.due(), Some(500 * MS));
        link.set(Shape::CLEAN);
        link.offer(410 * MS, &[3; 100]);
        assert_eq!(link.take(600 * MS).unwrap()[0], 2);
        assert_eq!(link.take(600 * MS).unwrap()[0], 3);
    }

    #[test]
    fn a_line_that_is_too_long_drops_at_its_end() {
        let mut link = direction(|s| {
            s.rate = Some(8_000);
            s.queue = 1000;
        });
        for _ in 0..20 {
            link.offer(Duration::ZERO, &[0; 100]);
        }
        assert_eq!(link.passed().dropped, 9);
        let mut now = Duration::ZERO;
        while let Some(due) = link.due() {
            now = due;
            link.take(now).unwrap();
        }
        assert_eq!(now, 1100 * MS);
        assert_eq!(link.passed().bytes, 1100);
    }

    #[test]
    fn the_asked_part_is_lost_and_a_cut_loses_everything_under_way() {
        let mut link = direction(|s| {
            s.loss = 0.02;
            s.delay = MS;
        });
        for _ in 0..10_000 {
            link.offer(Duration::ZERO, &[0]);
            while link.take(10 * MS).is_some() {}
        }
        let lost = link.passed().lost;
        assert!((150..250).contains(&lost), "{lost}");
        link.offer(20 * MS, &[0]);
        link.set(Shape {
            cut: true,
            ..Shape::CLEAN
        });
        link.offer(20 * MS, &[0]);
        assert_eq!(link.due(), None);
        assert_eq!(link.passed().lost, lost + 2);
    }
}
