//! From a publish to the database and back; bad input is set aside and holds nothing up.

use crate::stand::{Stand, wait};
use bytes::Bytes;
use protocols_model::{BootId, Epoch, Lane, RecordKey, SeqSet, Timestamp};
use protocols_wire::{
    Ack, AckItem, ClockState, Down, Held, Hello, HelloAnswer, RetryReason, encode_envelope,
};
use rumqttc::QoS;
use std::time::Duration;

pub(crate) fn envelope(epoch: u64, seqs: &[u64]) -> Bytes {
    let record = |&seq: &u64| {
        let key = RecordKey {
            epoch: Epoch(epoch),
            lane: Lane::Telemetry,
            seq,
        };
        (key, Bytes::from(format!("record {seq}")))
    };
    let records: Vec<_> = seqs.iter().map(record).collect();
    encode_envelope(&records, &[]).unwrap()
}

fn ack(payload: &[u8]) -> Ack {
    match Down::decode(payload).unwrap() {
        Down::Ack(ack) => ack,
        other @ Down::HelloAnswer(_) => panic!("{other:?}"),
    }
}

pub(crate) fn hello(nonce: u64) -> Hello {
    Hello {
        versions: vec![1],
        nonce,
        boot: BootId(1),
        epoch: Epoch(1),
        held: vec![Held {
            epoch: Epoch(1),
            lane: Lane::Telemetry,
            first: 1,
            last: 3,
        }],
        partial: false,
        dictionaries: vec![],
        clock: ClockState {
            synced: true,
            wall: Timestamp(0),
            mono: Duration::ZERO,
        },
        loss_window: Duration::from_secs(3),
        spool_bytes: 0,
        spool_quota_bytes: 1,
        software: "test".into(),
        config_revision: "1".into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_is_stored_and_its_acknowledgement_comes_back() {
    let stand = Stand::start().await;
    let mut gateway = stand.connected("gw-a").await;
    assert!(gateway.subscribe("gw/gw-a/down/ack", QoS::AtMostOnce).await);
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[1, 2]))
        .await;
    let (topic, payload) = gateway.message().await;
    assert_eq!(topic, "gw/gw-a/down/ack");
    let items = ack(&payload).items;
    let [item] = items.as_slice() else {
        panic!("one epoch and lane, one item: {items:?}");
    };
    assert_eq!(item.stored.count(), 2);
    assert_eq!(stand.memory.count("gw-a"), 2);

    // The same again: stored once, acknowledged again.
    gateway
        .publish("gw/gw-a/up/telemetry/history", envelope(1, &[1, 2]))
        .await;
    let (_, payload) = gateway.message().await;
    assert_eq!(ack(&payload).items.len(), 1);
    assert_eq!(stand.memory.count("gw-a"), 2);
    assert_eq!(*stand.memory.duplicates.lock().unwrap(), 2);
    wait("the broker keeps nothing", async || {
        cloud_ingest::IngestSource::pending(&*stand.source)
            .await
            .ok()
            == Some(0)
    })
    .await;
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_is_answered_with_the_settled_state() {
    let stand = Stand::start().await;
    let mut gateway = stand.connected("gw-a").await;
    assert!(gateway.subscribe("gw/gw-a/down/ack", QoS::AtMostOnce).await);
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[1, 3]))
        .await;
    gateway.message().await;
    let payload = hello(77).encode().unwrap();
    let sent = gateway
        .client
        .publish("gw/gw-a/up/hello", QoS::AtMostOnce, false, payload.to_vec());
    sent.await.unwrap();
    let (_, payload) = gateway.message().await;
    let Down::HelloAnswer(HelloAnswer {
        nonce,
        epochs,
        newest_version,
        ..
    }) = Down::decode(&payload).unwrap()
    else {
        panic!("not an answer");
    };
    assert_eq!((nonce, newest_version), (77, 1));
    assert_eq!(epochs[0].settled.count(), 2);
    assert!(!epochs[0].settled.contains(2));
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_set_aside_refused_where_it_is_named_and_holds_nothing_up() {
    let stand = Stand::start().await;
    let mut gateway = stand.connected("gw-a").await;
    assert!(gateway.subscribe("gw/gw-a/down/ack", QoS::AtMostOnce).await);
    let mut damaged = envelope(1, &[5]).to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 0xff;
    let mut newer = envelope(1, &[6]).to_vec();
    newer[2] = 99;
    let crc = crc32fast::hash(&newer[..12]);
    newer[12..16].copy_from_slice(&crc.to_le_bytes());
    for (topic, payload) in [
        ("gw/gw-a/up/telemetry", b"garbage".to_vec()),
        ("gw/gw-a/up/no-such-lane", envelope(1, &[7]).to_vec()),
        (
            "gw/gw-a/up/telemetry/history/deeper/still",
            envelope(1, &[7]).to_vec(),
        ),
        ("gw/gw-a/up/hello", b"at QoS 1".to_vec()),
        ("gw/gw-a/up/telemetry", damaged),
        ("gw/gw-a/up/telemetry", newer),
        ("gw/gw-a/up/telemetry", vec![0; 900_000]),
        ("gw/gw-a/up/telemetry", envelope(1, &[1]).to_vec()),
    ] {
        gateway.publish(topic, payload).await;
    }
    let mut told: Vec<AckItem> = Vec::new();
    let is_stored = |told: &[AckItem]| told.iter().any(|item| item.stored.contains(1));
    while !(is_stored(&told)
        && told.iter().any(|item| !item.refused.is_empty())
        && told.iter().any(|item| !item.retry.is_empty()))
    {
        let (_, payload) = gateway.message().await;
        told.extend(ack(&payload).items);
    }
    let stored: SeqSet = told
        .iter()
        .flat_map(|item| item.stored.ranges().to_vec())
        .collect();
    assert_eq!(stored.count(), 1);
    let refused: Vec<_> = told.iter().flat_map(|item| item.refused.clone()).collect();
    assert!(
        refused.iter().all(|(range, _)| range.first() == 5),
        "{refused:?}"
    );
    let retry: Vec<_> = told.iter().flat_map(|item| item.retry.clone()).collect();
    assert_eq!(
        (retry[0].range.first(), retry[0].reason),
        (6, RetryReason::NewerVersion)
    );
    // 6 of 8: the newer version is no mistake, and the last one is good. The hello was also heard.
    wait("all of it is set aside", async || {
        stand.memory.quarantine.lock().unwrap().len() >= 6
    })
    .await;
    wait("nothing is left behind", async || {
        cloud_ingest::IngestSource::pending(&*stand.source)
            .await
            .ok()
            == Some(0)
    })
    .await;
    assert!(stand.ingest_stats.quarantined.get() >= 6);
    stand.finish().await;
}
