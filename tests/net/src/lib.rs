//! Hosts on one machine, and links between them that are as bad as asked: network namespaces joined by a
//! relay that delays, limits, loses and cuts.
//!
//! ```text
//! namespace a: tun 10.87.n.1 ─▶ relay thread: Direction a→b (rate, queue, delay, loss) ─▶ tun 10.87.n.2 :namespace b
//!                             ◀─                Direction b→a                          ◀─
//! ```
//!
//! The usual kernels of test machines have no `netem`, and a TCP proxy cannot lose packets; whole IP
//! packets go through here, so TCP itself deals with the loss. Everything made is removed on drop: the
//! namespaces with their devices, the thread. Needs root and `ip` (Debian: iproute2).
//!
//! | room | holds |
//! |---|---|
//! | [`shape`] | what a link does to packets, pure |
//! | `relay` | the thread between two devices |
//! | [`hosts`] | namespaces, addresses, commands in them |

#![forbid(unsafe_code)]

pub mod hosts;
mod relay;
pub mod shape;

pub use hosts::{Host, Link, Net, can_run};
pub use shape::Shape;
