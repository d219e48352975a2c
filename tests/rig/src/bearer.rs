//! An MQTT client that bears a gateway's identity and says whatever it likes.

use anyhow::Context as _;
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, TlsConfiguration, Transport,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the broker may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Longest payload; the broker's own bound is the same.
const MAX_PAYLOAD: usize = 1 << 20;

/// A connection under some identity.
pub(crate) struct Bearer {
    client: AsyncClient,
    events: EventLoop,
    /// Messages that reached it.
    heard: u64,
}

impl Bearer {
    /// Connects as `client_id` with key and certificate of an identity file.
    pub(crate) async fn connect(
        identity: &Path,
        client_id: &str,
        broker: SocketAddr,
    ) -> anyhow::Result<Self> {
        let identity: toml::Table = std::fs::read_to_string(identity)?.parse()?;
        let pem = |key: &str| {
            let text = identity.get(key).and_then(toml::Value::as_str);
            text.with_context(|| format!("no {key} in the identity file"))
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem("ca")?.as_bytes())?)?;
        let chain = vec![CertificateDer::from_pem_slice(
            pem("certificate")?.as_bytes(),
        )?];
        let key = PrivateKeyDer::from_pem_slice(pem("key")?.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        let mut options = MqttOptions::new(client_id, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(MAX_PAYLOAD, MAX_PAYLOAD);
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
            Arc::new(tls),
        )));
        let (client, mut events) = AsyncClient::new(options, 16);
        let network = &mut events.network_options;
        network.set_connection_timeout(ANSWER_LIMIT.as_secs());
        let mut bearer = Self {
            client,
            events,
            heard: 0,
        };
        bearer
            .until(|packet| matches!(packet, Packet::ConnAck(_)))
            .await?;
        Ok(bearer)
    }

    /// Publishes and waits for the acknowledgement.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload)
            .await?;
        self.until(|packet| matches!(packet, Packet::PubAck(_)))
            .await
            .with_context(|| format!("publishing {} bytes on {topic}", payload.len()))
    }

    /// Subscribes and waits for the answer, whatever it is.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> anyhow::Result<()> {
        self.client.subscribe(filter, QoS::AtMostOnce).await?;
        self.until(|packet| matches!(packet, Packet::SubAck(_)))
            .await
            .with_context(|| format!("subscribing to {filter}"))
    }

    /// Listens for a while.
    pub(crate) async fn listen(&mut self, span: Duration) -> anyhow::Result<()> {
        match tokio::time::timeout(span, self.until(|_| false)).await {
            Ok(ended) => ended,
            Err(_elapsed) => Ok(()),
        }
    }

    /// Messages that reached it so far.
    pub(crate) const fn heard(&self) -> u64 {
        self.heard
    }

    async fn until(&mut self, wanted: impl Fn(&Packet) -> bool) -> anyhow::Result<()> {
        let found = async {
            loop {
                let Event::Incoming(packet) = self.events.poll().await? else {
                    continue;
                };
                if matches!(packet, Packet::Publish(_)) {
                    self.heard += 1;
                }
                if wanted(&packet) {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(ANSWER_LIMIT, found).await?
    }
}
