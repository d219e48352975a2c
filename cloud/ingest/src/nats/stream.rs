//! What must exist at the broker, and how it is: streams and ingest's consumers.
//!
//! - the stream of publishes as the broker itself would make it (interest retention, file), bounded,
//!   oldest first out;
//! - `ingest-live` on `gw.*.up.*`, `ingest-history` on everything deeper, so that a publish to a
//!   wrong topic is seen and set aside instead of being acknowledged and forgotten;
//! - explicit acknowledgement, redelivery after 10 s, for ever;
//! - the broker's other MQTT streams, which it would make when the first gateway connects: not when a
//!   node is away, for then it could not.
//!
//! Whether something is missing or the broker only cannot say (while a leader is elected) are different
//! things: in the first case what the broker acknowledges is kept nowhere.

use super::{HISTORY, LIVE, NatsOptions, STORED_PREFIX, STREAM};
use crate::source::{SourceError, StreamState, Trouble};
use async_nats::Client;
use async_nats::connection::State;
use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config, ConsumerErrorKind, DiscardPolicy, Info, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{Context, ErrorCode};
use protocols_model::Timestamp;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Ours and no others: a gateway's `QoS 1` subscription would make one more, at 0.4 MiB each. It is
/// refused instead.
const CONSUMERS: i32 = 2;
/// A message that nobody settled comes again after this: far above a commit, far below the
/// gateway's own patience.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// Messages under way to all replicas together.
const MAX_ACK_PENDING: i64 = 4096;
/// The broker's other streams are looked at once, after trouble, and every so many looks.
const OTHERS_EVERY: u32 = 60;

/// What else the broker keeps for MQTT, and how much of it at most: a gateway that publishes
/// retained messages without end must not fill the disk under everybody's feet. Nothing of ours
/// lives there: sessions are clean, and no retained message is ever read.
const OTHERS: [Other; 2] = [
    Other {
        name: "$MQTT_rmsgs",
        subject: "$MQTT.rmsgs.>",
        max_bytes: 16 * 1024 * 1024,
    },
    Other {
        name: "$MQTT_sess",
        subject: "$MQTT.sess.>",
        max_bytes: 64 * 1024 * 1024,
    },
];

struct Other {
    name: &'static str,
    subject: &'static str,
    max_bytes: i64,
}

/// Makes and looks at what must exist.
pub(super) struct Streams {
    client: Client,
    jetstream: Context,
    options: NatsOptions,
    looks: AtomicU32,
}

impl Streams {
    pub(super) const fn new(client: Client, jetstream: Context, options: NatsOptions) -> Self {
        Self {
            client,
            jetstream,
            options,
            looks: AtomicU32::new(0),
        }
    }

    pub(super) async fn ensure(&self, now: Timestamp) -> Result<StreamState, SourceError> {
        // Known at once; a request would only find out by its time-out.
        if self.client.connection_state() != State::Connected {
            return Err(SourceError::new("reach", "not connected").because(Trouble::Unreachable));
        }
        let looked = self.look(now).await;
        let looks = match &looked {
            Ok(_) => self.looks.load(Ordering::Relaxed).wrapping_add(1),
            Err(_) => 0,
        };
        self.looks.store(looks % OTHERS_EVERY, Ordering::Relaxed);
        looked
    }

    async fn look(&self, now: Timestamp) -> Result<StreamState, SourceError> {
        let stream = self.stream().await?;
        let live = waiting(&self.consumer(LIVE).await?);
        let history = waiting(&self.consumer(HISTORY).await?);
        if self.looks.load(Ordering::Relaxed) == 0 {
            for other in &OTHERS {
                self.other(other).await?;
            }
        }
        Ok(StreamState {
            bytes: stream.state.bytes,
            max_bytes: self.options.max_bytes,
            live,
            history,
            waited: waited(&stream, now),
            copies: copies(&stream),
            replicas: self.options.replicas,
        })
    }

    /// How long the oldest message has waited.
    pub(super) async fn waited(&self, now: Timestamp) -> Result<Duration, SourceError> {
        let stream = self.jetstream.get_stream(STREAM).await;
        let stream = stream.map_err(|e| SourceError::new("look at the stream of", e))?;
        Ok(waited(stream.cached_info(), now))
    }

    /// Messages not settled, of both consumers.
    pub(super) async fn pending(&self) -> Result<u64, SourceError> {
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

    async fn stream(&self) -> Result<Info, SourceError> {
        let max_bytes = i64::try_from(self.options.max_bytes).unwrap_or(i64::MAX);
        let wanted = Config {
            name: STREAM.to_owned(),
            subjects: vec![format!("{STORED_PREFIX}>")],
            retention: RetentionPolicy::Interest,
            max_consumers: CONSUMERS,
            ..Config::default()
        };
        self.held_as(wanted, max_bytes).await
    }

    async fn other(&self, other: &Other) -> Result<(), SourceError> {
        let wanted = Config {
            name: other.name.to_owned(),
            subjects: vec![other.subject.to_owned()],
            retention: RetentionPolicy::Limits,
            max_messages_per_subject: 1,
            ..Config::default()
        };
        self.held_as(wanted, other.max_bytes).await.map(drop)
    }

    /// A stream as it is to be: made where it is missing, bounded where the broker was faster and made
    /// it without a bound, copied to more nodes where there are more.
    async fn held_as(&self, wanted: Config, max_bytes: i64) -> Result<Info, SourceError> {
        let to_be = |config: Config| Config {
            max_bytes,
            // `New` would close the connections of publishers.
            discard: DiscardPolicy::Old,
            num_replicas: self.options.replicas,
            ..config
        };
        let name = wanted.name.clone();
        let Some(held) = self.held(&name).await? else {
            let wanted = Config {
                storage: StorageType::File,
                ..to_be(wanted)
            };
            let made = self.jetstream.create_stream(wanted).await;
            let missing = |e| SourceError::new("make a stream of", e).because(Trouble::Missing);
            let made = made.map_err(missing)?;
            tracing::info!("made the stream {name}");
            return Ok(made.cached_info().clone());
        };
        let config = to_be(held.config.clone());
        let bounded =
            config.max_bytes == held.config.max_bytes && config.discard == held.config.discard;
        if bounded && config.num_replicas == held.config.num_replicas {
            return Ok(held);
        }
        match self.jetstream.update_stream(config).await {
            Ok(updated) => Ok(updated),
            // Not while a node is away: the number of copies tells that it is still to be done.
            Err(error) if bounded => {
                tracing::debug!(%error, stream = name, "the copies cannot be changed yet");
                Ok(held)
            }
            Err(error) => Err(SourceError::new("bound a stream of", error)),
        }
    }

    async fn held(&self, name: &str) -> Result<Option<Info>, SourceError> {
        match self.jetstream.get_stream(name).await {
            Ok(stream) => Ok(Some(stream.cached_info().clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(api)
                    if api.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(SourceError::new("look at a stream of", error)),
            },
        }
    }

    /// A consumer of ours, made where it is missing.
    pub(super) async fn consumer(
        &self,
        (name, filter): (&str, &str),
    ) -> Result<Consumer<pull::Config>, SourceError> {
        // Looked at first: making one anew writes to the broker's disk even when nothing changes.
        let held = self.jetstream.get_consumer_from_stream(name, STREAM).await;
        let error = match held {
            Ok(held) => return Ok(held),
            Err(error) => error,
        };
        let ConsumerErrorKind::JetStream(api) = error.kind() else {
            return Err(SourceError::new("look at a consumer of", error));
        };
        if api.error_code() != ErrorCode::CONSUMER_NOT_FOUND {
            return Err(SourceError::new("look at a consumer of", error));
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
        made.inspect(|_| tracing::info!("made the consumer {name}"))
            .map_err(|e| SourceError::new("make a consumer of", e).because(Trouble::Missing))
    }
}

/// Messages a consumer has not settled: waiting and under way.
fn waiting(consumer: &Consumer<pull::Config>) -> u64 {
    let info = consumer.cached_info();
    let under_way = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
    info.num_pending.saturating_add(under_way)
}

fn waited(stream: &Info, now: Timestamp) -> Duration {
    let state = &stream.state;
    if state.messages == 0 {
        return Duration::ZERO;
    }
    // Interest retention: what is settled is gone, so the first one held is the oldest unsettled.
    let time =
        |at: &DateTime| Timestamp(i64::try_from(at.unix_timestamp_nanos()).unwrap_or(i64::MAX));
    let (first, last) = (time(&state.first_timestamp), time(&state.last_timestamp));
    last.max(now).since(first)
}

/// Nodes whose copy is up to date; a node that is alone is not told of.
fn copies(stream: &Info) -> usize {
    let Some(cluster) = &stream.cluster else {
        return 1;
    };
    let current = |peer: &&async_nats::jetstream::stream::PeerInfo| peer.current && !peer.offline;
    let followers = cluster.replicas.iter().filter(current).count();
    usize::from(cluster.leader.is_some()).saturating_add(followers)
}
