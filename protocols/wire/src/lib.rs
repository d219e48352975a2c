//! What travels between a gateway and the cloud. The format is a contract: see `SPEC.md`.
//!
//! ```text
//! readings ─▶ Telemetry ─▶ record body (≤ 8 KiB, protobuf with packed columns)
//!                              │ 1..n, each named by a fixed header with its own CRC
//!                              ▼
//!                          envelope (zstd level 1 over all bodies) ─▶ gw/{gateway}/up/{lane}[/history]
//! hello ─▶ gw/{gateway}/up/hello        acknowledgement, hello answer ◀─ gw/{gateway}/down/ack
//! ```
//!
//! Guarantees: decoders are bounded by [`limits`] and never panic; bytes that were encoded once decode
//! for ever; a damaged record can still be named, because its identity stands outside the
//! compressed part.

#![forbid(unsafe_code)]

pub mod control;
pub mod dictionary;
pub mod envelope;
pub mod error;
pub mod limits;
mod pack;
pub mod record;
pub mod topic;

pub use control::{
    Ack, AckItem, ClockState, Down, EpochState, Held, Hello, HelloAnswer, Pace, RetryLater,
    RetryReason,
};
pub use dictionary::Dictionary;
pub use envelope::{
    ENVELOPE_VERSION, Envelope, EnvelopeEncoder, EnvelopeRecord, decode_envelope, encode_envelope,
};
pub use error::{DecodeError, EncodeError, EnvelopeError};
pub use record::{
    AlarmNote, AlarmPoint, Body, Column, ColumnHead, Event, EventKind, NextColumn, Record,
    RecordStamp, RecordSummary, Sample, SealedRecord, Telemetry, TimeMap, Unchanged,
};
pub use topic::Topic;
