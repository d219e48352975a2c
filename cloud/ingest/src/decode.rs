//! What a delivered message is: records to commit, a hint to send back, or something to set aside.
//! Pure.
//!
//! The gateway is the one the topic names: the broker's rights made sure of it. A message that
//! cannot be used as a whole still names its records where its headers can be read; these are
//! refused by name (through the store, which keeps the count), so that the gateway stops sending.

use cloud_store::{Incoming, QuarantineInput};
use protocols_model::{GatewayId, RecordKey, SeqRange, SeqSet, Timestamp};
use protocols_wire::{
    AckItem, DecodeError, EnvelopeError, EnvelopeRecord, RetryLater, RetryReason, Topic,
    decode_envelope,
};
use std::time::Duration;

/// A newer format stays in the spool until somebody has updated the cloud: no hurry.
const NEWER_VERSION_AFTER: Duration = Duration::from_secs(60);

/// What to do with one message.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// Records to store or to refuse by name.
    pub commit: Option<Incoming>,
    /// Hints for the gateway that need no commit.
    pub hints: Option<(GatewayId, Vec<AckItem>)>,
    /// Set aside for people.
    pub quarantine: Option<QuarantineInput>,
}

/// Reads one message.
#[must_use]
pub fn decode(topic: &str, payload: &[u8], received: Timestamp) -> Decoded {
    let set_aside = |gateway: Option<&GatewayId>, reason: String| QuarantineInput {
        gateway: gateway.cloned(),
        topic: topic.to_owned(),
        payload: payload.to_vec(),
        reason,
        received,
    };
    let (gateway, lane) = match Topic::parse(topic) {
        Some(Topic::Up { gateway, lane, .. }) => (gateway, lane),
        Some(Topic::Hello(gateway)) => {
            let reason = "a hello must be published with QoS 0".to_owned();
            return Decoded {
                quarantine: Some(set_aside(Some(&gateway), reason)),
                ..Decoded::default()
            };
        }
        _ => {
            return Decoded {
                quarantine: Some(set_aside(
                    sender(topic).as_ref(),
                    "no topic of the contract".to_owned(),
                )),
                ..Decoded::default()
            };
        }
    };
    let envelope = match decode_envelope(payload) {
        Ok(envelope) => envelope,
        Err(error) => {
            let aside = set_aside(Some(&gateway), error.to_string());
            return unusable(gateway, error, received, aside);
        }
    };
    let mut damaged = None;
    let mut records = envelope.records;
    for record in &mut records {
        if record.key.lane != lane {
            record.body = Err(DecodeError::Malformed("the record is of another lane"));
        }
        if let Err(why) = &record.body {
            damaged.get_or_insert_with(|| named(record.key, why));
        }
    }
    Decoded {
        quarantine: damaged.map(|reason| set_aside(Some(&gateway), reason)),
        commit: Some(Incoming {
            gateway,
            received,
            records,
            dictionaries: envelope.dictionaries,
        }),
        hints: None,
    }
}

/// Turns a message that the store cannot take into one that it refuses by name.
#[must_use]
pub fn refuse_all(incoming: &Incoming, why: &'static str) -> Incoming {
    let refuse = |record: &EnvelopeRecord| EnvelopeRecord {
        key: record.key,
        body: Err(DecodeError::Malformed(why)),
    };
    Incoming {
        records: incoming.records.iter().map(refuse).collect(),
        dictionaries: Vec::new(),
        ..incoming.clone()
    }
}

fn unusable(
    gateway: GatewayId,
    error: EnvelopeError,
    received: Timestamp,
    aside: QuarantineInput,
) -> Decoded {
    if let DecodeError::UnknownVersion(_) = error.why {
        // Nothing is wrong with it: it is offered again until the cloud can read it.
        let hints: Vec<AckItem> = error.named.iter().filter_map(|key| later(*key)).collect();
        return Decoded {
            quarantine: hints.is_empty().then_some(aside),
            hints: (!hints.is_empty()).then_some((gateway, hints)),
            commit: None,
        };
    }
    let refuse = |key: &RecordKey| EnvelopeRecord {
        key: *key,
        body: Err(error.why.clone()),
    };
    let records: Vec<EnvelopeRecord> = error.named.iter().map(refuse).collect();
    Decoded {
        commit: (!records.is_empty()).then_some(Incoming {
            gateway,
            received,
            records,
            dictionaries: Vec::new(),
        }),
        quarantine: Some(aside),
        hints: None,
    }
}

fn later(key: RecordKey) -> Option<AckItem> {
    Some(AckItem {
        epoch: key.epoch,
        lane: key.lane,
        stored: SeqSet::new(),
        refused: Vec::new(),
        retry: vec![RetryLater {
            range: SeqRange::one(key.seq)?,
            reason: RetryReason::NewerVersion,
            after: NEWER_VERSION_AFTER,
        }],
    })
}

fn named(key: RecordKey, why: &DecodeError) -> String {
    let RecordKey { epoch, lane, seq } = key;
    format!("record {epoch}/{lane}/{seq}: {why}")
}

/// Whose topic it is, where it is at least `gw/{gateway}/…`.
fn sender(topic: &str) -> Option<GatewayId> {
    let mut levels = topic.split(['/', '.']);
    (levels.next() == Some("gw"))
        .then(|| levels.next())
        .flatten()
        .and_then(|id| GatewayId::try_new(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocols_model::{Epoch, Lane};
    use protocols_wire::encode_envelope;

    const NOW: Timestamp = Timestamp(1);

    fn key(seq: u64) -> RecordKey {
        RecordKey {
            epoch: Epoch(7),
            lane: Lane::Telemetry,
            seq,
        }
    }

    fn envelope() -> Bytes {
        let body = Bytes::from_static(b"whatever the body is, the store reads it");
        encode_envelope(&[(key(1), body.clone()), (key(2), body)], &[]).unwrap()
    }

    #[test]
    fn records_belong_to_the_gateway_of_the_topic() {
        for topic in [
            "gw.a1.up.telemetry",
            "gw/a1/up/telemetry",
            "gw.a1.up.telemetry.history",
        ] {
            let decoded = decode(topic, &envelope(), NOW);
            let incoming = decoded.commit.unwrap();
            assert_eq!(incoming.gateway.as_str(), "a1");
            assert_eq!(incoming.records.len(), 2);
            assert!(decoded.quarantine.is_none());
        }
    }

    #[test]
    fn a_record_in_a_foreign_lane_is_refused_by_name() {
        let decoded = decode("gw.a1.up.alarm", &envelope(), NOW);
        assert!(decoded.quarantine.is_some());
        let records = decoded.commit.unwrap().records;
        assert!(records.iter().all(|record| record.body.is_err()));
    }

    #[test]
    fn garbage_and_wrong_topics_are_set_aside_with_their_sender() {
        for (topic, payload) in [
            ("gw.a1.up.telemetry", &b"garbage"[..]),
            ("gw.a1.up.hello", &b"x"[..]),
            ("gw.a1.up.nonsense.x", &b"x"[..]),
        ] {
            let decoded = decode(topic, payload, NOW);
            let aside = decoded.quarantine.expect(topic);
            assert_eq!(aside.gateway.unwrap().as_str(), "a1");
            assert_eq!(aside.payload, payload);
            assert!(decoded.commit.is_none(), "{topic}");
        }
        assert!(
            decode("x.y", b"", NOW)
                .quarantine
                .unwrap()
                .gateway
                .is_none()
        );
    }

    #[test]
    fn a_damaged_envelope_refuses_the_records_it_still_names() {
        let mut bytes = envelope().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 0xff;
        let decoded = decode("gw.a1.up.telemetry", &bytes, NOW);
        assert!(decoded.quarantine.is_some());
        let records = decoded.commit.unwrap().records;
        assert!(!records.is_empty());
        assert!(records.iter().any(|record| record.body.is_err()));
    }

    #[test]
    fn a_newer_version_is_asked_for_again_and_never_refused() {
        let mut bytes = envelope().to_vec();
        bytes[2] = 250;
        // The head's own checksum is right again: this is a newer version, not damage.
        let crc = crc32fast::hash(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let decoded = decode("gw.a1.up.telemetry", &bytes, NOW);
        assert!(decoded.commit.is_none());
        let (_, hints) = decoded.hints.unwrap();
        assert_eq!(hints.len(), 2);
        assert!(matches!(
            hints[0].retry[0].reason,
            RetryReason::NewerVersion
        ));
    }
}
