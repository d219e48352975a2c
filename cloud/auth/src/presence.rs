//! Keeps the store's view of broker sessions right, and cuts sessions that should not exist.
//!
//! Events arrive at once; every few seconds a full list repairs what was missed and finds sessions
//! of gateways that are not trusted (any more), whatever became of the cut at their revocation.
//!
//! Any number of processes watch, and one of them notes what it sees: the database elects it. One that
//! does not see the broker any more resigns, for others may; where nobody sees it, sessions end.

use crate::broker_config::FIELD_ACCOUNT;
use crate::monitor::Monitor;
use crate::sessions::{Change, SessionKey, Sessions};
use async_nats::{Client, Message, SubscribeError, Subscriber};
use cloud_store::offices::ASK_EVERY;
use cloud_store::{Candidate, Office, Offices, Registry};
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
/// Lists that failed in a row, after which it is said of every gateway that it is not connected, if no
/// other process has taken over.
const BLIND_LISTS: u32 = 2;

/// Watches sessions, and notes them while it is elected.
pub struct Presence {
    registry: Arc<dyn Registry>,
    candidate: Candidate,
    clock: Arc<dyn Clock>,
    monitor: Monitor,
    sessions: Sessions,
    /// Lists that failed in a row; none while the broker is seen.
    blind: u32,
    /// The store knows what this process knows.
    noted: bool,
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
    Claim,
    List,
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
    pub fn new(
        registry: Arc<dyn Registry>,
        offices: Arc<dyn Offices>,
        clock: Arc<dyn Clock>,
        monitor: Monitor,
    ) -> Self {
        Self {
            registry,
            candidate: Candidate::new(offices, Office::Sessions),
            clock,
            monitor,
            sessions: Sessions::default(),
            blind: 0,
            noted: false,
        }
    }

    /// Watches until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut lists = tokio::time::interval(LIST_EVERY);
        let mut claims = tokio::time::interval(ASK_EVERY);
        for ticks in [&mut lists, &mut claims] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
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
            self.list().await;
            self.claim().await;
            loop {
                let seen = tokio::select! { biased;
                    () = stop.cancelled() => break 'subscribe,
                    event = opened.next() => event.map_or(Seen::Lost, Seen::Opened),
                    event = closed.next() => event.map_or(Seen::Lost, Seen::Closed),
                    _ = claims.tick() => Seen::Claim,
                    _ = lists.tick() => Seen::List,
                };
                match seen {
                    Seen::Opened(event) => self.opened(&event).await,
                    Seen::Closed(event) => self.closed(&event).await,
                    Seen::Claim => self.claim().await,
                    Seen::List => self.list().await,
                    Seen::Lost => continue 'subscribe,
                }
            }
        }
        self.resign().await;
    }

    /// Asks to be the one who notes; whoever sees nothing does not ask.
    async fn claim(&mut self) {
        if self.blind > 0 {
            return;
        }
        let elected = self.candidate.holds(&*self.clock).await;
        if self.monitor.stats().set_elected(elected) != elected {
            tracing::info!(elected, "noting sessions");
            self.noted = false;
        }
        if elected && !self.noted {
            self.note_all().await;
        }
    }

    async fn resign(&mut self) {
        self.monitor.stats().set_elected(false);
        self.noted = false;
        self.candidate.resign().await;
    }

    /// What this process sees is the truth, whatever the store remembers.
    async fn note_all(&mut self) {
        let connected: Vec<GatewayId> = self.sessions.connected().into_iter().collect();
        let at = self.clock.wall();
        match self.registry.set_sessions(&connected, at).await {
            Ok(()) => self.noted = true,
            Err(error) => tracing::warn!(%error, "the sessions could not be noted"),
        }
    }

    async fn list(&mut self) {
        let asked = self.clock.monotonic();
        match self.monitor.list().await {
            Ok(listed) => {
                self.blind = 0;
                let changes = self
                    .sessions
                    .listed(&listed.servers, listed.sessions, asked);
                self.note(changes).await;
                if self.monitor.stats().elected() {
                    self.cut_untrusted().await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the broker's sessions are not known");
                self.blind = self.blind.saturating_add(1);
                self.sessions.lost();
                self.monitor.stats().set_sessions(0);
                self.resign().await;
                // Free for a whole list: nobody else sees the broker.
                if self.blind >= BLIND_LISTS && self.candidate.holds(&*self.clock).await {
                    self.note_all().await;
                    self.resign().await;
                }
            }
        }
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

    async fn note(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.monitor
            .stats()
            .set_sessions(self.sessions.connected().len());
        if !self.monitor.stats().elected() {
            return;
        }
        let at = self.clock.wall();
        for Change { gateway, connected } in changes {
            tracing::info!(%gateway, connected, "session");
            if let Err(error) = self.registry.set_session(&gateway, connected, at).await {
                tracing::warn!(%gateway, %error, "a session could not be noted");
                // The next claim notes all of them.
                self.noted = false;
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
