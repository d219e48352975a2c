//! A throwaway PostgreSQL server for tests, from the distribution's package (`postgresql`, 15 or
//! later): a data directory of its own, a free port on loopback, passwords by SCRAM, gone when it is
//! dropped.
//!
//! ```text
//! Server::start ─▶ initdb ─▶ sh (ends with this process) ─▶ postgres
//!        └─ standby ─▶ pg_basebackup ─▶ a second Server that follows the first; promote
//! ```
//!
//! Nothing outlives the process that started it, however that ends: the server hangs on a pipe that
//! only this process holds. The distribution's own cluster, where there is one, is never touched.

#![forbid(unsafe_code)]

mod install;
mod server;
mod settings;

pub use install::{Installation, find};
pub use server::Server;
pub use settings::{Settings, Tls};

/// The role that tests connect as; it owns everything.
pub const USER: &str = "fogline";

/// Its password; [`Server::password_file`] holds it.
pub const PASSWORD: &str = "only for tests";

/// The database that a server begins with.
pub const DATABASE: &str = "fogline";
