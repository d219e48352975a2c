//! The connection to the broker: one task owns client and event loop, makes them anew for every
//! attempt, proves that the shared subscription works, and hands on what comes.

use super::{LinkState, REQUESTS, Shared};
use crate::source::{Delivery, HelloMessage, Receipt};
use bytes::Bytes;
use protocols_wire::Topic;
use rumqttc::tokio_rustls::rustls;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet,
    Publish, QoS, SubAck, SubscribeReasonCode, TlsConfiguration, Transport,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// As a gateway's.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// After the stop, for what ingest still has to say. What does not fit is repeated after a hello.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Pauses before another attempt, doubling.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Larger than any envelope: one that is too large is refused by name instead of ending the
/// connection of everybody. The broker's own bound should be 1 MB.
const MAX_PACKET: usize = 16 * 1024 * 1024;
/// What is subscribed to: the shared one, the proof, the other replicas.
const SUBSCRIPTIONS: u8 = 3;
/// What gateways publish.
const UP: &str = "gw/+/up/#";

/// How to reach a broker.
#[derive(Debug, Clone)]
pub struct MqttSettings {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Without it, nothing is encrypted: for a broker on the same machine.
    pub tls: Option<MqttTls>,
    /// Replicas of one group share the messages.
    pub group: String,
    /// MQTT client id: of this process alone, or two would push each other out for ever.
    pub client_id: String,
    /// How long our own message may take to come back through a shared subscription.
    pub patience: Duration,
}

/// The usual patience, far above what a busy broker needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Files of a TLS connection, read at each connect: a renewal needs no restart.
#[derive(Debug, Clone)]
pub struct MqttTls {
    /// The authority that vouches for the broker.
    pub ca: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// The key of it.
    pub key: PathBuf,
}

/// Where the link puts what comes.
#[derive(Debug)]
pub(super) struct Feeds {
    pub(super) live: mpsc::Sender<Delivery>,
    pub(super) history: mpsc::Sender<Delivery>,
    pub(super) hellos: mpsc::Sender<HelloMessage>,
    pub(super) peers: mpsc::Sender<Bytes>,
    pub(super) state: watch::Sender<LinkState>,
}

/// The task behind a [`super::MqttSource`].
#[derive(Debug)]
pub struct MqttLink {
    settings: MqttSettings,
    shared: Arc<Shared>,
    feeds: Feeds,
}

/// How far the proof of the shared subscription has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Subscriptions asked for, so many answers outstanding.
    Subscribing(u8),
    /// Our own message is under way.
    UnderWay,
    /// It came back.
    Done,
}

impl MqttLink {
    pub(super) const fn new(settings: MqttSettings, shared: Arc<Shared>, feeds: Feeds) -> Self {
        Self {
            settings,
            shared,
            feeds,
        }
    }

    /// Connects again and again until `stop`, and a moment longer: what was settled by then is still
    /// told.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = BACK_OFF.0;
        loop {
            let ended = tokio::select! { biased;
                () = stopped(&stop) => None,
                why = self.connection() => Some(why),
            };
            let was_ready = *self.feeds.state.borrow() == LinkState::Ready;
            {
                let mut inner = self.shared.inner();
                inner.client = None;
                inner.hand.disconnected();
            }
            let Some(why) = ended else { return };
            self.feeds.state.send_replace(LinkState::Down(why));
            if was_ready {
                pause = BACK_OFF.0;
            }
            tokio::select! { biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = pause.saturating_mul(2).min(BACK_OFF.1);
        }
    }

    /// One connection; why it ended.
    async fn connection(&self) -> String {
        let options = match self.options() {
            Ok(options) => options,
            Err(why) => return why,
        };
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        events
            .network_options
            .set_connection_timeout(CONNECT_LIMIT.as_secs());
        let mut proof = Proof::Subscribing(SUBSCRIPTIONS);
        let mut limit = Instant::now() + CONNECT_LIMIT + self.settings.patience;
        loop {
            while self.shared.inner().hand.is_full() {
                // Nothing is read, so nothing comes. A broker that waits longer than the keep-alive
                // ends the connection, and gateways offer again what it held.
                self.shared.room.notified().await;
            }
            let event = tokio::select! { biased;
                event = poll(&mut events) => event,
                () = tokio::time::sleep_until(limit), if proof != Proof::Done => {
                    return self.unproved(proof);
                }
            };
            let done = match event {
                Ok(Packet::ConnAck(_)) => {
                    limit = Instant::now() + self.settings.patience;
                    self.shared.inner().client = Some(client.clone());
                    self.subscribe(&client)
                }
                Ok(Packet::SubAck(ack)) => self.granted(&ack, &mut proof, &client),
                Ok(Packet::Publish(message)) => {
                    self.take(message, &mut proof, &client);
                    Ok(())
                }
                Ok(_) => Ok(()),
                Err(why) => Err(why),
            };
            if let Err(why) = done {
                return why;
            }
        }
    }

    fn subscribe(&self, client: &AsyncClient) -> Result<(), String> {
        let group = &self.settings.group;
        let own = &self.settings.client_id;
        let filters: [String; 3] = [
            format!("$share/{group}/{UP}"),
            // A group of our own: another replica would swallow the proof.
            format!("$share/{group}-{own}/{}", self.probe()),
            peers_topic(group),
        ];
        for filter in filters {
            let asked = client.try_subscribe(filter, QoS::AtLeastOnce);
            asked.map_err(|e| format!("cannot subscribe: {e}"))?;
        }
        Ok(())
    }

    /// All subscriptions were granted: our own message goes out.
    fn granted(&self, ack: &SubAck, proof: &mut Proof, client: &AsyncClient) -> Result<(), String> {
        let granted = |code: &SubscribeReasonCode| {
            matches!(code, SubscribeReasonCode::Success(QoS::AtLeastOnce))
        };
        if !ack.return_codes.iter().all(granted) {
            return Err(format!(
                "the broker does not grant this client $share/{}/{UP} at QoS 1: its access rules, or \
                 no shared subscriptions for MQTT 3.1.1",
                self.settings.group
            ));
        }
        match *proof {
            Proof::Subscribing(left) if left > 1 => *proof = Proof::Subscribing(left - 1),
            Proof::Subscribing(_) => {
                *proof = Proof::UnderWay;
                let sent = client.try_publish(self.probe(), QoS::AtLeastOnce, false, Vec::new());
                sent.map_err(|e| format!("cannot publish: {e}"))?;
            }
            Proof::UnderWay | Proof::Done => {}
        }
        Ok(())
    }

    /// The topic of our own message.
    fn probe(&self) -> String {
        format!("fogline/{}/probe", self.settings.client_id)
    }

    fn unproved(&self, proof: Proof) -> String {
        let group = &self.settings.group;
        match proof {
            Proof::UnderWay | Proof::Done => format!(
                "the broker granted $share/{group}/{UP} and delivers nothing through it: a message of \
                 our own on {} did not come back within {:?}. NATS does so, and is used \
                 without [broker.mqtt]; elsewhere look at the rights of this client on that topic",
                self.probe(),
                self.settings.patience
            ),
            Proof::Subscribing(_) => "the broker does not answer subscriptions".to_owned(),
        }
    }

    fn take(&self, message: Publish, proof: &mut Proof, client: &AsyncClient) {
        let packet = (message.qos != QoS::AtMostOnce).then_some(message.pkid);
        let Publish { topic, payload, .. } = message;
        let topic_kind = Topic::parse(&topic);
        let is_probe = topic == self.probe();
        let now = self.shared.clock.monotonic();
        let mut inner = self.shared.inner();
        let number = inner.hand.take(packet, payload.len(), now);
        let receipt = Receipt(number.to_string());
        let kept = match topic_kind {
            _ if topic == peers_topic(&self.settings.group) => {
                // Where there is no room, the next word comes in a second.
                drop(self.feeds.peers.try_send(payload));
                false
            }
            _ if is_probe => {
                if *proof != Proof::Done {
                    *proof = Proof::Done;
                    self.feeds.state.send_replace(LinkState::Ready);
                }
                false
            }
            Some(Topic::Hello(_)) => {
                // Where there is no room it is as lost as on a bad link: the gateway says it again.
                drop(self.feeds.hellos.try_send(HelloMessage { topic, payload }));
                false
            }
            kind => {
                let history = matches!(kind, Some(Topic::Up { history: true, .. }));
                let lane = if history {
                    &self.feeds.history
                } else {
                    &self.feeds.live
                };
                let delivery = Delivery {
                    topic,
                    payload,
                    receipt,
                };
                // The hand's bound leaves room here; a closed lane means that the process stops.
                lane.try_send(delivery).is_ok()
            }
        };
        if kept {
            return;
        }
        for packet in inner.hand.settle(number) {
            let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
            publish.pkid = packet;
            if let Err(error) = client.try_ack(&publish) {
                tracing::warn!(%error, "a message stays unacknowledged");
            }
        }
    }

    fn options(&self) -> Result<MqttOptions, String> {
        let MqttSettings {
            host,
            port,
            tls,
            client_id,
            ..
        } = &self.settings;
        let mut options = MqttOptions::new(client_id, host, *port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_session(true);
        options.set_manual_acks(true);
        options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
        if let Some(tls) = tls {
            let config = tls.config()?;
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
                Arc::new(config),
            )));
        }
        Ok(options)
    }
}

/// Where replicas of a group tell each other how busy they are.
pub(super) fn peers_topic(group: &str) -> String {
    format!("fogline/{group}/peers")
}

async fn stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_WORDS).await;
}

/// The next packet that came in. Cancel-safe, as rumqttc's own poll is.
async fn poll(events: &mut EventLoop) -> Result<Packet, String> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(packet)) => return Ok(packet),
            Ok(Event::Outgoing(_)) => {}
            Err(ConnectionError::ConnectionRefused(code)) => return Err(refused(code)),
            Err(error) => return Err(chain(&error)),
        }
    }
}

fn refused(code: ConnectReturnCode) -> String {
    let why = match code {
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "it does not take the client id",
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            "it does not know the certificate"
        }
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::Success => "it is not ready",
    };
    format!("the broker refuses the connection: {why}")
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

impl MqttTls {
    fn config(&self) -> Result<rustls::ClientConfig, String> {
        let unusable = |path: &Path, error: &dyn std::fmt::Display| {
            format!("cannot use {}: {error}", path.display())
        };
        let mut roots = rustls::RootCertStore::empty();
        let authorities = CertificateDer::pem_file_iter(&self.ca);
        for authority in authorities.map_err(|e| unusable(&self.ca, &e))? {
            let authority = authority.map_err(|e| unusable(&self.ca, &e))?;
            let added = roots.add(authority);
            added.map_err(|e| unusable(&self.ca, &e))?;
        }
        let chain = CertificateDer::pem_file_iter(&self.certificate);
        let chain = chain.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|e| unusable(&self.certificate, &e))?;
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|e| unusable(&self.key, &e))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        versions
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|e| unusable(&self.certificate, &e))
    }
}
