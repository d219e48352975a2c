//! A stranger among the gateways: it has a certificate of its own, and all the time tries to hear what others
//! say and to speak as one of them.
//!
//! It lives on the gateways' host in a thread of its own: whoever opens a connection there must be there.

use crate::bearer::Bearer;
use anyhow::Context as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tests_cluster::Cluster;
use tests_harness::evidence::CloudCommands;
use tests_harness::site::{HALL_1, HALL_2};
use tests_net::Host;
use tokio_util::sync::CancellationToken;

const NAME: &str = "stranger";
/// What it listens to; all of it is others' business.
const OTHERS: [&str; 4] = ["gw/+/up/#", "gw/+/down/#", "gw/hall-1/down/ack", "#"];
/// How long it listens before it asks again.
const LISTEN: Duration = Duration::from_secs(1);

/// The stranger.
pub(super) struct Stranger {
    tries: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
    stop: CancellationToken,
    thread: JoinHandle<anyhow::Result<()>>,
}

/// What it came to.
pub(super) struct Seen {
    /// Complete attempts.
    pub(super) tries: u64,
    /// Messages it heard, and what the cloud took as said by another.
    pub(super) visible: u64,
}

impl Stranger {
    /// Gives it a certificate and lets it begin.
    pub(super) async fn enter(cluster: &Cluster, dir: &Path) -> anyhow::Result<Self> {
        let identity = dir.join("stranger.toml");
        let out = identity.to_string_lossy();
        let add = ["gateway", "add", NAME, "--out", &out];
        cluster.commands().run(&add).await?;
        let (host, broker) = cluster.field()?;
        let (tries, heard) = (Arc::default(), Arc::default());
        let stop = CancellationToken::new();
        let visit = Visit {
            identity,
            broker,
            tries: Arc::clone(&tries),
            heard: Arc::clone(&heard),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || visit.on(&host))?;
        Ok(Self {
            tries,
            heard,
            stop,
            thread,
        })
    }

    /// Ends it, and says what it saw.
    pub(super) async fn leave(self, commands: &CloudCommands) -> anyhow::Result<Seen> {
        self.stop.cancel();
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
        ended.map_err(|_| anyhow::anyhow!("the stranger broke down"))??;
        let mut visible = self.heard.load(Ordering::Relaxed);
        // What it said as another is garbage: were it taken, it would stand in that one's quarantine.
        for gateway in [HALL_1, HALL_2] {
            let list = ["quarantine", "list", "--gateway", gateway];
            let list = commands.run(&list).await?;
            let taken = list.lines().filter(|line| line.contains(gateway));
            visible += u64::try_from(taken.count())?;
        }
        Ok(Seen {
            tries: self.tries.load(Ordering::Relaxed),
            visible,
        })
    }
}

struct Visit {
    identity: PathBuf,
    broker: SocketAddr,
    tries: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Visit {
    fn on(self, host: &Host) -> anyhow::Result<()> {
        host.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("a runtime for the stranger")?;
            runtime.block_on(async {
                while !self.stop.is_cancelled() {
                    tokio::select! { biased;
                        () = self.stop.cancelled() => {}
                        // The cluster is being broken: what fails is tried again.
                        _ended = self.stay() => tokio::time::sleep(LISTEN).await,
                    }
                }
            });
            Ok(())
        })
    }

    /// One connection, as long as it holds.
    async fn stay(&self) -> anyhow::Result<()> {
        let mut bearer = Bearer::connect(&self.identity, NAME, self.broker).await?;
        let mut counted = 0;
        loop {
            for filter in OTHERS {
                bearer.subscribe(filter).await?;
            }
            let foreign = format!("gw/{HALL_1}/up/telemetry");
            bearer.publish(&foreign, b"said by a stranger").await?;
            bearer.listen(LISTEN).await?;
            let heard = bearer.heard();
            self.heard.fetch_add(heard - counted, Ordering::Relaxed);
            counted = heard;
            self.tries.fetch_add(1, Ordering::Relaxed);
        }
    }
}
