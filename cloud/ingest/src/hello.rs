//! Answers hellos: what is settled, what is missing, how much is still under way (design.md C3).

use crate::source::{HelloMessage, IngestSource};
use crate::stats::IngestStats;
use cloud_store::Ingest;
use protocols_model::{Clock, GatewayId};
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
/// Before another try to listen.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) struct Hellos {
    pub(crate) source: Arc<dyn IngestSource>,
    pub(crate) store: Arc<dyn Ingest>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<IngestStats>,
}

impl Hellos {
    /// One after the other: a hello costs one small transaction, and gateways spread theirs.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let next = tokio::select! { biased;
                () = stop.cancelled() => return,
                next = self.source.next_hello() => next,
            };
            match next {
                Ok(message) => self.handle(message).await,
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

    async fn handle(&self, message: HelloMessage) {
        let Some(Topic::Hello(gateway)) = Topic::parse(&message.topic) else {
            self.stats.bad_hellos.add(1);
            return;
        };
        match self.answer(&gateway, &message).await {
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
        let stream_pending = self.source.pending().await?;
        let drained = stream_pending == 0 || self.source.waited(received).await? < UNDER_WAY;
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
}
