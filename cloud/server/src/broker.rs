//! Connections to the broker, one for each of our users there, to whichever of its nodes answers.

use crate::config::CloudConfig;
use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, Event};
use cloud_auth::BrokerSecrets;
use cloud_auth::broker_config::{AUTH_USER, INGEST_USER, SYSTEM_USER};
use std::time::Duration;

/// A broker on the same machine or in the same network answers by then.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Two unanswered pings and the link counts as dead: a node that fell silent is left for another.
const PING_EVERY: Duration = Duration::from_secs(2);
/// The broker is one machine away: no need to wait long, no sense in hammering.
const RECONNECT_MAX: Duration = Duration::from_secs(1);

/// Who connects.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BrokerUser {
    Ingest,
    Auth,
    System,
}

/// Where the broker's nodes are and what its users' passwords are.
#[derive(Debug)]
pub(crate) struct Broker {
    urls: Vec<String>,
    /// How many nodes there are.
    pub(crate) nodes: usize,
    ca: std::path::PathBuf,
    pub(crate) secrets: BrokerSecrets,
}

impl Broker {
    pub(crate) fn new(config: &CloudConfig) -> anyhow::Result<Self> {
        let secrets = BrokerSecrets::read(&config.broker_secrets())
            .context("`fogline-cloud broker init` makes the broker's secrets")?;
        Ok(Self {
            urls: config.broker.urls.clone(),
            nodes: config.broker.nodes().len(),
            ca: config.ca(),
            secrets,
        })
    }

    /// A connection that comes up whenever the broker does, and comes back whenever it goes.
    pub(crate) async fn connect(&self, user: BrokerUser) -> anyhow::Result<Client> {
        self.options(user)
            .retry_on_initial_connect()
            .connect(self.urls.as_slice())
            .await
            .with_context(|| format!("cannot use broker.urls {:?}", self.urls))
    }

    /// A connection now or an error.
    pub(crate) async fn connect_once(&self, user: BrokerUser) -> anyhow::Result<Client> {
        self.options(user)
            .max_reconnects(self.urls.len())
            .connect(self.urls.as_slice())
            .await
            .with_context(|| format!("no broker answers at {}", self.urls.join(", ")))
    }

    fn options(&self, user: BrokerUser) -> ConnectOptions {
        let (name, password) = match user {
            BrokerUser::Ingest => (INGEST_USER, &self.secrets.ingest_password),
            BrokerUser::Auth => (AUTH_USER, &self.secrets.auth_password),
            BrokerUser::System => (SYSTEM_USER, &self.secrets.system_password),
        };
        let options = ConnectOptions::with_user_and_password(name.to_owned(), password.clone())
            .name(format!("fogline-cloud {name}"))
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING_EVERY)
            // Ours are all told, under the names that certificates have.
            .ignore_discovered_servers()
            .reconnect_delay_callback(|attempt| {
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                Duration::from_millis(50)
                    .saturating_mul(attempt)
                    .min(RECONNECT_MAX)
            })
            .event_callback(move |event| async move {
                match event {
                    Event::Connected => tracing::info!(user = name, "broker connected"),
                    Event::Disconnected => tracing::warn!(user = name, "broker disconnected"),
                    other => tracing::debug!(user = name, event = %other, "broker"),
                }
            });
        if self.urls.iter().all(|url| url.starts_with("tls://")) {
            options
                .add_root_certificates(self.ca.clone())
                .require_tls(true)
        } else {
            options
        }
    }
}
