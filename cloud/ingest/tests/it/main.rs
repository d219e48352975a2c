//! Ingest and auth against a real NATS server on ephemeral ports: who gets in, what arrives, and
//! what survives a killed broker. The database is a small model; the store's own tests cover it.

mod delivery;
mod faults;
mod identity;
mod memory;
mod mqtt;
mod stand;
