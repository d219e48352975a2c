//! NATS JetStream as the source: pull consumers on the broker's own MQTT stream.
//!
//! The broker keeps `QoS 1` publishes in `$MQTT_msgs` while a consumer is interested, and PUBACKs
//! them in any case (an own stream on the same subjects loses a third of them when its leader dies). So
//! stream and consumers are made before the first gateway may connect, and made again when they
//! vanish:
//!
//! - stream as the broker itself would make it (interest retention, file), bounded, oldest first out;
//! - `ingest-live` on `gw.*.up.*`, `ingest-history` on everything deeper, so that a publish to a
//!   wrong topic is seen and set aside instead of being acknowledged and forgotten;
//! - explicit acknowledgement, redelivery after 10 s, for ever.
//!
//! Live goes first; history keeps a share of every group, so that it can never starve.

use crate::source::{
    Delivery, GROUP_MESSAGES, HelloMessage, IngestSource, Receipt, SourceError, StreamState,
};
use async_nats::connection::State;
use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use protocols_model::{GatewayId, Timestamp};
use protocols_wire::Topic;
use std::time::Duration;
use tokio::sync::Mutex;

/// The broker's own stream of `QoS 1` publishes.
pub const STREAM: &str = "$MQTT_msgs";
/// What the broker puts before the subject of a stored publish.
const STORED_PREFIX: &str = "$MQTT.msgs.";
const LIVE: (&str, &str) = ("ingest-live", "$MQTT.msgs.gw.*.up.*");
const HISTORY: (&str, &str) = ("ingest-history", "$MQTT.msgs.gw.*.up.*.>");
const CONSUMERS: i32 = 2;
const HELLOS: &str = "gw.*.up.hello";
/// Replicas share hellos.
const HELLO_QUEUE: &str = "fogline-ingest";

/// A message that nobody settled comes again after this: far above a commit, far below the
/// gateway's own patience.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// Messages under way to all replicas together.
const MAX_ACK_PENDING: i64 = 4096;
/// Bytes asked for at once and lane: bounds this process' memory.
const PULL_BYTES: usize = 8 * 1024 * 1024;
/// How long a pull request stands. A heartbeat tells within two of them that it was forgotten.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
const PULL_HEARTBEAT: Duration = Duration::from_secs(2);
/// What history may always have of a group.
const HISTORY_SHARE: usize = GROUP_MESSAGES / 8;
/// An answer of the broker about its streams.
const API_TIMEOUT: Duration = Duration::from_secs(3);

/// What else the broker keeps for MQTT, and how much of it at most: a gateway that publishes
/// retained messages without end must not fill the disk under everybody's feet. Nothing of ours
/// lives there: sessions are clean, and no retained message is ever read.
const OTHER_STREAMS: [(&str, i64); 2] = [
    ("$MQTT_rmsgs", 16 * 1024 * 1024),
    ("$MQTT_sess", 64 * 1024 * 1024),
];

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
    jetstream: Context,
    options: NatsOptions,
    lanes: Mutex<Option<Lanes>>,
    hellos: Mutex<Option<Subscriber>>,
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
            client,
            jetstream,
            options,
            lanes: Mutex::new(None),
            hellos: Mutex::new(None),
        }
    }

    async fn ensure_stream(&self) -> Result<Info, SourceError> {
        let failed = |e| SourceError::new("look at the stream of", e);
        let held = match self.jetstream.get_stream(STREAM).await {
            Ok(stream) => stream.cached_info().clone(),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(api)
                    if api.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
                {
                    let made = self.jetstream.create_stream(self.bound(Config {
                        name: STREAM.to_owned(),
                        subjects: vec![format!("{STORED_PREFIX}>")],
                        retention: RetentionPolicy::Interest,
                        storage: StorageType::File,
                        num_replicas: self.options.replicas,
                        // Ours and no others: a gateway's QoS 1 subscription would make one more,
                        // at 0.4 MiB each. It is refused instead.
                        max_consumers: CONSUMERS,
                        ..Config::default()
                    }));
                    let made = made.await;
                    let made = made.map_err(|e| SourceError::new("make the stream of", e))?;
                    tracing::info!("made the stream {STREAM}");
                    made.cached_info().clone()
                }
                _ => return Err(failed(error)),
            },
        };
        // The broker makes it without a bound when a gateway was faster.
        let bound = self.bound(held.config.clone());
        if bound.max_bytes == held.config.max_bytes && bound.discard == held.config.discard {
            return Ok(held);
        }
        let updated = self.jetstream.update_stream(bound).await;
        updated.map_err(|e| SourceError::new("bound the stream of", e))
    }

    /// Bounds the broker's other streams; it makes them when the first gateway connects.
    async fn bound_others(&self) -> Result<(), SourceError> {
        for (name, max_bytes) in OTHER_STREAMS {
            let Ok(stream) = self.jetstream.get_stream(name).await else {
                continue;
            };
            let config = &stream.cached_info().config;
            if config.max_bytes == max_bytes {
                continue;
            }
            let bounded = Config {
                max_bytes,
                discard: DiscardPolicy::Old,
                ..config.clone()
            };
            let updated = self.jetstream.update_stream(bounded).await;
            updated.map_err(|e| SourceError::new("bound the other streams of", e))?;
        }
        Ok(())
    }

    fn bound(&self, config: Config) -> Config {
        Config {
            max_bytes: i64::try_from(self.options.max_bytes).unwrap_or(i64::MAX),
            // `New` would close the connections of publishers.
            discard: DiscardPolicy::Old,
            ..config
        }
    }

    async fn consumer(
        &self,
        (name, filter): (&str, &str),
    ) -> Result<Consumer<pull::Config>, SourceError> {
        // Looked at first: making one anew writes to the broker's disk even when nothing changes.
        let held = self.jetstream.get_consumer_from_stream(name, STREAM).await;
        if let Ok(held) = held {
            return Ok(held);
        }
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: filter.to_owned(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_ACK_PENDING,
            ..pull::Config::default()
        };
        let made = self.jetstream.create_consumer_on_stream(config, STREAM);
        let made = made.await;
        made.map_err(|e| SourceError::new("make a consumer of", e))
    }

    async fn open(&self) -> Result<Lanes, SourceError> {
        Ok(Lanes {
            live: pull(&self.consumer(LIVE).await?).await?,
            history: pull(&self.consumer(HISTORY).await?).await?,
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
    async fn ensure(&self) -> Result<StreamState, SourceError> {
        // Known at once; a request would only find out by its time-out.
        if self.client.connection_state() != State::Connected {
            return Err(SourceError::new("reach", "not connected"));
        }
        let stream = self.ensure_stream().await?;
        let mut pending = 0_u64;
        for consumer in [LIVE, HISTORY] {
            pending = pending.saturating_add(waiting(&self.consumer(consumer).await?));
        }
        self.bound_others().await?;
        Ok(StreamState {
            bytes: stream.state.bytes,
            max_bytes: self.options.max_bytes,
            pending,
        })
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

    async fn pending(&self) -> Result<u64, SourceError> {
        let mut pending = 0_u64;
        for (name, _) in [LIVE, HISTORY] {
            let info: Consumer<pull::Config> = self
                .jetstream
                .get_consumer_from_stream(name, STREAM)
                .await
                .map_err(|e| SourceError::new("count the messages of", e))?;
            pending = pending.saturating_add(waiting(&info));
        }
        Ok(pending)
    }

    async fn waited(&self, now: Timestamp) -> Result<Duration, SourceError> {
        let stream = self.jetstream.get_stream(STREAM).await;
        let stream = stream.map_err(|e| SourceError::new("look at the stream of", e))?;
        let state = &stream.cached_info().state;
        if state.messages == 0 {
            return Ok(Duration::ZERO);
        }
        // Interest retention: what is settled is gone, so the first one held is the oldest unsettled.
        let time =
            |at: &DateTime| Timestamp(i64::try_from(at.unix_timestamp_nanos()).unwrap_or(i64::MAX));
        let (first, last) = (time(&state.first_timestamp), time(&state.last_timestamp));
        Ok(last.max(now).since(first))
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

    async fn send_down(&self, gateway: &GatewayId, payload: Bytes) -> Result<(), SourceError> {
        let subject = Topic::Ack(gateway.clone()).to_nats();
        let sent = self.client.publish(subject, payload).await;
        sent.map_err(|e| SourceError::new("send an acknowledgement through", e))
    }
}

fn waiting(consumer: &Consumer<pull::Config>) -> u64 {
    let info = consumer.cached_info();
    let under_way = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
    info.num_pending.saturating_add(under_way)
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
