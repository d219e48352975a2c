//! Answers hellos: what is settled, what is missing, how much is still under way (design.md C3).

use crate::source::{HelloMessage, IngestSource, SourceError};
use crate::stats::IngestStats;
use cloud_store::Ingest;
use protocols_model::{Clock, GatewayId, Instant};
use protocols_wire::{Down, Hello, HelloAnswer, Topic};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Newest envelope version this program reads.
const NEWEST_VERSION: u32 = protocols_wire::ENVELOPE_VERSION as u32;
/// Epochs are closed while every message at the broker is younger than this: what a gateway no longer
/// lists it had stopped sending long before, for the store waits much longer
/// ([`cloud_store::Limits::epoch_grace`]). That nothing at all is under way never happens where many
/// gateways send.
const UNDER_WAY: Duration = Duration::from_secs(60);
/// What the broker said of its messages holds so long: a fleet that comes back says thousands of hellos
/// in a row, and to ask the broker for each would be most of what an answer costs. A count that is a
/// little old at worst has a gateway send something twice that is under way.
const LOOK_HOLDS: Duration = Duration::from_millis(100);
/// Before another try to listen.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) struct Hellos {
    pub(crate) source: Arc<dyn IngestSource>,
    pub(crate) store: Arc<dyn Ingest>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<IngestStats>,
}

/// What the broker said of messages that are not settled.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    pending: u64,
    /// None of them has waited for long.
    drained: bool,
}

impl Hellos {
    /// One after the other: a hello costs one small transaction, and gateways spread theirs.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut look = None;
        loop {
            let next = tokio::select! { biased;
                () = stop.cancelled() => return,
                next = self.source.next_hello() => next,
            };
            match next {
                Ok(message) => self.handle(message, &mut look).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot hear hellos yet");
                    tokio::select! { biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
            }
        }
    }

    async fn handle(&self, message: HelloMessage, look: &mut Option<Look>) {
        let Some(Topic::Hello(gateway)) = Topic::parse(&message.topic) else {
            self.stats.bad_hellos.add(1);
            return;
        };
        match self.answer(&gateway, &message, look).await {
            Ok(true) => self.stats.hellos.add(1),
            Ok(false) => {
                self.stats.bad_hellos.add(1);
                tracing::warn!(%gateway, "hello of a gateway that is not trusted");
            }
            // Unanswered: the gateway says hello again.
            Err(error) => {
                self.stats.bad_hellos.add(1);
                tracing::warn!(%gateway, %error, "hello not answered");
            }
        }
    }

    async fn answer(
        &self,
        gateway: &GatewayId,
        message: &HelloMessage,
        look: &mut Option<Look>,
    ) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        let received = self.clock.wall();
        let hello = match Hello::decode(&message.payload) {
            Ok(hello) => hello,
            Err(error) => {
                let input = cloud_store::QuarantineInput {
                    gateway: Some(gateway.clone()),
                    topic: message.topic.clone(),
                    payload: message.payload.to_vec(),
                    reason: error.to_string(),
                    received,
                };
                self.stats.quarantined.add(1);
                self.store.quarantine(input).await?;
                return Err(Box::new(error));
            }
        };
        // Counted before the state is read: what is settled in between is then in the state.
        let Look {
            pending: stream_pending,
            drained,
            ..
        } = self.look(look).await?;
        let nonce = hello.nonce;
        let state = self.store.hello(gateway, hello, received, drained).await?;
        if state.refused {
            return Ok(false);
        }
        let answer = Down::HelloAnswer(HelloAnswer {
            nonce,
            generation: state.generation,
            newest_version: NEWEST_VERSION,
            epochs: state.epochs,
            missing_dictionaries: state.missing_dictionaries,
            stream_pending,
            pace: self.stats.pace(self.clock.monotonic()),
        });
        self.source.send_down(gateway, answer.encode()?).await?;
        Ok(true)
    }

    async fn look(&self, last: &mut Option<Look>) -> Result<Look, SourceError> {
        let now = self.clock.monotonic();
        if let Some(look) = last.filter(|look| now.since(look.at) < LOOK_HOLDS) {
            return Ok(look);
        }
        let pending = self.source.pending().await?;
        let waited = self.source.waited(self.clock.wall());
        let look = Look {
            at: now,
            pending,
            drained: pending == 0 || waited.await? < UNDER_WAY,
        };
        *last = Some(look);
        Ok(look)
    }
}
