//! Many hosts on one network, every pair of them as well or badly connected as asked.
//!
//! Addresses come from 198.18.0.0/15, which is set aside for tests: nobody's own network is there.

use crate::hosts::{Host, Net};
use crate::relay::Relay;
use crate::shape::{Passed, Shape};
use std::net::Ipv4Addr;

/// A network; its devices are gone when it is dropped.
#[derive(Debug)]
pub struct Fabric {
    relay: Relay,
    tag: String,
}

impl Fabric {
    /// A network that joins nobody yet; every pair of hosts will be connected as `usual` says.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(net: &Net, usual: Shape, seed: u64) -> anyhow::Result<Self> {
        Ok(Self {
            relay: Relay::start(usual, seed)?,
            tag: net.tag().to_owned(),
        })
    }

    /// The address of the host with this number.
    #[must_use]
    pub const fn address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, number)
    }

    /// Joins a host; its number is its own. Gives its address.
    ///
    /// # Errors
    /// What the system or `ip` says.
    pub fn join(&self, host: &Host, number: u8) -> anyhow::Result<Ipv4Addr> {
        let address = Self::address(number);
        let device = host.device(
            &format!("{}h{number}", self.tag),
            &[format!("{address}/24")],
        )?;
        self.relay.join(address, device)?;
        Ok(address)
    }

    /// Pulls a host's cable, or plugs it in again. What it sends meanwhile vanishes, as does what is sent
    /// to it.
    pub fn plug(&self, address: Ipv4Addr, is_in: bool) {
        self.relay.plug(address, is_in);
    }

    /// Takes a host off the network for good; its device is gone.
    pub fn leave(&self, number: u8) {
        self.relay.leave(Self::address(number));
    }

    /// What one host sends to another is treated like this from now on.
    pub fn set(&self, from: Ipv4Addr, to: Ipv4Addr, shape: Shape) {
        self.relay.set(from, to, shape);
    }

    /// How one host reaches another.
    #[must_use]
    pub fn shape(&self, from: Ipv4Addr, to: Ipv4Addr) -> Shape {
        self.relay.shape(from, to)
    }

    /// What passed from one host to another.
    #[must_use]
    pub fn passed(&self, from: Ipv4Addr, to: Ipv4Addr) -> Passed {
        self.relay.passed(from, to)
    }
}
