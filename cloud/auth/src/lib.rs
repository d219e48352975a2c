//! Who may connect to the broker, and who is connected (design.md C11).
//!
//! ```text
//! gateway ─TLS─▶ broker ─ question ─▶ callout ─ registry ─▶ grant gw.{id}.up.> / gw.{id}.down.>
//!                  │                     └─ refusal: reason, logged, counted, kept for the API
//!                  ├─ sessions opened, closed, listed ─▶ presence ─▶ store
//!                  └─ cut ◀── revocation: registry first, then every session of the gateway
//! ```

#![forbid(unsafe_code)]

pub mod broker_config;
pub mod jwt;
pub mod nkeys;
pub mod sessions;
