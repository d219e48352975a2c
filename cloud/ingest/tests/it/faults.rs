//! The broker killed, its stream or consumers gone, the database away: nothing acknowledged is lost
//! that was not settled, nothing is settled too early, and all of it comes back by itself.

use crate::delivery::{envelope, hello};
use crate::mqtt::Mqtt;
use crate::stand::{Stand, wait};
use cloud_ingest::IngestSource as _;
use protocols_model::{Clock as _, SystemClock};
use rumqttc::QoS;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pubacked_survives_a_killed_broker() {
    let mut stand = Stand::start().await;
    let identity = stand.gateway("gw-a").await;
    let mut gateway = Mqtt::connect(stand.mqtt, &identity, "gw-a").await.unwrap();
    // The database is away, so that everything PUBACKed is still in the broker when it dies.
    stand.memory.away.store(true, Ordering::SeqCst);
    for seq in 1..=50 {
        gateway
            .publish("gw/gw-a/up/telemetry", envelope(1, &[seq]))
            .await;
    }
    stand.kill_broker().await;
    gateway.gone().await;
    wait("readiness tells the truth", async || !*stand.ready.borrow()).await;
    stand.memory.away.store(false, Ordering::SeqCst);
    stand.start_broker();
    stand.wait_ready().await;
    wait("everything is stored", async || {
        stand.memory.count("gw-a") == 50
    })
    .await;
    let mut gateway = Mqtt::connect(stand.mqtt, &identity, "gw-a").await.unwrap();
    assert!(gateway.subscribe("gw/gw-a/down/ack", QoS::AtMostOnce).await);
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[51]))
        .await;
    // The first answer may still speak of what came before.
    gateway.message().await;
    wait("the new one is stored too", async || {
        stand.memory.count("gw-a") == 51
    })
    .await;
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_while_the_database_is_away() {
    let stand = Stand::start().await;
    let mut gateway = stand.connected("gw-a").await;
    assert!(gateway.subscribe("gw/gw-a/down/ack", QoS::AtMostOnce).await);
    stand.memory.away.store(true, Ordering::SeqCst);
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[1]))
        .await;
    wait("it was tried", async || {
        stand.ingest_stats.failed_commits.get() >= 2
    })
    .await;
    assert!(!stand.ingest_stats.store_ready());
    let early = tokio::time::timeout(Duration::from_millis(500), gateway.message()).await;
    assert!(early.is_err(), "acknowledged before the commit: {early:?}");
    assert_eq!(
        stand.source.pending().await.unwrap(),
        1,
        "the broker keeps it"
    );
    stand.memory.away.store(false, Ordering::SeqCst);
    gateway.message().await;
    assert_eq!(stand.memory.count("gw-a"), 1);
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_have_under_way_at_the_moment_does_not_keep_epochs_open_but_a_backlog_does() {
    let stand = Stand::start().await;
    let mut gateway = stand.connected("gw-a").await;
    stand.memory.away.store(true, Ordering::SeqCst);
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[1]))
        .await;
    wait("it was tried", async || {
        stand.ingest_stats.failed_commits.get() >= 1
    })
    .await;
    let now = SystemClock::start().wall();
    let waited = stand.source.waited(now).await.unwrap();
    assert!(waited < Duration::from_secs(60), "{waited:?}");
    let hour = Duration::from_secs(3600);
    let later = stand.source.waited(now.plus(hour)).await.unwrap();
    assert!(later >= hour - Duration::from_secs(1), "{later:?}");
    let payload = hello(1).encode().unwrap().to_vec();
    let sent = gateway
        .client
        .publish("gw/gw-a/up/hello", QoS::AtMostOnce, false, payload);
    sent.await.unwrap();
    wait("the hello is heard", async || {
        !stand.memory.drained.lock().unwrap().is_empty()
    })
    .await;
    assert_eq!(*stand.memory.drained.lock().unwrap(), [true]);
    stand.memory.away.store(false, Ordering::SeqCst);
    wait("all is settled", async || {
        stand.source.waited(now.plus(hour)).await.ok() == Some(Duration::ZERO)
    })
    .await;
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_and_consumers_are_made_again_when_they_vanish() {
    let stand = Stand::start().await;
    let mut gateway = stand.connected("gw-a").await;
    assert!(gateway.subscribe("gw/gw-a/down/ack", QoS::AtMostOnce).await);
    let jetstream = stand.jetstream();
    for consumer in ["ingest-live", "ingest-history"] {
        jetstream
            .delete_consumer_from_stream(consumer, cloud_ingest::nats::STREAM)
            .await
            .unwrap();
    }
    wait("consumers are back", async || {
        stand.source.pending().await.is_ok()
    })
    .await;
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[1]))
        .await;
    gateway.message().await;
    jetstream
        .delete_stream(cloud_ingest::nats::STREAM)
        .await
        .unwrap();
    wait("the stream is back", async || {
        stand.source.pending().await.is_ok()
    })
    .await;
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[2]))
        .await;
    gateway.message().await;
    assert_eq!(stand.memory.count("gw-a"), 2);
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_is_bounded_also_when_the_broker_made_it() {
    let stand = Stand::start().await;
    let jetstream = stand.jetstream();
    let mut config = jetstream
        .get_stream(cloud_ingest::nats::STREAM)
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    assert_eq!(config.max_bytes, 64 << 20);
    config.max_bytes = -1;
    jetstream.update_stream(config).await.unwrap();
    wait("the bound is back", async || {
        let stream = jetstream.get_stream(cloud_ingest::nats::STREAM).await;
        stream.is_ok_and(|s| s.cached_info().config.max_bytes == 64 << 20)
    })
    .await;
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages_cannot_fill_the_disk() {
    let stand = Stand::start().await;
    let mut gateway = stand.connected("gw-a").await;
    let jetstream = stand.jetstream();
    wait("the broker's other streams are bounded", async || {
        let stream = jetstream.get_stream("$MQTT_rmsgs").await;
        stream.is_ok_and(|s| s.cached_info().config.max_bytes == 16 << 20)
    })
    .await;
    let retained = vec![7; 900_000];
    for n in 0..25 {
        let topic = format!("gw/gw-a/up/retained-{n}");
        let sent = gateway
            .client
            .publish(topic, QoS::AtMostOnce, true, retained.clone());
        sent.await.unwrap();
    }
    // Behind all of them on the same connection: when this one is stored they were handled.
    assert!(gateway.subscribe("gw/gw-a/down/ack", QoS::AtMostOnce).await);
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[1]))
        .await;
    gateway.message().await;
    let stream = jetstream.get_stream("$MQTT_rmsgs").await.unwrap();
    let held = stream.cached_info().state.bytes;
    assert!(held > 0 && held <= 16 << 20, "{held}");
    stand.finish().await;
}
