//! The stand: authority, broker processes, auth and ingest in this process, gateways on demand.

use crate::brokers::Brokers;
use crate::memory::Memory;
use crate::mqtt::Mqtt;
use async_nats::Client;
use cloud_auth::{AuthStats, Callout, Monitor, Presence};
use cloud_ingest::{IngestParts, IngestSource, IngestStats, NatsOptions, NatsSource};
use cloud_pki::{Identity, inspect_pem};
use cloud_store::{FileOffices, Ingest, NewGateway, Registry};
use protocols_model::{Clock, GatewayId, SystemClock};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Every wait in these tests ends by then.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Stand {
    pub(crate) memory: Arc<Memory>,
    pub(crate) ingest_stats: Arc<IngestStats>,
    pub(crate) auth_stats: Arc<AuthStats>,
    pub(crate) source: Arc<NatsSource>,
    pub(crate) monitor: Monitor,
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) mqtt: SocketAddr,
    pub(crate) field: Client,
    pub(crate) brokers: Brokers,
    services: Option<Services>,
    dir: TempDir,
}

/// One replica of auth and ingest.
pub(crate) struct Services {
    pub(crate) ingest_stats: Arc<IngestStats>,
    pub(crate) auth_stats: Arc<AuthStats>,
    source: Arc<NatsSource>,
    monitor: Monitor,
    ready: watch::Receiver<bool>,
    field: Client,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// A port of loopback that nobody listens on, and that nobody is given while its owner is down: below
/// the range from which the system gives ports to whoever asks for any, and never twice by this process.
pub(crate) fn free_port() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let mut tries = std::iter::repeat_with(|| {
        let turn = std::process::id().wrapping_mul(97) + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + u16::try_from(turn % 20_000).unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    });
    let free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    tries.find(free).unwrap()
}

/// What takes elections, one after the other, on a slow machine.
pub(crate) const ELECTIONS: Duration = Duration::from_secs(180);

pub(crate) async fn wait<F: AsyncFnMut() -> bool>(what: &str, condition: F) {
    wait_until(what, DEADLINE, condition).await;
}

pub(crate) async fn wait_until<F: AsyncFnMut() -> bool>(
    what: &str,
    limit: Duration,
    mut condition: F,
) {
    let waited = tokio::time::timeout(limit, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

impl Services {
    async fn start(brokers: &Brokers, memory: &Arc<Memory>, dir: &Path) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let field = brokers.ingest_user().await;
        let (ready_sender, ready) = watch::channel(false);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let options = NatsOptions {
            max_bytes: 64 << 20,
            replicas: brokers.count(),
        };
        let source = Arc::new(NatsSource::new(field.clone(), options));
        let ingest_stats = Arc::new(IngestStats::default());
        let auth_stats = Arc::new(AuthStats::default());
        let parts = IngestParts {
            source: Arc::clone(&source) as Arc<dyn IngestSource>,
            store: Arc::clone(memory) as Arc<dyn Ingest>,
            clock: Arc::clone(&clock),
            stats: Arc::clone(&ingest_stats),
        };
        tasks.spawn(cloud_ingest::watch_source(
            Arc::clone(&parts.source),
            Arc::clone(&clock),
            Arc::clone(&ingest_stats),
            ready_sender,
            stop.clone(),
        ));
        tasks.spawn(cloud_ingest::run(parts, stop.clone()));
        let callout = Callout::new(
            Arc::clone(memory) as Arc<dyn Registry>,
            &brokers.secrets,
            ready.clone(),
            Arc::clone(&clock),
            Arc::clone(&auth_stats),
        );
        let auth = brokers.auth_user().await;
        tasks.spawn(callout.unwrap().run(auth, stop.clone()));
        let system = brokers.system_user().await;
        let monitor = Monitor::new(system, Arc::clone(&auth_stats), brokers.count());
        let registry = Arc::clone(memory) as Arc<dyn Registry>;
        let offices = Arc::new(FileOffices::new(&dir.join("database")));
        let presence = Presence::new(registry, offices, clock, monitor.clone());
        tasks.spawn(presence.run(stop.clone()));
        Self {
            ingest_stats,
            auth_stats,
            source,
            monitor,
            ready,
            field,
            stop,
            tasks,
        }
    }

    /// Drains, as on SIGTERM.
    pub(crate) async fn finish(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.unwrap();
            }
        });
        ended.await.expect("every task ends when told to");
    }
}

impl Stand {
    /// One broker node.
    pub(crate) async fn start() -> Self {
        Self::with(1).await
    }

    /// So many broker nodes, and one replica of the services.
    pub(crate) async fn with(nodes: usize) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        let mut brokers = Brokers::make(dir.path(), nodes);
        brokers.start_all();
        let memory = Arc::new(Memory::default());
        let services = Services::start(&brokers, &memory, dir.path()).await;
        let mut stand = Self {
            memory,
            ingest_stats: Arc::clone(&services.ingest_stats),
            auth_stats: Arc::clone(&services.auth_stats),
            source: Arc::clone(&services.source),
            monitor: services.monitor.clone(),
            ready: services.ready.clone(),
            mqtt: brokers.mqtt(0),
            field: services.field.clone(),
            brokers,
            services: Some(services),
            dir,
        };
        stand.wait_ready().await;
        stand
    }

    /// Another replica of the services.
    pub(crate) async fn replica(&self) -> Services {
        let mut services = Services::start(&self.brokers, &self.memory, self.dir.path()).await;
        let ready = tokio::time::timeout(DEADLINE, services.ready.wait_for(|ready| *ready)).await;
        drop(ready.expect("the replica never became ready").unwrap());
        services
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
        let authority = &self.brokers.authority;
        authority.issue_gateway(&id, servers, now).unwrap()
    }

    /// A connected gateway.
    pub(crate) async fn connected(&self, name: &str) -> Mqtt {
        let identity = self.gateway(name).await;
        Mqtt::connect(self.mqtt, &identity, name)
            .await
            .expect("a known gateway gets in")
    }

    /// `kill -9` of the broker, all of it; returns when it is gone.
    pub(crate) async fn kill_broker(&mut self) {
        self.brokers.kill_all().await;
    }

    pub(crate) fn start_broker(&mut self) {
        self.brokers.start_all();
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

    /// Ends the services at once, without a word to anybody.
    pub(crate) async fn kill_services(&mut self) {
        let mut services = self.services.take().unwrap();
        services.tasks.shutdown().await;
    }

    pub(crate) async fn finish(mut self) {
        if let Some(services) = self.services.take() {
            services.finish().await;
        }
        self.brokers.kill_all().await;
    }
}
