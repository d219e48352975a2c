//! Any MQTT broker as the source: a shared subscription of plain MQTT 3.1.1, for EMQX, `VerneMQ`,
//! `HiveMQ` and Mosquitto.
//!
//! ```text
//! broker ══ $share/GROUP/gw/+/up/# ══▶ link ─▶ live, history, hellos ─▶ ingest
//!        ◀═ PUBACK, in the order of arrival ◀─ hand ◀── settled after the commit
//! ```
//!
//! - A message is acknowledged to the broker after its records are committed. Until then it is *in
//!   hand*, and the hand is bounded: at the bound nothing more is read.
//! - Sessions are clean. A replica that goes takes what it had not acknowledged with it, and whatever
//!   the broker loses besides is lost with it: gateways keep a record until the cloud has settled it
//!   and offer again what an answer to their hello shows as missing. So the broker need keep nothing.
//! - A broker that grants the shared subscription and then delivers nothing through it (NATS does)
//!   would be trusted in vain. After each connect a message of our own must come back through a shared
//!   subscription; until then ingest is not ready and says why.
//!
//! What a foreign broker cannot do for us: keep gateways out while ingest is away (they publish, are
//! acknowledged, and send it again later), tell how much it holds, cut the session of a revoked
//! gateway (its data is refused). `deploy/broker/other/README.md` has the settings.

mod hand;
mod link;

pub use link::{MqttLink, MqttSettings, MqttTls, PATIENCE};

use crate::source::{
    Delivery, GROUP_MESSAGES, HelloMessage, IngestSource, Receipt, SourceError, StreamState,
    Trouble,
};
use async_trait::async_trait;
use bytes::Bytes;
use hand::Hand;
use protocols_model::{Clock, GatewayId, Timestamp};
use protocols_wire::Topic;
use rumqttc::{AsyncClient, Publish, QoS};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// What history may always have of a group.
const HISTORY_SHARE: usize = GROUP_MESSAGES / 8;
/// Messages in hand at most, and their bytes: bounds memory where the broker's own window does not.
const HAND: (usize, usize) = (4096, 64 * 1024 * 1024);
/// What one read of the link may bring beyond the bound of the hand.
const SLACK: usize = 64;
/// Hellos that wait; one that finds no room is said again.
const HELLOS: usize = 1024;
/// Words of other replicas that wait; each says more a second later.
const PEERS: usize = 256;
/// Acknowledgements and messages down under way to the link. Acknowledgements always find room: there
/// are no more than the hand holds.
const REQUESTS: usize = 2 * HAND.0 + SLACK;

/// The source. Its [`MqttLink`] must run.
#[derive(Debug)]
pub struct MqttSource {
    shared: Arc<Shared>,
    lanes: tokio::sync::Mutex<Lanes>,
    hellos: tokio::sync::Mutex<mpsc::Receiver<HelloMessage>>,
    peers: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
    peers_topic: String,
    state: watch::Receiver<LinkState>,
}

#[derive(Debug)]
struct Lanes {
    live: mpsc::Receiver<Delivery>,
    history: mpsc::Receiver<Delivery>,
}

/// Whether the broker delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LinkState {
    /// Not, and why.
    Down(String),
    /// A message of our own came back through a shared subscription.
    Ready,
}

/// What source and link both touch.
struct Shared {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// Rung when the hand has room again.
    room: Notify,
}

struct Inner {
    hand: Hand,
    /// The client of the connection that stands.
    client: Option<AsyncClient>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MqttSource {
    /// A source and the link that feeds it; talks to nobody before the link runs.
    #[must_use]
    pub fn new(settings: MqttSettings, clock: Arc<dyn Clock>) -> (Self, MqttLink) {
        let shared = Arc::new(Shared {
            clock,
            inner: Mutex::new(Inner {
                hand: Hand::new(HAND.0, HAND.1),
                client: None,
            }),
            room: Notify::new(),
        });
        let (live_in, live) = mpsc::channel(HAND.0 + SLACK);
        let (history_in, history) = mpsc::channel(HAND.0 + SLACK);
        let (hellos_in, hellos) = mpsc::channel(HELLOS);
        let (peers_in, peers) = mpsc::channel(PEERS);
        let peers_topic = link::peers_topic(&settings.group);
        let begun = LinkState::Down("no connection was tried yet".to_owned());
        let (state_in, state) = watch::channel(begun);
        let link = MqttLink::new(
            settings,
            Arc::clone(&shared),
            link::Feeds {
                live: live_in,
                history: history_in,
                hellos: hellos_in,
                peers: peers_in,
                state: state_in,
            },
        );
        let source = Self {
            shared,
            lanes: tokio::sync::Mutex::new(Lanes { live, history }),
            hellos: tokio::sync::Mutex::new(hellos),
            peers: tokio::sync::Mutex::new(peers),
            peers_topic,
            state,
        };
        (source, link)
    }
}

impl MqttSource {
    /// Publishes at most once. Never waits for the link: the link may be waiting for what comes after.
    fn publish(&self, topic: &str, payload: Bytes) -> Result<(), String> {
        let client = self.shared.inner().client.clone();
        let client = client.ok_or_else(|| "not connected".to_owned())?;
        let sent = client.try_publish(topic, QoS::AtMostOnce, false, payload);
        sent.map_err(|e| e.to_string())
    }
}

#[async_trait]
impl IngestSource for MqttSource {
    async fn ensure(&self, _now: Timestamp) -> Result<StreamState, SourceError> {
        match &*self.state.borrow() {
            LinkState::Down(why) => {
                let error = SourceError::new("use", why.as_str());
                Err(error.because(Trouble::Unreachable))
            }
            LinkState::Ready => {
                let now = self.shared.clock.monotonic();
                let inner = self.shared.inner();
                // How full it is, and who has copies, a foreign broker does not tell.
                Ok(StreamState {
                    live: inner.hand.pending(),
                    waited: inner.hand.waited(now),
                    ..StreamState::default()
                })
            }
        }
    }

    async fn next(&self) -> Result<Vec<Delivery>, SourceError> {
        let mut lanes = self.lanes.lock().await;
        let Lanes { live, history } = &mut *lanes;
        let first = tokio::select! { biased;
            Some(delivery) = live.recv() => delivery,
            Some(delivery) = history.recv() => delivery,
            else => return Err(SourceError::new("take messages from", "the link ended")),
        };
        // From here on nothing waits: what was taken reaches the caller.
        let mut group = vec![first];
        for (lane, room) in [
            (live, GROUP_MESSAGES - HISTORY_SHARE),
            (history, GROUP_MESSAGES),
        ] {
            while group.len() < room {
                let Ok(delivery) = lane.try_recv() else { break };
                group.push(delivery);
            }
        }
        Ok(group)
    }

    async fn settle(&self, receipts: Vec<Receipt>) -> Result<(), SourceError> {
        let numbers = receipts.iter().filter_map(|receipt| receipt.0.parse().ok());
        let mut inner = self.shared.inner();
        let mut acknowledged = Vec::new();
        for number in numbers {
            acknowledged.extend(inner.hand.settle(number));
        }
        if !inner.hand.is_full() {
            self.shared.room.notify_one();
        }
        let Some(client) = &inner.client else {
            return Ok(()); // the connection they came over is gone, and they with it
        };
        for packet in acknowledged {
            let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
            publish.pkid = packet;
            let acknowledged = client.try_ack(&publish);
            acknowledged.map_err(|e| SourceError::new("acknowledge messages to", e))?;
        }
        Ok(())
    }

    /// Nothing to do: what is not acknowledged the broker gives to others when the session ends, which
    /// follows at once.
    async fn give_back(&self, _begun: Vec<Receipt>) {}

    async fn pending(&self) -> Result<u64, SourceError> {
        Ok(self.shared.inner().hand.pending())
    }

    async fn waited(&self, _now: Timestamp) -> Result<Duration, SourceError> {
        let now = self.shared.clock.monotonic();
        Ok(self.shared.inner().hand.waited(now))
    }

    async fn next_hello(&self) -> Result<HelloMessage, SourceError> {
        let next = self.hellos.lock().await.recv().await;
        next.ok_or_else(|| SourceError::new("listen for hellos at", "the link ended"))
    }

    async fn tell_peers(&self, load: Bytes) -> Result<(), SourceError> {
        self.publish(&self.peers_topic, load)
            .map_err(|why| SourceError::new("tell the other replicas through", why))
    }

    async fn next_peer(&self) -> Result<Bytes, SourceError> {
        let next = self.peers.lock().await.recv().await;
        next.ok_or_else(|| SourceError::new("listen for other replicas at", "the link ended"))
    }

    async fn send_down(&self, gateway: &GatewayId, payload: Bytes) -> Result<(), SourceError> {
        self.publish(&Topic::Ack(gateway.clone()).to_mqtt(), payload)
            .map_err(|why| SourceError::new("send an acknowledgement through", why))
    }
}
