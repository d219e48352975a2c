//! Nobody acts for anyone else (design.md P2, C11).

use crate::mqtt::{Mqtt, tls};
use crate::stand::{DEADLINE, Stand, wait};
use cloud_ingest::IngestSource as _;
use cloud_store::Registry as _;
use protocols_model::{Clock as _, SystemClock};
use rumqttc::QoS;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_and_trusted_stays_out_and_is_named() {
    let stand = Stand::start().await;
    let a = stand.gateway("gw-a").await;
    let b = stand.gateway("gw-b").await;
    assert!(Mqtt::connect(stand.mqtt, &a, "gw-a").await.is_ok());

    let as_b = Mqtt::connect(stand.mqtt, &a, "gw-b").await.err();
    assert!(as_b.is_some(), "certificate of a with client id b");
    let stranger = stand.issue("gw-stranger");
    let refused = Mqtt::connect(stand.mqtt, &stranger, "gw-stranger").await;
    assert!(refused.is_err(), "a certificate of ours without an entry");
    let other = stand.issue("gw-b");
    assert!(Mqtt::connect(stand.mqtt, &other, "gw-b").await.is_err());
    let now = SystemClock::start().wall();
    stand.memory.revoke_gateway(&b.gateway, now).await.unwrap();
    assert!(Mqtt::connect(stand.mqtt, &b, "gw-b").await.is_err());
    let bare = Mqtt::connect_with(stand.mqtt, tls(&a, false), "gw-a").await;
    assert!(bare.is_err(), "no certificate");

    let refused = stand.auth_stats.refused();
    for reason in ["mismatch", "unknown", "revoked", "other-certificate"] {
        assert!(refused.contains_key(reason), "{reason}: {refused:?}");
    }
    let recent = stand.auth_stats.recent_refusals();
    let mismatch = recent
        .iter()
        .find(|refused| refused.client == "gw-b" && refused.reason.contains("gw-a"));
    assert!(mismatch.is_some(), "both are named: {recent:?}");
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_live_session_is_cut_and_stays_out() {
    let stand = Stand::start().await;
    let identity = stand.gateway("gw-a").await;
    let mut session = Mqtt::connect(stand.mqtt, &identity, "gw-a").await.unwrap();
    let mut other = stand.connected("gw-b").await;
    wait("presence shows it", async || stand.is_connected("gw-a")).await;

    let begin = Instant::now();
    let now = SystemClock::start().wall();
    let id = identity.gateway.clone();
    stand.memory.revoke_gateway(&id, now).await.unwrap();
    let (_, cut) = tokio::join!(session.gone(), stand.monitor.cut(&id));
    // At once, that is not by any timer. How soon is measured where the machine's own pauses are known.
    assert!(begin.elapsed() < DEADLINE / 4, "{:?}", begin.elapsed());
    assert!(cut.unwrap() >= 1);
    assert!(Mqtt::connect(stand.mqtt, &identity, "gw-a").await.is_err());
    wait("presence shows it gone", async || {
        !stand.is_connected("gw-a")
    })
    .await;
    assert!(
        other.subscribe("gw/gw-b/down/ack", QoS::AtMostOnce).await,
        "others stay"
    );
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_reaches_its_own_topics_and_nothing_else() {
    let stand = Stand::start().await;
    let mut a = stand.connected("gw-a").await;
    let mut b = stand.connected("gw-b").await;
    assert!(a.subscribe("gw/gw-a/down/ack", QoS::AtMostOnce).await);
    assert!(a.subscribe("gw/gw-a/down/#", QoS::AtMostOnce).await);
    for topic in [
        "gw/gw-b/down/ack",
        "gw/+/down/ack",
        "gw/#",
        "#",
        "gw/gw-a/up/telemetry",
    ] {
        assert!(!a.subscribe(topic, QoS::AtMostOnce).await, "{topic}");
    }
    assert!(
        !b.subscribe("gw/gw-b/down/ack", QoS::AtLeastOnce).await,
        "a QoS 1 subscription costs the broker 0.4 MiB"
    );
    // A spoofed publish is PUBACKed on MQTT 3.1.1 and goes nowhere.
    b.publish("gw/gw-a/up/telemetry", b"spoof".to_vec()).await;
    b.publish("gw/gw-b/up/telemetry", b"garbage".to_vec()).await;
    wait("the own one arrives", async || {
        !stand.memory.quarantine.lock().unwrap().is_empty()
    })
    .await;
    let quarantine = stand.memory.quarantine.lock().unwrap().clone();
    assert_eq!(quarantine.len(), 1);
    assert_eq!(quarantine[0].topic, "gw.gw-b.up.telemetry");
    stand.finish().await;
}

/// Connects with a last will and breaks off without a goodbye.
async fn die_with_will(stand: &Stand, identity: &cloud_pki::Identity, topic: &str, qos: QoS) {
    let name = identity.gateway.as_str();
    let (ip, port) = (stand.mqtt.ip().to_string(), stand.mqtt.port());
    let mut options = rumqttc::MqttOptions::new(name, ip, port);
    options.set_transport(rumqttc::Transport::tls_with_config(
        rumqttc::TlsConfiguration::Rustls(tls(identity, true)),
    ));
    options.set_last_will(rumqttc::LastWill::new(topic, "last will", qos, true));
    let (client, mut events) = rumqttc::AsyncClient::new(options, 8);
    let first = tokio::time::timeout(DEADLINE, events.poll()).await.unwrap();
    if first.is_err() {
        return; // kept out for its will: as good
    }
    drop((client, events));
    wait("the dead session is gone", async || {
        !stand.is_connected(name)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_wills_nor_retained_messages_nor_internal_subjects_reach_another_gateway() {
    let stand = Stand::start().await;
    let identity = stand.gateway("gw-a").await;
    let mut b = stand.connected("gw-b").await;
    assert!(b.subscribe("gw/gw-b/down/ack", QoS::AtMostOnce).await);
    for (topic, qos) in [
        ("gw/gw-b/down/ack", QoS::AtMostOnce),
        ("gw/gw-b/down/ack", QoS::AtLeastOnce),
        ("gw/gw-b/up/telemetry", QoS::AtLeastOnce),
        ("$MQTT/msgs/gw/gw-b/up/telemetry", QoS::AtMostOnce),
    ] {
        die_with_will(&stand, &identity, topic, qos).await;
    }

    let mut a = Mqtt::connect(stand.mqtt, &identity, "gw-a").await.unwrap();
    for topic in [
        "$SYS/#",
        "$SYS/REQ/#",
        "$JS/#",
        "$JS/API/#",
        "_INBOX/#",
        "$MQTT/#",
        "$MQTT/sub/#",
        "$MQTT/msgs/#",
        "+/gw-b/down/ack",
        "gw/gw-b/#",
        "gw/gw-a/#",
        "gw/gw-a/up/hello",
    ] {
        assert!(!a.subscribe(topic, QoS::AtMostOnce).await, "{topic}");
    }
    for topic in [
        "gw/gw-b/down/ack",
        "gw/gw-b/up/hello",
        "gw/gw-b/up/telemetry",
        "$MQTT/msgs/gw/gw-b/up/telemetry",
        "$JS/API/STREAM/DELETE/$MQTT_msgs",
        "$JS/API/STREAM/PURGE/$MQTT_msgs",
        "$JS/ACK/$MQTT_msgs/ingest-live/1/1/1/1/1",
        "$SYS/REQ/USER/AUTH",
    ] {
        for (qos, retained) in [(QoS::AtMostOnce, true), (QoS::AtLeastOnce, true)] {
            let sent = a.client.publish(topic, qos, retained, "foreign");
            sent.await.unwrap();
        }
    }
    // A publish of its own closes the row: everything before it has been dealt with.
    a.publish("gw/gw-a/up/telemetry", b"own".to_vec()).await;
    wait("the own one arrives", async || {
        !stand.memory.quarantine.lock().unwrap().is_empty()
    })
    .await;
    let quarantine = stand.memory.quarantine.lock().unwrap().clone();
    assert_eq!(quarantine.len(), 1, "{quarantine:?}");
    assert_eq!(quarantine[0].payload, b"own");
    assert!(stand.source.pending().await.is_ok(), "the stream stands");

    // Whatever was retained under b's name would reach a new subscription of b.
    let probe = stand.send_down("gw-b").await;
    let (topic, payload) = b.message().await;
    assert_eq!(
        (topic.as_str(), &payload[..]),
        ("gw/gw-b/down/ack", &probe[..])
    );
    assert!(b.subscribe("gw/gw-b/down/#", QoS::AtMostOnce).await);
    let probe = stand.send_down("gw-b").await;
    let (_, payload) = b.message().await;
    assert_eq!(&payload[..], &probe[..], "nothing retained came before it");
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_5_is_refused() {
    use rumqttc::v5::{AsyncClient, MqttOptions};
    let stand = Stand::start().await;
    let identity = stand.gateway("gw-a").await;
    let mut options = MqttOptions::new("gw-a", stand.mqtt.ip().to_string(), stand.mqtt.port());
    options.set_transport(rumqttc::Transport::tls_with_config(
        rumqttc::TlsConfiguration::Rustls(tls(&identity, true)),
    ));
    let (_client, mut events) = AsyncClient::new(options, 8);
    let first = tokio::time::timeout(DEADLINE, events.poll()).await.unwrap();
    assert!(first.is_err(), "{first:?}");
    stand.finish().await;
}
