//! Running the services: opens, starts the roles, waits for the end, drains within a deadline.
//!
//! A role that ends by itself takes the process with it: whoever supervises it starts it anew, and
//! nothing that was acknowledged depends on this process' memory.

use crate::broker::{Broker, BrokerUser};
use crate::cli::RunArguments;
use crate::config::CloudConfig;
use crate::database::Opened;
use crate::roles::Roles;
use crate::surroundings::{Numbers, Process};
use crate::{database, foreign, health, init, tasks};
use anyhow::Context as _;
use cloud_api::{ApiConfig, Listen, TlsFiles};
use cloud_auth::{Callout, Monitor, Presence};
use cloud_ingest::{IngestParts, IngestSource, NatsOptions, NatsSource};
use cloud_store::{Offices, Store};
use protocols_model::{Clock, SystemClock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// After a signal, everything is told and closed by then, or left to the next start.
const DRAIN: Duration = Duration::from_secs(10);

struct Running {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: CancellationToken,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    offices: Arc<dyn Offices>,
    numbers: Arc<Numbers>,
    process: Arc<Process>,
}

/// Runs roles until SIGTERM or SIGINT.
pub(crate) async fn run(config: &CloudConfig, run: &RunArguments) -> anyhow::Result<()> {
    let roles = foreign::roles(config, &run.role)?;
    // Before anything else: a signal during the start must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The listener first: a port that is taken is found before anything has begun.
    let listener = listen(run.health.or(config.health_listen())).await?;
    let Opened { store, offices } = database::serve(config, roles).await?;
    let stop = CancellationToken::new();
    let numbers = Arc::new(Numbers::new(roles, stop.clone()));
    let mut running = Running {
        tasks: JoinSet::new(),
        stop,
        clock: Arc::new(SystemClock::start()),
        store: Arc::clone(&store),
        offices,
        process: Arc::new(Process::new(Arc::clone(&numbers))),
        numbers,
    };
    let drained = CancellationToken::new();
    let health = listener.map(|listener| {
        let process = Arc::clone(&running.process);
        tokio::spawn(health::serve(listener, process, drained.clone()))
    });
    running.start(config, roles).await?;
    tracing::info!(roles = roles.names().join(","), "running");
    let ended = tokio::select! { biased;
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = running.tasks.join_next() => ended,
    };
    running.stop.cancel();
    if tokio::time::timeout(DRAIN, running.drain()).await.is_err() {
        tracing::error!("not everything ended within {DRAIN:?}; what is open is repeated later");
    }
    store.close().await.context("closing the database")?;
    drained.cancel();
    if let Some(health) = health {
        health.await.context("the health listener broke down")?;
    }
    match ended {
        None => {
            tracing::info!("stopped");
            Ok(())
        }
        Some(Ok((role, Ok(())))) => anyhow::bail!("{role} ended by itself"),
        Some(Ok((role, Err(error)))) => Err(error.context(format!("{role} failed"))),
        Some(Err(error)) => Err(anyhow::Error::new(error).context("a role broke down")),
    }
}

async fn listen(at: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(at) = at else { return Ok(None) };
    let listener = TcpListener::bind(at).await;
    let listener = listener
        .with_context(|| format!("cannot listen on {at} for health; is the port taken?"))?;
    Ok(Some(listener))
}

impl Running {
    async fn start(&mut self, config: &CloudConfig, roles: Roles) -> anyhow::Result<()> {
        let (numbers, store) = (Arc::clone(&self.numbers), Arc::clone(&self.store));
        self.spawn("database", async move {
            numbers.watch_database(&*store).await;
            Ok(())
        });
        if roles.needs_broker() {
            self.start_broker_roles(config, roles.ingest, roles.auth)
                .await?;
        }
        if roles.api {
            init::first_user(config, &*self.store).await?;
            self.start_api(config)?;
        }
        if roles.tasks {
            self.start_tasks();
        }
        Ok(())
    }

    async fn start_broker_roles(
        &mut self,
        config: &CloudConfig,
        ingest: bool,
        auth: bool,
    ) -> anyhow::Result<()> {
        if let Some((source, link)) = foreign::source(config, Arc::clone(&self.clock))? {
            let stop = self.stop.clone();
            self.spawn("link", async move {
                link.run(stop).await;
                Ok(())
            });
            let _ready = self.watch(Arc::clone(&source));
            self.ingest(source, None);
            return Ok(());
        }
        let broker = Broker::new(config)?;
        let options = NatsOptions {
            max_bytes: config.stream_max_bytes(),
            replicas: config.broker.replicas(),
        };
        let field = broker.connect(BrokerUser::Ingest).await?;
        let source: Arc<dyn IngestSource> = Arc::new(NatsSource::new(field.clone(), options));
        let ready = self.watch(Arc::clone(&source));
        if ingest {
            self.ingest(source, Some(field));
        }
        if auth {
            self.start_auth(&broker, ready).await?;
        }
        Ok(())
    }

    /// Watches over what must exist at the broker; says whether gateways may come in.
    fn watch(&mut self, source: Arc<dyn IngestSource>) -> watch::Receiver<bool> {
        let (ready_sender, ready) = watch::channel(false);
        let (stats, stop) = (Arc::clone(&self.numbers.ingest), self.stop.clone());
        let clock = Arc::clone(&self.clock);
        self.spawn("watch", async move {
            cloud_ingest::watch_source(source, clock, stats, ready_sender, stop).await;
            Ok(())
        });
        ready
    }

    fn ingest(&mut self, source: Arc<dyn IngestSource>, field: Option<async_nats::Client>) {
        let parts = IngestParts {
            source,
            store: Arc::clone(&self.store) as Arc<dyn cloud_store::Ingest>,
            clock: Arc::clone(&self.clock),
            stats: Arc::clone(&self.numbers.ingest),
        };
        let stop = self.stop.clone();
        self.spawn("ingest", async move {
            cloud_ingest::run(parts, stop).await;
            // The last acknowledgements and receipts leave the process. Without a broker they
            // cannot, and come again.
            if let Some(field) = field {
                drop(tokio::time::timeout(Duration::from_secs(2), field.flush()).await);
            }
            Ok(())
        });
    }

    async fn start_auth(
        &mut self,
        broker: &Broker,
        ready: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let callout = Callout::new(
            Arc::clone(&self.store) as Arc<dyn cloud_store::Registry>,
            &broker.secrets,
            ready,
            Arc::clone(&self.clock),
            Arc::clone(&self.numbers.auth),
        )?;
        let (client, stop) = (broker.connect(BrokerUser::Auth).await?, self.stop.clone());
        self.spawn("auth", async move {
            callout.run(client, stop).await;
            Ok(())
        });
        let system = broker.connect(BrokerUser::System).await?;
        let presence = Presence::new(
            Arc::clone(&self.store) as Arc<dyn cloud_store::Registry>,
            Arc::clone(&self.offices),
            Arc::clone(&self.clock),
            Monitor::new(system, Arc::clone(&self.numbers.auth), broker.nodes),
        );
        let stop = self.stop.clone();
        self.spawn("presence", async move {
            presence.run(stop).await;
            Ok(())
        });
        Ok(())
    }

    fn start_api(&mut self, config: &CloudConfig) -> anyhow::Result<()> {
        let listen = config.api.listen;
        let socket = std::net::TcpListener::bind(listen)
            .with_context(|| format!("cannot listen on api.listen {listen}; is the port taken?"))?;
        let bound = socket.local_addr()?;
        let (certificates, key) = config.api_files();
        let mut api = ApiConfig::new(Listen::Socket(socket), TlsFiles { certificates, key });
        api.one_time_login = config.one_time_login();
        api.clock = Arc::clone(&self.clock);
        if let Some(file) = config.metrics_token_file() {
            let token = cloud_pki::files::read(&file).context("api.metrics_token_file")?;
            api.metrics_token = Some(token.trim().to_owned());
        }
        let process = Arc::clone(&self.process);
        let (store, stop) = (Arc::clone(&self.store), self.stop.clone());
        tracing::info!("API and dashboard at https://{bound}/");
        self.spawn("api", async move {
            cloud_api::serve(api, store, process, stop).await?;
            Ok(())
        });
        Ok(())
    }

    fn start_tasks(&mut self) {
        let task = tasks::run(
            Arc::clone(&self.store),
            Arc::clone(&self.offices),
            Arc::clone(&self.clock),
            Arc::clone(&self.numbers.tasks),
            self.stop.clone(),
        );
        self.spawn("tasks", async move {
            task.await;
            Ok(())
        });
    }

    fn spawn<F>(&mut self, role: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.tasks.spawn(async move { (role, task.await) });
    }

    async fn drain(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((role, Err(error))) => tracing::error!(role, "{error:#}"),
                Err(error) => tracing::error!(%error, "a role broke down"),
            }
        }
    }
}
