//! Before the writer: records are decoded and reduced to what it needs, on the caller's side.

use super::Shared;
use crate::digest::{Digest, digest};
use crate::ingest::Incoming;
use bytes::Bytes;
use protocols_model::{Claim, GatewayId, RecordKey, RefuseReason, Timestamp};
use protocols_wire::{
    Body, DecodeError, Dictionary, EnvelopeRecord, Event, Record, RecordStamp, TimeMap,
};

/// Records of one gateway, ready for the writer.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) gateway: GatewayId,
    pub(super) received: Timestamp,
    pub(super) records: Vec<PreparedRecord>,
    pub(super) dictionaries: Vec<Dictionary>,
}

/// A record, ready for the writer.
#[derive(Debug, Clone)]
pub(super) struct PreparedRecord {
    pub(super) key: RecordKey,
    pub(super) body: Bytes,
    pub(super) content: Content,
}

/// What a record turned out to be.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Telemetry(Digest),
    Claims(Vec<Claim>),
    Event(RecordStamp, Event),
    TimeMap(TimeMap),
    /// Will never be stored, and why.
    Unusable(RefuseReason, String),
    /// Of a newer version: the cloud must learn it first.
    Newer,
}

/// Decodes a group. Costs CPU only.
pub(super) fn prepare(shared: &Shared, batch: Vec<Incoming>) -> Vec<Prepared> {
    let one = |incoming: Incoming| Prepared {
        records: incoming
            .records
            .into_iter()
            .map(|record| decode(shared, &incoming.gateway, incoming.received, record))
            .collect(),
        gateway: incoming.gateway,
        received: incoming.received,
        dictionaries: incoming.dictionaries,
    };
    batch.into_iter().map(one).collect()
}

fn decode(
    shared: &Shared,
    gateway: &GatewayId,
    received: Timestamp,
    record: EnvelopeRecord,
) -> PreparedRecord {
    let key = record.key;
    let (body, decoded) = match record.body {
        Ok(body) => {
            let decoded = Record::decode(&body);
            (body, decoded)
        }
        Err(why) => (Bytes::new(), Err(why)),
    };
    let content = match decoded {
        Ok(Record { stamp, body }) => match body {
            Body::Telemetry(telemetry) => {
                let map = shared.map(gateway, stamp.boot);
                let retention = shared.limits.retention;
                Content::Telemetry(digest(stamp, &telemetry, map.as_ref(), received, retention))
            }
            Body::Claims(claims) => Content::Claims(claims),
            Body::Event(event) => Content::Event(stamp, event),
            Body::TimeMap(map) => Content::TimeMap(map),
        },
        Err(DecodeError::UnknownVersion(_)) => Content::Newer,
        Err(why @ DecodeError::TooLarge { .. }) => {
            Content::Unusable(RefuseReason::TooLarge, why.to_string())
        }
        Err(why) => Content::Unusable(RefuseReason::Malformed, why.to_string()),
    };
    PreparedRecord { key, body, content }
}
