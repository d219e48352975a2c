//! Who may connect to the broker, and who is connected (design.md C11).
//!
//! ```text
//! gateway ─TLS─▶ broker ─ question ─▶ callout ─ registry ─▶ grant gw.{id}.up.> / gw.{id}.down.>
//!                  │                     └─ refusal: reason, logged, counted, kept for the API
//!                  ├─ sessions opened, closed, listed ─▶ presence ─▶ store
//!                  └─ cut ◀── revocation: registry first, then every session of the gateway
//! ```
//!
//! | room | holds |
//! |---|---|
//! | [`broker_config`] | the broker's configuration and its users' secrets |
//! | [`node`] | who a broker node is, and whether its volume agrees |
//! | [`nkeys`], [`jwt`] | NATS' keys and signed claims, as far as a callout needs them |
//! | [`decide`] | the rule, pure |
//! | [`callout`] | the responder |
//! | [`sessions`], [`presence`] | who is connected: the table, pure, and what feeds it |
//! | [`monitor`] | listing and cutting sessions |

#![forbid(unsafe_code)]

pub mod broker_config;
pub mod callout;
pub mod decide;
pub mod jwt;
pub mod monitor;
pub mod nkeys;
pub mod node;
pub mod presence;
pub mod sessions;
pub mod stats;

pub use broker_config::{BrokerConfigError, BrokerSecrets, BrokerSettings, ClusterSettings};
pub use callout::Callout;
pub use decide::Refusal;
pub use monitor::{Monitor, MonitorError};
pub use node::{Node, NodeError, NodeFile, Volume};
pub use presence::Presence;
pub use stats::{AuthStats, Refused};
