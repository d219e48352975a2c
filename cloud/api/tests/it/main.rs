//! The API over real HTTPS against the real store: one binary, one file per concern.

mod openapi;
