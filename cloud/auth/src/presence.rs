//! Keeps the store's view of broker sessions right, and cuts sessions that should not exist.
//!
//! Events arrive at once; every few seconds a full list repairs what was missed and finds sessions
//! of gateways that are not trusted (any more), whatever became of the cut at their revocation.

use crate::broker_config::FIELD_ACCOUNT;
use crate::monitor::Monitor;
use crate::sessions::{Change, SessionKey, Sessions};
use async_nats::{Client, Message, SubscribeError, Subscriber};
use cloud_store::Registry;
use futures::StreamExt as _;
use protocols_model::{Clock, GatewayId};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Between two full lists. Also how long a broker may be gone before its sessions are.
const LIST_EVERY: Duration = Duration::from_secs(5);
/// Before another try to subscribe.
const RETRY: Duration = Duration::from_millis(500);

/// Watches sessions. One per installation is enough; several do no harm.
pub struct Presence {
    registry: Arc<dyn Registry>,
    clock: Arc<dyn Clock>,
    monitor: Monitor,
    sessions: Sessions,
}

#[derive(Deserialize)]
struct Event {
    server: EventServer,
    client: EventClient,
}

#[derive(Deserialize)]
struct EventServer {
    id: String,
}

#[derive(Deserialize)]
struct EventClient {
    id: u64,
    #[serde(default)]
    user: String,
    #[serde(default)]
    client_type: String,
    #[serde(default)]
    client_id: String,
}

enum Seen {
    Opened(Message),
    Closed(Message),
    Lost,
    Tick,
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence")
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

impl Presence {
    /// A watcher that knows of no session yet.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, clock: Arc<dyn Clock>, monitor: Monitor) -> Self {
        Self {
            registry,
            clock,
            monitor,
            sessions: Sessions::default(),
        }
    }

    /// Watches until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LIST_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        'subscribe: while !stop.is_cancelled() {
            let events = subscribe(self.monitor.client()).await;
            let (mut opened, mut closed) = match events {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(%error, "cannot watch the broker's sessions yet");
                    tokio::select! { biased;
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(RETRY) => continue 'subscribe,
                    }
                }
            };
            self.begin().await;
            loop {
                let seen = tokio::select! { biased;
                    () = stop.cancelled() => break 'subscribe,
                    event = opened.next() => event.map_or(Seen::Lost, Seen::Opened),
                    event = closed.next() => event.map_or(Seen::Lost, Seen::Closed),
                    _ = ticks.tick() => Seen::Tick,
                };
                match seen {
                    Seen::Opened(event) => self.opened(&event).await,
                    Seen::Closed(event) => self.closed(&event).await,
                    Seen::Tick => self.list().await,
                    Seen::Lost => continue 'subscribe,
                }
            }
        }
    }

    /// At the start the broker's list is the truth, whatever the store remembers.
    async fn begin(&mut self) {
        self.list().await;
        let connected: Vec<GatewayId> = self.sessions.connected().into_iter().collect();
        let noted = self
            .registry
            .set_sessions(&connected, self.clock.wall())
            .await;
        if let Err(error) = noted {
            tracing::warn!(%error, "the sessions could not be noted");
        }
    }

    async fn list(&mut self) {
        let asked = self.clock.monotonic();
        let changes = match self.monitor.list().await {
            Ok(listed) => self
                .sessions
                .listed(&listed.servers, listed.sessions, asked),
            Err(error) => {
                tracing::debug!(%error, "the broker's sessions are not known");
                self.sessions.lost()
            }
        };
        self.note(changes).await;
        self.cut_untrusted().await;
    }

    async fn cut_untrusted(&self) {
        let connected = self.sessions.connected();
        if connected.is_empty() {
            return;
        }
        let trusted: BTreeSet<GatewayId> = match self.registry.gateways().await {
            Ok(all) => all
                .into_iter()
                .filter(|entry| !entry.is_revoked())
                .map(|entry| entry.id)
                .collect(),
            // Nobody is cut because the database is away.
            Err(_) => return,
        };
        for gateway in connected.difference(&trusted) {
            match self.monitor.cut(gateway).await {
                Ok(sessions) => tracing::warn!(%gateway, sessions, "untrusted sessions cut"),
                Err(error) => tracing::warn!(%gateway, %error, "untrusted session not cut"),
            }
        }
    }

    async fn opened(&mut self, message: &Message) {
        if let Some((key, gateway)) = read(message) {
            let now = self.clock.monotonic();
            let changes = self.sessions.opened(key, gateway, now);
            self.note(changes).await;
        }
    }

    async fn closed(&mut self, message: &Message) {
        if let Some((key, _)) = read(message) {
            let changes = self.sessions.closed(&key, self.clock.monotonic());
            self.note(changes).await;
        }
    }

    async fn note(&self, changes: Vec<Change>) {
        let at = self.clock.wall();
        for Change { gateway, connected } in changes {
            tracing::info!(%gateway, connected, "session");
            if let Err(error) = self.registry.set_session(&gateway, connected, at).await {
                tracing::warn!(%gateway, %error, "a session could not be noted");
            }
        }
    }
}

async fn subscribe(client: &Client) -> Result<(Subscriber, Subscriber), SubscribeError> {
    let subject = |what| format!("$SYS.ACCOUNT.{FIELD_ACCOUNT}.{what}");
    Ok((
        client.subscribe(subject("CONNECT")).await?,
        client.subscribe(subject("DISCONNECT")).await?,
    ))
}

/// The session an event speaks of; `None` when it is none of a gateway's.
fn read(message: &Message) -> Option<(SessionKey, GatewayId)> {
    let event: Event = serde_json::from_slice(&message.payload).ok()?;
    if !event.client.client_type.eq_ignore_ascii_case("mqtt") {
        return None;
    }
    // The callout names the connection by its gateway; the client id says the same.
    let name = [&event.client.client_id, &event.client.user]
        .into_iter()
        .find(|name| !name.is_empty())?;
    let key = SessionKey {
        server: event.server.id,
        connection: event.client.id,
    };
    Some((key, GatewayId::try_new(name).ok()?))
}
