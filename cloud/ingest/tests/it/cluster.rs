//! Three broker nodes and two replicas of auth and ingest, while nodes and replicas die.

use crate::delivery::envelope;
use crate::mqtt::{Mqtt, Said};
use crate::stand::{ELECTIONS, Stand, wait, wait_until};
use cloud_auth::Volume;
use cloud_pki::Identity;
use cloud_store::Registry as _;
use protocols_model::{Clock as _, GatewayId, SystemClock};
use std::net::SocketAddr;

/// The stream of publishes.
const STREAM: &str = "$MQTT_msgs";

/// The node that leads the stream.
async fn leader(stand: &Stand) -> usize {
    let stream = stand.jetstream().get_stream(STREAM).await.unwrap();
    let cluster = stream.cached_info().cluster.clone().unwrap();
    stand.brokers.number(&cluster.leader.unwrap())
}

/// A gateway's session at a node, which may be busy with something else at first.
async fn let_in(stand: &Stand, node: usize, identity: &Identity) -> Mqtt {
    let mut gateway = Persistent {
        identity,
        servers: vec![stand.brokers.mqtt(node)],
        turn: 0,
        session: None,
    };
    gateway.session().await;
    gateway.session.unwrap()
}

/// A gateway that comes back, and sends again what was not acknowledged: as a gateway's uplink does.
struct Persistent<'a> {
    identity: &'a Identity,
    servers: Vec<SocketAddr>,
    turn: usize,
    session: Option<Mqtt>,
}

impl Persistent<'_> {
    async fn session(&mut self) -> &mut Mqtt {
        let name = self.identity.gateway.to_string();
        let begin = tokio::time::Instant::now();
        while self.session.is_none() {
            let server = self.servers[self.turn % self.servers.len()];
            self.turn += 1;
            let connected = Mqtt::connect(server, self.identity, &name).await;
            self.session = connected.ok();
            assert!(begin.elapsed() < ELECTIONS, "no node lets it in");
            tokio::task::yield_now().await;
        }
        self.session.as_mut().unwrap()
    }

    /// Publishes until the broker has acknowledged it.
    async fn publish(&mut self, seq: u64) {
        let begin = tokio::time::Instant::now();
        loop {
            let payload = envelope(1, &[seq]).to_vec();
            let topic = format!("gw/{}/up/telemetry", self.identity.gateway);
            let session = self.session().await;
            let sent = session
                .client
                .publish(topic, rumqttc::QoS::AtLeastOnce, false, payload);
            let acknowledged = sent.await.is_ok() && matches!(session.next().await, Said::PubAck);
            if acknowledged {
                return;
            }
            self.session = None;
            assert!(begin.elapsed() < ELECTIONS, "{seq} was never acknowledged");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pubacked_is_stored_when_the_streams_leader_is_killed_and_its_emptied_volume_is_filled_again()
 {
    let mut stand = Stand::with(3).await;
    let other = stand.replica().await;
    wait_until("three copies", ELECTIONS, async || {
        stand.ingest_stats.stream().copies == 3
    })
    .await;
    wait("the replicas know of each other", async || {
        stand.ingest_stats.peers.count() == 1
    })
    .await;
    let identity = stand.gateway("gw-a").await;
    let led = leader(&stand).await;
    let mut gateway = Persistent {
        identity: &identity,
        servers: (0..3).map(|node| stand.brokers.mqtt(node)).collect(),
        // Connected to a node that lives on.
        turn: led + 1,
        session: None,
    };
    let mut sent = 0;
    let stats = [&stand.ingest_stats, &other.ingest_stats];
    wait_until("both replicas have a share", ELECTIONS, async || {
        sent += 1;
        gateway.publish(sent).await;
        sent >= 40 && stats.iter().all(|stats| stats.committed.get() > 0)
    })
    .await;
    stand.brokers.kill(led).await;
    for _ in 0..40 {
        sent += 1;
        gateway.publish(sent).await;
    }
    wait_until("everything is stored", ELECTIONS, async || {
        stand.memory.count("gw-a") == sent
    })
    .await;
    wait_until("a copy is missing", ELECTIONS, async || {
        stand.ingest_stats.stream().lacks_copies()
    })
    .await;

    stand.brokers.empty(led);
    assert_eq!(stand.brokers.start(led), Volume::Empty);
    wait_until("three copies again", ELECTIONS, async || {
        stand.ingest_stats.stream().copies == 3
    })
    .await;
    // What the filled one holds now counts: another may go.
    let next = leader(&stand).await;
    stand.brokers.kill(next).await;
    for _ in 0..20 {
        sent += 1;
        gateway.publish(sent).await;
    }
    wait_until("everything is stored", ELECTIONS, async || {
        stand.memory.count("gw-a") == sent
    })
    .await;
    other.finish().await;
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_of_auth_leaves_the_door_open_the_sessions_noted_and_revocation_quick() {
    let mut stand = Stand::with(3).await;
    let other = stand.replica().await;
    wait("one notes sessions", async || stand.auth_stats.elected()).await;
    assert!(!other.auth_stats.elected());
    // On every node one, whichever of the replicas is asked.
    let mut sessions = Vec::new();
    for node in 0..3 {
        let name = format!("gw-{node}");
        let identity = stand.gateway(&name).await;
        sessions.push(let_in(&stand, node, &identity).await);
    }
    wait("all are connected", async || {
        (0..3).all(|node| stand.is_connected(&format!("gw-{node}")))
    })
    .await;
    stand.kill_services().await;
    // The other one answers alone, and takes over.
    wait("the other notes sessions", async || {
        other.auth_stats.elected()
    })
    .await;
    let late = stand.gateway("gw-late").await;
    let _late = let_in(&stand, 1, &late).await;
    wait("it is noted", async || stand.is_connected("gw-late")).await;
    let revoked = GatewayId::try_new("gw-2").unwrap();
    let now = SystemClock::start().wall();
    stand.memory.revoke_gateway(&revoked, now).await.unwrap();
    let (_, cut) = tokio::join!(sessions[2].gone(), stand.monitor.cut(&revoked));
    assert!(cut.is_ok(), "{cut:?}");
    wait("that is noted too", async || !stand.is_connected("gw-2")).await;
    assert!(stand.is_connected("gw-0"), "nobody else");
    other.finish().await;
    stand.finish().await;
}
