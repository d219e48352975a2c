//! Another broker than ours: Mosquitto through its shared subscription; and NATS, which grants one and
//! delivers nothing, is refused with the reason.

use crate::brokers::nats_server;
use crate::delivery::{envelope, hello};
use crate::memory::Memory;
use crate::mqtt::Mqtt;
use crate::stand::{DEADLINE, free_port, wait};
use cloud_ingest::{IngestParts, IngestSource, IngestStats, MqttSettings, MqttSource, SourceError};
use cloud_store::{Ingest, NewGateway, Registry as _};
use protocols_model::{GatewayId, SystemClock, Timestamp};
use protocols_wire::Down;
use rumqttc::QoS;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const GATEWAY: &str = "gw-a";

/// A broker process and ingest on it in this process.
struct Stand {
    listen: SocketAddr,
    memory: Arc<Memory>,
    source: Arc<MqttSource>,
    program: PathBuf,
    broker: Child,
    stop: CancellationToken,
    tasks: TaskTracker,
    dir: TempDir,
}

/// Where Mosquitto is; tells how to get it, and lets the test pass without it only where nobody
/// insists.
fn mosquitto() -> Option<PathBuf> {
    let found = [
        "/usr/sbin/mosquitto",
        "/usr/local/sbin/mosquitto",
        "/usr/bin/mosquitto",
    ];
    let found = found.into_iter().map(Path::new).find(|path| path.exists());
    if found.is_none() {
        let must = std::env::var_os("FOGLINE_REQUIRE_INTEROP").is_some_and(|value| value == "1");
        assert!(
            !must,
            "Mosquitto is not installed: apt-get install mosquitto"
        );
        eprintln!("not tested: Mosquitto is not installed (apt-get install mosquitto)");
    }
    found.map(Path::to_owned)
}

fn spawn(program: &Path, dir: &TempDir) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.path().join("broker.log"))
        .unwrap();
    Command::new(program)
        .arg("-c")
        .arg(dir.path().join("broker.conf"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

impl Stand {
    /// Mosquitto without TLS on loopback; certificates and access rules have a story of their own.
    async fn mosquitto(program: PathBuf) -> Self {
        let listen = free_port();
        let config = |_: &Path| {
            let port = listen.port();
            format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        };
        Self::start(program, config, listen).await
    }

    async fn nats() -> Self {
        let (listen, clients) = (free_port(), free_port());
        let config = |dir: &Path| {
            let store = dir.display();
            format!(
                "server_name: n1\nlisten: \"{clients}\"\njetstream {{ store_dir: \"{store}\" }}\n\
                 mqtt {{ listen: \"{listen}\" }}\n"
            )
        };
        Self::start(nats_server(), config, listen).await
    }

    async fn start(program: PathBuf, config: impl Fn(&Path) -> String, listen: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("broker.conf"), config(dir.path())).unwrap();
        let broker = spawn(&program, &dir);

        let clock = Arc::new(SystemClock::start());
        let memory = Arc::new(Memory::default());
        let settings = MqttSettings {
            host: listen.ip().to_string(),
            port: listen.port(),
            tls: None,
            group: "fogline-ingest".to_owned(),
            client_id: "fogline-ingest-1".to_owned(),
            patience: Duration::from_secs(3),
        };
        let (source, link) = MqttSource::new(settings, Arc::clone(&clock) as _);
        let source = Arc::new(source);
        let parts = IngestParts {
            source: Arc::clone(&source) as Arc<dyn IngestSource>,
            store: Arc::clone(&memory) as Arc<dyn Ingest>,
            clock,
            stats: Arc::new(IngestStats::default()),
        };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(link.run(stop.clone()));
        tasks.spawn(cloud_ingest::run(parts, stop.clone()));
        let id = GatewayId::try_new(GATEWAY).unwrap();
        let entry = NewGateway {
            id,
            serial: String::new(),
            fingerprint: String::new(),
            not_after: Timestamp(i64::MAX),
            created: Timestamp(0),
            note: String::new(),
        };
        memory.add_gateway(entry).await.unwrap();
        Self {
            listen,
            memory,
            source,
            program,
            broker,
            stop,
            tasks,
            dir,
        }
    }

    async fn ready(&self) {
        wait("ingest is ready", async || {
            self.source.ensure(Timestamp(0)).await.is_ok()
        })
        .await;
    }

    async fn connected(&self) -> Mqtt {
        let mut gateway = Mqtt::connect_plain(self.listen, GATEWAY).await.unwrap();
        assert!(gateway.subscribe("gw/gw-a/down/ack", QoS::AtMostOnce).await);
        gateway
    }

    async fn finish(mut self) {
        self.stop.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(DEADLINE, self.tasks.wait()).await;
        ended.expect("every task ends when told to");
        self.broker.kill().await.unwrap();
    }
}

/// An error with its causes.
fn words(error: &SourceError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_mosquitto_what_is_published_is_stored_and_acknowledged_and_hellos_are_answered() {
    let Some(program) = mosquitto() else { return };
    let stand = Stand::mosquitto(program).await;
    stand.ready().await;
    let mut gateway = stand.connected().await;
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[1, 2]))
        .await;
    let backlog = "gw/gw-a/up/telemetry/history";
    gateway.publish(backlog, envelope(1, &[3])).await;
    let mut settled = 0;
    while settled < 3 {
        let (topic, payload) = gateway.message().await;
        assert_eq!(topic, "gw/gw-a/down/ack");
        let Ok(Down::Ack(ack)) = Down::decode(&payload) else {
            panic!("no acknowledgement: {payload:?}");
        };
        settled += ack
            .items
            .iter()
            .map(|item| item.stored.count())
            .sum::<u64>();
    }
    assert_eq!(stand.memory.count(GATEWAY), 3);

    let hello = hello(7).encode().unwrap();
    let asked = gateway
        .client
        .publish("gw/gw-a/up/hello", QoS::AtMostOnce, false, hello);
    asked.await.unwrap();
    let (_, payload) = gateway.message().await;
    let Ok(Down::HelloAnswer(answer)) = Down::decode(&payload) else {
        panic!("no answer: {payload:?}");
    };
    assert_eq!(answer.nonce, 7);
    wait("everything is out of hand", async || {
        stand.source.pending().await.unwrap() == 0
    })
    .await;
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_pass_a_brokers_small_window_while_the_database_comes_and_goes() {
    let Some(program) = mosquitto() else { return };
    let stand = Stand::mosquitto(program).await;
    stand.ready().await;
    let mut gateway = stand.connected().await;
    stand.memory.away.store(true, Ordering::SeqCst);
    for seq in 1..=100 {
        gateway
            .publish("gw/gw-a/up/telemetry", envelope(1, &[seq]))
            .await;
    }
    assert_eq!(stand.memory.count(GATEWAY), 0);
    stand.memory.away.store(false, Ordering::SeqCst);
    // Far more than the twenty that Mosquitto lets be under way: each is acknowledged in its turn.
    wait("all are stored", async || {
        stand.memory.count(GATEWAY) == 100
    })
    .await;
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_and_comes_back_is_found_again() {
    let Some(program) = mosquitto() else { return };
    let mut stand = Stand::mosquitto(program).await;
    stand.ready().await;
    stand.broker.kill().await.unwrap();
    wait("it is noticed", async || {
        stand.source.ensure(Timestamp(0)).await.is_err()
    })
    .await;
    stand.broker = spawn(&stand.program, &stand.dir);
    stand.ready().await;
    let mut gateway = stand.connected().await;
    gateway
        .publish("gw/gw-a/up/telemetry", envelope(1, &[1]))
        .await;
    wait("it is stored", async || stand.memory.count(GATEWAY) == 1).await;
    stand.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_which_grants_a_shared_subscription_and_delivers_nothing_is_refused_with_the_reason() {
    let stand = Stand::nats().await;
    wait("the reason is given", async || {
        let error = stand
            .source
            .ensure(Timestamp(0))
            .await
            .expect_err("never ready");
        let words = words(&error);
        words.contains("delivers nothing through it") && words.contains("NATS does so")
    })
    .await;
    stand.finish().await;
}
