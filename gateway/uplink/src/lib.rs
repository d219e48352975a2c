//! The uplink: takes records from the spool to the cloud, and frees what the cloud has settled.
//!
//! ```text
//! spool ──fetch──▶ engine (lanes, tracker, window) ──envelopes──▶ link (rumqttc, rustls) ──▶ broker
//!   ▲                 │  ▲                                          │
//!   └────settle───────┘  └──PUBACK: pacing · acknowledgement: settled┘◀── cloud, after commit
//! ```
//!
//! Guarantees: a record leaves the spool only when the cloud settled it (or, by configuration, the
//! broker confirmed it); what is known to be settled is not sent again; what is not settled is offered
//! until it is; memory and what is under way are bounded. Failures end a connection, never the task.
//!
//! | room | holds |
//! |---|---|
//! | [`engine`] | the core: what to do, without I/O |
//! | [`tracker`], [`window`], [`lanes`], [`hello`], [`roll`], [`known`], [`delay`] | its parts |
//! | [`rate`], [`ack_window`], [`pace`] | how fast: what the link carries, the cloud settles, the cloud asks for |
//! | [`backoff`] | when to connect again, and where |
//! | [`link`] | the seam to the broker; `rumqtt.rs` is its implementation |
//! | [`tls`], [`tls_time`] | certificates and the clock they are checked by |
//! | [`run`], [`state`] | the task, its options and what it shows |

#![forbid(unsafe_code)]

pub mod ack_window;
pub mod backoff;
mod cursors;
pub mod delay;
pub mod engine;
pub mod hello;
pub mod known;
pub mod lanes;
pub mod link;
pub mod pace;
pub mod rate;
pub mod roll;
mod rumqtt;
pub mod run;
mod session;
pub mod state;
pub mod tls;
pub mod tls_time;
pub mod tracker;
pub mod window;

pub use engine::{Confirm, Counters};
pub use hello::HelloTimes;
pub use link::{Server, ServerError};
pub use run::{UplinkEnded, UplinkHandle, start};
pub use state::{Timings, UplinkOptions, UplinkState};
pub use tls::{Pem, TlsError, TlsIdentity};
pub use window::WindowLimits;
