//! NATS JetStream as the source: pull consumers on the broker's own MQTT stream.
//!
//! The broker keeps `QoS 1` publishes in `$MQTT_msgs` while a consumer is interested, and PUBACKs
//! them in any case (an own stream on the same subjects loses a third of them when its leader dies). So
//! stream and consumers are made before the first gateway may connect, and made again when they
//! vanish ([`stream`]). Replicas share the consumers: each message goes to one of them, and to another
//! when that one has not settled it in time.
//!
//! Live goes first; history keeps a share of every group, so that it can never starve.

mod stream;

use crate::source::{
    Delivery, GROUP_MESSAGES, HelloMessage, IngestSource, Receipt, SourceError, StreamState,
};
use async_nats::jetstream;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::{Client, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use protocols_model::{GatewayId, Timestamp};
use protocols_wire::Topic;
use std::time::Duration;
use stream::Streams;
use tokio::sync::Mutex;

/// The broker's own stream of `QoS 1` publishes.
pub const STREAM: &str = "$MQTT_msgs";
/// What the broker puts before the subject of a stored publish.
const STORED_PREFIX: &str = "$MQTT.msgs.";
const LIVE: (&str, &str) = ("ingest-live", "$MQTT.msgs.gw.*.up.*");
const HISTORY: (&str, &str) = ("ingest-history", "$MQTT.msgs.gw.*.up.*.>");
const HELLOS: &str = "gw.*.up.hello";
/// Replicas share hellos.
const HELLO_QUEUE: &str = "fogline-ingest";
/// Replicas tell each other how busy they are.
const PEERS: &str = "fogline.ingest.load";

/// Bytes asked for at once and lane: bounds this process' memory.
const PULL_BYTES: usize = 8 * 1024 * 1024;
/// How long a pull request stands. A heartbeat tells within two of them that it was forgotten.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
const PULL_HEARTBEAT: Duration = Duration::from_secs(2);
/// What history may always have of a group.
const HISTORY_SHARE: usize = GROUP_MESSAGES / 8;
/// An answer of the broker about its streams.
const API_TIMEOUT: Duration = Duration::from_secs(3);

/// Bounds of the broker's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatsOptions {
    /// Bytes the stream may hold; at least twice the sum of all gateways' windows.
    pub max_bytes: u64,
    /// Copies in a cluster; 1 on one node.
    pub replicas: usize,
}

/// The source. `client` is the broker's user `ingest`.
pub struct NatsSource {
    client: Client,
    options: NatsOptions,
    streams: Streams,
    lanes: Mutex<Option<Lanes>>,
    hellos: Mutex<Option<Subscriber>>,
    peers: Mutex<Option<Subscriber>>,
}

struct Lanes {
    live: pull::Stream,
    history: pull::Stream,
}

impl std::fmt::Debug for NatsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsSource")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl NatsSource {
    /// A source on a connection; talks to nobody yet.
    #[must_use]
    pub fn new(client: Client, options: NatsOptions) -> Self {
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(API_TIMEOUT);
        Self {
            streams: Streams::new(client.clone(), jetstream, options),
            client,
            options,
            lanes: Mutex::new(None),
            hellos: Mutex::new(None),
            peers: Mutex::new(None),
        }
    }

    async fn open(&self) -> Result<Lanes, SourceError> {
        Ok(Lanes {
            live: pull(&self.streams.consumer(LIVE).await?).await?,
            history: pull(&self.streams.consumer(HISTORY).await?).await?,
        })
    }
}

async fn pull(consumer: &Consumer<pull::Config>) -> Result<pull::Stream, SourceError> {
    let stream = consumer
        .stream()
        .max_messages_per_batch(GROUP_MESSAGES)
        .max_bytes_per_batch(PULL_BYTES)
        .expires(PULL_EXPIRES)
        .heartbeat(PULL_HEARTBEAT)
        .messages();
    let stream = stream.await;
    stream.map_err(|e| SourceError::new("ask for messages of", e))
}

#[async_trait]
impl IngestSource for NatsSource {
    async fn ensure(&self, now: Timestamp) -> Result<StreamState, SourceError> {
        self.streams.ensure(now).await
    }

    async fn next(&self) -> Result<Vec<Delivery>, SourceError> {
        let mut guard = self.lanes.lock().await;
        if guard.is_none() {
            *guard = Some(self.open().await?);
        }
        // Stays in the guard across the wait: a caller who gives up loses nothing.
        let lanes = guard.as_mut();
        let lanes = lanes.ok_or_else(|| SourceError::new("take messages from", "no pull"))?;
        let first = tokio::select! { biased;
            message = lanes.live.next() => message,
            message = lanes.history.next() => message,
        };
        let mut group = Vec::new();
        let mut broken = take(first, &mut group);
        // From here on nothing waits: what was taken reaches the caller.
        for (lane, room) in [
            (&mut lanes.live, GROUP_MESSAGES - HISTORY_SHARE),
            (&mut lanes.history, GROUP_MESSAGES),
        ] {
            while broken.is_none() && group.len() < room {
                match lane.next().now_or_never() {
                    Some(message) => broken = take(message, &mut group),
                    None => break,
                }
            }
        }
        match broken {
            Some(error) => {
                *guard = None;
                if group.is_empty() {
                    return Err(error);
                }
                tracing::warn!(%error, "the broker's messages stopped");
                Ok(group)
            }
            None => Ok(group),
        }
    }

    async fn settle(&self, receipts: Vec<Receipt>) -> Result<(), SourceError> {
        for Receipt(reply) in receipts {
            let settled = self.client.publish(reply, Bytes::from_static(b"+ACK"));
            settled
                .await
                .map_err(|e| SourceError::new("settle messages at", e))?;
        }
        Ok(())
    }

    async fn give_back(&self, mut receipts: Vec<Receipt>) {
        // Taken out: the pulls end with this call, and bring nothing more to this process.
        if let Some(mut lanes) = self.lanes.lock().await.take() {
            for lane in [&mut lanes.live, &mut lanes.history] {
                for _ in 0..GROUP_MESSAGES {
                    let Some(Some(Ok(message))) = lane.next().now_or_never() else {
                        break;
                    };
                    let reply = message.reply.as_deref().unwrap_or_default();
                    receipts.push(Receipt(reply.to_owned()));
                }
            }
        }
        let messages = receipts.len();
        for Receipt(reply) in receipts {
            let given = self.client.publish(reply, Bytes::from_static(b"-NAK"));
            // What cannot be given back comes to somebody after the acknowledgement's time-out.
            if given.await.is_err() {
                return;
            }
        }
        if messages > 0 {
            tracing::info!(messages, "given back to the broker");
        }
    }

    async fn pending(&self) -> Result<u64, SourceError> {
        self.streams.pending().await
    }

    async fn waited(&self, now: Timestamp) -> Result<Duration, SourceError> {
        self.streams.waited(now).await
    }

    async fn next_hello(&self) -> Result<HelloMessage, SourceError> {
        let mut guard = self.hellos.lock().await;
        if guard.is_none() {
            let subscribed = self
                .client
                .queue_subscribe(HELLOS, HELLO_QUEUE.to_owned())
                .await;
            *guard = Some(subscribed.map_err(|e| SourceError::new("listen for hellos at", e))?);
        }
        let next = match guard.as_mut() {
            Some(hellos) => hellos.next().await,
            None => None,
        };
        let Some(message) = next else {
            *guard = None;
            return Err(SourceError::new("listen for hellos at", "the link closed"));
        };
        Ok(HelloMessage {
            topic: message.subject.to_string(),
            payload: message.payload,
        })
    }

    async fn tell_peers(&self, load: Bytes) -> Result<(), SourceError> {
        let told = self.client.publish(PEERS, load).await;
        told.map_err(|e| SourceError::new("tell the other replicas through", e))
    }

    async fn next_peer(&self) -> Result<Bytes, SourceError> {
        let mut guard = self.peers.lock().await;
        if guard.is_none() {
            let subscribed = self.client.subscribe(PEERS).await;
            *guard =
                Some(subscribed.map_err(|e| SourceError::new("listen for other replicas at", e))?);
        }
        let next = match guard.as_mut() {
            Some(peers) => peers.next().await,
            None => None,
        };
        let Some(message) = next else {
            *guard = None;
            return Err(SourceError::new(
                "listen for other replicas at",
                "the link closed",
            ));
        };
        Ok(message.payload)
    }

    async fn send_down(&self, gateway: &GatewayId, payload: Bytes) -> Result<(), SourceError> {
        let subject = Topic::Ack(gateway.clone()).to_nats();
        let sent = self.client.publish(subject, payload).await;
        sent.map_err(|e| SourceError::new("send an acknowledgement through", e))
    }
}

type Pulled = Option<Result<jetstream::Message, pull::MessagesError>>;

/// Adds a message to the group, or says why there are no more.
fn take(pulled: Pulled, group: &mut Vec<Delivery>) -> Option<SourceError> {
    let message = match pulled {
        Some(Ok(message)) => message,
        Some(Err(error)) => return Some(SourceError::new("take messages from", error)),
        None => return Some(SourceError::new("take messages from", "the pull ended")),
    };
    let subject = message.subject.as_str();
    group.push(Delivery {
        topic: subject
            .strip_prefix(STORED_PREFIX)
            .unwrap_or(subject)
            .to_owned(),
        receipt: Receipt(message.reply.as_deref().unwrap_or_default().to_owned()),
        payload: message.payload.clone(),
    });
    None
}
