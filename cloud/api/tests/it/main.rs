//! The API over real HTTPS against the real store: one binary, one file per concern.

mod feed;
mod guard;
mod listener;
mod login;
mod openapi;
mod queries;
mod stream;
mod support;
