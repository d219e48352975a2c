//! The uplink as the agent sees it: from the configuration's credentials to a running task.
//!
//! An identity that cannot be used stops nothing but the uplink: devices are read and readings kept
//! meanwhile, and the file is tried again at every look, so that putting it right needs no restart.

use crate::snapshot::UplinkReport;
use gateway_config::identity::is_private;
use gateway_config::settings::{Confirm, Credentials, Uplink as UplinkConfig};
use gateway_config::{GatewayConfig, read_identity};
use gateway_spool::SpoolHandle;
use gateway_uplink::{
    Pem, Server, TlsIdentity, UplinkEnded, UplinkHandle, UplinkOptions, UplinkState, WindowLimits,
};
use protocols_model::{BootId, Clock, GatewayId, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// File of the last good time in the state directory (design.md C9).
const TIME_FILE: &str = "last-good-time";

/// What every start of the uplink needs.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) spool: SpoolHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) boot: BootId,
    pub(crate) state_dir: PathBuf,
    pub(crate) clock_synced: Arc<AtomicBool>,
    /// Told whether the uplink is live.
    pub(crate) live: watch::Sender<bool>,
    /// Whether an uplink was started before.
    pub(crate) began: Arc<AtomicBool>,
}

/// The uplink of the running configuration.
#[derive(Debug)]
pub(crate) struct Uplink {
    config: UplinkConfig,
    gateway: GatewayId,
    revision: String,
    /// When the identity file that was last read had been written.
    written: Option<SystemTime>,
    running: Result<(UplinkHandle, Proof), String>,
}

/// What it shows, and to whom.
#[derive(Debug, PartialEq)]
struct Proof {
    servers: Vec<Server>,
    tls: TlsIdentity,
}

/// What is shown of it.
#[derive(Debug, Clone)]
pub(crate) struct UplinkView {
    name: String,
    state: Result<watch::Receiver<Arc<UplinkState>>, String>,
}

/// What is wrong with the identity that a configuration names, for `check`.
pub(crate) fn identity_problem(config: &GatewayConfig) -> Option<String> {
    let uplink = config.uplink.as_ref()?;
    credentials(uplink, &config.gateway.id).err()
}

/// The file with the private key, where others than its owner can read it.
pub(crate) fn readable_secret(config: &GatewayConfig) -> Option<&Path> {
    let secret = match &config.uplink.as_ref()?.credentials {
        Credentials::Identity(path) => path,
        Credentials::Files { key, .. } => key,
    };
    (secret.exists() && !is_private(secret)).then_some(secret)
}

/// Says so in the log.
pub(crate) fn warn_of_readable_secret(config: &GatewayConfig) {
    if let Some(secret) = readable_secret(config) {
        tracing::warn!("others can read the private key in {}", secret.display());
    }
}

impl Uplink {
    /// Starts the uplink that `config` asks for, if any.
    pub(crate) fn start(config: &GatewayConfig, revision: &str, ground: &Ground) -> Option<Self> {
        ground.live.send_if_modified(std::mem::take);
        let mut uplink = Self {
            config: config.uplink.clone()?,
            gateway: config.gateway.id.clone(),
            revision: revision.to_owned(),
            written: None,
            running: Err(String::new()),
        };
        uplink.written = uplink.file_written();
        match credentials(&uplink.config, &uplink.gateway) {
            Ok(proof) => uplink.begin(proof, ground),
            Err(problem) => uplink.cannot(problem),
        }
        Some(uplink)
    }

    /// Looks whether the identity was put right or renewed, and uses it then. Whether that changed
    /// anything.
    pub(crate) async fn look(&mut self, ground: &Ground) -> bool {
        let written = self.file_written();
        if self.running.is_ok() && written == self.written {
            return false;
        }
        self.written = written;
        match (&mut self.running, credentials(&self.config, &self.gateway)) {
            (Err(known), Err(problem)) if *known == problem => false,
            (Err(_), Err(problem)) => {
                self.cannot(problem);
                true
            }
            (Ok(_), Err(problem)) => {
                // What runs was right when it started; the broker decides for how long it is.
                tracing::error!("the new identity cannot be used, the old one stays: {problem}");
                false
            }
            (Ok((_, known)), Ok(proof)) if *known == proof => false,
            (_, Ok(proof)) => {
                if let Ok((old, _)) = std::mem::replace(&mut self.running, Err(String::new())) {
                    tracing::info!("the identity was renewed");
                    old.stop(Duration::ZERO).await;
                }
                self.begin(proof, ground);
                true
            }
        }
    }

    /// When the identity file was written; nothing for files that are read at each connect anyway.
    fn file_written(&self) -> Option<SystemTime> {
        match &self.config.credentials {
            Credentials::Identity(path) => std::fs::metadata(path).ok()?.modified().ok(),
            Credentials::Files { .. } => None,
        }
    }

    fn cannot(&mut self, problem: String) {
        tracing::error!("the uplink cannot start: {problem}");
        self.running = Err(problem);
    }

    fn begin(&mut self, proof: Proof, ground: &Ground) {
        let (servers, tls) = (proof.servers.clone(), proof.tls.clone());
        let mut options = UplinkOptions::new(self.gateway.clone(), servers, tls, ground.boot);
        options.last_good_time = Some(ground.state_dir.join(TIME_FILE));
        options.confirm = match self.config.confirm {
            Confirm::Store => gateway_uplink::Confirm::Store,
            Confirm::Broker => gateway_uplink::Confirm::Broker,
        };
        options.software = concat!("fogline-gateway ", env!("CARGO_PKG_VERSION")).to_owned();
        options.config_revision.clone_from(&self.revision);
        options.inherits = ground.began.swap(true, Ordering::Relaxed);
        options.clock_synced = Arc::clone(&ground.clock_synced);
        let clock = Arc::clone(&ground.clock);
        let handle = gateway_uplink::start(options, ground.spool.clone(), clock);
        tokio::spawn(tell_live(handle.state(), ground.live.clone()));
        self.running = Ok((handle, proof));
    }

    /// Whether `config` asks for the same uplink.
    pub(crate) fn serves(&self, config: &GatewayConfig) -> bool {
        config.uplink.as_ref() == Some(&self.config)
    }

    /// Waits until the task ends by itself. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Result<(), UplinkEnded> {
        match &mut self.running {
            Ok((handle, _)) => handle.ended().await,
            Err(_) => std::future::pending().await,
        }
    }

    /// Sends what can be sent within `grace` and ends. Whether nothing was left.
    pub(crate) async fn stop(self, grace: Duration) -> bool {
        match self.running {
            Ok((handle, _)) => handle.stop(grace).await,
            Err(_) => false,
        }
    }

    pub(crate) fn view(&self) -> UplinkView {
        let state = self.running.as_ref().map(|(handle, _)| handle.state());
        UplinkView {
            name: self.config.name.clone(),
            state: state.map_err(Clone::clone),
        }
    }
}

/// Keeps `live` as the uplink's state is, until the uplink ends.
async fn tell_live(mut state: watch::Receiver<Arc<UplinkState>>, live: watch::Sender<bool>) {
    loop {
        let now = {
            let state = state.borrow_and_update();
            state.connected && !state.store_away
        };
        live.send_if_modified(|live| std::mem::replace(live, now) != now);
        if state.changed().await.is_err() {
            live.send_if_modified(std::mem::take);
            return;
        }
    }
}

/// Servers and TLS of an uplink, or what is wrong and what to do.
fn credentials(uplink: &UplinkConfig, gateway: &GatewayId) -> Result<Proof, String> {
    let (servers, tls) = match &uplink.credentials {
        Credentials::Identity(path) => {
            let identity = read_identity(path).map_err(|error| chain(&error))?;
            if identity.gateway != *gateway {
                return Err(format!(
                    "{} is the identity of {}, but gateway.id is {gateway}; a certificate is valid for one gateway only",
                    path.display(),
                    identity.gateway
                ));
            }
            let inline = |pem: &str| Pem::Inline(pem.into());
            let tls = TlsIdentity {
                ca: inline(&identity.ca),
                certificate: inline(&identity.certificate),
                key: inline(&identity.key),
            };
            (identity.servers, tls)
        }
        Credentials::Files {
            servers,
            ca,
            certificate,
            key,
        } => {
            let tls = TlsIdentity {
                ca: Pem::File(ca.clone()),
                certificate: Pem::File(certificate.clone()),
                key: Pem::File(key.clone()),
            };
            (servers.clone(), tls)
        }
    };
    let servers = servers.iter().map(|server| Server::try_new(server));
    let servers = servers
        .collect::<Result<_, _>>()
        .map_err(|error| chain(&error))?;
    Ok(Proof { servers, tls })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl UplinkView {
    pub(crate) fn report(&self) -> UplinkReport {
        let state = self.state.as_ref().map(|state| Arc::clone(&state.borrow()));
        let no_identity = self.state.is_err();
        let problem = self.state.as_ref().err().cloned();
        let state = state.unwrap_or_default();
        let ms = |span: Duration| span.as_secs_f64() * 1000.0;
        let c = &state.counters;
        let counters = [
            ("envelopes", c.envelopes),
            ("bytes", c.bytes),
            ("records", c.records),
            ("resent_records", c.resent),
            ("settled_records", c.settled),
            ("refused_records", c.refused),
            ("identity_acknowledgements", c.identity),
            ("unreadable_messages", c.unreadable),
            ("hellos", c.hellos),
            ("history_envelopes", c.history_envelopes),
            ("history_bytes", c.history_bytes),
            ("slowing_hints", state.hints),
            ("reconnects", state.reconnects),
        ];
        UplinkReport {
            name: self.name.clone(),
            connected: state.connected,
            server: state.server.as_ref().map(ToString::to_string),
            since: (!no_identity).then_some(state.since.as_millis()),
            error: problem.or_else(|| state.last_error.as_deref().map(str::to_owned)),
            no_identity,
            store_away: state.store_away,
            last_settled: state.last_settled.map(Timestamp::as_millis),
            unsettled_records: state.unsettled_records,
            unsettled_bytes: state.unsettled_bytes,
            window_bytes: WindowLimits::default().max_bytes as u64,
            in_flight_bytes: state.in_flight_bytes,
            backlog_records: state.backlog_records,
            backlog_bytes: state.backlog_bytes,
            slowed_to_bytes_per_s: state.slowed_to,
            history_window_bytes: state.history_window,
            link_bytes_per_s: state.link_bytes_per_second,
            settling_p50_ms: state.settling.map(|(p50, _)| ms(p50)),
            settling_p99_ms: state.settling.map(|(_, p99)| ms(p99)),
            counters: counters
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }
}
