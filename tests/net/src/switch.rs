//! What connects hosts: where a packet goes, and what becomes of it on the way. Pure, time as an argument.
//!
//! Every ordered pair of hosts has a [`Direction`] of its own. So any host can be cut from any other, to one
//! side only as well, and nobody else notices.

use crate::shape::{Direction, Passed, Shape};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Where the destination stands in the header of IPv4.
const DESTINATION: std::ops::Range<usize> = 16..20;

/// Ordered pair of hosts.
type Pair = (Ipv4Addr, Ipv4Addr);

/// A switch with one port a host.
#[derive(Debug)]
pub struct Switch {
    ports: BTreeSet<Ipv4Addr>,
    directions: BTreeMap<Pair, Direction>,
    /// How a pair is that nobody spoke of.
    usual: Shape,
    seeds: fastrand::Rng,
}

impl Switch {
    /// A switch without ports; the seed decides which packets are lost.
    #[must_use]
    pub fn new(usual: Shape, seed: u64) -> Self {
        Self {
            ports: BTreeSet::new(),
            directions: BTreeMap::new(),
            usual,
            seeds: fastrand::Rng::with_seed(seed),
        }
    }

    /// A host is there from now on.
    pub fn join(&mut self, address: Ipv4Addr) {
        self.ports.insert(address);
    }

    /// A host is gone, with everything under way from and to it. Its pairs stay as bad as they were.
    pub fn leave(&mut self, address: Ipv4Addr) {
        self.ports.remove(&address);
        for ((from, to), direction) in &mut self.directions {
            if [*from, *to].contains(&address) {
                direction.clear();
            }
        }
    }

    /// What is sent from one host to another is treated like this from now on.
    pub fn set(&mut self, from: Ipv4Addr, to: Ipv4Addr, shape: Shape) {
        self.direction((from, to)).set(shape);
    }

    /// How one host reaches another.
    #[must_use]
    pub fn shape(&self, from: Ipv4Addr, to: Ipv4Addr) -> Shape {
        let found = self.directions.get(&(from, to));
        found.map_or(self.usual, Direction::shape)
    }

    /// What passed from one host to another.
    #[must_use]
    pub fn passed(&self, from: Ipv4Addr, to: Ipv4Addr) -> Passed {
        let found = self.directions.get(&(from, to));
        found.map_or_else(Passed::default, Direction::passed)
    }

    /// A host sends a packet at `now`, counted from any origin that does not change. What is not from and
    /// for a host that is there goes nowhere.
    pub fn offer(&mut self, now: Duration, from: Ipv4Addr, packet: &[u8]) {
        let is_there = |host: &Ipv4Addr| self.ports.contains(host);
        let to = destination(packet).filter(|to| is_there(to) && is_there(&from));
        if let Some(to) = to {
            self.direction((from, to)).offer(now, packet);
        }
    }

    /// When the next packet arrives anywhere.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.directions.values().filter_map(Direction::due).min()
    }

    /// The next packet that has arrived by `now`, and where.
    pub fn take(&mut self, now: Duration) -> Option<(Ipv4Addr, Vec<u8>)> {
        let due = |(pair, direction): (&Pair, &Direction)| Some((direction.due()?, *pair));
        let (_, pair) = self.directions.iter().filter_map(due).min()?;
        let packet = self.directions.get_mut(&pair)?.take(now)?;
        Some((pair.1, packet))
    }

    fn direction(&mut self, pair: Pair) -> &mut Direction {
        let (usual, seeds) = (self.usual, &mut self.seeds);
        self.directions
            .entry(pair)
            .or_insert_with(|| Direction::new(usual, seeds.u64(..)))
    }
}

/// For whom a packet is; nobody where it is no IPv4.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let version = packet.first()? >> 4;
    let octets: [u8; 4] = packet.get(DESTINATION)?.try_into().ok()?;
    (version == 4).then(|| octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const A: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
    const C: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);
    const CUT: Shape = Shape {
        cut: true,
        ..Shape::CLEAN
    };

    fn packet(to: Ipv4Addr) -> Vec<u8> {
        let mut packet = vec![0x45; 20];
        packet[DESTINATION].copy_from_slice(&to.octets());
        packet
    }

    fn switch() -> Switch {
        let mut switch = Switch::new(Shape::CLEAN, 7);
        [A, B, C]
            .into_iter()
            .for_each(|address| switch.join(address));
        switch
    }

    #[test]
    fn a_packet_reaches_the_host_it_is_for_and_nobody_else() {
        let mut switch = switch();
        switch.offer(MS, A, &packet(B));
        assert_eq!(switch.take(MS), Some((B, packet(B))));
        switch.offer(MS, A, &packet(Ipv4Addr::new(198, 18, 0, 9)));
        switch.offer(MS, A, &[0x60; 40]);
        switch.offer(MS, A, &[]);
        assert_eq!(switch.due(), None);
    }

    #[test]
    fn what_is_cut_to_one_side_passes_to_the_other_and_beside() {
        let mut switch = switch();
        switch.set(A, B, CUT);
        switch.offer(MS, A, &packet(B));
        assert_eq!(switch.take(MS), None);
        switch.offer(MS, B, &packet(A));
        switch.offer(MS, A, &packet(C));
        let arrived: Vec<_> = std::iter::from_fn(|| switch.take(MS)).collect();
        assert_eq!(arrived, [(C, packet(C)), (A, packet(A))]);
        assert_eq!(switch.passed(A, B).lost, 1);
    }

    #[test]
    fn a_host_that_leaves_takes_along_what_is_under_way_and_stays_cut_when_it_returns() {
        let mut switch = switch();
        let slow = Shape {
            delay: 5 * MS,
            ..Shape::CLEAN
        };
        switch.set(A, B, slow);
        switch.set(B, A, CUT);
        switch.offer(MS, A, &packet(B));
        switch.leave(B);
        switch.offer(MS, A, &packet(B));
        switch.offer(MS, B, &packet(C));
        assert_eq!(switch.due(), None);
        switch.join(B);
        assert!(switch.shape(B, A).cut);
        switch.offer(MS, A, &packet(B));
        assert_eq!(switch.due(), Some(6 * MS));
    }
}
