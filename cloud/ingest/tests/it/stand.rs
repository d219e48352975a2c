//! The stand: authority, broker process, auth and ingest in this process, gateways on demand.

use crate::memory::Memory;
use crate::mqtt::Mqtt;
use async_nats::{Client, ConnectOptions};
use cloud_auth::broker_config::{self, AUTH_USER, INGEST_USER, SYSTEM_USER};
use cloud_auth::{AuthStats, BrokerSecrets, BrokerSettings, Callout, Monitor, Presence};
use cloud_ingest::{IngestParts, IngestSource, IngestStats, NatsOptions, NatsSource};
use cloud_pki::{Authority, Identity, inspect_pem};
use cloud_store::{Ingest, NewGateway, Registry};
use protocols_model::{Clock as _, GatewayId, SystemClock};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Every wait in these tests ends by then.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Stand {
    pub(crate) dir: TempDir,
    pub(crate) authority: Authority,
    pub(crate) memory: Arc<Memory>,
    pub(crate) ingest_stats: Arc<IngestStats>,
    pub(crate) auth_stats: Arc<AuthStats>,
    pub(crate) source: Arc<NatsSource>,
    pub(crate) monitor: Monitor,
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) mqtt: SocketAddr,
    pub(crate) field: Client,
    broker: Option<Child>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Where the broker's binary is; tells how to get it when it is nowhere.
fn nats_server() -> PathBuf {
    let fetched = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/tools/bin/nats-server"
    );
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| {
        std::env::split_paths(&path)
            .map(|dir| dir.join("nats-server"))
            .collect::<Vec<_>>()
    });
    std::env::var_os("FOGLINE_NATS_SERVER")
        .map(PathBuf::from)
        .into_iter()
        .chain(on_path)
        .chain([PathBuf::from(fetched)])
        .find(|path| path.is_file())
        .expect("no nats-server found; `cargo xtask tools` installs it")
}

/// A port of loopback that nobody listens on, and that nobody is given while its owner is down: below
/// the range from which the system gives ports to whoever asks for any, and never twice by this process.
fn free_port() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let mut tries = std::iter::repeat_with(|| {
        let turn = std::process::id().wrapping_mul(97) + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + u16::try_from(turn % 20_000).unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    });
    let free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    tries.find(free).unwrap()
}

pub(crate) async fn wait<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

impl Stand {
    pub(crate) async fn start() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let clock = SystemClock::start();
        let dir = tempfile::tempdir().unwrap();
        let (authority, secrets, settings) = prepare(dir.path());
        let (mqtt, client_listen) = (settings.mqtt_listen, settings.client_listen);
        let text = broker_config::render(&settings, &secrets).unwrap();
        std::fs::write(dir.path().join("nats-server.conf"), text).unwrap();
        let broker = spawn(&dir);
        let connect = |user: &str, password: &str| {
            ConnectOptions::with_user_and_password(user.into(), password.into())
                .retry_on_initial_connect()
                .connection_timeout(Duration::from_secs(10))
                .request_timeout(Some(DEADLINE))
                .reconnect_delay_callback(|_| Duration::from_millis(50))
                .connect(format!("nats://{client_listen}"))
        };
        let field = connect(INGEST_USER, &secrets.ingest_password)
            .await
            .unwrap();
        let auth = connect(AUTH_USER, &secrets.auth_password).await.unwrap();
        let system = connect(SYSTEM_USER, &secrets.system_password)
            .await
            .unwrap();

        let memory = Arc::new(Memory::default());
        let (ready_sender, ready) = watch::channel(false);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let options = NatsOptions {
            max_bytes: 64 << 20,
            replicas: 1,
        };
        let source = Arc::new(NatsSource::new(field.clone(), options));
        let ingest_stats = Arc::new(IngestStats::default());
        let auth_stats = Arc::new(AuthStats::default());
        let parts = IngestParts {
            source: Arc::clone(&source) as Arc<dyn IngestSource>,
            store: Arc::clone(&memory) as Arc<dyn Ingest>,
            clock: Arc::new(clock),
            stats: Arc::clone(&ingest_stats),
        };
        tasks.spawn(cloud_ingest::watch_source(
            Arc::clone(&parts.source),
            Arc::clone(&parts.clock),
            Arc::clone(&ingest_stats),
            ready_sender,
            stop.clone(),
        ));
        tasks.spawn(cloud_ingest::run(parts, stop.clone()));
        let callout = Callout::new(
            Arc::clone(&memory) as Arc<dyn Registry>,
            &secrets,
            ready.clone(),
            Arc::new(clock),
            Arc::clone(&auth_stats),
        );
        tasks.spawn(callout.unwrap().run(auth, stop.clone()));
        let monitor = Monitor::new(system, Arc::clone(&auth_stats));
        let registry = Arc::clone(&memory) as Arc<dyn Registry>;
        let presence = Presence::new(registry, Arc::new(clock), monitor.clone());
        tasks.spawn(presence.run(stop.clone()));
        let mut stand = Self {
            dir,
            authority,
            memory,
            ingest_stats,
            auth_stats,
            source,
            monitor,
            ready,
            mqtt,
            field,
            broker: Some(broker),
            stop,
            tasks,
        };
        stand.wait_ready().await;
        stand
    }

    pub(crate) async fn wait_ready(&mut self) {
        let ready = tokio::time::timeout(DEADLINE, self.ready.wait_for(|ready| *ready)).await;
        drop(ready.expect("ingest never became ready").unwrap());
    }

    /// A gateway of the registry.
    pub(crate) async fn gateway(&self, name: &str) -> Identity {
        let identity = self.issue(name);
        let facts = inspect_pem(&identity.certificate).unwrap();
        let entry = NewGateway {
            id: identity.gateway.clone(),
            serial: facts.serial,
            fingerprint: facts.fingerprint,
            not_after: facts.not_after,
            created: SystemClock::start().wall(),
            note: String::new(),
        };
        self.memory.add_gateway(entry).await.unwrap();
        identity
    }

    /// A certificate of ours that the registry knows nothing of.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        let id = GatewayId::try_new(name).unwrap();
        let servers = vec![format!("mqtts://{}", self.mqtt)];
        let now = SystemClock::start().wall();
        self.authority.issue_gateway(&id, servers, now).unwrap()
    }

    /// A connected gateway.
    pub(crate) async fn connected(&self, name: &str) -> Mqtt {
        let identity = self.gateway(name).await;
        Mqtt::connect(self.mqtt, &identity, name)
            .await
            .expect("a known gateway gets in")
    }

    /// `kill -9` of the broker; returns when it is gone.
    pub(crate) async fn kill_broker(&mut self) {
        let mut broker = self.broker.take().unwrap();
        broker.kill().await.unwrap();
    }

    pub(crate) fn start_broker(&mut self) {
        self.broker = Some(spawn(&self.dir));
    }

    /// The broker's streams, asked with patience.
    pub(crate) fn jetstream(&self) -> async_nats::jetstream::Context {
        let mut jetstream = async_nats::jetstream::new(self.field.clone());
        jetstream.set_timeout(DEADLINE);
        jetstream
    }

    pub(crate) fn is_connected(&self, name: &str) -> bool {
        let id = GatewayId::try_new(name).unwrap();
        self.memory.connected.lock().unwrap().get(&id) == Some(&true)
    }

    /// Sends something down to a gateway, as ingest does; says what.
    pub(crate) async fn send_down(&self, name: &str) -> Vec<u8> {
        let payload = b"from the cloud".to_vec();
        let id = GatewayId::try_new(name).unwrap();
        let sent = self.source.send_down(&id, payload.clone().into()).await;
        sent.unwrap();
        payload
    }

    pub(crate) async fn finish(mut self) {
        self.stop.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(DEADLINE, self.tasks.wait()).await;
        ended.expect("every task ends when told to");
        if self.broker.is_some() {
            self.kill_broker().await;
        }
    }
}

/// Certificates, secrets and settings, as `fogline-cloud init` makes them.
fn prepare(dir: &Path) -> (Authority, BrokerSecrets, BrokerSettings) {
    let now = SystemClock::start().wall();
    let authority = Authority::init(dir, "test", now).unwrap();
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let certificate = authority.issue_server(&names, now).unwrap();
    certificate.write(dir, "broker").unwrap();
    let (mqtt_listen, client_listen) = (free_port(), free_port());
    let settings = BrokerSettings {
        server_name: "test-1".into(),
        mqtt_listen,
        client_listen,
        store_dir: dir.join("jetstream"),
        max_file_bytes: 256 << 20,
        certificate: dir.join("broker.pem"),
        key: dir.join("broker.key"),
        ca: dir.join("ca.pem"),
        replicas: 1,
        monitor_listen: None,
        cluster: None,
    };
    (authority, BrokerSecrets::generate().unwrap(), settings)
}

fn spawn(dir: &TempDir) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.path().join("nats-server.log"))
        .unwrap();
    Command::new(nats_server())
        .arg("-c")
        .arg(dir.path().join("nats-server.conf"))
        .arg("-D")
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
