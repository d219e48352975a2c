//! The gateway's configuration: TOML in, one checked and immutable value out, or every problem of
//! it at once.
//!
//! ```text
//! gateway.toml ─┐
//! template.toml ─┼─▶ parse (spans kept) ─▶ walk: parts right by themselves ─▶ connect names ─▶ GatewayConfig
//! points.csv ───┘                └───────────── problems: file, line, column, key, found, allowed
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `bus` | a bus as its driver takes it |
//! | [`config`] | the whole, and how it is loaded |
//! | [`settings`] | gateway, spool, uplink, HTTP, log |
//! | `field`, `point`, `poll`, `csv` | buses, templates, devices and points, as far as all families share them |
//! | `modbus`, `serial`, `ble` | one family each: what is written, inherited and handed to its driver |
//! | [`mod@fog`] | filters, derived points, rules, privacy: what is done with readings on the spot |
//! | [`report`] | what is reported of a point |
//! | [`reference`] | the reference and the editors' schema, from the same declarations |
//! | [`identity`] | the identity file of `fogline-cloud gateway add` |
//! | [`problem`], [`mod@render`], [`source`] | what is wrong, shown to people and machines |
//! | [`units`] | durations and sizes as text |
//! | `key` | every key declared once: kind, bounds, default, help |
//! | `walk`, `notes` | getters over the parsed document; what files share while they are read |
//!
//! Rules: no environment, no globals; unknown keys are errors in `check` and warnings at boot;
//! secrets are only named by path; `gateway.example.toml` documents every key and is tested.

#![forbid(unsafe_code)]

mod ble;
mod bus;
pub mod config;
mod csv;
mod field;
pub mod fog;
pub mod identity;
mod key;
mod modbus;
mod notes;
mod point;
mod poll;
pub mod problem;
pub mod reference;
pub mod render;
pub mod report;
mod serial;
pub mod settings;
pub mod source;
pub mod units;
mod walk;

pub use bus::BusConfig;
pub use config::{GatewayConfig, Loaded, Options, PointConfig, load, load_with};
pub use fog::{Derived, Fog, Leaves, Windowed};
pub use identity::{Identity, IdentityError, parse_identity, read_identity};
pub use problem::{Problem, Severity};
pub use render::render;
pub use report::{Deadband, Report};
pub use settings::{Confirm, Credentials, Gateway, Http, Log, LogFormat, Uplink};
