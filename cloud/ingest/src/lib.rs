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
//!
//! | room | holds |
//! |---|---|
//! | [`source`] | the seam to a broker |
//! | [`nats`] | NATS JetStream behind it |
//! | [`decode`], [`acks`], [`pace`] | the rules, pure |
//! | `worker`, `teller`, `hello` | the tasks |
//! | [`run()`] | ingest as a whole, [`watch_source`] |

#![forbid(unsafe_code)]

pub mod acks;
pub mod decode;
mod failpoint;
mod hello;
pub mod nats;
pub mod pace;
mod run;
pub mod source;
pub mod stats;
mod teller;
mod worker;

pub use nats::{NatsOptions, NatsSource};
pub use run::{IngestParts, run, watch_source};
pub use source::{Delivery, HelloMessage, IngestSource, Receipt, SourceError, StreamState};
pub use stats::IngestStats;
