//! From the broker into the database: commit first, then tell, then settle (design.md C2-C5).
//!
//! ```text
//!             live ──┐                          ┌─▶ gw.{id}.down.ack (≥ 50 ms apart)
//! broker ─▶ source ──┼─▶ worker ─ commit ─▶ teller ─▶ receipts back to the broker
//!          history ──┘     └─▶ quarantine
//!            hello ──────▶ hellos ─ state ─────▶ gw.{id}.down.ack
//! ```
//!
//! Guarantees:
//! 1. A message is settled at the broker only after its records are committed (or refused by name)
//!    and its gateway was told.
//! 2. What cannot be decoded is set aside, counted, refused where it can be named, and never holds
//!    up what is behind it.
//! 3. While the database is away nothing is settled and nothing is lost; work goes on when it is back.
//! 4. The gateway is the one of the topic, never of the payload.
//! 5. Replicas share the work in any order; one that stops gives back what it has not begun.
//!
//! | room | holds |
//! |---|---|
//! | [`source`] | the seam to a broker |
//! | [`nats`] | NATS JetStream behind it |
//! | [`mqtt`] | any broker with shared subscriptions behind it |
//! | [`decode`], [`acks`], [`pace`], [`gate`] | the rules, pure |
//! | `worker`, `teller`, `hello`, [`peers`] | the tasks |
//! | [`watch_source`] | the watch over what must exist at the broker |
//! | [`run()`] | ingest as a whole |

#![forbid(unsafe_code)]

pub mod acks;
pub mod decode;
mod failpoint;
pub mod gate;
mod hello;
pub mod mqtt;
pub mod nats;
pub mod pace;
pub mod peers;
mod run;
pub mod source;
pub mod stats;
mod teller;
mod watch;
mod worker;

pub use mqtt::{MqttLink, MqttSettings, MqttSource, MqttTls};
pub use nats::{NatsOptions, NatsSource};
pub use run::{IngestParts, run};
pub use source::{
    Delivery, HelloMessage, IngestSource, Receipt, SourceError, StreamState, Trouble,
};
pub use stats::IngestStats;
pub use watch::watch_source;
