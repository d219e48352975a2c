//! The broker's own view of its connections: list them, cut one. For users of the system account.
//!
//! Every server of a cluster answers a list request. How many there are the configuration says, so
//! answers are waited for until all have come; one that is away is not waited for long.

use crate::broker_config::FIELD_ACCOUNT;
use crate::sessions::SessionKey;
use crate::stats::AuthStats;
use async_nats::{Client, Subscriber};
use futures::StreamExt as _;
use protocols_model::GatewayId;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const LIST: &str = "$SYS.REQ.SERVER.PING.CONNZ";
/// Connections asked for at once.
const PAGE: usize = 1024;
/// Pages read at most: 100 000 connections a server.
const MAX_PAGES: usize = 98;
/// The first answer may take so long.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// After an answer, the others of a list come within this, unless their servers are away.
const OTHERS_OF_A_LIST: Duration = Duration::from_secs(1);
/// The same when a session is to be cut: a server that is away holds nobody's session, and the looks
/// that follow must not come late.
const OTHERS_OF_A_CUT: Duration = Duration::from_millis(150);
/// When all have answered that should: whether there are more.
const MORE: Duration = Duration::from_millis(50);
/// A connection that was let in just before the revocation shows up in one of these looks; all of
/// them lie within the second that a revocation may take.
const LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(300),
];

/// Why the broker's sessions could not be listed or cut.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The broker does not take the request.
    #[error("could not ask the broker for its connections")]
    Ask(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No server answered.
    #[error("no broker answered within {FIRST_ANSWER:?}")]
    NoAnswer,
}

/// Lists and cuts sessions. `client` is the broker's user `system`.
#[derive(Debug, Clone)]
pub struct Monitor {
    client: Client,
    stats: Arc<AuthStats>,
    servers: usize,
}

/// One full list.
#[derive(Debug, Default)]
pub struct Listed {
    /// The servers that answered.
    pub servers: BTreeSet<String>,
    /// Sessions of gateways.
    pub sessions: Vec<(SessionKey, GatewayId)>,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Connections>,
}

#[derive(Deserialize)]
struct Connections {
    server_id: String,
    #[serde(default)]
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Connection {
    cid: u64,
    #[serde(default)]
    mqtt_client: String,
}

impl Monitor {
    /// A monitor of a broker with so many servers, that counts what it cuts.
    #[must_use]
    pub const fn new(client: Client, stats: Arc<AuthStats>, servers: usize) -> Self {
        Self {
            client,
            stats,
            servers,
        }
    }

    /// What it counts.
    #[must_use]
    pub const fn stats(&self) -> &Arc<AuthStats> {
        &self.stats
    }

    /// The connection it asks through.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// All sessions of gateways.
    ///
    /// # Errors
    /// [`MonitorError`].
    pub async fn list(&self) -> Result<Listed, MonitorError> {
        let mut listed = Listed::default();
        for page in 0..MAX_PAGES {
            let offset = page.saturating_mul(PAGE);
            let ask = format!(r#"{{"acc":"{FIELD_ACCOUNT}","limit":{PAGE},"offset":{offset}}}"#);
            let mut full = false;
            for answer in self.ask(ask).await? {
                full |= answer.connections.len() >= PAGE;
                listed.servers.insert(answer.server_id.clone());
                listed.sessions.extend(sessions(&answer));
            }
            if !full {
                break;
            }
        }
        Ok(listed)
    }

    /// Cuts every session of a gateway, on whichever server it is; says how many there were.
    /// The registry must refuse the gateway already, else it is back at once.
    ///
    /// # Errors
    /// [`MonitorError`].
    pub async fn cut(&self, gateway: &GatewayId) -> Result<u64, MonitorError> {
        let mut cut = 0_u64;
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            let inbox = self
                .send(format!(r#"{{"mqtt_client":"{gateway}"}}"#))
                .await?;
            // Each answer is acted on as it comes: the others may be slow.
            let mut answers = Answers::new(inbox, self.servers, OTHERS_OF_A_CUT);
            let mut any = false;
            while let Some(answer) = answers.next().await {
                any = true;
                for (key, _) in sessions(&answer) {
                    cut = cut.saturating_add(1);
                    self.kick(&key).await?;
                }
            }
            if !any {
                return Err(MonitorError::NoAnswer);
            }
        }
        self.stats.count_cut(cut);
        Ok(cut)
    }

    async fn kick(&self, key: &SessionKey) -> Result<(), MonitorError> {
        let subject = format!("$SYS.REQ.SERVER.{}.KICK", key.server);
        let body = format!(r#"{{"cid":{}}}"#, key.connection);
        // The broker ignores a kick that asks for no answer.
        let kicked = self.client.request(subject, body.into()).await;
        kicked.map_err(|e| MonitorError::Ask(Box::new(e)))?;
        Ok(())
    }

    async fn ask(&self, body: String) -> Result<Vec<Connections>, MonitorError> {
        let mut answers = Answers::new(self.send(body).await?, self.servers, OTHERS_OF_A_LIST);
        let mut all = Vec::new();
        while let Some(answer) = answers.next().await {
            all.push(answer);
        }
        if all.is_empty() {
            return Err(MonitorError::NoAnswer);
        }
        Ok(all)
    }

    async fn send(&self, body: String) -> Result<Subscriber, MonitorError> {
        let inbox = self.client.new_inbox();
        let subscribed = self.client.subscribe(inbox.clone()).await;
        let inbox_messages = subscribed.map_err(|e| MonitorError::Ask(Box::new(e)))?;
        let sent = self
            .client
            .publish_with_reply(LIST, inbox, body.into())
            .await;
        sent.map_err(|e| MonitorError::Ask(Box::new(e)))?;
        Ok(inbox_messages)
    }
}

struct Answers {
    inbox: Subscriber,
    /// Servers that are still to answer.
    missing: usize,
    others: Duration,
    patience: Duration,
}

impl Answers {
    const fn new(inbox: Subscriber, servers: usize, others: Duration) -> Self {
        Self {
            inbox,
            missing: servers,
            others,
            patience: FIRST_ANSWER,
        }
    }

    async fn next(&mut self) -> Option<Connections> {
        loop {
            let message = tokio::time::timeout(self.patience, self.inbox.next())
                .await
                .ok()??;
            self.missing = self.missing.saturating_sub(1);
            self.patience = if self.missing == 0 { MORE } else { self.others };
            if let Ok(Answer { data: Some(data) }) = serde_json::from_slice(&message.payload) {
                return Some(data);
            }
            tracing::debug!("an answer of the broker cannot be read");
        }
    }
}

/// Connections that are gateways: our own services have no MQTT client id.
fn sessions(answer: &Connections) -> Vec<(SessionKey, GatewayId)> {
    let gateway = |connection: &Connection| {
        let id = GatewayId::try_new(&connection.mqtt_client).ok()?;
        let key = SessionKey {
            server: answer.server_id.clone(),
            connection: connection.cid,
        };
        Some((key, id))
    };
    answer.connections.iter().filter_map(gateway).collect()
}
