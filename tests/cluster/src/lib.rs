//! A cluster on one machine: hosts with addresses, disks and power of their own, on them the real broker
//! nodes, balancers, cloud roles, devices and gateways, and every way to break them.
//!
//! ```text
//!  zone field        zone a              zone b              zone c
//!  site-1            lb-1   haproxy-1    lb-2   haproxy-2
//!   devices          broker-1  nats-1    broker-2  nats-2    broker-3  nats-3
//!   hall-1, hall-2   cloud-1
//!       └────────────── one network: every ordered pair as bad as asked (tests/net) ──────────────
//! ```
//!
//! | room | holds |
//! |---|---|
//! | [`plan`] | which hosts there are, where; pure |
//! | [`keeper`] | when what ended is started again; pure |
//! | [`status`] | how everything is, as a table; pure |
//! | [`disk`] | a host's disk: full, and what is left of it without power |
//! | [`installation`] | what `fogline-cloud init` makes for it |
//! | [`raise`] | everything made and started |
//! | [`unit`] | one process under supervision |
//! | [`cluster`] | the task that owns all of it |
//! | [`control`] | how that task is told what to do |
//! | `probe`, `jetstream`, `host`, [`door`] | asking processes, the stream, power, the dashboard's way out |
//! | [`leftovers`] | what a killed owner left, removed |
//!
//! Needs root. Nothing of it touches this machine's own network: addresses are of 198.18.0.0/24, in
//! namespaces only.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod control;
pub mod disk;
pub mod door;
mod host;
pub mod installation;
mod jetstream;
pub mod keeper;
pub mod leftovers;
pub mod plan;
mod probe;
pub mod raise;
pub mod status;
pub mod unit;

pub use cluster::Cluster;
pub use control::{Answer, Control, Request};
pub use raise::{Wishes, can_run, raise};
