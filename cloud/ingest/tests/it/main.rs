//! Ingest and auth against a real NATS server, and ingest against Mosquitto, on free ports: who gets
//! in, what arrives, and what survives a killed broker. The database is a small model; the store's own tests cover it.

#![expect(
    clippy::large_futures,
    reason = "a test's own future lives on the heap of its runtime"
)]

#[cfg(test)]
mod brokers;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod mqtt;
#[cfg(test)]
mod stand;
