//! The auth callout's responder: the broker asks about each connection, the registry answers.
//!
//! Ready only while ingest is: without a consumer the broker would PUBACK what nobody keeps. Without
//! an answer the broker keeps the connection out, so every failure here is a closed door: the
//! gateway tries again, its readings wait in its spool.

use crate::broker_config::BrokerSecrets;
use crate::decide::{self, Refusal};
use crate::jwt::{Question, Rights};
use crate::nkeys::{AccountKey, KeyError};
use crate::stats::AuthStats;
use async_nats::{Client, Message};
use cloud_store::Registry;
use futures::StreamExt as _;
use protocols_model::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SUBJECT: &str = "$SYS.REQ.USER.AUTH";
/// Responders share the questions.
const QUEUE: &str = "fogline-auth";
/// Questions answered at once: a reconnect storm must not queue up in the database.
const CONCURRENT: usize = 64;
/// Before another try to subscribe.
const RETRY: Duration = Duration::from_millis(500);

/// The responder.
#[derive(Debug, Clone)]
pub struct Callout(Arc<Inner>);

struct Inner {
    registry: Arc<dyn Registry>,
    key: AccountKey,
    ready: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    stats: Arc<AuthStats>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callout").finish_non_exhaustive()
    }
}

impl Callout {
    /// A responder that asks `registry`, signs with the issuer's key and lets nobody in until
    /// `ready`. Refusals are kept in `stats`, for the API.
    ///
    /// # Errors
    /// [`KeyError`] when the issuer's seed is not one.
    pub fn new(
        registry: Arc<dyn Registry>,
        secrets: &BrokerSecrets,
        ready: watch::Receiver<bool>,
        clock: Arc<dyn Clock>,
        stats: Arc<AuthStats>,
    ) -> Result<Self, KeyError> {
        Ok(Self(Arc::new(Inner {
            registry,
            key: AccountKey::from_seed(&secrets.issuer_seed)?,
            ready,
            clock,
            stats,
        })))
    }

    /// Answers questions until `stop`. `client` is the broker's user `auth`.
    pub async fn run(self, client: Client, stop: CancellationToken) {
        let answers = TaskTracker::new();
        let room = Arc::new(Semaphore::new(CONCURRENT));
        while !stop.is_cancelled() {
            let questions = client.queue_subscribe(SUBJECT, QUEUE.to_owned()).await;
            let mut questions = match questions {
                Ok(questions) => questions,
                Err(error) => {
                    tracing::warn!(%error, "cannot listen for the broker's questions yet");
                    tokio::select! { biased;
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(RETRY) => continue,
                    }
                }
            };
            loop {
                let question = tokio::select! { biased;
                    () = stop.cancelled() => break,
                    question = questions.next() => question,
                };
                let Some(question) = question else { break };
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                    break;
                };
                let (inner, client) = (Arc::clone(&self.0), client.clone());
                answers.spawn(async move {
                    inner.answer(&client, &question).await;
                    drop(permit);
                });
            }
        }
        answers.close();
        answers.wait().await;
    }
}

impl Inner {
    async fn answer(&self, client: &Client, message: &Message) {
        let Some(reply) = message.reply.clone() else {
            return;
        };
        let question = match Question::decode(&message.payload) {
            Ok(question) => question,
            Err(error) => {
                self.stats.count_unreadable();
                tracing::warn!(%error, "a question of the broker cannot be read");
                return;
            }
        };
        let now = self.clock.wall();
        let answer = match self.judge(&question).await {
            Ok(rights) => {
                self.stats.count_granted();
                tracing::info!(gateway = rights.name, from = question.host, "let in");
                question.grant(&self.key, &rights, now)
            }
            Err(refusal) => {
                self.note(&question, &refusal);
                question.refuse(&self.key, &refusal.to_string(), now)
            }
        };
        if let Err(error) = client.publish(reply, answer.into()).await {
            tracing::warn!(%error, "an answer did not reach the broker");
        }
    }

    async fn judge(&self, question: &Question) -> Result<Rights, Refusal> {
        let (gateway, facts) = decide::claimed_identity(question)?;
        if !*self.ready.borrow() {
            return Err(Refusal::NotReady);
        }
        let entry = self.registry.gateway(&gateway).await.map_err(|error| {
            tracing::warn!(%error, "the registry cannot be asked");
            Refusal::RegistryAway
        })?;
        if facts.expires_soon(self.clock.wall()) {
            let days = facts.left(self.clock.wall()).as_secs() / 86_400;
            tracing::warn!(%gateway, days, "the gateway's certificate ends soon");
        }
        decide::decide(entry.as_ref(), &facts)
    }

    fn note(&self, question: &Question, refusal: &Refusal) {
        self.stats.refused_now(question, refusal, self.clock.wall());
        tracing::warn!(
            client_id = question.client_id,
            from = question.host,
            reason = %refusal,
            "kept out"
        );
    }
}
