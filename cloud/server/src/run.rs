//! Running the services: opens, starts the roles, waits for the end, drains within a deadline.
//!
//! A role that ends by itself takes the process with it: whoever supervises it starts it anew, and
//! nothing that was acknowledged depends on this process' memory.

use crate::broker::{Broker, BrokerUser};
use crate::cli::Role;
use crate::config::CloudConfig;
use crate::surroundings::Process;
use crate::{commands, init};
use anyhow::Context as _;
use cloud_api::{ApiConfig, Listen, TlsFiles};
use cloud_auth::{AuthStats, Callout, Monitor, Presence};
use cloud_ingest::{IngestParts, IngestSource, IngestStats, NatsOptions, NatsSource};
use cloud_store::{MaintainStep, SqliteStore, Store};
use protocols_model::{Clock, SystemClock};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// After a signal, everything is told and closed by then, or left to the next start.
const DRAIN: Duration = Duration::from_secs(10);
/// Between two looks for maintenance work.
const MAINTAIN_EVERY: Duration = Duration::from_secs(5);
/// After a failed step.
const MAINTAIN_RETRY: Duration = Duration::from_secs(15);

struct Running {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: CancellationToken,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    ingest_stats: Arc<IngestStats>,
    auth_stats: Arc<AuthStats>,
}

/// Runs `roles` until SIGTERM or SIGINT.
pub(crate) async fn run(config: &CloudConfig, roles: &[Role]) -> anyhow::Result<()> {
    let has = |role| roles.contains(&Role::All) || roles.contains(&role);
    // Before anything else: a signal during the start must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let store = open(config, has(Role::Ingest) || has(Role::Tasks)).await?;
    let mut running = Running {
        tasks: JoinSet::new(),
        stop: CancellationToken::new(),
        clock: Arc::new(SystemClock::start()),
        store: Arc::clone(&store),
        ingest_stats: Arc::default(),
        auth_stats: Arc::default(),
    };
    let needs_broker = has(Role::Ingest) || has(Role::Auth);
    if needs_broker {
        running
            .start_broker_roles(config, has(Role::Ingest), has(Role::Auth))
            .await?;
    }
    if has(Role::Api) {
        init::first_user(config, &*store).await?;
        running.start_api(config, needs_broker)?;
    }
    if has(Role::Tasks) {
        running.start_tasks();
    }
    tracing::info!(?roles, "running");
    let ended = tokio::select! { biased;
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = running.tasks.join_next() => ended,
    };
    running.stop.cancel();
    let drained = tokio::time::timeout(DRAIN, running.drain()).await;
    if drained.is_err() {
        tracing::error!("not everything ended within {DRAIN:?}; what is open is repeated later");
    }
    store.close().await.context("closing the database")?;
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

async fn open(config: &CloudConfig, serving: bool) -> anyhow::Result<Arc<dyn Store>> {
    if !serving {
        return Ok(Arc::new(commands::open_beside(config).await?));
    }
    init::make_database_folder(config)?;
    let (path, options) = (config.database(), config.store_options());
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, options));
    Ok(Arc::new(opened.await??))
}

impl Running {
    async fn start_broker_roles(
        &mut self,
        config: &CloudConfig,
        ingest: bool,
        auth: bool,
    ) -> anyhow::Result<()> {
        let broker = Broker::new(config)?;
        let options = NatsOptions {
            max_bytes: config.stream_max_bytes(),
            replicas: config.broker.replicas(),
        };
        let field = broker.connect(BrokerUser::Ingest).await?;
        let source: Arc<dyn IngestSource> = Arc::new(NatsSource::new(field.clone(), options));
        let (ready_sender, ready) = watch::channel(false);
        let (stats, stop) = (Arc::clone(&self.ingest_stats), self.stop.clone());
        let watched = Arc::clone(&source);
        self.spawn("watch", async move {
            cloud_ingest::watch_source(watched, stats, ready_sender, stop).await;
            Ok(())
        });
        if ingest {
            let parts = IngestParts {
                source,
                store: Arc::clone(&self.store) as Arc<dyn cloud_store::Ingest>,
                clock: Arc::clone(&self.clock),
                stats: Arc::clone(&self.ingest_stats),
            };
            let stop = self.stop.clone();
            self.spawn("ingest", async move {
                cloud_ingest::run(parts, stop).await;
                // The last acknowledgements and receipts leave the process. Without a broker
                // they cannot, and come again.
                drop(tokio::time::timeout(Duration::from_secs(2), field.flush()).await);
                Ok(())
            });
        }
        if auth {
            self.start_auth(&broker, ready).await?;
        }
        Ok(())
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
            Arc::clone(&self.auth_stats),
        )?;
        let (client, stop) = (broker.connect(BrokerUser::Auth).await?, self.stop.clone());
        self.spawn("auth", async move {
            callout.run(client, stop).await;
            Ok(())
        });
        let system = broker.connect(BrokerUser::System).await?;
        let presence = Presence::new(
            Arc::clone(&self.store) as Arc<dyn cloud_store::Registry>,
            Arc::clone(&self.clock),
            Monitor::new(system, Arc::clone(&self.auth_stats)),
        );
        let stop = self.stop.clone();
        self.spawn("presence", async move {
            presence.run(stop).await;
            Ok(())
        });
        Ok(())
    }

    fn start_api(&mut self, config: &CloudConfig, needs_broker: bool) -> anyhow::Result<()> {
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
        let process = Process::new(
            Arc::clone(&self.ingest_stats),
            Arc::clone(&self.auth_stats),
            needs_broker,
        );
        let (store, stop) = (Arc::clone(&self.store), self.stop.clone());
        tracing::info!("API and dashboard at https://{bound}/");
        self.spawn("api", async move {
            cloud_api::serve(api, store, Arc::new(process), stop).await?;
            Ok(())
        });
        Ok(())
    }

    fn start_tasks(&mut self) {
        let (store, clock, stop) = (
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.stop.clone(),
        );
        self.spawn("tasks", async move {
            maintain(&*store, &*clock, &stop).await;
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

/// Small steps, one after the other, whenever there is work.
async fn maintain(store: &dyn Store, clock: &dyn Clock, stop: &CancellationToken) {
    loop {
        let rest = match store.maintain(clock.wall()).await {
            Ok(MaintainStep::Worked) => Duration::ZERO,
            Ok(MaintainStep::Idle) => MAINTAIN_EVERY,
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::error!("maintenance failed: {error:#}");
                MAINTAIN_RETRY
            }
        };
        tokio::select! { biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}
