//! Debian packages of what we build: a recipe (`deploy/*/package.toml`) and a binary become a `.deb`.
//!
//! No Debian tool is needed to write one, and the same input gives the same bytes: times come from
//! `SOURCE_DATE_EPOCH` or the last commit, owners are root, names are sorted.

mod archive;
mod build;
mod control;
mod recipe;

pub use build::{Order, build};
pub use recipe::Recipe;
