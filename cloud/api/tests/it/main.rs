//! The API over real HTTPS against the real store: one binary, one file per concern.

// `cfg(test)` tells clippy that helpers are test code too: they may unwrap and index.
#[cfg(test)]
mod alarms;
mod demo;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod listener;
#[cfg(test)]
mod login;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod queries;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod support;
