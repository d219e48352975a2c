//! The files below `deploy/`, tried without what they are for: no Kubernetes, no hosts.
//!
//! ```text
//! deploy/helm ──helm template──▶ objects ─┬─▶ schemas of several Kubernetes versions
//!                                         └─▶ our policies, each with a mutant that it must notice
//! deploy/ansible ──▶ lint, syntax, the preflight's own rules
//! deploy/systemd, deploy/compose, deploy/monitoring ──▶ the tools that read them
//! deploy/guides ──▶ the commands in them, as far as they can be tried here
//! ```
//!
//! The tools come from PyPI and Debian; a test whose tool cannot be had is left out with the reason, and
//! fails where they are required (`tests/interop`). What this proves is that the files are well formed,
//! agree with one another and keep our rules. It is no proof that a live cluster accepts them.

#![forbid(unsafe_code)]

pub mod chart;
pub mod guide;
pub mod hosts;
pub mod objects;
pub mod policies;
mod tools;

pub use objects::Objects;
pub use tools::{Tools, root};
