//! Hosts on one machine, and links between them that are as bad as asked: network namespaces joined by a
//! relay that delays, limits, loses and cuts.
//!
//! ```text
//! namespace a: tun ─▶ relay thread: Switch, a Direction for each ordered pair (rate, queue, delay, loss) ─▶ tun :namespace b
//! ```
//!
//! Two hosts are joined by a [`Link`], any number of them by a [`Fabric`].
//!
//! The usual kernels of test machines have no `netem`, and a TCP proxy cannot lose packets; whole IP
//! packets go through here, so TCP itself deals with the loss. Everything made is removed on drop: the
//! namespaces with their devices, the thread. Needs root and `ip` (Debian: iproute2).
//!
//! | room | holds |
//! |---|---|
//! | [`shape`] | what happens to packets in one direction, pure |
//! | [`switch`] | where packets go, a direction for each pair; pure |
//! | `relay` | the thread between the devices |
//! | [`hosts`] | hosts, commands in them, links of two |
//! | [`fabric`] | many hosts on one network |
//! | [`leftovers`] | what a process that was killed left behind |

#![forbid(unsafe_code)]

pub mod fabric;
pub mod hosts;
pub mod leftovers;
mod relay;
pub mod shape;
pub mod switch;

pub use fabric::Fabric;
pub use hosts::{Host, Link, Net, can_run};
pub use shape::Shape;
